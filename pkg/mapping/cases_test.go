package mapping_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
	"golang.org/x/tools/txtar"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/mapping"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/row"
	"millrace.dev/pkg/source"
)

var update = flag.Bool("update", false, "write what comes out into the case files")

// TestCases runs testdata/*.txtar. A case has the sections
//
//	model     the data model (YAML: kind, keys, iterator); absent: users without keys
//	mapping   rules or events as documents write them; absent: by name
//	columns   one per line: name, type and, where it matters, the warehouse's own type
//	rows      one JSON array per line
//	until     the last instant that an event of these rows may have; absent: any
//
// and what comes out: faults, or records and rejects with the position of their row, and notes.
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			arc, err := txtar.ParseFile(file)
			require.NoError(t, err)
			var in []txtar.File
			var want string
			for _, f := range arc.Files {
				switch f.Name {
				case "model", "mapping", "columns", "rows", "until":
					in = append(in, f)
				default:
					want += "-- " + f.Name + " --\n" + string(f.Data)
				}
			}
			out := runCase(t, in)
			if *update {
				arc.Files = append(in, out...)
				require.NoError(t, os.WriteFile(file, txtar.Format(arc), 0o644))
				return
			}
			var got string
			for _, f := range out {
				got += "-- " + f.Name + " --\n" + string(f.Data)
			}
			require.Equal(t, want, got)
		})
	}
}

func section(files []txtar.File, name string) (string, bool) {
	for _, f := range files {
		if f.Name == name {
			return string(f.Data), true
		}
	}
	return "", false
}

func runCase(t *testing.T, in []txtar.File) []txtar.File {
	model, _ := section(in, "model")
	columns, _ := section(in, "columns")
	rows, _ := section(in, "rows")
	var m *resource.Mapping
	if text, ok := section(in, "mapping"); ok {
		m = readMapping(t, text)
	}
	dm := readModel(t, model)
	schema := readSchema(t, columns)
	p, err := mapping.Compile(m, dm, schema)
	if err != nil {
		return []txtar.File{{Name: "faults", Data: []byte(faults(t, err))}}
	}
	rec := readRows(t, schema, rows)
	var until time.Time
	if text, ok := section(in, "until"); ok {
		until, err = time.Parse(time.RFC3339, strings.TrimSpace(text))
		require.NoError(t, err)
	}
	out, tally := p.ApplyUntil(sealed(t, rec, p.KeyColumns()), until)
	checkShape(t, rec, p, out)
	return outcome(p, out, tally)
}

func outcome(p *mapping.Program, out record.Batch, tally mapping.Tally) []txtar.File {
	var records, rejects, notes strings.Builder
	for i := range int(out.Record.NumRows()) {
		at := out.Record.Column(record.PosRow).(*array.Int32).Value(i)
		fmt.Fprintf(&records, "row %d: %s\n", at, record.AppendRecord(nil, out, i))
	}
	for _, r := range out.Rejects {
		fmt.Fprintf(&rejects, "row %d, key %q, column %q, rule %s: %s\n", r.Row, r.KeyValues, r.Column, r.Rule, r.Reason)
	}
	if k := p.KeyColumns(); len(k) > 0 {
		fmt.Fprintf(&notes, "key columns: %s\n", strings.Join(k, ", "))
	}
	fmt.Fprintf(&notes, "fields: %s\n", strings.Join(p.Fields(), " "))
	if tally.Rounded > 0 {
		fmt.Fprintf(&notes, "rounded: %d\n", tally.Rounded)
	}
	files := []txtar.File{{Name: "records", Data: []byte(records.String())}}
	if rejects.Len() > 0 {
		files = append(files, txtar.File{Name: "rejects", Data: []byte(rejects.String())})
	}
	return append(files, txtar.File{Name: "notes", Data: []byte(notes.String())})
}

// checkShape checks what holds of every result.
func checkShape(t require.TestingT, rec arrow.RecordBatch, p *mapping.Program, out record.Batch) {
	require.Equal(t, rec.NumRows(), out.Rows())
	require.True(t, out.Record.Schema().Equal(p.Schema()))
	for i := range int(out.Record.NumRows()) {
		require.True(t, json.Valid(record.AppendRecord(nil, out, i)))
	}
	for _, r := range out.Rejects {
		require.Contains(t, out.Kept.At, r.Row)
	}
	for i := range out.Kept.Len() {
		require.True(t, json.Valid(record.AppendRow(nil, out.Kept.Rows.Record, out.Kept.Rows.Columns(), i)))
	}
}

