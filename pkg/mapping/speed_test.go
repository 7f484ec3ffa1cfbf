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
	"millrace.dev/pkg/resource"
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

// orders are rows for the orders mapping of the documentation.
func orders(t testing.TB) (*mapping.Program, row.Batch) {
	s := readSchema(t, "order_id int64\nversion int32\ncustomer_id int64\nstatus utf8\ntotal decimal(10,2)\ncurrency utf8\n"+
		"placed_at timestamp[us]\nlanding_url utf8\nprops utf8 JSON\nloaded_at timestamp[us]")
	b := array.NewRecordBuilder(memory.DefaultAllocator, s)
	for i := range speedRows {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
		b.Field(1).(*array.Int32Builder).Append(1)
		b.Field(2).(*array.Int64Builder).Append(int64(i % 1000))
		b.Field(3).(*array.StringBuilder).Append([]string{"placed", "paid", "sent"}[i%3])
		b.Field(4).(*array.Decimal128Builder).Append(decimal128.FromI64(int64(i)))
		b.Field(5).(*array.StringBuilder).Append("EUR")
		b.Field(6).(*array.TimestampBuilder).Append(arrow.Timestamp(1_700_000_000_000_000 + i*1000))
		b.Field(7).(*array.StringBuilder).Append("https://shop.test/landing")
		b.Field(8).(*array.StringBuilder).Append(fmt.Sprintf(`{"items":%d,"gift":false,"campaign":"spring"}`, i%7))
		b.Field(9).(*array.TimestampBuilder).Append(arrow.Timestamp(i))
	}
	rec := b.NewRecordBatch()
	m := readMapping(t, `
rules:
  - {column: customer_id, to: user_identities.customer_id, type: string}
  - object: events
    rules:
      - {static: custom_event, to: event_type}
      - {static: transaction, to: data.custom_event_type}
      - {expression: "'order_' + row.status", to: data.event_name}
      - {column: placed_at, to: data.timestamp_unixtime_ms}
      - {column: landing_url, to: "data.custom_flags.{{'TikTok.URL'}}"}
      - {column: total, to: data.custom_attributes.total, type: decimal}
      - {column: props, to: data.custom_attributes, type: json}
      - {column: $unmapped, to: data.custom_attributes.*}
`)
	p, err := mapping.Compile(m, resource.DataModel{
		Kind: resource.Events, KeyColumns: []string{"order_id", "version"},
		Iterator: resource.Iterator{Column: "loaded_at", Type: resource.IteratorTimestamp},
	}, s)
	require.NoError(t, err)
	return p, sealed(t, rec, p.KeyColumns())
}

func BenchmarkApplyEvents(b *testing.B) {
	p, rows := orders(b)
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

	events, rows := orders(t)
	perBatch = testing.AllocsPerRun(5, func() { events.Apply(rows) })
	require.Less(t, perBatch/speedRows, 0.05, "allocations per row of events; %v per batch", perBatch)
}
