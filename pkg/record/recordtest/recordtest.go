// Package recordtest makes batches of records for tests from rows written down plainly.
package recordtest

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/zeebo/xxh3"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/row"
)

// Row is one record. Values are string, int, int64, float64, bool, time.Time, *big.Rat (a decimal of scale 2),
// json.RawMessage (JSON text), map[string]any (an object) and nil.
type Row struct {
	Key        string
	Time       time.Time // zero: none
	Late       bool
	Identities map[string]string
	Attributes map[string]any // of all but events
	Start      time.Time      // of history
	EventType  string         // of events
	Data       map[string]any // of events
	Ignored    string         // enters the row hash and nothing else
}

// Options say what a mapping would have said of fields, by name.
type Options struct {
	Clears []string // a NULL clears
	Opens  []string // JSON whose members stand beside the field
}

// Key answers the row key of a Row's Key.
func Key(key string) id.Row { return xxh3.HashString128("key " + key).Bytes() }

// Batch makes a batch of rows. Equal rows have equal hashes; the record hash is over all but Time, Late and Ignored.
func Batch(kind record.Kind, rows []Row, o Options) record.Batch {
	n := len(rows)
	positions, times, late := array.NewInt32Builder(memory.DefaultAllocator),
		array.NewTimestampBuilder(memory.DefaultAllocator, &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}),
		array.NewBooleanBuilder(memory.DefaultAllocator)
	texts := array.NewStringBuilder(memory.DefaultAllocator)
	var keys, hashes, recordHashes []byte
	bodies := make([]map[string]any, n)
	identities := make([]map[string]any, n)
	for i, r := range rows {
		positions.Append(int32(i)) //nolint:gosec // few rows
		if r.Time.IsZero() {
			times.AppendNull()
		} else {
			times.Append(arrow.Timestamp(r.Time.UnixNano()))
		}
		late.Append(r.Late)
		texts.Append(r.Key)
		k := Key(r.Key)
		h, rh := r.hash().Bytes(), r.recordHash().Bytes()
		keys, hashes, recordHashes = append(keys, k[:]...), append(hashes, h[:]...), append(recordHashes, rh[:]...)
		bodies[i] = r.Attributes
		switch kind {
		case record.Events:
			bodies[i] = map[string]any{"event_type": r.EventType, "data": r.Data}
		case record.History:
			bodies[i] = map[string]any{record.FieldStartTime: r.Start.UnixMilli(), record.FieldAttributes: r.Attributes}
		case record.Users, record.Groups, record.Lookup:
		}
		identities[i] = map[string]any{}
		for t, v := range r.Identities {
			identities[i][t] = v
		}
	}
	cols := []arrow.Array{
		positions.NewArray(), row.Fixed16(keys), row.Fixed16(hashes), row.Fixed16(recordHashes), times.NewArray(),
		late.NewArray(), texts.NewArray(), structOf(identities, Options{}), structOf(bodies, o),
	}
	names := []string{
		record.ColumnRow, record.ColumnKey, record.ColumnHash, record.ColumnRecordHash, record.ColumnTime,
		record.ColumnBelowLow, record.ColumnKeyValues, record.ColumnIdentities, kind.Body(),
	}
	fields := make([]arrow.Field, len(cols))
	for i, c := range cols {
		fields[i] = arrow.Field{Name: names[i], Type: c.DataType(), Nullable: i == record.PosTime}
	}
	return record.Batch{Kind: kind, Record: array.NewRecordBatch(arrow.NewSchema(fields, nil), cols, int64(n))}
}

func (r Row) hash() row.Hash {
	h := xxh3.HashString128(fmt.Sprint(r.Key, r.Time.UnixNano(), r.Ignored, r.recordHash()))
	return row.Hash{Hi: h.Hi, Lo: h.Lo}
}

func (r Row) recordHash() row.Hash {
	b, err := json.Marshal([]any{r.Identities, r.Attributes, r.EventType, r.Data, r.Start.UnixMilli()})
	if err != nil {
		b = binary.AppendUvarint(nil, 1)
	}
	h := xxh3.Hash128(b)
	return row.Hash{Hi: h.Hi, Lo: h.Lo}
}

