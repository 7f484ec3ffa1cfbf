//go:build cgo && duckdb_arrow

package extractor_test

import (
	"bytes"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/stretchr/testify/require"

	extractorv1 "millrace.dev/gen/millrace/extractor/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource/resourcepb"
)

func TestTheServerAnswersForWarehouses(t *testing.T) {
	m := newMesh(t)
	path := m.warehouse(people)
	c, model := resourcepb.ToConnection(m.snapshot.Connection), resourcepb.ToDataModel(m.snapshot.DataModel)

	check, err := m.client().Check(t.Context(), &extractorv1.CheckRequest{Connection: c})
	require.NoError(t, err)
	for _, s := range check.GetSteps() {
		require.True(t, s.GetOk(), s.GetName())
	}

	tables, err := m.client().ListTables(t.Context(), &extractorv1.ListTablesRequest{Connection: c, Prefix: "peo"})
	require.NoError(t, err)
	require.Len(t, tables.GetTables(), 1)
	require.Len(t, tables.GetTables()[0].GetColumns(), 4)

	described, err := m.client().Describe(t.Context(), &extractorv1.DescribeRequest{Connection: c, DataModel: model})
	require.NoError(t, err)
	require.Equal(t, "updated_at", described.GetColumns()[3].GetName())
	require.Equal(t, "TIMESTAMP", described.GetColumns()[3].GetType())
	r, err := ipc.NewReader(bytes.NewReader(described.GetArrowSchema()))
	require.NoError(t, err)
	require.Equal(t, 4, r.Schema().NumFields())

	preview, err := m.client().Preview(t.Context(), &extractorv1.PreviewRequest{Connection: c, DataModel: model, Limit: 3})
	require.NoError(t, err)
	require.Len(t, preview.GetRows(), 3)
	require.Contains(t, preview.GetRows()[0].GetFields(), "email")
	r, err = ipc.NewReader(bytes.NewReader(preview.GetArrow()))
	require.NoError(t, err)
	rows := int64(0)
	for r.Next() {
		rows += r.RecordBatch().NumRows()
	}
	require.NoError(t, r.Err())
	require.EqualValues(t, 3, rows)

	checked, err := m.client().CheckModel(t.Context(), &extractorv1.CheckModelRequest{Connection: c, DataModel: model, KeyColumns: []string{"visits"}})
	require.NoError(t, err)
	require.EqualValues(t, 7, checked.GetRepeatedKeys())
	require.Zero(t, checked.GetNullIterator())

	text, err := m.client().PrintSetup(t.Context(), &extractorv1.PrintSetupRequest{Connection: c})
	require.NoError(t, err)
	require.Contains(t, text.GetText(), path)

	model.KeyColumns = nil
	bad := resourcepb.ToDataModel(m.snapshot.DataModel)
	bad.Iterator.Column = "gone"
	_, err = m.client().CheckModel(t.Context(), &extractorv1.CheckModelRequest{Connection: c, DataModel: bad})
	require.Equal(t, fault.ReasonIteratorInvalid, fault.ReasonOf(err))
	_, err = m.client().Preview(t.Context(), &extractorv1.PreviewRequest{Connection: c, DataModel: model, Limit: -1})
	require.Equal(t, fault.Invalid, fault.ClassOf(err))
}

func TestAConnectionThatDoesNotOpenIsAFailedStep(t *testing.T) {
	m := newMesh(t)
	remove(t, m.warehouse(people))
	check, err := m.client().Check(t.Context(), &extractorv1.CheckRequest{Connection: resourcepb.ToConnection(m.snapshot.Connection)})
	require.NoError(t, err)
	require.Len(t, check.GetSteps(), 1)
	require.False(t, check.GetSteps()[0].GetOk())
	require.Contains(t, check.GetSteps()[0].GetMessage(), "no file matches")
}
