package extractor

import (
	"encoding/hex"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/zeebo/xxh3"

	"millrace.dev/pkg/drift"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/mapping"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
)

// accepted is the columns that the sync's last accepted plan had.
type accepted struct {
	model   string // fingerprint of connection and query
	columns []drift.Column
}

// judged is a query's columns, held against those that were accepted.
type judged struct {
	schema   *arrow.Schema // of what the run reads
	verdicts []drift.Verdict
}

// judge compares the columns of a query with those that the lease says were accepted. Columns of another query, and of a
// sync's first run, will do as they are.
func judge(l *lease, snap resource.Snapshot, schema *arrow.Schema) judged {
	if l.accepted.model != modelOf(snap) {
		return judged{schema: schema}
	}
	vs := drift.Judge(drift.Compare(l.accepted.columns, columnsOf(schema)), drift.Terms{
		Policy: snap.Sync.Drift, Named: mapping.Named(snap.Mapping, snap.DataModel, schema), Approved: l.driftApproved,
	})
	return judged{schema: without(schema, drift.Leaves(vs)), verdicts: vs}
}

// columnsOf answers the columns of a schema with the warehouse's own types.
func columnsOf(s *arrow.Schema) []drift.Column {
	out := make([]drift.Column, 0, s.NumFields())
	for _, f := range s.Fields() {
		own, ok := f.Metadata.GetValue(source.MetaType)
		if !ok {
			own = f.Type.String()
		}
		out = append(out, drift.Column{Name: f.Name, Type: own, Arrow: f.Type.String()})
	}
	return out
}

// without answers s less some columns.
func without(s *arrow.Schema, names []string) *arrow.Schema {
	if len(names) == 0 {
		return s
	}
	fields := slices.DeleteFunc(slices.Clone(s.Fields()), func(f arrow.Field) bool { return slices.Contains(names, f.Name) })
	meta := s.Metadata()
	return arrow.NewSchema(fields, &meta)
}

// project answers batches of `read` less the columns that the run leaves out. A batch with other columns than the described
// ones is SOURCE_CHANGED: they changed in between.
func project(batches iter.Seq2[arrow.RecordBatch, error], described, read *arrow.Schema) iter.Seq2[arrow.RecordBatch, error] {
	at := make([]int, read.NumFields())
	for i, f := range read.Fields() {
		at[i] = described.FieldIndices(f.Name)[0]
	}
	return func(yield func(arrow.RecordBatch, error) bool) {
		var seen *arrow.Schema // that is known to be the described one
		for b, err := range batches {
			if err != nil {
				yield(nil, err)
				return
			}
			if b.Schema() != seen {
				if !b.Schema().Equal(described) {
					yield(nil, errColumns())
					return
				}
				seen = b.Schema()
			}
			if !pass(b, read, at, yield) {
				return
			}
		}
	}
}

func pass(b arrow.RecordBatch, read *arrow.Schema, at []int, yield func(arrow.RecordBatch, error) bool) bool {
	if int64(len(at)) == b.NumCols() {
		return yield(b, nil)
	}
	columns := make([]arrow.Array, len(at))
	for i, f := range at {
		columns[i] = b.Column(f)
	}
	less := array.NewRecordBatch(read, columns, b.NumRows())
	defer less.Release()
	return yield(less, nil)
}

func errColumns() error {
	return fault.New(fault.Unavailable, fault.ReasonSourceChanged, "the columns of the query have changed since the run was planned; the run is planned again")
}

// modelOf answers the fingerprint of what columns are judged by: the warehouse's address and the query.
func modelOf(snap resource.Snapshot) string {
	parts := []string{snap.Connection.Provider(), snap.DataModel.SQL, snap.DataModel.Table}
	if c := snap.Connection.DuckDB; c != nil {
		parts = append(parts, c.Path)
	}
	if c := snap.Connection.Postgres; c != nil {
		parts = append(parts, c.Host, strconv.Itoa(c.Port), c.Database)
	}
	if c := snap.Connection.Redshift; c != nil {
		parts = append(parts, c.Host, strconv.Itoa(c.Port), c.Database)
	}
	if c := snap.Connection.Databricks; c != nil {
		parts = append(parts, c.Host, strconv.Itoa(c.Port), c.Catalog, c.Schema)
	}
	if c := snap.Connection.Snowflake; c != nil {
		parts = append(parts, c.Address(), c.Database, c.Schema, c.Timestamps)
	}
	if c := snap.Connection.DeltaSharing; c != nil {
		parts = append(parts, c.Share, c.Schema)
	}
	if c := snap.Connection.BigQuery; c != nil {
		parts = append(parts, c.ProjectID, c.DatasetID, c.Location)
	}
	sum := xxh3.HashString128(strings.Join(parts, "\x00")).Bytes()
	return hex.EncodeToString(sum[:])
}
