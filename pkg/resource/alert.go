package resource

import (
	"encoding/base64"
	"fmt"
	"net/mail"
	"net/url"
	"strings"

	"millrace.dev/pkg/fault"
)

// AlertEvent is something of a sync that an alert tells of.
type AlertEvent string

// The events.
const (
	AlertFailed             AlertEvent = "failed"
	AlertPartiallySucceeded AlertEvent = "partially_succeeded"
	AlertHeld               AlertEvent = "held"
	AlertFaulted            AlertEvent = "faulted"
	AlertLate               AlertEvent = "late" // the data's age is over the sync's freshness
)

// AlertEvents answers every event, the gravest first.
func AlertEvents() []AlertEvent {
	return []AlertEvent{AlertFaulted, AlertFailed, AlertHeld, AlertPartiallySucceeded, AlertLate}
}

// Alert says who is told of what happens to syncs.
type Alert struct {
	Meta
	On      []AlertEvent // empty: all
	Syncs   []string     // empty: all of the workspace
	Webhook *Webhook
	Email   *Email
}

// Webhook is an address that alerts are posted to, signed.
type Webhook struct {
	URL    string
	Secret Secret // what the messages are signed with
}

// Email is whom alerts are mailed to, each by himself.
type Email struct {
	To []string
}

// Bounds of an alert.
const (
	maxAlertSyncs = 1000
	maxRecipients = 20
	maxWebhookURL = 2048
	minSigningKey = 16 // bytes
	maxSigningKey = 256
)

// SigningKeyPrefix begins a secret that is the signing key in base64, as the Standard Webhooks write it.
const SigningKeyPrefix = "whsec_"

// ResourceKind answers KindAlert.
func (*Alert) ResourceKind() Kind { return KindAlert }

// Normalize fills in what was left out.
func (a *Alert) Normalize() { a.normalize() }

// Secrets answers the credentials that a can have, set or not. The pointers are into a.
func (a *Alert) Secrets() []SecretField {
	if a.Webhook == nil {
		return nil
	}
	return []SecretField{{Name: "webhook.secret", Value: &a.Webhook.Secret}}
}

// Validate reports every rule that a breaks by itself.
func (a *Alert) Validate() []fault.Violation {
	c := newFaults(a)
	c.meta(a.Meta)
	a.validateOn(c)
	a.validateSyncs(c)
	if a.Webhook == nil && a.Email == nil {
		c.add("webhook", "add webhook: {url: …, secret: …}, or email: {to: […]}", "is missing, and nobody would be told")
	}
	if a.Webhook != nil {
		a.Webhook.validate(c)
	}
	if a.Email != nil {
		a.Email.validate(c)
	}
	return c.out
}

func (a *Alert) validateOn(c *faults) {
	var words []string
	for _, e := range AlertEvents() {
		words = append(words, string(e))
	}
	if len(a.On) > len(words) {
		c.add("on", "name each event once, or none for all", "names %d events, and there are %d", len(a.On), len(words))
		return
	}
	seen := map[AlertEvent]bool{}
	for i, e := range a.On {
		field := fmt.Sprintf("on[%d]", i)
		c.oneOf(field, string(e), true, words...)
		if seen[e] && e != "" {
			c.add(field, "name each event once", "%q stands there twice", clip(string(e)))
		}
		seen[e] = true
	}
}

func (a *Alert) validateSyncs(c *faults) {
	if len(a.Syncs) > maxAlertSyncs {
		c.add("syncs", fmt.Sprintf("name at most %d, or none for all", maxAlertSyncs), "names %d syncs", len(a.Syncs))
		return
	}
	seen := map[string]bool{}
	for i, id := range a.Syncs {
		field := fmt.Sprintf("syncs[%d]", i)
		c.reference(field, id, true)
		if seen[id] && id != "" {
			c.add(field, "name each sync once", "%q stands there twice", clip(id))
		}
		seen[id] = true
	}
}

// validate never shows the URL: the paths of many receivers are secrets. A secret that is left out may be stored.
func (w *Webhook) validate(c *faults) {
	u, err := url.Parse(w.URL)
	switch {
	case w.URL == "":
		c.add("webhook.url", "add the address that alerts are posted to", "is missing")
	case len(w.URL) > maxWebhookURL || !clean(w.URL):
		c.add("webhook.url", fmt.Sprintf("use at most %d bytes of plain text", maxWebhookURL), "cannot be a URL")
	case err != nil || u.Scheme == "":
		c.add("webhook.url", "write it as https://host/path", "is no URL")
	case u.Scheme != protocolHTTPS && u.Scheme != protocolHTTP:
		c.add("webhook.url", "use https:// or http://", "has the scheme %q", clip(u.Scheme))
	case u.Opaque != "" || u.Hostname() == "":
		c.add("webhook.url", "write it as https://host/path", "has no host")
	case u.User != nil:
		c.add("webhook.url", "remove them; receivers know the sender by the signature", "has credentials before its host")
	case u.Fragment != "":
		c.add("webhook.url", "remove it", "has a fragment, which no server sees")
	}
	if w.Secret.Plain == "" {
		return
	}
	key, err := SigningKey(w.Secret.Plain)
	switch {
	case err != nil:
		c.add("webhook.secret", "write whsec_ and the key in base64, or a text of your own that begins otherwise", "begins with whsec_ and goes on with what is no base64")
	case len(key) < minSigningKey || len(key) > maxSigningKey:
		c.add("webhook.secret", fmt.Sprintf("use a random one of %d to %d bytes", minSigningKey, maxSigningKey), "is a key of %d bytes", len(key))
	}
}

// SigningKey answers the bytes that a webhook's secret stands for: what base64 behind whsec_ says, else the text itself.
func SigningKey(secret string) ([]byte, error) {
	text, encoded := strings.CutPrefix(secret, SigningKeyPrefix)
	if !encoded {
		return []byte(secret), nil
	}
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "the secret begins with whsec_ and goes on with what is no base64; set it again")
	}
	return key, nil
}

func (e *Email) validate(c *faults) {
	if len(e.To) == 0 || len(e.To) > maxRecipients {
		c.add("email.to", fmt.Sprintf("name 1 to %d addresses", maxRecipients), "names %d addresses", len(e.To))
		return
	}
	seen := map[string]bool{}
	for i, to := range e.To {
		field := fmt.Sprintf("email.to[%d]", i)
		if !ValidAddress(to) {
			c.add(field, "write it as name@example.com, without a display name", "%q is no mail address", clip(to))
		}
		if seen[strings.ToLower(to)] {
			c.add(field, "name each address once", "%q stands there twice", clip(to))
		}
		seen[strings.ToLower(to)] = true
	}
}

// maxAddress is the longest path of SMTP, in bytes.
const maxAddress = 254

// ValidAddress says whether s is a bare mail address, and nothing that could begin another header or command.
func ValidAddress(s string) bool {
	a, err := mail.ParseAddress(s)
	return err == nil && a.Name == "" && a.Address == s && len(s) <= maxAddress && clean(s) && !strings.ContainsAny(s, " \"<>()[]\\,;:")
}