// structOf answers a struct column whose fields are the names of all objects, in alphabetical order.
func structOf(objects []map[string]any, o Options) arrow.Array {
	var names []string
	for _, m := range objects {
		for name := range m {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	cols := make([]arrow.Array, len(names))
	fields := make([]arrow.Field, len(names))
	for f, name := range names {
		values := make([]any, len(objects))
		for i, m := range objects {
			values[i] = m[name]
		}
		var meta map[string]string
		cols[f], meta = columnOf(values, o)
		if slices.Contains(o.Clears, name) {
			meta = with(meta, record.MetaOnNull, "clear")
		}
		if slices.Contains(o.Opens, name) {
			meta = with(meta, record.MetaOpen, "true")
		}
		fields[f] = arrow.Field{Name: name, Type: cols[f].DataType(), Nullable: true, Metadata: arrow.MetadataFrom(meta)}
	}
	data := array.NewData(arrow.StructOf(fields...), len(objects), []*memory.Buffer{nil}, childrenOf(cols), 0, 0)
	return array.NewStructData(data)
}

func childrenOf(cols []arrow.Array) []arrow.ArrayData {
	out := make([]arrow.ArrayData, len(cols))
	for i, c := range cols {
		out[i] = c.Data()
	}
	return out
}

func with(m map[string]string, k, v string) map[string]string {
	if m == nil {
		m = map[string]string{}
	}
	m[k] = v
	return m
}

// columnOf answers a column of the type of the first value that is not nil.
func columnOf(values []any, o Options) (arrow.Array, map[string]string) {
	mem := memory.DefaultAllocator
	at := slices.IndexFunc(values, func(v any) bool { return v != nil })
	if at < 0 {
		return fill(array.NewStringBuilder(mem), values, func(b *array.StringBuilder, v any) {}), nil
	}
	switch values[at].(type) {
	case int, int64:
		return fill(array.NewInt64Builder(mem), values, func(b *array.Int64Builder, v any) {
			if n, ok := v.(int); ok {
				v = int64(n)
			}
			b.Append(v.(int64)) //nolint:forcetypeassert // a test's own table
		}), nil
	case float64:
		return fill(array.NewFloat64Builder(mem), values, func(b *array.Float64Builder, v any) { b.Append(v.(float64)) }), nil //nolint:forcetypeassert // as above
	case bool:
		return fill(array.NewBooleanBuilder(mem), values, func(b *array.BooleanBuilder, v any) { b.Append(v.(bool)) }), nil //nolint:forcetypeassert // as above
	case time.Time:
		t := &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}
		return fill(array.NewTimestampBuilder(mem, t), values, func(b *array.TimestampBuilder, v any) {
			b.Append(arrow.Timestamp(v.(time.Time).UnixMicro())) //nolint:forcetypeassert // as above
		}), nil
	case *big.Rat:
		t := &arrow.Decimal128Type{Precision: 20, Scale: 2}
		return fill(array.NewDecimal128Builder(mem, t), values, func(b *array.Decimal128Builder, v any) {
			x := new(big.Rat).Mul(v.(*big.Rat), big.NewRat(100, 1)) //nolint:forcetypeassert // as above
			b.Append(decimal128.FromBigInt(x.Num()))
		}), nil
	case json.RawMessage:
		return fill(array.NewStringBuilder(mem), values, func(b *array.StringBuilder, v any) { b.Append(string(v.(json.RawMessage))) }), //nolint:forcetypeassert // as above
			map[string]string{record.MetaJSON: "true"}
	case map[string]any:
		objects := make([]map[string]any, len(values))
		for i, v := range values {
			objects[i], _ = v.(map[string]any)
		}
		return structOf(objects, o), nil
	}
	return fill(array.NewStringBuilder(mem), values, func(b *array.StringBuilder, v any) { b.Append(fmt.Sprint(v)) }), nil
}

func fill[B array.Builder](b B, values []any, put func(b B, v any)) arrow.Array {
	for _, v := range values {
		if v == nil {
			b.AppendNull()
		} else {
			put(b, v)
		}
	}
	return b.NewArray()
}

// KeyValues joins the values of a composite key.
func KeyValues(values ...string) string { return strings.Join(values, record.KeySeparator) }
