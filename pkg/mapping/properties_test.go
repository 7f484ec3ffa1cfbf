package mapping_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"
	"pgregory.net/rapid"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/mapping"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/wire"
)

// caseOf compiles a case file and reads its rows.
func caseOf(t *testing.T, name string) (*mapping.Program, arrow.RecordBatch) {
	arc, err := txtar.ParseFile("testdata/" + name + ".txtar")
	require.NoError(t, err)
	model, _ := section(arc.Files, "model")
	columns, _ := section(arc.Files, "columns")
	rows, _ := section(arc.Files, "rows")
	var m *resource.Mapping
	if text, ok := section(arc.Files, "mapping"); ok {
		m = readMapping(t, text)
	}
	schema := readSchema(t, columns)
	p, err := mapping.Compile(m, readModel(t, model), schema)
	require.NoError(t, err)
	return p, readRows(t, schema, rows)
}

// results tells what became of each row, hashes included, and nothing of its position.
func results(b record.Batch) map[int]string {
	out := map[int]string{}
	hashes := b.Record.Column(record.PosRecordHash).(*array.FixedSizeBinary)
	keys := b.Record.Column(record.PosKey).(*array.FixedSizeBinary)
	values := b.Record.Column(record.PosKeyValues).(*array.String)
	for i := range int(b.Record.NumRows()) {
		at := int(b.Record.Column(record.PosRow).(*array.Int32).Value(i))
		out[at] = fmt.Sprintf("%s %s %q %s", hex.EncodeToString(hashes.Value(i)), hex.EncodeToString(keys.Value(i)), values.Value(i), record.AppendRecord(nil, b, i))
	}
	for _, r := range b.Rejects {
		out[int(r.Row)] = fmt.Sprintf("%s %s %q %s %s %s", r.Key, r.Hash, r.KeyValues, r.Column, r.Rule, r.Reason)
	}
	for i, at := range b.Kept.At {
		out[int(at)] += " kept " + string(record.AppendRow(nil, b.Kept.Rows.Record, b.Kept.Rows.Columns(), i))
	}
	return out
}

func splitCases() []string {
	return []string{
		"example_customers", "example_orders", "by_name", "no_identity", "types_number", "types_timestamp", "types_as_they_are",
		"types_json", "identities", "transforms", "defaults", "milliseconds", "events_by_row", "commerce", "open_struct", "open_json",
		"expressions", "short_form", "statics", "on_null", "unmapped",
	}
}

// Each row ends as one record or one reject, with the key and the hash that it was read with.
func TestEachRecordKeepsTheKeyAndTheHashOfItsRow(t *testing.T) {
	for _, name := range splitCases() {
		t.Run(name, func(t *testing.T) {
			p, rec := caseOf(t, name)
			rows := sealed(t, rec, p.KeyColumns())
			want, got := map[int32][2]string{}, map[int32][2]string{}
			system := rows.Record.Columns()[rows.Columns():]
			for i := range int(rows.Record.NumRows()) {
				want[int32(i)] = [2]string{system[0].ValueStr(i), system[1].ValueStr(i)}
			}
			b := p.Apply(rows)
			for i := range int(b.Record.NumRows()) {
				at := b.Record.Column(record.PosRow).(*array.Int32).Value(i)
				require.NotContains(t, got, at)
				got[at] = [2]string{b.Record.Column(record.PosKey).ValueStr(i), b.Record.Column(record.PosHash).ValueStr(i)}
			}
			for _, r := range b.Rejects {
				require.NotContains(t, got, r.Row)
				hash := r.Hash.Bytes()
				got[r.Row] = [2]string{base64.StdEncoding.EncodeToString(r.Key[:]), base64.StdEncoding.EncodeToString(hash[:])}
			}
			for _, f := range b.Filtered {
				got[f.Row] = want[f.Row]
			}
			require.Equal(t, want, got)
		})
	}
}

func TestWhereverATableIsSplitTheRecordsAreTheSame(t *testing.T) {
	for _, name := range splitCases() {
		t.Run(name, func(t *testing.T) {
			p, rec := caseOf(t, name)
			whole := results(p.Apply(sealed(t, rec, p.KeyColumns())))
			rapid.Check(t, func(t *rapid.T) {
				got := map[int]string{}
				for from := int64(0); from < rec.NumRows(); {
					to := rapid.Int64Range(from+1, rec.NumRows()).Draw(t, "to")
					b := p.Apply(sealed(t, rec.NewSlice(from, to), p.KeyColumns()))
					for i, r := range results(b) {
						got[int(from)+i] = r
					}
					from = to
				}
				require.Equal(t, whole, got)
			})
		})
	}
}

func TestRecordsSurviveTheWire(t *testing.T) {
	for _, name := range splitCases() {
		t.Run(name, func(t *testing.T) {
			p, rec := caseOf(t, name)
			b := p.Apply(sealed(t, rec, p.KeyColumns()))
			data, err := wire.EncodeRecords(record.Origin{SyncID: "s"}, b)
			require.NoError(t, err)
			_, back, err := wire.DecodeRecords(data, 1<<20)
			require.NoError(t, err)
			require.Equal(t, results(b), results(back))
			require.Equal(t, b.Kind, back.Kind)
		})
	}
}

