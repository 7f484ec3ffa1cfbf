package snowflake

import (
	"context"
	"database/sql/driver"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	client "github.com/snowflakedb/gosnowflake/v2"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/source/sqltext"
)

// selects is the type of a statement that is a SELECT.
const selects = 0x1000

// command is a statement of the driver, over a model's or its own.
type command struct {
	sql    string
	binds  []string
	label  string
	before int // lines before the model's own text
}

// run runs a statement; describe: only so far that its columns are known.
func (x *session) run(ctx context.Context, c command, describe bool) (loader client.ArrowStreamLoader, note *call, err error) {
	defer func() {
		if err != nil {
			loader, err = nil, classify(ctx, note, err, c.before)
		}
	}()
	defer recovered(&err)
	ctx, note = withCall(ctx)
	note.note = describe
	with := client.WithMultiStatement(ctx, 1)
	if c.label != "" {
		with = client.WithQueryTag(with, label(c.label))
	}
	if describe {
		with = client.WithDescribeOnly(with)
	}
	args := make([]driver.NamedValue, len(c.binds))
	for i, b := range c.binds {
		args[i] = driver.NamedValue{Ordinal: i + 1, Value: b}
	}
	loader, err = x.conn.QueryArrowStream(with, c.sql, args...)
	return loader, note, err //nolint:wrapcheck // classified above
}

// columns answers the columns of a statement, which is not run, and its type.
func (x *session) columns(ctx context.Context, c command) ([]column, int64, error) {
	loader, note, err := x.run(ctx, c, true)
	if err != nil {
		return nil, 0, err
	}
	var out []column
	for _, t := range loader.RowTypes() {
		out = append(out, columnOf(t.Name, t.Type, t.Precision, t.Scale, t.Length, x.s.address.Timestamps))
	}
	return out, note.statement, nil
}

// rows runs a statement of few rows and calls each with their batches.
func (x *session) rows(ctx context.Context, c command, each func(arrow.RecordBatch) bool) error {
	loader, _, err := x.run(ctx, c, false)
	if err != nil {
		return err
	}
	var columns []column
	for _, t := range loader.RowTypes() {
		columns = append(columns, columnOf(t.Name, t.Type, t.Precision, t.Scale, t.Length, x.s.address.Timestamps))
	}
	return x.batches(ctx, loader, columns, schemaOf(columns), each)
}

// one answers the values of a statement of one row, as text.
func (x *session) one(ctx context.Context, c command) ([]string, error) {
	var out []string
	err := x.rows(ctx, c, func(b arrow.RecordBatch) bool {
		for i := range int(b.NumCols()) {
			out = append(out, string([]byte(b.Column(i).ValueStr(0))))
		}
		return false
	})
	if err == nil && len(out) == 0 {
		err = fault.New(fault.Unavailable, fault.ReasonWarehouseUnavailable, "the warehouse answers no row where there must be one; try again")
	}
	return out, err
}

// now answers the warehouse's clock.
func (x *session) now(ctx context.Context, label string) (time.Time, error) {
	out := time.Time{}
	err := x.rows(ctx, command{sql: "SELECT CAST(CURRENT_TIMESTAMP() AS TIMESTAMP_LTZ(6)) AS " + sqltext.Quote("now"), label: label}, func(b arrow.RecordBatch) bool {
		out = instantOf(b.Column(0))
		return false
	})
	if err == nil && out.IsZero() {
		err = fault.New(fault.Unavailable, fault.ReasonWarehouseUnavailable, "the warehouse does not say what time it is; try again")
	}
	return out, err
}
