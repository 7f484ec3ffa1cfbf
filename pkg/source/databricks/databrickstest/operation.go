//go:build cgo && duckdb_arrow

package databrickstest

import (
	"bytes"
	"context"
	"crypto/rand"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"

	"millrace.dev/pkg/source/databricks/thriftwire"
)

const (
	groupRows = 16_384 // of a batch within an answer, or of a file
	pageFiles = 3
)

// group is rows as messages of an Arrow stream, without its schema.
type group struct {
	messages []byte
	last     []byte // the last message
	rows     int64
}

// operation is a statement that runs.
type operation struct {
	peer    *Peer
	id      string
	session string
	cancel  context.CancelFunc
	ready   chan struct{} // closed with the first rows, the end or a fault
	once    sync.Once
	groups  chan group

	paging sync.Mutex // one page at a time
	next   *group     // what the next page begins with

	mu     sync.Mutex
	schema []byte // an Arrow stream's beginning
	err    *sqlError
	over   bool
	offset int64
}

// start runs a statement.
func (p *Peer) start(sessionID string, st Statement) (*operation, thriftwire.Value) {
	id, handle := newHandle()
	ctx, cancel := context.WithCancel(p.life)
	op := &operation{peer: p, id: id, session: sessionID, cancel: cancel, ready: make(chan struct{}), groups: make(chan group, 1)}
	p.mu.Lock()
	p.operations[id] = op
	p.mu.Unlock()
	p.running.Go(func() {
		defer cancel()
		err := p.run(ctx, st, op)
		op.mu.Lock()
		op.err, op.over = asSQL(err), true
		if ctx.Err() != nil {
			op.err = &sqlError{state: "HY008", text: "[OPERATION_CANCELED] Operation has been canceled. SQLSTATE: HY008"}
		}
		op.mu.Unlock()
		close(op.groups)
		op.once.Do(func() { close(op.ready) })
	})
	return op, handle
}

// send hands rows on, in groups.
type sender struct {
	op      *operation
	ctx     context.Context //nolint:containedctx // of the statement
	current group
	prefix  int
}

func (s *sender) begin(schema *arrow.Schema) error {
	var buf bytes.Buffer
	if err := ipc.NewWriter(&buf, ipc.WithSchema(schema)).Close(); err != nil {
		return err //nolint:wrapcheck // of the test
	}
	const end = 8 // bytes that mark a stream's end
	s.prefix = buf.Len() - end
	s.op.mu.Lock()
	s.op.schema = bytes.Clone(buf.Bytes()[:s.prefix])
	s.op.mu.Unlock()
	return nil
}

// add takes a batch and says whether more are wanted.
func (s *sender) add(b arrow.RecordBatch) bool {
	var buf bytes.Buffer
	w := ipc.NewWriter(&buf, ipc.WithSchema(b.Schema()))
	if err := w.Write(b); err != nil {
		return false
	}
	s.current.last = bytes.Clone(buf.Bytes()[s.prefix:])
	s.current.messages = append(s.current.messages, s.current.last...)
	s.current.rows += b.NumRows()
	if s.current.rows < groupRows {
		return true
	}
	return s.flush()
}

func (s *sender) flush() bool {
	if s.current.rows == 0 {
		return true
	}
	s.op.once.Do(func() { close(s.op.ready) })
	select {
	case s.op.groups <- s.current:
		s.current = group{}
		return true
	case <-s.ctx.Done():
		return false
	}
}

func (op *operation) state() int64 {
	select {
	case <-op.ready:
	default:
		return running
	}
	op.mu.Lock()
	defer op.mu.Unlock()
	switch {
	case op.err == nil, op.offset > 0:
		return finished
	case op.err.state == "HY008":
		return canceled
	}
	return failed
}

func (op *operation) status() thriftwire.Value {
	out := []thriftwire.Field{at(1, status(success)), at(2, i32(op.state()))}
	op.mu.Lock()
	defer op.mu.Unlock()
	if op.err != nil {
		out = append(out, at(3, thriftwire.OfText(op.err.state)), at(5, thriftwire.OfText(op.err.text)), at(1281, thriftwire.OfText(op.err.text)))
	}
	return fields(out...)
}

func (op *operation) metadata() thriftwire.Value {
	op.mu.Lock()
	defer op.mu.Unlock()
	format := int64(arrowSet)
	if op.peer.options.Files {
		format = urlSet
	}
	return fields(at(1, status(success)), at(2, fields(at(1, thriftwire.OfList(thriftwire.Struct)))), at(1281, i32(format)),
		at(1282, thriftwire.OfBool(false)), at(1283, thriftwire.OfBytes(op.schema)))
}

// take answers the next group, nil at the end.
func (op *operation) take(ctx context.Context) *group {
	if g := op.next; g != nil {
		op.next = nil
		return g
	}
	select {
	case g, ok := <-op.groups:
		if ok {
			return &g
		}
	case <-ctx.Done():
	}
	return nil
}

// page answers the next rows.
func (op *operation) page(ctx context.Context, most int64) thriftwire.Value {
	op.paging.Lock()
	defer op.paging.Unlock()
	var groups []*group
	n := int64(0)
	for n < most && (!op.peer.options.Files || len(groups) < pageFiles) {
		g := op.take(ctx)
		if g == nil {
			break
		}
		groups = append(groups, g)
		n += g.rows
	}
	op.next = op.take(ctx)
	meta := op.metadata()
	op.mu.Lock()
	defer op.mu.Unlock()
	if op.next == nil && op.err != nil {
		return fields(at(1, stating(op.err)))
	}
	rowSet := []thriftwire.Field{at(1, i64(op.offset)), at(2, thriftwire.OfList(thriftwire.Struct))}
	var batches, links []thriftwire.Value
	for _, g := range groups {
		if op.peer.options.Files {
			links = append(links, op.link(g))
		} else {
			batches = append(batches, fields(at(1, thriftwire.OfBytes(g.messages)), at(2, i64(g.rows))))
		}
		op.offset += g.rows
	}
	if links != nil {
		rowSet = append(rowSet, at(1282, thriftwire.OfList(thriftwire.Struct, links...)))
	} else {
		rowSet = append(rowSet, at(1281, thriftwire.OfList(thriftwire.Struct, batches...)))
	}
	return fields(at(1, status(success)), at(2, thriftwire.OfBool(op.next != nil)), at(3, fields(rowSet...)), at(1281, meta))
}

// link makes a file of a group and answers its link.
func (op *operation) link(g *group) thriftwire.Value {
	data := bytes.Join([][]byte{op.schema, g.messages}, nil)
	if op.peer.options.Padding {
		data = append(data, g.last...)
	}
	data = append(data, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0)
	id := rand.Text()
	until := time.Now().Add(op.peer.options.FileLife)
	op.peer.mu.Lock()
	op.peer.files[id] = file{session: op.session, data: data, until: until}
	op.peer.mu.Unlock()
	return fields(at(1, thriftwire.OfText(op.peer.server.URL+"/files/"+id+"?sig=secret")), at(2, i64(until.Unix())), at(3, i64(op.offset)),
		at(4, i64(g.rows)), at(5, i64(int64(len(data)))))
}