func faults(t *testing.T, err error) string {
	e := fault.As(err)
	require.Equal(t, fault.Invalid, e.Class)
	require.Equal(t, fault.ReasonMappingInvalid, e.Reason)
	var b strings.Builder
	for _, v := range e.Violations {
		require.NotEmpty(t, v.Fix, v.String())
		fmt.Fprintln(&b, v)
	}
	return b.String()
}

// sealed adds the system columns as the extractor does.
func sealed(t require.TestingT, rec arrow.RecordBatch, keys []string) row.Batch {
	h, err := row.NewHasher(rec.Schema(), keys)
	require.NoError(t, err)
	k, hashes := h.Hash(rec)
	n := int(rec.NumRows())
	times := array.MakeArrayOfNull(memory.DefaultAllocator, &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}, n)
	below := array.NewBooleanBuilder(memory.DefaultAllocator)
	below.AppendValues(make([]bool, n), nil)
	return row.Seal(rec, k, hashes, times, below.NewArray())
}

func readModel(t *testing.T, text string) resource.DataModel {
	var m struct {
		Kind      string
		Keys      []string
		GroupType string `yaml:"group_type"`
		StartTime string `yaml:"start_time"`
		Iterator  struct {
			Column, Type string
			TimeZone     string `yaml:"time_zone"`
		}
	}
	require.NoError(t, yaml.Unmarshal([]byte(text), &m))
	if m.Kind == "" {
		m.Kind = "users"
	}
	return resource.DataModel{
		Kind: resource.RecordKind(m.Kind), KeyColumns: m.Keys, GroupType: m.GroupType, StartTime: m.StartTime,
		Iterator: resource.Iterator{Column: m.Iterator.Column, Type: resource.IteratorType(m.Iterator.Type), TimeZone: m.Iterator.TimeZone},
	}
}

func readMapping(t require.TestingT, text string) *resource.Mapping {
	var m struct {
		Rules  []map[string]any
		Events map[string]any
	}
	require.NoError(t, yaml.Unmarshal([]byte(text), &m))
	out := &resource.Mapping{Rules: rules(m.Rules)}
	if m.Events != nil {
		text := func(v any) string { s, _ := v.(string); return s }
		out.Events = &resource.EventsMapping{
			Time: text(m.Events["time"]), Name: text(m.Events["name"]), UserID: text(m.Events["user_id"]),
			DeviceID: text(m.Events["device_id"]), Properties: text(m.Events["properties"]),
		}
		if s, ok := m.Events["name"].(map[string]any); ok {
			out.Events.NameStatic = text(s["static"])
		}
	}
	return out
}

func rules(in []map[string]any) []resource.Rule {
	var out []resource.Rule
	for _, m := range in {
		text := func(k string) string {
			if v, ok := m[k]; ok && v != nil {
				return fmt.Sprint(v)
			}
			return ""
		}
		r := resource.Rule{
			Column: text("column"), Expression: text("expression"), Ignore: text("ignore"), Object: text("object"),
			To: text("to"), Type: text("type"), OnNull: text("on_null"), OnLoss: text("on_loss"),
		}
		if v, ok := m["static"]; ok {
			r.Static, r.HasStatic = plainValue(v), true
		}
		if v, ok := m["default"]; ok {
			r.Default, r.HasDefault = plainValue(v), true
		}
		if list, ok := m["transform"].([]any); ok {
			for _, v := range list {
				r.Transform = append(r.Transform, fmt.Sprint(v))
			}
		}
		if inner, ok := m["rules"].([]any); ok {
			var maps []map[string]any
			for _, v := range inner {
				one, _ := v.(map[string]any)
				maps = append(maps, one)
			}
			r.Rules = rules(maps)
		}
		out = append(out, r)
	}
	return out
}

func plainValue(v any) any {
	if n, ok := v.(int); ok {
		return int64(n)
	}
	return v
}

var structField = regexp.MustCompile(`(\w+):([^,>]+)`)

