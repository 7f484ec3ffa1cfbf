package row_test

import (
	"math"
	"math/big"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/row"
)

// column builds a column of a type from JSON.
func column(t require.TestingT, dt arrow.DataType, json string) arrow.Array {
	a, _, err := array.FromJSON(memory.NewGoAllocator(), dt, strings.NewReader(json))
	require.NoError(t, err)
	return a
}

func hashOf(cols map[string]arrow.Array) []row.Hash {
	var sums []row.Hash
	for name, c := range cols {
		if sums == nil {
			sums = make([]row.Hash, c.Len())
		}
		row.AddColumn(sums, name, c)
	}
	return sums
}

func TestOneValueInManyTypesHasOneHash(t *testing.T) {
	i32, i64, u8 := arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Uint8
	text, big, view := arrow.BinaryTypes.String, arrow.BinaryTypes.LargeString, arrow.BinaryTypes.StringView
	micro := &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}
	second := &arrow.TimestampType{Unit: arrow.Second}
	dict := &arrow.DictionaryType{IndexType: i32, ValueType: text}
	for name, same := range map[string][]arrow.Array{
		"integers of every width": {column(t, i32, `[7]`), column(t, i64, `[7]`), column(t, u8, `[7]`)},
		"texts of every layout":   {column(t, text, `["é"]`), column(t, big, `["é"]`), column(t, view, `["é"]`), column(t, dict, `["é"]`)},
		"decimals of every scale": {
			column(t, &arrow.Decimal128Type{Precision: 10, Scale: 2}, `["7.50"]`),
			column(t, &arrow.Decimal128Type{Precision: 38, Scale: 20}, `["7.5"]`),
		},
		"instants of every unit": {instant(micro, 1709168523000000), instant(second, 1709168523)},
		"dates":                  {column(t, arrow.FixedWidthTypes.Date32, `["2024-02-29"]`), column(t, arrow.FixedWidthTypes.Date64, `["2024-02-29"]`)},
		"zeros":                  {column(t, arrow.PrimitiveTypes.Float64, `[0]`), negativeZero()},
	} {
		t.Run(name, func(t *testing.T) {
			for _, c := range same[1:] {
				require.Equal(t, hashOf(map[string]arrow.Array{"a": same[0]}), hashOf(map[string]arrow.Array{"a": c}))
			}
		})
	}
}

func negativeZero() arrow.Array {
	b := array.NewFloat64Builder(memory.NewGoAllocator())
	b.Append(math.Copysign(0, -1))
	return b.NewArray()
}

func instant(t *arrow.TimestampType, v arrow.Timestamp) arrow.Array {
	b := array.NewTimestampBuilder(memory.NewGoAllocator(), t)
	b.Append(v)
	return b.NewArray()
}

func TestWhatMakesTwoHashes(t *testing.T) {
	i64, text := arrow.PrimitiveTypes.Int64, arrow.BinaryTypes.String
	base := hashOf(map[string]arrow.Array{"a": column(t, i64, `[1]`)})
	require.NotEqual(t, base, hashOf(map[string]arrow.Array{"a": column(t, text, `["1"]`)}), "class")
	require.NotEqual(t, base, hashOf(map[string]arrow.Array{"b": column(t, i64, `[1]`)}), "name")
	require.NotEqual(t, base, hashOf(map[string]arrow.Array{"a": column(t, i64, `[2]`)}), "value")
	list := arrow.ListOf(text)
	require.NotEqual(t, hashOf(map[string]arrow.Array{"a": column(t, list, `[["x","yz"]]`)}), hashOf(map[string]arrow.Array{"a": column(t, list, `[["xy","z"]]`)}), "cut of a list")
}

func TestColumnsMayBeReorderedAndNullColumnsAdded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64().Draw(t, "n")
		s := rapid.String().Draw(t, "s")
		schema := func(names ...string) *arrow.Schema {
			types := map[string]arrow.DataType{"n": arrow.PrimitiveTypes.Int64, "s": arrow.BinaryTypes.String, "null": arrow.BinaryTypes.String}
			var fields []arrow.Field
			for _, name := range names {
				fields = append(fields, arrow.Field{Name: name, Type: types[name], Nullable: true})
			}
			return arrow.NewSchema(fields, nil)
		}
		build := func(names ...string) []row.Hash {
			b := array.NewRecordBuilder(memory.NewGoAllocator(), schema(names...))
			for i, name := range names {
				switch name {
				case "n":
					b.Field(i).(*array.Int64Builder).Append(n)
				case "s":
					b.Field(i).(*array.StringBuilder).Append(s)
				default:
					b.Field(i).AppendNull()
				}
			}
			h, err := row.NewHasher(schema(names...), nil)
			require.NoError(t, err)
			_, hashes := h.Hash(b.NewRecordBatch())
			return hashes
		}
		require.Equal(t, build("n", "s"), build("s", "null", "n"))
	})
}

