package config_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource/resourcepb"
	"millrace.dev/pkg/secret"
)

// longCanary is a secret that webhooks can be signed with.
const longCanary = canary + "-" + canary

func alert(secret *configv1.Secret) *configv1.Alert {
	return &configv1.Alert{
		Meta:    &configv1.Meta{Id: "app_db"},
		Webhook: &configv1.Webhook{Url: "https://hooks.example.com/alerts", Secret: secret},
	}
}

// signing answers the secret of an alert that the scheduler would sign with, and of which workspace it is.
func (h *house) signing(t *testing.T, name string) string {
	t.Helper()
	r, err := h.ListSealedAlerts(t.Context(), &configv1.ListSealedAlertsRequest{})
	require.NoError(t, err)
	keys, err := secret.Open(t.Context(), "file:"+h.data+"/keys.json")
	require.NoError(t, err)
	for _, m := range r.GetAlerts() {
		if a := resourcepb.OfAlert(m); a.ID == name {
			require.NotEmpty(t, a.Webhook.Secret.Sealed)
			require.NoError(t, keys.OpenSecrets(&a))
			return a.Webhook.Secret.Plain
		}
	}
	require.Fail(t, "there is no such alert")
	return ""
}

func TestAnAlertIsMadeChangedAndDeleted(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		_, err := h.CreateAlert(ctx, &configv1.CreateAlertRequest{Alert: alert(nil)})
		e := refusal(t, err, fault.Invalid, fault.ReasonInvalidArgument)
		require.Equal(t, "Alert app_db webhook.secret: is missing, and none is stored; give the secret that messages are signed with", e.Violations[0].String())
		made, err := h.CreateAlert(ctx, &configv1.CreateAlertRequest{Alert: alert(plain(longCanary))})
		require.NoError(t, err)
		a := made.GetAlert()
		require.True(t, a.GetWebhook().GetSecret().GetKept())
		require.Equal(t, longCanary, h.signing(t, "app_db"))

		a.Webhook = &configv1.Webhook{Url: "https://elsewhere.example.com/"}
		a.On = []configv1.AlertEvent{configv1.AlertEvent_ALERT_EVENT_HELD}
		changed, err := h.UpdateAlert(ctx, &configv1.UpdateAlertRequest{Alert: a, UpdateMask: mask("webhook.url", "on")})
		require.NoError(t, err)
		require.Equal(t, "https://elsewhere.example.com/", changed.GetAlert().GetWebhook().GetUrl())
		require.Equal(t, longCanary, h.signing(t, "app_db"), "what is not named is kept")
		a = changed.GetAlert()
		a.Webhook.Secret = nil
		_, err = h.UpdateAlert(ctx, &configv1.UpdateAlertRequest{Alert: a, UpdateMask: mask("webhook.secret")})
		refused(t, err, fault.Invalid, fault.ReasonInvalidArgument)

		all, err := h.ListAlerts(ctx, &configv1.ListAlertsRequest{})
		require.NoError(t, err)
		require.Len(t, all.GetAlerts(), 1)
		_, err = h.DeleteAlert(ctx, &configv1.DeleteAlertRequest{Id: "app_db"})
		require.NoError(t, err)
		_, err = h.GetAlert(ctx, &configv1.GetAlertRequest{Id: "app_db"})
		refused(t, err, fault.NotFound, fault.ReasonNotFound)
	})
}

func TestAlertsNameSyncsThatAreThere(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		a := alert(plain(longCanary))
		a.Syncs = []string{"none", "nobody"}
		_, err := h.CreateAlert(t.Context(), &configv1.CreateAlertRequest{Alert: a})
		e := refusal(t, err, fault.Invalid, fault.ReasonInvalidArgument)
		require.Len(t, e.Violations, 2)
		require.Equal(t, "Alert app_db syncs[1]: there is no Sync nobody; create it, or name another", e.Violations[1].String())

		h.mustApply(t, "kind: Alert\nid: ops\nsyncs: [s]\nemail: {to: ops@example.com}\n---\nkind: Connection\nid: c\nduckdb: {path: /x.duckdb}\n---\n"+
			"kind: DataModel\nid: m\nconnection: c\nrecord_kind: users\ntable: t\n---\nkind: Sync\nid: s\ndata_model: m\nmode: full\nfreshness: 2h\n")
		_, err = h.DeleteSync(t.Context(), &configv1.DeleteSyncRequest{Id: "s"})
		e = refusal(t, err, fault.Precondition, fault.ReasonInUse)
		require.Contains(t, e.Message, "Alert ops")
		r, err := h.ListSchedules(t.Context(), &configv1.ListSchedulesRequest{})
		require.NoError(t, err)
		require.Equal(t, "2h", r.GetSyncs()[0].GetFreshness())
		version := r.GetSyncs()[0].GetVersion()
		h.mustApply(t, "kind: Alert\nid: ops\nsyncs: [s]\non: [late]\nemail: {to: ops@example.com}\n")
		r, err = h.ListSchedules(t.Context(), &configv1.ListSchedulesRequest{})
		require.NoError(t, err)
		require.Equal(t, version, r.GetSyncs()[0].GetVersion(), "who is told of a sync changes nothing of it")
	})
}

func TestTheSchedulerGetsTheAlertsOfAllWorkspacesPageByPage(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		var want []string
		for i := range 3 {
			for _, w := range []string{"a", "b"} {
				x := alert(plain(longCanary))
				x.Meta.Id = fmt.Sprint("x", i)
				_, err := h.CreateAlert(t.Context(), &configv1.CreateAlertRequest{Workspace: w, Alert: x})
				require.NoError(t, err)
				want = append(want, w+"/"+x.GetMeta().GetId())
			}
		}
		all := func(workspace string) []string {
			var out []string
			for token := ""; ; {
				r, err := h.ListSealedAlerts(t.Context(), &configv1.ListSealedAlertsRequest{PageSize: 2, PageToken: token, Workspace: workspace})
				require.NoError(t, err)
				require.LessOrEqual(t, len(r.GetAlerts()), 2)
				for _, x := range r.GetAlerts() {
					out = append(out, x.GetMeta().GetWorkspace()+"/"+x.GetMeta().GetId())
				}
				if token = r.GetNextPageToken(); token == "" {
					return out
				}
			}
		}
		require.ElementsMatch(t, want, all(""))
		require.Equal(t, []string{"b/x0", "b/x1", "b/x2"}, all("b"))
	})
}

func TestAlertsAreExportedWithoutTheirSecrets(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		_, err := h.CreateAlert(t.Context(), &configv1.CreateAlertRequest{Alert: alert(plain(longCanary))})
		require.NoError(t, err)
		r, err := h.Export(t.Context(), &configv1.ExportRequest{})
		require.NoError(t, err)
		require.Len(t, r.GetDocuments(), 1)
		require.Equal(t, "alert-app_db.yaml", r.GetDocuments()[0].GetFile())
		require.Contains(t, r.GetDocuments()[0].GetContent(), "secret: {kept: true}")
		again := h.mustApply(t, r.GetDocuments()[0].GetContent())
		require.Equal(t, []string{"unchanged Alert app_db"}, plan(again))
		require.Equal(t, longCanary, h.signing(t, "app_db"))
	})
}
