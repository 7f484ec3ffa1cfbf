package mapping_test

import (
	"fmt"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/mapping"
	"millrace.dev/pkg/row"
)

const speedRows = 16_384

// customers are rows for the customers mapping of the documentation.
func customers(t testing.TB) (*mapping.Program, row.Batch) {
	s := arrow.NewSchema([]arrow.Field{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "email", Type: arrow.BinaryTypes.String},
		{Name: "first_name", Type: arrow.BinaryTypes.String}, {Name: "last_name", Type: arrow.BinaryTypes.String},
		{Name: "city", Type: arrow.BinaryTypes.String}, {Name: "plan", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "ltv", Type: &arrow.Decimal128Type{Precision: 12, Scale: 2}}, {Name: "visits", Type: arrow.PrimitiveTypes.Int32},
		{Name: "active", Type: arrow.FixedWidthTypes.Boolean}, {Name: "updated_at", Type: &arrow.TimestampType{Unit: arrow.Microsecond}},
	}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, s)
	for i := range speedRows {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
		b.Field(1).(*array.StringBuilder).Append(fmt.Sprintf(" User%d@Example.com", i))
		b.Field(2).(*array.StringBuilder).Append(fmt.Sprintf("First%d", i%1000))
		b.Field(3).(*array.StringBuilder).Append(fmt.Sprintf("Last%d", i%5000))
		b.Field(4).(*array.StringBuilder).Append("London")
		b.Field(5).(*array.StringBuilder).Append("pro")
		b.Field(6).(*array.Decimal128Builder).Append(decimal128.FromI64(int64(i)))
		b.Field(7).(*array.Int32Builder).Append(int32(i % 500))
		b.Field(8).(*array.BooleanBuilder).Append(i%2 == 0)
		b.Field(9).(*array.TimestampBuilder).Append(arrow.Timestamp(i))
	}
	rec := b.NewRecordBatch()
	m := readMapping(t, `
rules:
  - object: user_identities
    rules:
      - {column: id, to: customer_id, type: string}
      - {column: email, to: email, transform: [trim, lower]}
  - object: user_attributes
    rules:
      - {column: first_name, to: $firstname}
      - {column: last_name, to: $lastname}
      - {column: plan, to: "{{'plan.tier'}}", on_null: clear}
      - {static: shop, to: source}
      - {column: $unmapped, to: "*"}
`)
	p, err := mapping.Compile(m, modelOfCustomers(), s)
	require.NoError(t, err)
	return p, sealed(t, rec, p.KeyColumns())
}

func BenchmarkApply(b *testing.B) {
	p, rows := customers(b)
	b.ReportAllocs()
	for b.Loop() {
		p.Apply(rows)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/speedRows, "ns/row")
}

func BenchmarkCompile(b *testing.B) {
	_, rows := customers(b)
	s := arrow.NewSchema(rows.Record.Schema().Fields()[:rows.Columns()], nil)
	for b.Loop() {
		_, err := mapping.Compile(nil, modelOfCustomers(), s)
		require.NoError(b, err)
	}
}

// TestApplyAllocatesPerColumnAndNotPerRow holds the budget of allocations.
func TestApplyAllocatesPerColumnAndNotPerRow(t *testing.T) {
	p, rows := customers(t)
	perBatch := testing.AllocsPerRun(5, func() { p.Apply(rows) })
	require.Less(t, perBatch/speedRows, 0.05, "allocations per row; %v per batch", perBatch)
}
