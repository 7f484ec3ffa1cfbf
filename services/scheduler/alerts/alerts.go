// Package alerts says what is told of a change of a sync, and to whom, and sends it: by webhooks that are signed, and by
// mail. Deciding is pure; what is to be sent is kept, in order and until it is sent, by the scheduler. README.md describes
// the messages for those who receive them.
package alerts

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"millrace.dev/pkg/resource"
)

// The events of messages beside those that an alert can ask for.
const (
	Recovered = "recovered" // nothing is left of what the alert asks for
	Test      = "test"      // somebody has asked for a test
)

// Events answers every event that a message can have.
func Events() []string {
	out := []string{Recovered, Test}
	for _, e := range resource.AlertEvents() {
		out = append(out, string(e))
	}
	return out
}

// Change is a change of what is wrong with a sync, and what made it.
type Change struct {
	ID        string                `json:"id"` // of this change, for ever
	Before    []resource.AlertEvent `json:"before,omitempty"`
	After     []resource.AlertEvent `json:"after,omitempty"`
	Workspace string                `json:"workspace"`
	Sync      string                `json:"sync"` // its id
	Run       Run                   `json:"run,omitzero"`
	Cause     Cause                 `json:"cause"`
	Time      time.Time             `json:"time"`
}

// Run is the run that a change is about. The zero value is none.
type Run struct {
	ID    string `json:"run,omitempty"`
	No    int64  `json:"run_no,omitempty"`
	Lane  string `json:"lane,omitempty"`
	State string `json:"state,omitempty"`
}

// Cause is why something is so, in words for programs and for people.
type Cause struct {
	Reason   string `json:"reason,omitempty"`
	Message  string `json:"message,omitempty"`
	NextStep string `json:"next_step,omitempty"`
}

// Begins says whether an event begins with c.
func (c Change) Begins(e resource.AlertEvent) bool {
	return slices.Contains(c.After, e) && !slices.Contains(c.Before, e)
}

// Message is what is told. Its JSON form is the body of webhooks; fields are added, and never change their meaning.
type Message struct {
	Version   int    `json:"version"`
	Event     string `json:"event"`
	Alert     string `json:"alert"`
	Workspace string `json:"workspace"`
	Sync      string `json:"sync,omitempty"`
	// Conditions is what is wrong with the sync now, of what the alert asks for.
	Conditions []resource.AlertEvent `json:"conditions"`
	Run
	Cause
	Time time.Time `json:"time"`
	URL  string    `json:"url,omitempty"` // of the console's page
}

// maxText bounds each text of a message, in bytes.
const maxText = 2000

// Decide answers what an alert tells of a change, and whether it tells anything: the gravest of its events that begins, or
// that nothing of what it asks for is left.
func Decide(a resource.Alert, c Change) (Message, bool) {
	if string(a.Workspace.Or()) != c.Workspace || len(a.Syncs) > 0 && !slices.Contains(a.Syncs, c.Sync) {
		return Message{}, false
	}
	before, after := asked(a, c.Before), asked(a, c.After)
	m := Message{
		Version: 1, Alert: a.ID, Workspace: c.Workspace, Sync: c.Sync, Conditions: after, Run: c.Run, Time: c.Time.UTC(),
		Cause: Cause{Reason: c.Cause.Reason, Message: shorten(c.Cause.Message), NextStep: shorten(c.Cause.NextStep)},
	}
	for _, e := range after {
		if !slices.Contains(before, e) {
			m.Event = string(e)
			return m, true
		}
	}
	m.Event = Recovered
	return m, len(before) > 0 && len(after) == 0
}

// asked answers those of events that an alert asks for, the gravest first.
func asked(a resource.Alert, events []resource.AlertEvent) []resource.AlertEvent {
	out := []resource.AlertEvent{}
	for _, e := range resource.AlertEvents() {
		if slices.Contains(events, e) && (len(a.On) == 0 || slices.Contains(a.On, e)) {
			out = append(out, e)
		}
	}
	return out
}

// TestMessage answers what a test-fire of an alert sends.
func TestMessage(a resource.Alert, at time.Time) Message {
	return Message{
		Version: 1, Event: Test, Alert: a.ID, Workspace: string(a.Workspace.Or()), Conditions: []resource.AlertEvent{}, Time: at.UTC(),
		Cause: Cause{Message: "This is a test. Nothing is wrong."},
	}
}

// shorten cuts a text at maxText bytes.
func shorten(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "") + " …"
}

// Body answers the message as webhooks carry it. Messages of ours always encode.
func (m Message) Body() []byte {
	body, err := json.Marshal(m)
	if err != nil {
		return nil
	}
	return body
}

// ParseMessage reads what Body wrote.
func ParseMessage(body []byte) (Message, error) {
	var m Message
	err := json.Unmarshal(body, &m)
	return m, err
}
