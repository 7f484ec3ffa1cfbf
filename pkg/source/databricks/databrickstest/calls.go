//go:build cgo && duckdb_arrow

package databrickstest

import (
	"crypto/rand"
	"maps"
	"net/http"
	"time"

	"millrace.dev/pkg/source/databricks/thriftwire"
)

// Codes of the protocol.
const (
	protocolV8 = 42248

	success       = 0
	failure       = 3
	invalidHandle = 4

	running  = 1
	finished = 2
	canceled = 3
	failed   = 5

	arrowSet = 0
	urlSet   = 3
)

func at(id int16, v thriftwire.Value) thriftwire.Field { return thriftwire.Field{ID: id, Value: v} }

func fields(f ...thriftwire.Field) thriftwire.Value { return thriftwire.OfStruct(f...) }

func i32(n int64) thriftwire.Value { return thriftwire.OfInt(thriftwire.I32, n) }

func i64(n int64) thriftwire.Value { return thriftwire.OfInt(thriftwire.I64, n) }

func status(code int64) thriftwire.Value { return fields(at(1, i32(code))) }

// stating answers a status that states why.
func stating(e *sqlError) thriftwire.Value {
	return fields(at(1, i32(failure)), at(3, thriftwire.OfText(e.state)), at(5, thriftwire.OfText(e.text)), at(6, thriftwire.OfText(e.text)))
}

// session is a client's session.
type session struct {
	parameters map[string]string
}

func newHandle() (string, thriftwire.Value) {
	id := make([]byte, 16)
	_, _ = rand.Read(id)
	return string(id), fields(at(1, thriftwire.OfBytes(id)), at(2, thriftwire.OfBytes(id)))
}

// reply answers a call.
func (p *Peer) reply(r *http.Request, name string, req thriftwire.Value) thriftwire.Value {
	switch name {
	case "OpenSession":
		return p.openSession(req)
	case "CloseSession":
		return p.closeSession(req.At(1, 1, 1).Text())
	case "ExecuteStatement":
		return p.execute(r, req)
	}
	op := p.operation(req.At(1, 1, 1).Text())
	if op == nil {
		return fields(at(1, status(invalidHandle)))
	}
	switch name {
	case "GetOperationStatus":
		return op.status()
	case "GetResultSetMetadata":
		return op.metadata()
	case "FetchResults":
		return op.page(r.Context(), req.At(3).Int)
	case "CancelOperation", "CloseOperation":
		p.end(op)
		return fields(at(1, status(success)))
	}
	return fields(at(1, status(failure)))
}

func (p *Peer) openSession(req thriftwire.Value) thriftwire.Value {
	id, handle := newHandle()
	s := &session{parameters: textMap(req.At(4))}
	p.mu.Lock()
	p.sessions[id] = s
	p.mu.Unlock()
	return fields(at(1, status(success)), at(2, i32(protocolV8)), at(3, fields(at(1, handle))))
}

func textMap(v thriftwire.Value) map[string]string {
	out := map[string]string{}
	for i := 0; i+1 < len(v.Items); i += 2 {
		out[v.Items[i].Text()] = v.Items[i+1].Text()
	}
	return out
}

func (p *Peer) closeSession(id string) thriftwire.Value {
	p.mu.Lock()
	var over []*operation
	for _, op := range p.operations {
		if op.session == id {
			over = append(over, op)
		}
	}
	delete(p.sessions, id)
	maps.DeleteFunc(p.files, func(_ string, f file) bool { return f.session == id })
	p.mu.Unlock()
	for _, op := range over {
		p.end(op)
	}
	return fields(at(1, status(success)))
}

func (p *Peer) operation(id string) *operation {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.operations[id]
}

// end stops a statement and forgets it. Its files stay: the vendor's client gets them when the statement is closed.
func (p *Peer) end(op *operation) {
	op.cancel()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.operations, op.id)
}

// execute begins a statement, and waits for its first results unless the peer is asynchronous.
func (p *Peer) execute(r *http.Request, req thriftwire.Value) thriftwire.Value {
	sessionID := req.At(1, 1, 1).Text()
	st := Statement{
		SQL: req.At(2).Text(), Tags: textMap(req.At(3))["query_tags"], Timeout: time.Duration(req.At(5).Int) * time.Second,
		Values: map[string]string{},
	}
	for _, v := range req.At(1288).Items {
		st.Values[v.At(2).Text()] = v.At(4, 1).Text()
	}
	p.mu.Lock()
	s := p.sessions[sessionID]
	if s != nil {
		st.Session = s.parameters
		p.statements = append(p.statements, st)
	}
	p.mu.Unlock()
	if s == nil {
		return fields(at(1, status(invalidHandle)))
	}
	op, handle := p.start(sessionID, st) //nolint:contextcheck // a statement outlives its call
	out := []thriftwire.Field{
		at(1, status(success)),
		at(2, fields(at(1, handle), at(2, i32(0)), at(3, thriftwire.OfBool(true)))),
	}
	if p.options.Async {
		return fields(out...)
	}
	select {
	case <-op.ready:
	case <-r.Context().Done():
	case <-time.After(5 * time.Second): // as the service waits, before it has the client ask
	}
	direct := []thriftwire.Field{at(1, op.status())}
	if op.state() == finished {
		page := op.page(r.Context(), req.At(1281, 1).Int)
		direct = append(direct, at(2, op.metadata()), at(3, page))
		if !page.At(2).IsTrue() && page.At(1, 1).Int == success && !p.options.Files {
			direct = append(direct, at(4, fields(at(1, status(success)))))
			p.end(op)
		}
	}
	return fields(append(out, at(1281, fields(direct...)))...)
}
