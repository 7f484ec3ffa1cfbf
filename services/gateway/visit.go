package gateway

import (
	"net/http"
	"time"
)

// visit is an answer on its way: it knows what was said, and gives the client so long for each piece.
type visit struct {
	http.ResponseWriter
	request  *http.Request
	control  *http.ResponseController
	patience time.Duration

	method, route string // of the route; "other" and empty without one
	stream        bool
	status        int   // 0: nothing is said yet
	over          bool  // all is said
	failed        error // what the answer says went wrong on our side
}

type visitKey struct{}

// WriteHeader begins the answer.
func (v *visit) WriteHeader(status int) {
	if v.status == 0 {
		v.status = status
		v.ResponseWriter.WriteHeader(status)
	}
}

// Write writes a piece of the answer. Where the client does not take it in time, the connection ends.
func (v *visit) Write(b []byte) (int, error) {
	if v.over {
		return len(b), nil
	}
	if v.status == 0 {
		v.WriteHeader(http.StatusOK)
	}
	_ = v.control.SetWriteDeadline(time.Now().Add(v.patience)) // a writer without deadlines has none to miss
	return v.ResponseWriter.Write(b)                           //nolint:wrapcheck // the caller knows it
}

// Unwrap leads http.ResponseController to the connection.
func (v *visit) Unwrap() http.ResponseWriter { return v.ResponseWriter }

// finish sends what is left, and leaves the connection as it was for the next request on it.
func (v *visit) finish() {
	if v.status != 0 {
		_ = v.control.Flush() // the client may have left
	}
	_ = v.control.SetWriteDeadline(time.Time{})
}
