package alerts

import (
	"fmt"
	"strings"
	"time"

	"millrace.dev/pkg/resource"
)

// Subject answers the one line that a mail begins with. Ids have no characters that could begin another header.
func (m Message) Subject() string {
	switch m.Event {
	case Test:
		return fmt.Sprintf("[Millrace] test of alert %s", m.Alert)
	case Recovered:
		return fmt.Sprintf("[Millrace] sync %s has recovered", m.Sync)
	}
	return fmt.Sprintf("[Millrace] sync %s %s", m.Sync, map[resource.AlertEvent]string{
		resource.AlertFailed:             "failed",
		resource.AlertPartiallySucceeded: "succeeded in part",
		resource.AlertHeld:               "is held",
		resource.AlertFaulted:            "is faulted",
		resource.AlertLate:               "is late",
	}[resource.AlertEvent(m.Event)])
}

// Text answers the message for people.
func (m Message) Text() string {
	var b strings.Builder
	fact := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-10s %s\n", name+":", oneLine(value))
		}
	}
	b.WriteString(m.Subject() + "\n\n")
	fact("workspace", m.Workspace)
	fact("sync", m.Sync)
	if m.ID != "" {
		fact("run", fmt.Sprintf("%s (no. %d, %s, %s)", m.ID, m.No, m.Lane, m.State))
	}
	fact("reason", m.Reason)
	fact("message", m.Message)
	fact("next step", m.NextStep)
	fact("time", m.Time.Format(time.RFC3339))
	fact("see", m.URL)
	fact("alert", m.Alert)
	return b.String()
}

// oneLine answers text on one line.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
