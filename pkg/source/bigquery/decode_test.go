package bigquery

import (
	"bytes"
	"testing"

	"cloud.google.com/go/bigquery/storage/apiv1/storagepb"
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
)

// columnsOfAll are columns of each Arrow type that is read.
func columnsOfAll() []column {
	var out []column
	for _, typ := range []arrow.DataType{
		arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Float64, arrow.FixedWidthTypes.Boolean, arrow.BinaryTypes.String, arrow.BinaryTypes.Binary,
		arrow.FixedWidthTypes.Date32, &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}, &arrow.Decimal128Type{Precision: 38, Scale: 9},
	} {
		out = append(out, column{name: typ.String(), typ: typ})
	}
	return out
}

// message answers a message of a stream as BigQuery sends it.
func message(t testing.TB, columns []column, options ...ipc.Option) (schema, batch []byte) {
	t.Helper()
	b := array.NewRecordBuilder(memory.DefaultAllocator, schemaOf(columns))
	defer b.Release()
	for i := range 20 {
		for f := range columns {
			switch b := b.Field(f).(type) {
			case *array.Int64Builder:
				b.Append(int64(i))
			case *array.Float64Builder:
				b.Append(float64(i))
			case *array.BooleanBuilder:
				b.Append(i%2 == 0)
			case *array.StringBuilder:
				b.Append("text")
			case *array.BinaryBuilder:
				b.Append([]byte{byte(i)})
			case *array.Decimal128Builder:
				b.Append(decimal128.FromI64(int64(i)))
			default:
				b.AppendNull()
			}
		}
	}
	rec := b.NewRecordBatch()
	defer rec.Release()
	var out bytes.Buffer
	s := ipc.GetSchemaPayload(rec.Schema(), memory.DefaultAllocator)
	defer s.Release()
	_, err := s.WritePayload(&out)
	require.NoError(t, err)
	schema = bytes.Clone(out.Bytes())
	out.Reset()
	p, err := ipc.GetRecordBatchPayload(rec, options...)
	require.NoError(t, err)
	defer p.Release()
	_, err = p.WritePayload(&out)
	require.NoError(t, err)
	return schema, out.Bytes()
}

// decoded decodes a message and reads every value of what comes.
func decoded(schema, batch []byte) (int64, error) {
	d := decoder{query: &query{columns: columnsOfAll(), schema: schemaOf(columnsOfAll())}, mem: memory.DefaultAllocator}
	b, err := d.batch(&storagepb.ReadRowsResponse{
		Schema: &storagepb.ReadRowsResponse_ArrowSchema{ArrowSchema: &storagepb.ArrowSchema{SerializedSchema: schema}},
		Rows:   &storagepb.ReadRowsResponse_ArrowRecordBatch{ArrowRecordBatch: &storagepb.ArrowRecordBatch{SerializedRecordBatch: batch}},
	})
	if b == nil {
		return 0, err
	}
	defer b.Release()
	for _, c := range b.Columns() {
		for i := range c.Len() {
			_ = c.ValueStr(i)
		}
	}
	return b.NumRows(), err
}

// Whatever byte of a message is another, it is read or refused; the process goes on.
func TestNoByteOfAMessageIsTrusted(t *testing.T) {
	for name, options := range map[string][]ipc.Option{"plain": nil, "compressed": {ipc.WithLZ4()}} {
		schema, batch := message(t, columnsOfAll(), options...)
		n, err := decoded(schema, batch)
		require.NoError(t, err, name)
		require.EqualValues(t, 20, n, name)
		n, err = decoded(append(bytes.Clone(schema[4:]), 0, 0, 0, 0), append(bytes.Clone(batch), 1, 2, 3))
		require.NoError(t, err, "%s: an older mark, and padding behind", name)
		require.EqualValues(t, 20, n, name)
		refused := 0
		for _, part := range []*[]byte{&schema, &batch} {
			whole := *part
			for i := range whole {
				for _, v := range []byte{0, 0x7f, 0xff} {
					bad := bytes.Clone(whole)
					bad[i] = v
					*part = bad
					if _, err := decoded(schema, batch); err != nil {
						require.Equal(t, fault.Unavailable, fault.ClassOf(err))
						refused++
					}
				}
			}
			for cut := range whole {
				*part = whole[:cut]
				if _, err := decoded(schema, batch); err != nil {
					refused++
				}
			}
			*part = whole
		}
		require.Positive(t, refused, name)
	}
}
