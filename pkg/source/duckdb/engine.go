//go:build cgo && duckdb_arrow

package duckdb

import (
	"context"
	"os"
	"strconv"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	engine "github.com/duckdb/duckdb-go-bindings"
	duckdbgo "github.com/duckdb/duckdb-go/v2"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/source/sqltext"
)

// database is an open engine.
type database struct {
	db engine.Database
	// Of an engine that is shared: its file as it was when it was opened, and what ends this use of it.
	file os.FileInfo
	free func()
}

// openFile opens a database file for reading. A file that this process has open for writing is locked; `apart` says not to
// look, for the driver's engine would be found that has another file of that path open.
func openFile(path string, apart bool, s Settings) (*database, error) {
	config, err := newConfig(s, [2]string{"access_mode", "READ_ONLY"}, [2]string{"enable_external_access", "false"})
	if err != nil {
		return nil, err
	}
	defer engine.DestroyConfig(&config)
	var d database
	var text string
	var state engine.State
	if apart {
		state = engine.OpenExt(path, &d.db, config, &text)
	} else {
		state = engine.GetOrCreateFromCache(duckdbgo.GetInstanceCache(), path, &d.db, config, &text)
	}
	if state == engine.StateError {
		engine.Close(&d.db)
		return nil, openFault(text)
	}
	return &d, nil
}

// openMemory opens an engine of its own without a file.
func openMemory(s Settings) (*database, error) {
	config, err := newConfig(s)
	if err != nil {
		return nil, err
	}
	defer engine.DestroyConfig(&config)
	var d database
	var text string
	if engine.OpenExt("", &d.db, config, &text) == engine.StateError {
		engine.Close(&d.db)
		return nil, openFault(text)
	}
	return &d, nil
}

func newConfig(s Settings, more ...[2]string) (engine.Config, error) {
	var c engine.Config
	engine.CreateConfig(&c)
	options := append([][2]string{
		{"memory_limit", s.MemoryLimit}, {"threads", strconv.Itoa(s.Threads)},
		{"temp_directory", s.TempDir}, {"max_temp_directory_size", s.MaxTempSize},
		{"autoinstall_known_extensions", "false"}, {"autoload_known_extensions", "false"},
		{"preserve_insertion_order", "false"},
	}, more...)
	for _, o := range options {
		if engine.SetConfig(c, o[0], o[1]) == engine.StateError {
			engine.DestroyConfig(&c)
			return c, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "DuckDB does not take %q as its setting %s; see the extractor's settings", o[1], o[0])
		}
	}
	return c, nil
}

func (d *database) close() {
	if d.free != nil {
		d.free()
		return
	}
	engine.Close(&d.db)
}

// conn is one connection: one statement at a time.
type conn struct{ c engine.Connection }

func (d *database) connect() (*conn, error) {
	var c conn
	if engine.Connect(d.db, &c.c) == engine.StateError {
		return nil, fault.New(fault.Unavailable, fault.ReasonWarehouseUnavailable, "DuckDB gives no connection; try again")
	}
	return &c, nil
}

func (c *conn) close() { engine.Disconnect(&c.c) }

// exec runs the driver's own statements, one or many, whose rows are not wanted.
func (c *conn) exec(ctx context.Context, sql string) error {
	defer c.interrupt(ctx)()
	var res engine.Result
	defer engine.DestroyResult(&res)
	if engine.Query(c.c, sql, &res) == engine.StateError {
		return c.fault(ctx, engine.ResultError(&res))
	}
	return nil
}

