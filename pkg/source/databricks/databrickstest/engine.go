//go:build cgo && duckdb_arrow

package databrickstest

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	engine "github.com/duckdb/duckdb-go-bindings"
)

// database is an engine in memory.
type database struct{ db engine.Database }

func openDatabase() (*database, error) {
	var d database
	var c engine.Config
	engine.CreateConfig(&c)
	defer engine.DestroyConfig(&c)
	for k, v := range map[string]string{"threads": "2", "autoinstall_known_extensions": "false", "autoload_known_extensions": "false", "memory_limit": "2GB"} {
		if engine.SetConfig(c, k, v) == engine.StateError {
			return nil, errors.New("DuckDB does not take the setting " + k)
		}
	}
	var text string
	if engine.OpenExt("", &d.db, c, &text) == engine.StateError {
		return nil, errors.New(text)
	}
	return &d, nil
}

func (d *database) close() { engine.Close(&d.db) }

// layout answers the statements that make the warehouse: its catalog and schema, and a catalog of the peer's own beside.
func layout(o Options) []string {
	grants := "SELECT 'nobody' AS grantee, 'SELECT' AS privilege_type"
	if o.MayWrite {
		grants = "SELECT 'reader' AS grantee, 'MODIFY' AS privilege_type"
	}
	return []string{
		"ATTACH ':memory:' AS " + Catalog, "ATTACH ':memory:' AS peer", "CREATE SCHEMA " + Catalog + "." + Schema,
		"CREATE VIEW peer.main.columns AS SELECT table_schema, table_name, column_name, lower(data_type) AS full_data_type, is_nullable, ordinal_position " +
			"FROM information_schema.columns WHERE table_catalog = '" + Catalog + "'",
		"CREATE VIEW peer.main.table_privileges AS " + grants,
	}
}

// conn is one connection, in the warehouse's schema.
type conn struct{ c engine.Connection }

func (d *database) connect() (*conn, error) {
	var c conn
	if engine.Connect(d.db, &c.c) == engine.StateError {
		return nil, errors.New("DuckDB gives no connection")
	}
	for _, sql := range []string{"USE " + Catalog + "." + Schema, "SET TimeZone = 'Etc/UTC'"} {
		if err := c.exec(sql); err != nil && !strings.Contains(err.Error(), Catalog) {
			c.close()
			return nil, err
		}
	}
	return &c, nil
}

func (c *conn) close() { engine.Disconnect(&c.c) }

func (c *conn) exec(sql string) error {
	var res engine.Result
	defer engine.DestroyResult(&res)
	if engine.Query(c.c, sql, &res) == engine.StateError {
		return errors.New(engine.ResultError(&res))
	}
	return nil
}

// exec runs statements as the owner.
func (d *database) exec(sql string) error {
	c, err := d.connect()
	if err != nil {
		return err
	}
	defer c.close()
	return c.exec(sql)
}

// interrupt stops the connection's statement when ctx ends; the answer ends the watch. An interrupt that comes before the
// engine listens is lost, so it is repeated.
func (c *conn) interrupt(ctx context.Context) func() {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-done:
			return
		case <-ctx.Done():
		}
		again := time.NewTicker(10 * time.Millisecond)
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

// query runs one SELECT and streams its batches: begin gets their schema, add each of them until it answers false.
func (c *conn) query(ctx context.Context, sql string, begin func(*arrow.Schema) error, add func(arrow.RecordBatch) bool) error {
	defer c.interrupt(ctx)()
	var p engine.PreparedStatement
	defer engine.DestroyPrepare(&p)
	if engine.Prepare(c.c, sql, &p) == engine.StateError {
		return errors.New(engine.PrepareError(p))
	}
	if t := engine.PreparedStatementType(p); t != engine.StatementTypeSelect && !strings.HasPrefix(sql, "DESCRIBE ") {
		return syntax(0)
	}
	var pending engine.PendingResult
	defer engine.DestroyPending(&pending)
	if engine.PendingPreparedStreaming(p, &pending) == engine.StateError {
		return errors.New(engine.PendingError(pending))
	}
	var res engine.Result
	defer engine.DestroyResult(&res)
	if engine.ExecutePending(pending, &res) == engine.StateError {
		return errors.New(engine.ResultError(&res))
	}
	options := engine.ResultGetArrowOptions(&res)
	defer engine.DestroyArrowOptions(&options)
	n := int(engine.ColumnCount(&res)) //nolint:gosec // few columns
	names, types := make([]string, n), make([]engine.LogicalType, n)
	for i := range n {
		names[i] = engine.ColumnName(&res, engine.IdxT(i))        //nolint:gosec // few columns
		types[i] = engine.ColumnLogicalType(&res, engine.IdxT(i)) //nolint:gosec // few columns
		defer engine.DestroyLogicalType(&types[i])
	}
	schema, bad := engine.NewArrowSchema(options, types, names)
	defer engine.DestroyErrorData(&bad)
	if engine.ErrorDataHasError(bad) {
		return errors.New(engine.ErrorDataMessage(bad))
	}
	if err := begin(schema); err != nil {
		return err
	}
	for ctx.Err() == nil {
		more, err := fetch(res, options, schema, add)
		if err != nil || !more {
			return err
		}
	}
	return ctx.Err() //nolint:wrapcheck // of the statement
}

func fetch(res engine.Result, options engine.ArrowOptions, schema *arrow.Schema, add func(arrow.RecordBatch) bool) (bool, error) {
	chunk := engine.FetchChunk(res)
	defer engine.DestroyDataChunk(&chunk)
	if chunk.Ptr == nil { // the end, or a fault
		if text := engine.ResultError(&res); text != "" {
			return false, errors.New(text)
		}
		return false, nil
	}
	batch, bad := engine.DataChunkToArrowArray(options, schema, chunk)
	defer engine.DestroyErrorData(&bad)
	if engine.ErrorDataHasError(bad) {
		return false, errors.New(engine.ErrorDataMessage(bad))
	}
	defer batch.Release()
	return add(batch), nil
}
