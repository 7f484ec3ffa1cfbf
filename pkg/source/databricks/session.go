package databricks

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	dbsql "github.com/databricks/databricks-sql-go"
	"github.com/databricks/databricks-sql-go/driverctx"
	dbrows "github.com/databricks/databricks-sql-go/rows"

	"millrace.dev/pkg/fault"
)

const (
	// pageRows bounds the rows that come within one answer; more come as result files.
	pageRows = 65_536
	// tagKey is the key of the query tag that has a query's label.
	tagKey = "millrace"
)

// session is a session of the warehouse. For one goroutine.
type session struct {
	gate    *gate
	conn    driver.Conn
	cancel  context.CancelFunc
	label   string
	tagged  bool
	setting Settings
}

// session opens a session in UTC, whose statements end after the connection's statement timeout and carry label.
func (s *Source) session(ctx context.Context, label string) (*session, error) {
	if err := ctx.Err(); err != nil {
		return nil, fault.As(err)
	}
	life, cancel := context.WithCancel(ctx)
	g := &gate{
		base: s.transport, url: url.URL{Scheme: s.address.Protocol, Host: hostPort(s.address), Path: s.path},
		tokens: s.tokens, settings: s.settings, life: life,
	}
	g.begin()
	c, err := dbsql.NewConnector(
		dbsql.WithServerHostname(s.address.Protocol+"://"+bracketed(s.address.Host)), dbsql.WithPort(s.address.Port), dbsql.WithHTTPPath(s.path),
		dbsql.WithInitialNamespace(s.address.Catalog, s.address.Schema), dbsql.WithUserAgentEntry("millrace"),
		dbsql.WithTransport(g), dbsql.WithRetries(-1, time.Second, time.Second), dbsql.WithMaxDownloadThreads(s.settings.LookAhead),
		dbsql.WithMaxRows(pageRows), dbsql.WithTimeout(s.address.StatementTimeout), dbsql.WithArrowNativeDecimal(true),
		dbsql.WithSessionParams(map[string]string{
			"timezone": "UTC", "ansi_mode": "true", "statement_timeout": strconv.FormatInt(max(1, int64(s.address.StatementTimeout/time.Second)), 10),
		}),
	)
	x := &session{gate: g, cancel: cancel, label: label, tagged: !strings.Contains(s.path, "/protocolv1/"), setting: s.settings}
	if err == nil {
		err = guarded(func() (err error) { x.conn, err = c.Connect(life); return err })
	}
	if err != nil {
		cancel()
		return nil, x.classify(ctx, err)
	}
	return x, nil
}

