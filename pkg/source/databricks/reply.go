package databricks

import (
	"math"
	"net/url"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/source/databricks/thriftwire"
)

// Codes of the protocol's TStatusCode, TOperationState.
const (
	statusError         = 3
	statusInvalidHandle = 4

	stateCancelled = 3
	stateClosed    = 4
	stateFailed    = 5
	stateTimedOut  = 8
)

const (
	maxLinks = 1 << 16
	maxEmpty = 1000 // pages without rows, one after the other
)

// learn looks at a reply: faults are kept as the protocol states them, pages counted, links noted. A reply that lacks what
// the client relies on is refused, for the client would end the process.
func (g *gate) learn(name string, seq int32, reply []byte) error {
	m, err := thriftwire.Decode(reply)
	if err != nil {
		return malformed()
	}
	if m.Kind == thriftwire.Exception {
		return g.fail(fault.New(fault.Unavailable, fault.ReasonWarehouseUnavailable, "the warehouse cannot take the call; check databricks.http_path, or try again"))
	}
	r := m.Body.At(0)
	status := r.At(1)
	if m.Kind != thriftwire.Reply || m.Name != name || m.Seq != seq || status.At(1).Type != thriftwire.I32 {
		return malformed()
	}
	switch status.At(1).Int {
	case statusError:
		f := g.fail(stated(status.At(3).Text(), first(status.At(6), status.At(5))))
		if name == "OpenSession" {
			return f
		}
		return nil
	case statusInvalidHandle:
		_ = g.fail(fault.New(fault.Unavailable, fault.ReasonQueryInterrupted, "the warehouse has forgotten the session or the statement; it is tried again"))
		return nil
	}
	switch name {
	case "OpenSession":
		if r.At(2).Type != thriftwire.I32 {
			return malformed()
		}
		return needTexts(r.At(3, 1, 1), r.At(3, 1, 2))
	case "ExecuteStatement":
		return g.learnStatement(r)
	case "GetOperationStatus":
		g.learnState(r)
	case "FetchResults":
		return g.learnPage(r, r.At(1281))
	}
	return nil
}

func malformed() error {
	return fault.New(fault.Unavailable, fault.ReasonWarehouseUnavailable, "the warehouse's answer is malformed; try again")
}

func need(values ...thriftwire.Value) error {
	for _, v := range values {
		if !v.IsSet() {
			return malformed()
		}
	}
	return nil
}

func needTexts(values ...thriftwire.Value) error {
	for _, v := range values {
		if v.Type != thriftwire.String {
			return malformed()
		}
	}
	return nil
}

func first(values ...thriftwire.Value) string {
	for _, v := range values {
		if len(v.Bytes) > 0 {
			return v.Text()
		}
	}
	return ""
}

// learnStatement looks at what ExecuteStatement answers, with the results that may come at once.
func (g *gate) learnStatement(r thriftwire.Value) error {
	if err := needTexts(r.At(2, 1, 1), r.At(2, 1, 2)); err != nil {
		return err
	}
	direct := r.At(1281)
	if !direct.IsSet() {
		return nil
	}
	g.learnState(direct.At(1))
	if page := direct.At(3); page.IsSet() {
		return g.learnPage(page, direct.At(2))
	}
	return nil
}

// learnState keeps why a statement ended.
func (g *gate) learnState(r thriftwire.Value) {
	switch r.At(2).Int {
	case stateFailed:
		_ = g.fail(stated(r.At(3).Text(), first(r.At(1281), r.At(5))))
	case stateTimedOut:
		_ = g.fail(timedOut())
	case stateCancelled, stateClosed:
		_ = g.fail(fault.New(fault.Unavailable, fault.ReasonQueryInterrupted, "the query was cancelled in the warehouse; it is tried again"))
	}
}

// learnPage notes a page's streams: how many rows each result file has, and where it is.
func (g *gate) learnPage(r, metadata thriftwire.Value) error {
	results := r.At(3)
	if err := need(results, metadata, metadata.At(1)); err != nil {
		return err
	}
	if len(results.At(1281).Items) > 0 && !metadata.At(1283).IsSet() {
		return malformed() // batches without their schema
	}
	if metadata.At(1282).IsTrue() {
		return malformed() // compressed, which nobody asked for
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.complete = !r.At(2).IsTrue()
	if err := g.follows(results); err != nil {
		return err
	}
	for range results.At(1281).Items {
		g.rows = append(g.rows, -1)
	}
	links := results.At(1282).Items
	if len(g.links)+len(links) > maxLinks {
		return malformed()
	}
	for _, link := range links {
		u, err := url.Parse(link.At(1).Text())
		n := link.At(4)
		if err != nil || !n.IsSet() || n.Int < 0 || u.Host == "" || u.Scheme != "https" && u.Scheme != g.url.Scheme {
			return malformed()
		}
		g.links[u.String()] = true
		g.rows = append(g.rows, n.Int)
	}
	return nil
}

// follows checks that a page begins where the one before it ended: the client would ask for ever, or read rows twice.
func (g *gate) follows(results thriftwire.Value) error {
	n := int64(0)
	for _, batch := range results.At(1281).Items {
		n = count(n, batch.At(2))
	}
	for _, link := range results.At(1282).Items {
		n = count(n, link.At(4))
	}
	g.empty++
	if n > 0 {
		g.empty = 0
	}
	if n < 0 || results.At(1).Int != g.offset || g.empty > maxEmpty {
		return malformed()
	}
	g.offset += n
	return nil
}

// count answers n with the rows of one more stream, -1 where that is no number of rows.
func count(n int64, rows thriftwire.Value) int64 {
	if n < 0 || !rows.IsSet() || rows.Int < 0 || rows.Int > math.MaxInt32 {
		return -1
	}
	return n + rows.Int
}

// nextRows answers how many rows the stream that comes next has, -1 where that is unknown.
func (g *gate) nextRows() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.rows) == 0 {
		return -1
	}
	n := g.rows[0]
	g.rows = g.rows[1:]
	return n
}

// whole says whether the last page was seen and all its streams were taken.
func (g *gate) whole() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.complete && len(g.rows) == 0
}
