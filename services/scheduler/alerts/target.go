package alerts

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"slices"

	"millrace.dev/pkg/resource"
)

// The kinds of targets.
const (
	ByWebhook = "webhook"
	ByEmail   = "email"
)

// Target is one place that an alert is sent to.
type Target struct {
	Kind    string
	Address string // of mail; a webhook has one address, which may change between two tries
}

// Targets answers where an alert goes.
func Targets(a resource.Alert) []Target {
	var out []Target
	if a.Webhook != nil {
		out = append(out, Target{Kind: ByWebhook})
	}
	if a.Email != nil {
		for _, to := range a.Email.To {
			out = append(out, Target{ByEmail, to})
		}
	}
	return out
}

// Has says whether an alert still goes to a target.
func Has(a resource.Alert, t Target) bool { return slices.Contains(Targets(a), t) }

// Shown answers a target's address for people: of a webhook its host, since the rest may be a secret.
func Shown(a resource.Alert, t Target) string {
	if t.Kind == ByEmail || a.Webhook == nil {
		return t.Address
	}
	return hostOf(a.Webhook.URL)
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}

// MessageID names what an alert tells one target of a change; the same for each try.
func MessageID(change, alert string, t Target) string {
	sum := sha256.Sum256([]byte(change + "\x00" + alert + "\x00" + t.Kind + "\x00" + t.Address))
	return "msg_" + hex.EncodeToString(sum[:16])
}