// bracketed answers a host as URLs have it.
func bracketed(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

// close ends the session, and with it what still runs in it.
func (x *session) close() {
	_ = guarded(x.conn.Close) // it is over either way
	x.cancel()
}

// guarded runs a call of the client, whose panics are its own faults and not the process's.
func guarded(call func() error) (err error) {
	defer func() {
		if recover() != nil {
			err = malformed()
		}
	}()
	return call()
}

// classify answers the fault that a call of the client ended with: as the gate saw it, before what the client made of it.
func (x *session) classify(ctx context.Context, err error) error {
	var own *fault.Error
	var state interface{ SqlState() string }
	switch seen := x.gate.seen(); {
	case ctx.Err() != nil:
		return fault.As(ctx.Err())
	case seen != nil:
		return seen
	case errors.As(err, &own):
		return own
	case errors.As(err, &state) && state.SqlState() != "":
		return stated(state.SqlState(), "")
	}
	return unavailable("the warehouse's result cannot be read; the part is read again")
}

// parameter is a value bound to a name of the statement.
type parameter struct{ name, text string }

// run executes a statement and calls each with its batches until it answers false; nothing comes after an error. A batch
// is each's for the call only.
func (x *session) run(ctx context.Context, sql string, args []parameter, each func(arrow.RecordBatch) bool) error {
	x.gate.begin()
	named := make([]driver.NamedValue, len(args))
	for i, a := range args {
		named[i] = driver.NamedValue{Ordinal: i + 1, Value: dbsql.Parameter{Name: a.name, Type: dbsql.SqlString, Value: a.text}}
	}
	tagged := ctx
	if x.tagged && x.label != "" {
		tagged = driverctx.NewContextWithQueryTags(ctx, map[string]string{tagKey: x.label})
	}
	q, ok := x.conn.(driver.QueryerContext)
	if !ok {
		return fault.New(fault.Internal, fault.ReasonInternal, "the Databricks client runs no queries")
	}
	var rows driver.Rows
	err := guarded(func() (err error) { rows, err = q.QueryContext(tagged, sql, named); return err })
	if rows != nil {
		defer func() { _ = guarded(rows.Close) }()
	}
	if err == nil && rows != nil {
		err = x.streams(ctx, rows, each)
	}
	if err != nil && !errors.Is(err, errEnough) {
		return x.classify(ctx, err)
	}
	return nil
}

// errEnough ends a read whose receiver wants no more.
var errEnough = errors.New("enough")

// streams reads the Arrow streams of a result. The client takes a page that fails for the end of the data: the end is
// believed only where the gate saw the last page and no fault.
func (x *session) streams(ctx context.Context, rows driver.Rows, each func(arrow.RecordBatch) bool) error {
	of, ok := rows.(dbrows.Rows)
	if !ok {
		return malformed()
	}
	var it dbrows.ArrowIPCStreamIterator
	if err := guarded(func() (err error) { it, err = of.GetArrowIPCStreams(ctx); return err }); err != nil {
		return err
	}
	defer func() { _ = guarded(func() error { it.Close(); return nil }) }()
	for {
		if err := ctx.Err(); err != nil {
			return fault.As(err)
		}
		var stream io.Reader
		err := guarded(func() (err error) { stream, err = it.Next(); return err })
		switch {
		case errors.Is(err, io.EOF):
			return x.atEnd()
		case err != nil:
			return err
		}
		if err := decode(x.setting, stream, x.gate.nextRows(), each); err != nil {
			return err
		}
	}
}

func (x *session) atEnd() error {
	if seen := x.gate.seen(); seen != nil {
		return seen
	}
	if !x.gate.whole() {
		return unavailable("the warehouse's result ends early; the part is read again")
	}
	return nil
}

// texts runs a statement of the driver's own and answers its rows as text; NULL is "".
func (x *session) texts(ctx context.Context, sql string, args ...parameter) ([][]string, error) {
	var out [][]string
	err := x.run(ctx, sql, args, func(b arrow.RecordBatch) bool {
		for i := range int(b.NumRows()) {
			row := make([]string, b.NumCols())
			for f := range row {
				row[f] = textOf(b.Column(f), i)
			}
			out = append(out, row)
		}
		return len(out) < maxTexts
	})
	return out, err
}

// record runs a statement of the driver's own and answers columns of its first row, named in lower case, as text; NULL is "".
func (x *session) record(ctx context.Context, sql string, names ...string) ([]string, error) {
	found := map[string]string{}
	err := x.run(ctx, sql, nil, func(b arrow.RecordBatch) bool {
		for i := 0; b.NumRows() > 0 && i < int(b.NumCols()); i++ {
			found[strings.ToLower(b.ColumnName(i))] = textOf(b.Column(i), 0)
		}
		return b.NumRows() == 0
	})
	if err != nil {
		return nil, err
	}
	out := make([]string, len(names))
	for i, name := range names {
		var ok bool
		if out[i], ok = found[name]; !ok {
			return nil, malformed()
		}
	}
	return out, nil
}

// textOf answers a value as text; NULL is "".
func textOf(c arrow.Array, i int) string {
	if c.IsNull(i) {
		return ""
	}
	return strings.Clone(c.ValueStr(i))
}

// maxTexts bounds what texts answers.
const maxTexts = 200_000
