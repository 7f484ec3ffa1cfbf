package console

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
)

// sender sends a block of a page's template as a server-sent event. Scripts put it in place of what data-live shows.
type sender func(event, name, block string, data any) error

// stream makes a handler of a function that sends events. The stream ends with the function, with the request or with the
// process; after its last event, end, the browser does not ask again.
func (c *Console) stream(answer func(r *request, send sender) error) http.HandlerFunc {
	return func(w http.ResponseWriter, hr *http.Request) {
		ctx, r := hr.Context(), &request{Request: hr, workspace: workspaceOf(hr)}
		begun := false
		send := func(event, name, block string, data any) error {
			var b bytes.Buffer
			if name != "" {
				if err := c.execute(&b, name, block, data); err != nil {
					return err
				}
			}
			if !begun {
				begun = true
				w.Header().Set("Content-Type", "text/event-stream")
				w.Header().Set("X-Accel-Buffering", "no")
				w.WriteHeader(http.StatusOK)
			}
			if _, err := w.Write(eventOf(event, b.String())); err != nil {
				return err //nolint:wrapcheck // who has left needs no answer
			}
			return http.NewResponseController(w).Flush() //nolint:wrapcheck // the same
		}
		err := answer(r, send)
		switch {
		case err == nil:
			_ = send("end", "", "", nil) // who has left needs no answer
		case !begun:
			c.fail(ctx, w, r, err)
		case ctx.Err() == nil && c.stop.Err() == nil:
			c.log.WarnContext(ctx, "a live page ends; the browser asks again", "path", r.Pattern, "error", err)
		}
	}
}

// eventOf answers an event in the form of server-sent events.
func eventOf(name, data string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "event: %s\n", name)
	for line := range strings.Lines(data) {
		b.WriteString("data: " + strings.TrimRight(line, "\r\n") + "\n")
	}
	if data == "" {
		b.WriteString("data:\n")
	}
	b.WriteString("\n")
	return b.Bytes()
}
