package console

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	configv1 "millrace.dev/gen/millrace/config/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
)

func onCall() answers {
	a := &configv1.Alert{
		Meta: &configv1.Meta{Id: "on-call", DisplayName: "On call <b>", Etag: "a1"}, On: []configv1.AlertEvent{configv1.AlertEvent_ALERT_EVENT_FAILED, configv1.AlertEvent_ALERT_EVENT_PARTIALLY_SUCCEEDED},
		Webhook: &configv1.Webhook{Url: "https://hooks.example.com/T000/secret-path"}, Email: &configv1.Email{To: []string{"ops@example.com"}},
	}
	return answers{
		"ListAlerts": says(&configv1.ListAlertsResponse{Alerts: []*configv1.Alert{a, {Meta: &configv1.Meta{Id: "quiet", DisplayName: "quiet"}}}}),
		"GetAlert":   says(&configv1.GetAlertResponse{Alert: a}),
	}
}

func TestAlertsAreListedWithWhomTheyTell(t *testing.T) {
	body := get(t, open(t, onCall()), "/w/default/alerts").Body.String()
	for _, text := range []string{"On call &lt;b&gt;", "failed, partially succeeded", "webhook <bdi>https://hooks.example.com</bdi>", "ops@example.com", "anything changes", "Send a test</button>", `href="/w/default/apply?alert=on-call"`} {
		require.Contains(t, body, text)
	}
	require.NotContains(t, body, "secret-path", "the path of a webhook may be a secret")
	require.Contains(t, get(t, open(t, answers{"ListAlerts": says(&configv1.ListAlertsResponse{})}), "/w/default/alerts").Body.String(), "Write the first alert")
}

func TestATestOfAnAlertSaysWhatBecameOfEachTarget(t *testing.T) {
	a := onCall()
	a["TestAlert"] = says(&schedulerv1.TestAlertResponse{Results: []*schedulerv1.AlertResult{
		{Target: "email", Address: "ops@example.com", Ok: true, Message: "250 accepted"},
		{Target: "webhook", Address: "hooks.example.com", Message: "it answered 410; look at its address"},
	}})
	w := sendForm(t, open(t, a), "/w/default/alerts/on-call/test")
	require.Equal(t, http.StatusOK, w.Code)
	for _, text := range []string{"Test of on-call", "Not every target has taken it.", "250 accepted", "it answered 410"} {
		require.Contains(t, w.Body.String(), text)
	}
	a["TestAlert"] = func(any) (proto.Message, error) {
		return nil, fault.New(fault.NotFound, fault.ReasonNotFound, "there is no alert on-call")
	}
	w = sendForm(t, open(t, a), "/w/default/alerts/on-call/test")
	require.Equal(t, http.StatusNotFound, w.Code)
	require.Contains(t, w.Body.String(), "There is no alert on-call")
}

func TestAnAlertIsDeletedByItsEtag(t *testing.T) {
	a := onCall()
	a["DeleteAlert"] = func(in any) (proto.Message, error) {
		if in.(*configv1.DeleteAlertRequest).GetEtag() != "a1" {
			return nil, fault.New(fault.Conflict, fault.ReasonStaleEtag, "the resource has changed")
		}
		return &configv1.DeleteAlertResponse{}, nil
	}
	c := open(t, a)
	require.Equal(t, "/w/default/alerts?done=deleted", sendForm(t, c, "/w/default/alerts/on-call/delete", "etag", "a1").Header().Get("Location"))
	require.Equal(t, http.StatusConflict, sendForm(t, c, "/w/default/alerts/on-call/delete", "etag", "a0").Code)
}

func TestAnAlertIsWrittenAndEditedAsADocument(t *testing.T) {
	c := open(t, onCall())
	require.Contains(t, get(t, c, "/w/default/apply?new=alert").Body.String(), "kind: Alert\nid: on-call\n")
	body := get(t, c, "/w/default/apply?alert=on-call").Body.String()
	require.Contains(t, body, "kind: Alert\nid: on-call\n")
	require.Contains(t, body, `value="Alert/on-call=a1"`)
}
