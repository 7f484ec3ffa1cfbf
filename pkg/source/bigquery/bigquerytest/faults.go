//go:build cgo && duckdb_arrow

package bigquerytest

import (
	"net/http"

	"google.golang.org/grpc/codes"
)

// Fault is what a method does wrong.
type Fault struct {
	Method string // such as jobs.insert, token, CreateReadSession or ReadRows
	Times  int    // how many calls; below 0: all
	After  int    // ReadRows: how many messages are sent before

	// Of REST: an answer of this status and reason, or this body, whatever it is.
	Status int
	Reason string
	Body   string
	// Of gRPC.
	Code codes.Code
	// Bytes in the place of a record batch.
	Garbage []byte
	// Hang says nothing until the caller goes.
	Hang bool
	// Drop closes the connection in the middle of the answer.
	Drop bool
	// Lost does what was asked and then closes the connection.
	Lost bool
}

// Fail adds a fault. The first that fits a call is taken.
func (s *Server) Fail(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// Mend takes all faults away.
func (s *Server) Mend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// fault answers what a call of a method does wrong, nil where it does well.
func (s *Server) fault(method string) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		if f.Method == method && f.Times != 0 {
			if f.Times > 0 {
				f.Times--
			}
			return f
		}
	}
	return nil
}

// play does what a fault says of a REST call. It says whether the call is done with.
func (f *Fault) play(w http.ResponseWriter, r *http.Request) bool {
	switch {
	case f == nil || f.Lost:
		return false
	case f.Hang:
		<-r.Context().Done()
	case f.Drop:
		w.Header().Set("Content-Length", "1000")
		w.Write([]byte(`{"kind": "`)) //nolint:errcheck,gosec // it is dropped
		drop(w)
	case f.Body != "":
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(max(f.Status, http.StatusOK))
		w.Write([]byte(f.Body)) //nolint:errcheck,gosec // the caller may go
	default:
		answerFault(w, f.Status, f.Reason, "a fault of the test's")
	}
	return true
}

func drop(w http.ResponseWriter) {
	rc := http.NewResponseController(w)
	if rc.Flush() != nil {
		return
	}
	if c, _, err := rc.Hijack(); err == nil {
		c.Close() //nolint:errcheck,gosec // it is dropped
	}
}
