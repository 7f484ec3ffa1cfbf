package console

import (
	"net/http"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/fault"
)

func TestEditingASyncBeginsWithItsDocumentsAndTheirEtags(t *testing.T) {
	body := get(t, open(t, shop(customers())), "/w/default/apply?sync=customers").Body.String()
	for _, text := range []string{
		"Edit sync customers", "kind: Sync\nid: customers\n", "---\nkind: DataModel", "---\nkind: Mapping",
		`name="expected" value="Sync/customers=e1"`, `value="DataModel/customers=m1"`, `value="Mapping/customers=p1"`, "Show what would change",
	} {
		require.Contains(t, body, text)
	}
	require.NotContains(t, body, `value="apply"`, "nothing is applied before it was shown")
}

func TestACopyIsADraftUnderAnIdOfItsOwn(t *testing.T) {
	body := get(t, open(t, shop(customers())), "/w/default/apply?sync=customers&copy=1").Body.String()
	require.Contains(t, body, "id: customers-copy\n")
	require.Contains(t, body, "state: draft\n")
	require.Contains(t, body, `name="expected" value="Sync/customers-copy="`, "and there must not be one already")
	require.NotContains(t, body, "kind: DataModel")
}

// planner answers Apply as the service does, and notes what it was asked.
func planner(asked *[]*configv1.ApplyRequest, err *error) answers {
	return answers{"Apply": func(in any) (proto.Message, error) {
		req := in.(*configv1.ApplyRequest)
		*asked = append(*asked, req)
		return &configv1.ApplyResponse{Applied: !req.GetDryRun(), Warnings: []string{"a credential stands in the document"}, Changes: []*configv1.PlannedChange{
			{Action: configv1.Action_ACTION_CHANGE, Kind: "Sync", Id: "customers", Fields: []string{"schedule"}, Notes: []string{"the next run is at noon"}, Etag: "e1"},
			{Action: configv1.Action_ACTION_CREATE, Kind: "Feed", Id: "crm"},
		}}, *err
	}}
}

func TestDocumentsAreShownBeforeTheyAreApplied(t *testing.T) {
	var asked []*configv1.ApplyRequest
	var refused error
	c := open(t, planner(&asked, &refused))
	text := "kind: Sync\r\nid: customers\r\n"

	w := sendForm(t, c, "/w/default/apply", "documents", text, "act", "plan", "expected", "Sync/customers=e1")
	require.Equal(t, http.StatusOK, w.Code, w.Body.String())
	require.True(t, asked[0].GetDryRun())
	require.Equal(t, "kind: Sync\nid: customers\n", asked[0].GetDocuments()[0].GetContent())
	require.Equal(t, map[string]string{"Sync/customers": "e1"}, asked[0].GetExpectedEtags())
	body := w.Body.String()
	for _, said := range []string{"change", "Sync customers", "schedule", "the next run is at noon", "a credential stands in the document", `value="apply"`, `value="Feed/crm="`} {
		require.Contains(t, body, said)
	}
	planned := regexp.MustCompile(`name="planned" value="([0-9a-f]+)"`).FindStringSubmatch(body)[1]

	w = sendForm(t, c, "/w/default/apply", "documents", text+"feed: crm\r\n", "act", "apply", "planned", planned)
	require.Equal(t, http.StatusOK, w.Code)
	require.True(t, asked[1].GetDryRun(), "a text that was edited after its plan is planned again")
	require.Contains(t, w.Body.String(), "are others than those that the plan was of")

	w = sendForm(t, c, "/w/default/apply", "documents", text, "act", "apply", "planned", planned, "expected", "Sync/customers=e1", "expected", "Feed/crm=")
	require.Equal(t, http.StatusSeeOther, w.Code)
	require.Equal(t, "/w/default/syncs/customers?done=applied", w.Header().Get("Location"))
	require.False(t, asked[2].GetDryRun())
	require.Equal(t, map[string]string{"Sync/customers": "e1", "Feed/crm": ""}, asked[2].GetExpectedEtags())
}

func TestDocumentsThatAreWrongOrStaleAreToldBesideWhatWasTyped(t *testing.T) {
	var asked []*configv1.ApplyRequest
	refused := fault.Of(fault.ReasonInvalidArgument, []fault.Violation{
		{File: "documents.yaml", Line: 3, Column: 7, Kind: "Sync", ID: "x", Field: "mode", Message: "is no mode", Fix: "use full"},
		{File: "documents.yaml", Line: 9, Column: 1, Message: "the file is not YAML", Fix: "mend its form"},
	})
	c := open(t, planner(&asked, &refused))
	w := sendForm(t, c, "/w/default/apply", "documents", "kind: Sync\n</textarea><script>", "act", "plan")
	require.Equal(t, http.StatusBadRequest, w.Code)
	require.Contains(t, w.Body.String(), "3:7")
	require.Contains(t, w.Body.String(), "9:1")
	require.Contains(t, w.Body.String(), "use full")
	require.Contains(t, w.Body.String(), "kind: Sync\n&lt;/textarea&gt;&lt;script&gt;")

	refused = fault.New(fault.Conflict, fault.ReasonStaleEtag, "Sync/x has changed since the documents were written")
	w = sendForm(t, c, "/w/default/apply?sync=x", "documents", "kind: Sync", "act", "apply", "planned", digestOf("kind: Sync"), "expected", "Sync/x=e1")
	require.Equal(t, http.StatusConflict, w.Code)
	require.Contains(t, w.Body.String(), "Load it anew")
	require.Contains(t, w.Body.String(), "What you typed is still here")
	require.NotContains(t, w.Body.String(), `value="Sync/x=e1"`)
}

func TestEverythingIsExportedAsOneFile(t *testing.T) {
	c := open(t, answers{"Export": says(&configv1.ExportResponse{Documents: []*configv1.Document{{Content: "kind: Feed\nid: a\n"}, {Content: "kind: Feed\nid: b"}}})})
	w := get(t, c, "/w/default/apply/export")
	require.Equal(t, "kind: Feed\nid: a\n---\nkind: Feed\nid: b\n", w.Body.String())
	require.Contains(t, w.Header().Get("Content-Disposition"), "millrace.yaml")
}
