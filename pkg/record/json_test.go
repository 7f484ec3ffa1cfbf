package record_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"millrace.dev/pkg/record"
)

// column reads a column from the JSON form that Arrow's builders take.
func column(t require.TestingT, dt arrow.DataType, values string) arrow.Array {
	a, _, err := array.FromJSON(memory.DefaultAllocator, dt, strings.NewReader(values))
	require.NoError(t, err)
	return a
}

func render(col arrow.Array, f arrow.Field, i int) string {
	f.Type = col.DataType()
	return string(record.AppendJSON(nil, col, f, i))
}

func TestEveryTypeHasItsJSON(t *testing.T) {
	dec := func(p, s int32) arrow.DataType { return &arrow.Decimal128Type{Precision: p, Scale: s} }
	for _, c := range []struct {
		name   string
		dt     arrow.DataType
		values string
		want   []string
	}{
		{"text is escaped", arrow.BinaryTypes.String, `["a\"b\\c\n\u0001é", null]`, []string{`"a\"b\\c\n\u0001é"`, "null"}},
		{"large text", arrow.BinaryTypes.LargeString, `["x"]`, []string{`"x"`}},
		{"integers beyond 2^53 are strings", arrow.PrimitiveTypes.Int64, `[9007199254740992, 9007199254740993, -9007199254740993, 0]`,
			[]string{"9007199254740992", `"9007199254740993"`, `"-9007199254740993"`, "0"}},
		{"small integers", arrow.PrimitiveTypes.Int8, `[-5]`, []string{"-5"}},
		{"unsigned integers", arrow.PrimitiveTypes.Uint64, `[7]`, []string{"7"}},
		{"doubles are shortest", arrow.PrimitiveTypes.Float64, `[0.1, 7, 1e21, 1e-7]`, []string{"0.1", "7", "1e+21", "1e-7"}},
		{"booleans", arrow.FixedWidthTypes.Boolean, `[true, false]`, []string{"true", "false"}},
		{"decimals keep the scale", dec(10, 2), `["7", "-0.05", "1234.5"]`, []string{`"7.00"`, `"-0.05"`, `"1234.50"`}},
		{"decimals of scale 0", dec(38, 0), `["99999999999999999999999999999999999999"]`, []string{`"99999999999999999999999999999999999999"`}},
		{"instants are UTC", &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}, `["2026-01-02 03:04:05.120000Z"]`, []string{`"2026-01-02T03:04:05.12Z"`}},
		{"dates", arrow.FixedWidthTypes.Date32, `["2026-01-02"]`, []string{`"2026-01-02"`}},
		{"lists", arrow.ListOf(arrow.PrimitiveTypes.Int64), `[[1, null], [], null]`, []string{"[1,null]", "[]", "null"}},
		{"maps", arrow.MapOf(arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int64), `[[{"key":"a","value":1}]]`, []string{`{"a":1}`}},
		{"maps with numbers for keys", arrow.MapOf(arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Int64), `[[{"key":4,"value":1}]]`, []string{`{"4":1}`}},
		{"bytes are base64", arrow.BinaryTypes.Binary, `["aGk="]`, []string{`"aGk="`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			col := column(t, c.dt, c.values)
			for i, want := range c.want {
				require.Equal(t, want, render(col, arrow.Field{}, i))
			}
		})
	}
}

func TestNotANumberIsAString(t *testing.T) {
	require.Equal(t, `"NaN"`, string(record.AppendFloat(nil, math.NaN())))
	require.Equal(t, `"-Infinity"`, string(record.AppendFloat(nil, math.Inf(-1))))
}

func TestBytesThatAreNoTextBecomeTheReplacementCharacter(t *testing.T) {
	require.Equal(t, "\"a\ufffdb\"", string(record.AppendString(nil, "a\xffb")))
}

func meta(kv ...string) arrow.Metadata {
	m := map[string]string{}
	for i := 0; i < len(kv); i += 2 {
		m[kv[i]] = kv[i+1]
	}
	return arrow.MetadataFrom(m)
}

