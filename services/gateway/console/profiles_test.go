package console

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	configv1 "millrace.dev/gen/millrace/config/v1"
	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	"millrace.dev/pkg/fault"
)

func structOf(t *testing.T, fields map[string]any) *structpb.Struct {
	t.Helper()
	s, err := structpb.NewStruct(fields)
	require.NoError(t, err)
	return s
}

// ada answers for a profile with events, a merge and a group.
func ada(t *testing.T) answers {
	t.Helper()
	return answers{
		"GetProfile": says(&ingestionv1.GetProfileResponse{Profile: &ingestionv1.Profile{
			Mpid: "42", Identities: []*ingestionv1.Identity{{Type: "email", Value: "ada@example.com"}, {Type: "other", Value: "\u202egnp.<img src=x>"}},
			UserAttributes: structOf(t, map[string]any{"plan": "pro", "company": []any{"acme", "acme", ""}, "long": strings.Repeat("x", 1_000_000), "prefs": map[string]any{"a": "<b>"}}),
			Provenance: map[string]*ingestionv1.Provenance{"plan": {
				Sync: "customers", Run: "r1", Batch: "r1/1/1/0", KeyValues: []string{"7", "eu"}, RowTime: timestamppb.New(november),
			}},
			FirstSeen: timestamppb.New(november),
		}}),
		"ListDataModels": says(&configv1.ListDataModelsResponse{DataModels: []*configv1.DataModel{{GroupType: "company"}, {GroupType: "team"}, {}}}),
		"GetGroup": says(&ingestionv1.GetGroupResponse{Group: &ingestionv1.Group{
			GroupType: "company", GroupId: "acme", Attributes: structOf(t, map[string]any{"industry": "anvils"}),
		}}),
		"ListProfileEvents": says(&ingestionv1.ListProfileEventsResponse{NextPageToken: "e2", Events: []*ingestionv1.Event{{
			Id: "ev1", EventType: "custom_event", Sync: "orders", Run: "r3",
			Data:    structOf(t, map[string]any{"event_name": "order_paid", "timestamp_unixtime_ms": float64(november.UnixMilli()), "custom_attributes": map[string]any{"total": "7.00"}}),
			Lookups: map[string]*structpb.Struct{"products": structOf(t, map[string]any{"title": "Anvil"})},
		}}}),
		"ListMerges": says(&ingestionv1.ListMergesResponse{Merges: []*ingestionv1.Merge{
			{Id: "m1", Kind: "merged", Mpid: "42", Others: []string{"17"}, Rule: "best_match", Glue: &ingestionv1.Identity{Type: "email", Value: "ada@example.com"}, CreateTime: timestamppb.New(november)},
			{Id: "m2", Kind: "merged", Mpid: "42", Others: []string{"18"}, Erased: true, CreateTime: timestamppb.New(november)},
			{Id: "m3", Kind: "stopped", Mpid: "42", Others: []string{"19"}, Rule: "limit", Limit: "customer_id 1 ever", CreateTime: timestamppb.New(november)},
		}}),
	}
}

func TestAProfileIsShownWithWhereItsValuesComeFrom(t *testing.T) {
	w := get(t, open(t, ada(t)), "/w/default/profiles/42")
	body := w.Body.String()
	require.Equal(t, http.StatusOK, w.Code, body)
	for _, text := range []string{
		"ada@example.com", "&lt;img src=x&gt;", `href="/w/default/syncs/customers"`, `href="/w/default/runs/r1"`, "r1/1/1/0", "7, eu", "2026-11-05 08:00:00 UTC",
		"cut, 1\u202f000\u202f000 characters", `{&#34;a&#34;:&#34;&lt;b&gt;&#34;}`, "industry", "anvils",
		"order_paid", "2026-11-05 08:00:00.000 UTC", "7.00", "Anvil", `href="/w/default/profiles/42?events=e2#events"`,
		"17 was merged into 42 by strategy best_match: email=ada@example.com glues them", "somebody in it was erased", "by rule limit (customer_id 1 ever)",
	} {
		require.Contains(t, body, text)
	}
	require.Equal(t, 1, strings.Count(body, "Undo the merge</button>"), "what was erased, or merged nothing, can not be undone")
	require.Equal(t, 1, strings.Count(body, "anvils"), "a group is shown once")
	require.Less(t, len(body), 100_000)
}

func TestAMergedProfileLeadsToTheOneThatItIsPartOf(t *testing.T) {
	require.Contains(t, get(t, open(t, ada(t)), "/w/default/profiles/17").Body.String(), "Profile 17 is merged into this one.")
}

func TestAMergeIsUndoneInItsDataSet(t *testing.T) {
	a := ada(t)
	var undone *ingestionv1.UndoMergeRequest
	a["UndoMerge"] = func(in any) (proto.Message, error) {
		undone = in.(*ingestionv1.UndoMergeRequest)
		return &ingestionv1.UndoMergeResponse{}, nil
	}
	w := sendForm(t, open(t, a), "/w/default/profiles/42/unmerge", "merge", "m1", "env", "dev")
	require.Equal(t, "/w/default/profiles/42?done=unmerged&env=dev", w.Header().Get("Location"))
	require.Equal(t, "m1", undone.GetMerge())
	require.Equal(t, configv1.Environment_ENVIRONMENT_DEV, undone.GetEnvironment())
}

func TestAProfileIsFoundByAnIdentityThatNoAddressHas(t *testing.T) {
	a := ada(t)
	a["ListProfiles"] = says(&ingestionv1.ListProfilesResponse{})
	c := open(t, a)
	w := sendForm(t, c, "/w/default/profiles", "type", " email ", "value", "ada@example.com", "env", "prod")
	require.Equal(t, http.StatusSeeOther, w.Code, w.Body.String())
	require.Equal(t, "/w/default/profiles/42", w.Header().Get("Location"))

	a["GetProfile"] = func(in any) (proto.Message, error) {
		require.Equal(t, "email", in.(*ingestionv1.GetProfileRequest).GetIdentity().GetType())
		return nil, fault.New(fault.NotFound, fault.ReasonNotFound, "no profile has this email")
	}
	w = sendForm(t, c, "/w/default/profiles", "type", "email", "value", "nobody@example.com")
	require.Equal(t, http.StatusNotFound, w.Code)
	require.Contains(t, w.Body.String(), "No profile has this email")
	require.Contains(t, w.Body.String(), `value="nobody@example.com"`, "what was typed stays to be mended")
}

func TestProfilesAreListedByPages(t *testing.T) {
	ids := make([]*ingestionv1.Identity, 7)
	for i := range ids {
		ids[i] = &ingestionv1.Identity{Type: "other", Value: fmt.Sprintf("v%d", i)}
	}
	c := open(t, answers{"ListProfiles": says(&ingestionv1.ListProfilesResponse{NextPageToken: "p2", Profiles: []*ingestionv1.Profile{{Mpid: "42", Identities: ids}}})})
	body := get(t, c, "/w/default/profiles?env=dev").Body.String()
	require.Contains(t, body, `href="/w/default/profiles/42?env=dev"`)
	require.Contains(t, body, "and 3 more")
	require.Contains(t, body, `href="/w/default/profiles?env=dev&amp;page=p2"`)
}

func TestAThousandAttributesAreCutAndCounted(t *testing.T) {
	many := map[string]any{}
	for i := range 1000 {
		many[fmt.Sprintf("a%04d", i)] = i
	}
	rows, more := profileValues(structOf(t, many), nil, shownAttributes)
	require.Len(t, rows, shownAttributes)
	require.Equal(t, 500, more)
}