func arrowType(t require.TestingT, s string) arrow.DataType {
	units := map[string]arrow.TimeUnit{"s": arrow.Second, "ms": arrow.Millisecond, "us": arrow.Microsecond, "ns": arrow.Nanosecond}
	inner := func(prefix string) (string, bool) {
		return strings.TrimSuffix(strings.TrimPrefix(s, prefix), ">"), strings.HasPrefix(s, prefix)
	}
	for _, dt := range []arrow.DataType{
		arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int16, arrow.PrimitiveTypes.Int8,
		arrow.PrimitiveTypes.Uint64, arrow.PrimitiveTypes.Uint32, arrow.PrimitiveTypes.Float64, arrow.PrimitiveTypes.Float32,
		arrow.BinaryTypes.String, arrow.BinaryTypes.LargeString, arrow.BinaryTypes.Binary, arrow.FixedWidthTypes.Boolean,
		arrow.PrimitiveTypes.Date32, arrow.Null, arrow.FixedWidthTypes.MonthDayNanoInterval, arrow.FixedWidthTypes.Time64us,
	} {
		if dt.Name() == s || dt.String() == s {
			return dt
		}
	}
	if in, ok := inner("list<"); ok {
		return arrow.ListOf(arrowType(t, in))
	}
	if in, ok := inner("fixed<"); ok {
		return arrow.FixedSizeListOf(2, arrowType(t, in))
	}
	if in, ok := inner("dictionary<"); ok {
		return &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: arrowType(t, in)}
	}
	if in, ok := inner("map<"); ok {
		return arrow.MapOf(arrow.BinaryTypes.String, arrowType(t, in))
	}
	if in, ok := inner("struct<"); ok {
		var fields []arrow.Field
		for _, m := range structField.FindAllStringSubmatch(in, -1) {
			fields = append(fields, arrow.Field{Name: m[1], Type: arrowType(t, m[2]), Nullable: true})
		}
		return arrow.StructOf(fields...)
	}
	if in, ok := strings.CutPrefix(s, "decimal("); ok {
		p, sc, _ := strings.Cut(strings.TrimSuffix(in, ")"), ",")
		precision, _ := strconv.Atoi(p)
		scale, _ := strconv.Atoi(sc)
		dt, err := arrow.NewDecimalType(arrow.DECIMAL128, int32(precision), int32(scale))
		require.NoError(t, err)
		return dt
	}
	if in, ok := strings.CutPrefix(s, "timestamp["); ok {
		unit, zone, _ := strings.Cut(strings.TrimSuffix(in, "]"), ";")
		return &arrow.TimestampType{Unit: units[unit], TimeZone: zone}
	}
	require.Fail(t, "unknown type "+s)
	return nil
}

func readSchema(t require.TestingT, text string) *arrow.Schema {
	var fields []arrow.Field
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		if strings.HasPrefix(line, "#") || line == "" {
			continue
		}
		var name, rest string
		if strings.HasPrefix(line, `"`) {
			end := strings.Index(line[1:], `"`) + 1
			name, rest = line[1:end], strings.TrimSpace(line[end+1:])
		} else {
			name, rest, _ = strings.Cut(line, " ")
		}
		typ, own, has := strings.Cut(strings.TrimSpace(rest), " ")
		f := arrow.Field{Name: name, Type: arrowType(t, typ), Nullable: true}
		if has {
			f.Metadata = arrow.NewMetadata([]string{source.MetaType}, []string{own})
		}
		fields = append(fields, f)
	}
	return arrow.NewSchema(fields, nil)
}

func readRows(t require.TestingT, s *arrow.Schema, text string) arrow.RecordBatch {
	values := make([][]json.RawMessage, s.NumFields())
	n := 0
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		if line == "" {
			continue
		}
		var cells []json.RawMessage
		require.NoError(t, json.Unmarshal([]byte(line), &cells), line)
		require.Len(t, cells, s.NumFields(), line)
		for i, c := range cells {
			values[i] = append(values[i], c)
		}
		n++
	}
	cols := make([]arrow.Array, s.NumFields())
	for i, f := range s.Fields() {
		text, err := json.Marshal(values[i])
		require.NoError(t, err)
		if values[i] == nil {
			text = []byte("[]")
		}
		cols[i], _, err = array.FromJSON(memory.DefaultAllocator, f.Type, bytes.NewReader(text))
		require.NoError(t, err, f.Name)
	}
	return array.NewRecordBatch(s, cols, int64(n))
}

func modelOfCustomers() resource.DataModel {
	return resource.DataModel{
		Kind: resource.Users, KeyColumns: []string{"id"},
		Iterator: resource.Iterator{Column: "updated_at", Type: resource.IteratorTimestamp},
	}
}