func TestObjectsLeaveOutNullsUnlessTheyClear(t *testing.T) {
	st := arrow.StructOf(
		arrow.Field{Name: "a", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		arrow.Field{Name: "b", Type: arrow.PrimitiveTypes.Int64, Nullable: true, Metadata: meta(record.MetaOnNull, "clear")},
		arrow.Field{Name: "in", Nullable: true, Type: arrow.StructOf(arrow.Field{Name: "x", Type: arrow.PrimitiveTypes.Int64, Nullable: true})},
	)
	col := column(t, st, `[{"a":1,"b":2,"in":{"x":3}}, {"a":null,"b":null,"in":{"x":null}}, {"a":null,"b":5,"in":null}]`)
	require.Equal(t, `{"a":1,"b":2,"in":{"x":3}}`, render(col, arrow.Field{}, 0))
	require.Equal(t, `{"b":null}`, render(col, arrow.Field{}, 1))
	require.Equal(t, `{"b":5}`, render(col, arrow.Field{}, 2))
}

func TestOpenFieldsStandBesideTheirSiblings(t *testing.T) {
	st := arrow.StructOf(
		arrow.Field{Name: "total", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		arrow.Field{Name: "p", Type: arrow.BinaryTypes.String, Nullable: true, Metadata: meta(record.MetaOpen, "true")},
		arrow.Field{Name: "q", Type: arrow.BinaryTypes.String, Nullable: true, Metadata: meta(record.MetaOpen, "true")},
		arrow.Field{Name: "j", Type: arrow.BinaryTypes.String, Nullable: true, Metadata: meta(record.MetaJSON, "true")},
	)
	col := column(t, st, `[
		{"total": 1, "p": "{\"total\": 9, \"p\":\"kept\", \"deep\": {\"x\": [1, 2]}}", "q": "{\"deep\":0,\"r\":\"\\\"}\"}", "j": "[1,{}]"},
		{"total": null, "p": null, "q": "{}", "j": null}]`)
	require.Equal(t, `{"total":1,"p":"kept","deep":{"x": [1, 2]},"r":"\"}","j":[1,{}]}`, render(col, arrow.Field{}, 0))
	require.Equal(t, `{}`, render(col, arrow.Field{}, 1))
}

func TestASlicedStructIsReadAtItsOffset(t *testing.T) {
	col := column(t, arrow.StructOf(arrow.Field{Name: "a", Type: arrow.BinaryTypes.String, Nullable: true}), `[{"a":"0"},{"a":"1"},{"a":"2"}]`)
	require.Equal(t, `{"a":"2"}`, render(array.NewSlice(col, 1, 3), arrow.Field{}, 1))
}

func TestDictionariesAreReadThrough(t *testing.T) {
	dt := &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String}
	require.Equal(t, `"b"`, render(column(t, dt, `["a","b","a"]`), arrow.Field{}, 1))
}

func TestDecimalsEqualBigArithmetic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := decimal128.New(rapid.Int64().Draw(t, "hi"), rapid.Uint64().Draw(t, "lo"))
		require.Equal(t, v.BigInt().String(), string(record.AppendDecimal(nil, v, 0)))
	})
}

func TestMembersReadAnyObjectAsEncodingJSONDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.MapOfN(rapid.String(), rapid.OneOf(
			rapid.Custom(func(t *rapid.T) any { return rapid.String().Draw(t, "s") }),
			rapid.Custom(func(t *rapid.T) any { return []any{rapid.Int().Draw(t, "n"), "}]", map[string]any{"k": nil}} }),
		), 0, 6).Draw(t, "object")
		text, err := json.MarshalIndent(in, "", " ")
		require.NoError(t, err)
		got := map[string]json.RawMessage{}
		for k, v := range record.Members(string(text)) {
			got[k] = json.RawMessage(v)
		}
		want := map[string]json.RawMessage{}
		require.NoError(t, json.Unmarshal(text, &want))
		require.Equal(t, want, got)
	})
}

func FuzzMembersEndOnAnyText(f *testing.F) {
	for _, s := range []string{`{"a":1}`, `{"a":`, `{"\u00`, `[`, `{"a":{"b":"\"`, ``} {
		f.Add(s)
	}
	f.Fuzz(func(_ *testing.T, text string) {
		for k, v := range record.Members(text) {
			_, _ = k, v
		}
	})
}

func TestNoValueAllocates(t *testing.T) {
	st := arrow.StructOf(
		arrow.Field{Name: "s", Type: arrow.BinaryTypes.String},
		arrow.Field{Name: "i", Type: arrow.PrimitiveTypes.Int64},
		arrow.Field{Name: "d", Type: &arrow.Decimal128Type{Precision: 10, Scale: 2}},
		arrow.Field{Name: "t", Type: &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}},
		arrow.Field{Name: "o", Type: arrow.BinaryTypes.String, Metadata: meta(record.MetaOpen, "true")},
	)
	col := column(t, st, `[{"s":"x","i":1,"d":"2.50","t":"2026-01-02 03:04:05Z","o":"{\"k\":[1,2]}"}]`)
	f := arrow.Field{Type: st}
	buf := make([]byte, 0, 1024)
	require.Zero(t, testing.AllocsPerRun(100, func() { buf = record.AppendJSON(buf[:0], col, f, 0) }))
	require.Equal(t, `{"s":"x","i":1,"d":"2.50","t":"2026-01-02T03:04:05Z","k":[1,2]}`, string(buf))
}