func hashOf(t *testing.T, rules, columns, rows string) string {
	schema := readSchema(t, columns)
	p, err := mapping.Compile(readMapping(t, rules), readModel(t, "kind: users\nkeys: [id]\n"), schema)
	require.NoError(t, err)
	b := p.Apply(sealed(t, readRows(t, schema, rows), p.KeyColumns()))
	require.Equal(t, int64(1), b.Record.NumRows())
	return hex.EncodeToString(b.Record.Column(record.PosRecordHash).(*array.FixedSizeBinary).Value(0))
}

func TestTheRecordHashChangesWithTheResultAndNothingElse(t *testing.T) {
	const id = "rules:\n  - {column: id, to: user_identities.customer_id}\n"
	base := hashOf(t, id+"  - {column: a, to: user_attributes.a}\n  - {ignore: b}\n", "id int64\na int32\nb int64", `[1, 5, 1]`)
	same := map[string]string{
		"an ignored column changed":    hashOf(t, id+"  - {column: a, to: user_attributes.a}\n  - {ignore: b}\n", "id int64\na int32\nb int64", `[1, 5, 2]`),
		"columns in another order":     hashOf(t, id+"  - {column: a, to: user_attributes.a}\n", "a int32\nid int64", `[5, 1]`),
		"another width":                hashOf(t, id+"  - {column: a, to: user_attributes.a}\n", "id int32\na int64", `[1, 5]`),
		"nested rules":                 hashOf(t, id+"  - {object: user_attributes, rules: [{column: a, to: a}]}\n", "id int64\na int64", `[1, 5]`),
		"a column that is NULL":        hashOf(t, id+"  - {column: $unmapped, to: user_attributes.*}\n", "id int64\na int64\nc utf8", `[1, 5, null]`),
		"a static value of that value": hashOf(t, id+"  - {static: 5, to: user_attributes.a}\n", "id int64", `[1]`),
	}
	for why, h := range same {
		require.Equal(t, base, h, why)
	}
	different := map[string]string{
		"another value":       hashOf(t, id+"  - {column: a, to: user_attributes.a}\n", "id int64\na int64", `[1, 6]`),
		"another field":       hashOf(t, id+"  - {column: a, to: user_attributes.b}\n", "id int64\na int64", `[1, 5]`),
		"another identity":    hashOf(t, "rules:\n  - {column: id, to: user_identities.other}\n  - {column: a, to: user_attributes.a}\n", "id int64\na int64", `[1, 5]`),
		"another type":        hashOf(t, id+"  - {column: a, to: user_attributes.a, type: string}\n", "id int64\na int64", `[1, 5]`),
		"a NULL that clears":  hashOf(t, id+"  - {column: a, to: user_attributes.a}\n  - {column: c, to: user_attributes.c, on_null: clear}\n", "id int64\na int64\nc utf8", `[1, 5, null]`),
		"one more attribute":  hashOf(t, id+"  - {column: a, to: user_attributes.a}\n  - {static: x, to: user_attributes.c}\n", "id int64\na int64", `[1, 5]`),
		"no attribute at all": hashOf(t, id+"  - {ignore: a}\n", "id int64\na int64", `[1, 5]`),
	}
	seen := map[string]string{base: "base"}
	for why, h := range different {
		require.Empty(t, seen[h], why)
		seen[h] = why
	}
}

func TestLimitsAreReported(t *testing.T) {
	l := mapping.DefaultLimits()
	var fields []arrow.Field
	for i := range l.Columns + 1 {
		fields = append(fields, arrow.Field{Name: fmt.Sprintf("c%d", i), Type: arrow.PrimitiveTypes.Int64})
	}
	_, err := mapping.Compile(nil, resource.DataModel{Kind: resource.Users}, arrow.NewSchema(fields, nil))
	require.ErrorContains(t, err, "columns: 1001 columns are selected, the limit is 1000; select fewer columns")

	l.Rules, l.StaticBytes, l.ExpressionSize = 3, 10, 10
	m := readMapping(t, "rules:\n"+
		"  - {column: id, to: user_identities.customer_id}\n"+
		"  - {static: "+strings.Repeat("x", 100)+", to: user_attributes.x}\n"+
		"  - {expression: \"row.id + 1000000\", to: user_attributes.y}\n"+
		"  - {static: 1, to: user_attributes.z}\n")
	_, err = l.Compile(m, resource.DataModel{Kind: resource.Users}, readSchema(t, "id int64"))
	require.Len(t, fault.As(err).Violations, 3)
	require.ErrorContains(t, err, "rules[1].static: makes static values longer than 10 bytes in all")
	require.ErrorContains(t, err, "rules[2].expression: is longer than 10 characters")
	require.ErrorContains(t, err, "rules: has more than 3 rules")
}

func TestNoRowsMakeNoRecords(t *testing.T) {
	for _, name := range splitCases() {
		p, rec := caseOf(t, name)
		b := p.Apply(sealed(t, rec.NewSlice(0, 0), p.KeyColumns()))
		require.Zero(t, b.Rows(), name)
		require.Equal(t, p.Schema().NumFields(), int(b.Record.NumCols()))
	}
}