func TestTheKeyIsTheHashOfTheKeyValuesByPosition(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "a", Type: arrow.PrimitiveTypes.Int64}, {Name: "b", Type: arrow.PrimitiveTypes.Int64}}, nil)
	rec, _, err := array.RecordFromJSON(memory.NewGoAllocator(), schema, strings.NewReader(`[{"a":1,"b":2},{"a":2,"b":1}]`))
	require.NoError(t, err)
	keysBy := func(cols ...string) [2]string {
		h, err := row.NewHasher(schema, cols)
		require.NoError(t, err)
		keys, hashes := h.Hash(rec)
		if len(cols) == 0 {
			require.Equal(t, hashes[0].String(), keys[0].String())
		}
		return [2]string{keys[0].String(), keys[1].String()}
	}
	ab, ba := keysBy("a", "b"), keysBy("b", "a")
	require.NotEqual(t, ab[0], ab[1])
	require.Equal(t, ab[0], ba[1], "the key goes by position, not by name")
	keysBy()
}

func TestKeyColumnsThatAreNotSelectedAreAllNamed(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "a", Type: arrow.PrimitiveTypes.Int64}}, nil)
	_, err := row.NewHasher(schema, []string{"x", "a", "y"})
	require.Len(t, fault.As(err).Violations, 2)
	require.Equal(t, fault.ReasonKeyInvalid, fault.ReasonOf(err))
}

func TestSumsWrapAndDoNotHeedOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := rapid.Custom(func(t *rapid.T) row.Hash {
			return row.Hash{Hi: rapid.Uint64().Draw(t, "hi"), Lo: rapid.Uint64().Draw(t, "lo")}
		})
		a, b, c := h.Draw(t, "a"), h.Draw(t, "b"), h.Draw(t, "c")
		require.Equal(t, a.Add(b).Add(c), c.Add(a.Add(b)))
		bytes := a.Bytes()
		require.Equal(t, a, row.FromBytes(bytes[:]))
	})
}

func TestDecimalsAreWrittenPlainly(t *testing.T) {
	for _, c := range []struct {
		coefficient string
		scale       int32
		want        string
	}{
		{"700", 2, "7"}, {"750", 2, "7.5"}, {"-5", 3, "-0.005"}, {"0", 9, "0"}, {"12", -2, "1200"},
		{"99999999999999999999999999999999999999", 0, "99999999999999999999999999999999999999"},
		{"-12345678901234567890123456789012345600", 30, "-12345678.9012345678901234567890123456"},
	} {
		x, ok := new(big.Int).SetString(c.coefficient, 10)
		require.True(t, ok)
		require.Equal(t, c.want, string(row.AppendDecimal(nil, decimal128.FromBigInt(x), c.scale)))
		require.Equal(t, c.want, row.DecimalText(x, c.scale))
	}
}

func TestCanonicalText(t *testing.T) {
	for want, col := range map[string]arrow.Array{
		"7":                              column(t, arrow.PrimitiveTypes.Int64, `[7]`),
		"0.1":                            column(t, arrow.PrimitiveTypes.Float64, `[0.1]`),
		"true":                           column(t, arrow.FixedWidthTypes.Boolean, `[true]`),
		"2024-02-29T01:02:03.000000004Z": instant(&arrow.TimestampType{Unit: arrow.Nanosecond}, 1709168523000000004),
		"2024-02-29":                     column(t, arrow.FixedWidthTypes.Date32, `["2024-02-29"]`),
		"":                               column(t, arrow.BinaryTypes.String, `[null]`),
	} {
		require.Equal(t, want, string(row.AppendCanonicalText(nil, col, 0)))
	}
}

func BenchmarkHash(b *testing.B) {
	const n = 16384
	mem := memory.NewGoAllocator()
	ib, sb, fb := array.NewInt64Builder(mem), array.NewStringBuilder(mem), array.NewFloat64Builder(mem)
	for i := range n {
		ib.Append(int64(i))
		sb.Append("user@example.com")
		fb.Append(float64(i) / 7)
	}
	fields := []arrow.Field{{Name: "i", Type: arrow.PrimitiveTypes.Int64}, {Name: "s", Type: arrow.BinaryTypes.String}, {Name: "f", Type: arrow.PrimitiveTypes.Float64}}
	schema := arrow.NewSchema(fields, nil)
	rec := array.NewRecordBatch(schema, []arrow.Array{ib.NewArray(), sb.NewArray(), fb.NewArray()}, n)
	h, err := row.NewHasher(schema, []string{"i"})
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		h.Hash(rec)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/row")
}