// interrupt stops the connection's statement when ctx ends. The answer ends the watch and waits for it. An interrupt that
// comes before the engine listens is lost, so it is repeated.
func (c *conn) interrupt(ctx context.Context) func() {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-done:
			return
		case <-ctx.Done():
		}
		again := time.NewTicker(20 * time.Millisecond)
		defer again.Stop()
		for {
			engine.Interrupt(c.c)
			select {
			case <-done:
				return
			case <-again.C:
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

// statement is one prepared SELECT.
type statement struct {
	c *conn
	p engine.PreparedStatement
}

// prepare answers sql's statement. What is not one SELECT is refused.
func (c *conn) prepare(ctx context.Context, sql string) (*statement, error) {
	defer c.interrupt(ctx)()
	var parsed engine.ExtractedStatements
	defer engine.DestroyExtracted(&parsed)
	switch n := engine.ExtractStatements(c.c, sql, &parsed); {
	case n == 0:
		return nil, c.fault(ctx, engine.ExtractStatementsError(parsed))
	case n > 1:
		return nil, fault.New(fault.Invalid, fault.ReasonQueryInvalid, "the query is %d statements; write one SELECT", n)
	}
	s := &statement{c: c}
	if engine.PrepareExtractedStatement(c.c, parsed, 0, &s.p) == engine.StateError {
		defer s.close()
		return nil, c.fault(ctx, engine.PrepareError(s.p))
	}
	if t := engine.PreparedStatementType(s.p); t != engine.StatementTypeSelect {
		defer s.close()
		return nil, fault.New(fault.Invalid, fault.ReasonQueryInvalid, "the query is no SELECT; write one SELECT (WITH is fine)")
	}
	return s, nil
}

func (s *statement) close() { engine.DestroyPrepare(&s.p) }

// parameters answers how many values the statement asks for.
func (s *statement) parameters() int { return int(engine.NParams(s.p)) }

// bind sets parameter i, from 1. The value stays the caller's.
func (s *statement) bind(i int, v engine.Value) error {
	if engine.BindValue(s.p, engine.IdxT(i), v) == engine.StateError { //nolint:gosec // few parameters
		return queryFault(engine.PrepareError(s.p))
	}
	return nil
}

// columns answers the names and types of the statement's columns. The caller destroys the types.
func (s *statement) columns() ([]string, []engine.LogicalType) {
	n := int(engine.PreparedStatementColumnCount(s.p))
	names, types := make([]string, n), make([]engine.LogicalType, n)
	for i := range n {
		names[i] = engine.PreparedStatementColumnName(s.p, engine.IdxT(i))        //nolint:gosec // few columns
		types[i] = engine.PreparedStatementColumnLogicalType(s.p, engine.IdxT(i)) //nolint:gosec // few columns
	}
	return names, types
}

// resultColumns does the same for a result, whose types are settled by the values bound.
func resultColumns(res *engine.Result) ([]string, []engine.LogicalType) {
	n := int(engine.ColumnCount(res)) //nolint:gosec // few columns
	names, types := make([]string, n), make([]engine.LogicalType, n)
	for i := range n {
		names[i] = engine.ColumnName(res, engine.IdxT(i))        //nolint:gosec // few columns
		types[i] = engine.ColumnLogicalType(res, engine.IdxT(i)) //nolint:gosec // few columns
	}
	return names, types
}

// schema answers the Arrow schema of the statement's rows.
func (s *statement) schema() (*arrow.Schema, error) {
	names, types := s.columns()
	defer destroy(types)
	var options engine.ArrowOptions
	engine.ConnectionGetArrowOptions(s.c.c, &options)
	defer engine.DestroyArrowOptions(&options)
	return arrowSchema(options, types, names)
}

func arrowSchema(options engine.ArrowOptions, types []engine.LogicalType, names []string) (*arrow.Schema, error) {
	schema, failed := engine.NewArrowSchema(options, types, names)
	defer engine.DestroyErrorData(&failed)
	if engine.ErrorDataHasError(failed) {
		return nil, queryFault(engine.ErrorDataMessage(failed))
	}
	return schema, nil
}

// prepareBound prepares sql and binds args, which stay the caller's.
func (c *conn) prepareBound(ctx context.Context, sql string, args []engine.Value) (*statement, error) {
	s, err := c.prepare(ctx, sql)
	if err != nil {
		return nil, err
	}
	for i, v := range args {
		if err := s.bind(i+1, v); err != nil {
			s.close()
			return nil, err
		}
	}
	return s, nil
}

func destroyValues(values []engine.Value) {
	for i := range values {
		engine.DestroyValue(&values[i])
	}
}

func destroy(types []engine.LogicalType) {
	for i := range types {
		engine.DestroyLogicalType(&types[i])
	}
}

// run executes the statement and calls each with its batches until it answers false. Batches hold the engine's memory
// and are each's for the call only. Rows stream: at most a buffer of them is held.
func (s *statement) run(ctx context.Context, each func(arrow.RecordBatch) bool) error {
	defer s.c.interrupt(ctx)()
	if err := ctx.Err(); err != nil {
		return fault.As(err)
	}
	var pending engine.PendingResult
	defer engine.DestroyPending(&pending)
	if engine.PendingPreparedStreaming(s.p, &pending) == engine.StateError {
		return s.c.fault(ctx, engine.PendingError(pending))
	}
	var res engine.Result
	defer engine.DestroyResult(&res)
	if engine.ExecutePending(pending, &res) == engine.StateError {
		return s.c.fault(ctx, engine.ResultError(&res))
	}
	options := engine.ResultGetArrowOptions(&res)
	defer engine.DestroyArrowOptions(&options)
	names, types := resultColumns(&res)
	defer destroy(types)
	schema, err := arrowSchema(options, types, names)
	if err != nil {
		return err
	}
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return fault.As(err)
		}
		if more, err = s.fetch(ctx, res, options, schema, each); err != nil {
			return err
		}
	}
	return nil
}

// fetch hands the next chunk on and says whether there may be more.
func (s *statement) fetch(ctx context.Context, res engine.Result, options engine.ArrowOptions, schema *arrow.Schema, each func(arrow.RecordBatch) bool) (bool, error) {
	chunk := engine.FetchChunk(res)
	defer engine.DestroyDataChunk(&chunk)
	if chunk.Ptr == nil { // the end, or a fault
		if text := engine.ResultError(&res); text != "" {
			return false, s.c.fault(ctx, text)
		}
		return false, nil
	}
	batch, failed := engine.DataChunkToArrowArray(options, schema, chunk)
	defer engine.DestroyErrorData(&failed)
	if engine.ErrorDataHasError(failed) {
		return false, queryFault(engine.ErrorDataMessage(failed))
	}
	defer batch.Release()
	return each(batch), nil
}

// texts runs the driver's own query, whose columns are all VARCHAR, and calls each with its rows.
func (c *conn) texts(ctx context.Context, sql string, args []engine.Value, each func(row []string) bool) error {
	s, err := c.prepareBound(ctx, sql, args)
	if err != nil {
		return err
	}
	defer s.close()
	return s.run(ctx, func(b arrow.RecordBatch) bool {
		row := make([]string, b.NumCols())
		for i := range int(b.NumRows()) {
			for f := range row {
				row[f] = ""
				if col, ok := b.Column(f).(*array.String); ok && col.IsValid(i) {
					row[f] = string([]byte(col.Value(i)))
				}
			}
			if !each(row) {
				return false
			}
		}
		return true
	})
}

// one answers the only row of the driver's own query.
func (c *conn) one(ctx context.Context, sql string, args ...engine.Value) ([]string, error) {
	var out []string
	err := c.texts(ctx, sql, args, func(row []string) bool {
		out = append(out, row...)
		return false
	})
	return out, err
}

func setLiteral(name string, values ...string) string {
	list := ""
	for i, v := range values {
		if i > 0 {
			list += ", "
		}
		list += sqltext.Literal(v)
	}
	return "SET " + name + " = [" + list + "];"
}
