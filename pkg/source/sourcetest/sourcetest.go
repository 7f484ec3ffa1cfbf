// Package sourcetest holds what every source driver must do, as tests. A driver runs them over a warehouse of its own:
//
//	sourcetest.Run(t, sourcetest.Harness{New: …})
package sourcetest

import (
	"context"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
)

// Harness gives the suite a driver and warehouses to use it on.
type Harness struct {
	// Driver is under test. It cuts parts from PartRows rows on.
	Driver   source.Driver
	PartRows int64
	// New answers an empty warehouse of the test's own.
	New func(t *testing.T) Warehouse
	// Engine is what RunChanges asks for: resource.Diff or resource.Native.
	Engine resource.MirrorEngine
	// Type answers what the warehouse has for an Arrow type that the suite asks for; nil: the same.
	Type func(arrow.Type) arrow.Type
	// Exceptions names tests that the driver does not pass, with the reason. The zero value runs all.
	Exceptions map[string]string
}

// Warehouse is a database that the suite fills.
type Warehouse struct {
	Connection resource.Connection
	// Exec runs statements as the warehouse's owner. No source is open meanwhile.
	Exec func(t *testing.T, sql string)
}

// Run runs the suite. SQL in it is of the dialect that PostgreSQL and DuckDB share.
func Run(t *testing.T, h Harness) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Harness)
	}{
		{"Describe", describe},
		{"ReadsEveryRow", readsEveryRow},
		{"Types", types},
		{"NestedColumnsAreJSON", nested},
		{"Ranges", ranges},
		{"Nanoseconds", nanoseconds},
		{"Integers38", integers38},
		{"EmptyResult", emptyResult},
		{"Limit", limit},
		{"StopMidRead", stopMidRead},
		{"CancelMidRead", cancelMidRead},
		{"CancelBeforeTheFirstRow", cancelBeforeTheFirstRow},
		{"FaultMidRead", faultMidRead},
		{"Refusals", refusals},
		{"FaultsSayTheLine", faultsSayTheLine},
		{"SameNames", sameNames},
		{"NamesAreQuoted", namesAreQuoted},
		{"TrailingSemicolonAndComment", trailing},
		{"Concurrent", concurrent},
		{"Plan", plan},
		{"PlanOfNothing", planOfNothing},
		{"PartsCoverTheWindowOnce", parts},
		{"FullPartsCoverEverythingOnce", fullParts},
		{"BucketsCoverEverythingOnce", buckets},
		{"PlansCount", plansCount},
		{"FutureRowsAreCounted", futureRows},
		{"IteratorsAreLossless", lossless},
		{"IteratorsAreChecked", iterators},
		{"Tables", tables},
		{"Keys", keys},
		{"Check", check},
		{"Setup", setup},
	} {
		t.Run(test.name, func(t *testing.T) {
			if reason, ok := h.Exceptions[test.name]; ok {
				t.Logf("left out: %s", reason)
				return
			}
			test.run(t, h)
		})
	}
}

// open answers a source over a warehouse that was filled by sql.
func (h Harness) open(t *testing.T, sql ...string) source.Source {
	t.Helper()
	w := h.New(t)
	for _, s := range sql {
		w.Exec(t, s)
	}
	return h.reopen(t, w)
}

func (h Harness) reopen(t *testing.T, w Warehouse) source.Source {
	t.Helper()
	s, err := h.Driver.Open(t.Context(), w.Connection)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// has answers the type that the warehouse has for one.
func (h Harness) has(t arrow.Type) arrow.Type {
	if h.Type == nil {
		return t
	}
	return h.Type(t)
}

func sql(text string) source.Query {
	return source.Query{Model: resource.DataModel{SQL: text}, Label: "millrace:test/suite/0"}
}

func by(text, column string, typ resource.IteratorType, r source.Range) source.Query {
	q := sql(text)
	q.Model.Iterator = resource.Iterator{Column: column, Type: typ}
	q.Range = r
	return q
}

// rows answers the rows of q as text, column by column, in no order; every batch has the described schema.
func rows(t *testing.T, s source.Source, q source.Query) [][]string {
	t.Helper()
	out, err := read(t.Context(), t, s, q)
	require.NoError(t, err)
	return out
}

func read(ctx context.Context, t *testing.T, s source.Source, q source.Query) ([][]string, error) {
	t.Helper()
	schema, err := s.Describe(ctx, q)
	if err != nil {
		return nil, err
	}
	var out [][]string
	for b, err := range s.Read(ctx, q) {
		if err != nil {
			return out, err
		}
		require.True(t, schema.Equal(b.Schema()), "the batch's schema is not the described one: %s", b.Schema())
		for i := range int(b.NumRows()) {
			row := make([]string, b.NumCols())
			for f := range row {
				row[f] = strings.Clone(b.Column(f).ValueStr(i)) // the batch goes
			}
			out = append(out, row)
		}
	}
	return out, nil
}

func first(rows [][]string) []string {
	out := make([]string, len(rows))
	for i, r := range rows {
		out[i] = r[0]
	}
	return out
}

func typeOf(t *testing.T, s *arrow.Schema, column string) arrow.DataType {
	t.Helper()
	at := s.FieldIndices(column)
	require.Len(t, at, 1, column)
	return s.Field(at[0]).Type
}
