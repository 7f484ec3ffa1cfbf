package resourcepb

import (
	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/resource"
)

const prefixAlertEvent = "ALERT_EVENT_"

// ToAlert answers a as a message, secrets as they are in a.
func ToAlert(a resource.Alert) *configv1.Alert {
	out := &configv1.Alert{Meta: toMeta(a.Meta), Syncs: a.Syncs}
	for _, e := range a.On {
		out.On = append(out.On, configv1.AlertEvent(enum(configv1.AlertEvent_value, prefixAlertEvent, string(e))))
	}
	if w := a.Webhook; w != nil {
		out.Webhook = &configv1.Webhook{Url: w.URL, Secret: toSecret(w.Secret)}
	}
	if e := a.Email; e != nil {
		out.Email = &configv1.Email{To: e.To}
	}
	return out
}

// OfAlert answers the alert that a message holds.
func OfAlert(a *configv1.Alert) resource.Alert {
	out := resource.Alert{Meta: ofMeta(a.GetMeta()), Syncs: a.GetSyncs()}
	for _, e := range a.GetOn() {
		out.On = append(out.On, resource.AlertEvent(word(e.String(), prefixAlertEvent)))
	}
	if w := a.GetWebhook(); w != nil {
		out.Webhook = &resource.Webhook{URL: w.GetUrl(), Secret: ofSecret(w.GetSecret())}
	}
	if e := a.GetEmail(); e != nil {
		out.Email = &resource.Email{To: e.GetTo()}
	}
	return out
}
