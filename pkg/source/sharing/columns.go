package sharing

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
)

// query is a model, looked at beside its table.
type query struct {
	model
	schema *arrow.Schema
	// names are those of the table's columns, as files have them.
	names []string
	// deep are the types of nested columns as Delta writes them; nil for the others.
	deep []*deltaType
}

// deltaType is a type of a Delta schema.
type deltaType struct {
	name   string // of a primitive type, or array, map, struct
	of     *deltaType
	key    *deltaType
	fields []deltaField
}

type deltaField struct {
	name     string
	typ      *deltaType
	nullable bool
	physical string // set where the table maps its columns
}

// UnmarshalJSON reads "long", or a nested type's document.
func (t *deltaType) UnmarshalJSON(text []byte) error {
	if json.Unmarshal(text, &t.name) == nil {
		return nil
	}
	var in struct {
		Type        string     `json:"type"`
		ElementType *deltaType `json:"elementType"`
		KeyType     *deltaType `json:"keyType"`
		ValueType   *deltaType `json:"valueType"`
		Fields      []struct {
			Name     string         `json:"name"`
			Type     *deltaType     `json:"type"`
			Nullable bool           `json:"nullable"`
			Metadata map[string]any `json:"metadata"`
		} `json:"fields"`
	}
	if err := json.Unmarshal(text, &in); err != nil {
		return err //nolint:wrapcheck // told as malformed
	}
	t.name, t.of, t.key = in.Type, in.ElementType, in.KeyType
	if in.ValueType != nil {
		t.of = in.ValueType
	}
	for _, f := range in.Fields {
		physical, _ := f.Metadata["delta.columnMapping.physicalName"].(string)
		if f.Type == nil || f.Name == "" {
			return errType
		}
		t.fields = append(t.fields, deltaField{name: f.Name, typ: f.Type, nullable: f.Nullable, physical: physical})
	}
	if t.name == "" || t.name == "array" && t.of == nil || t.name == "map" && (t.of == nil || t.key == nil) {
		return errType
	}
	return nil
}

var errType = errors.New("no type of Delta")

// describe answers what m reads of a table. Every column that is not there, or of a type that is not read, is told at once.
func (m model) describe(t *metadata) (*query, error) {
	if err := t.readable(m.table); err != nil {
		return nil, err
	}
	q := &query{model: m}
	if m.columns == nil {
		for _, f := range t.fields {
			q.columns = append(q.columns, selected{name: f.name, as: f.name})
		}
	}
	vs := slices.Clone(m.faults)
	var names []string
	var fields []arrow.Field
	for _, c := range q.columns {
		f, ok := t.field(c.name)
		if !ok {
			vs = append(vs, fault.Violation{Field: "sql", Message: lineOf(c.line) + "column " + sqltext.Quote(c.name) + " is not in " + m.table.what(), Fix: "mend the name"})
			continue
		}
		k, refusal := kindOf(f.typ)
		if refusal != "" {
			vs = append(vs, fault.Violation{Field: "sql", Message: lineOf(c.line) + "column " + sqltext.Quote(f.name) + " " + refusal, Fix: "have the provider share it as another type, or leave it out"})
			continue
		}
		names = append(names, c.as)
		q.names = append(q.names, f.name)
		q.deep = append(q.deep, k.deep)
		fields = append(fields, k.field(c.as, f.typ))
	}
	if err := sqltext.SameNames(names); err != nil {
		return nil, err //nolint:wrapcheck // classified
	}
	if err := fault.Of(fault.ReasonQueryInvalid, vs); err != nil {
		return nil, err //nolint:wrapcheck // classified
	}
	if len(fields) == 0 {
		return nil, queryInvalid("%s has no columns", m.table.what())
	}
	q.schema = arrow.NewSchema(fields, nil)
	return q, nil
}

func lineOf(line int) string {
	if line == 0 {
		return ""
	}
	return "line " + strconv.Itoa(line) + ": "
}

// kind is how values of a type are read (README.md has the table).
type kind struct {
	typ  arrow.DataType
	deep *deltaType // they become JSON text
}

func (k kind) field(name string, own *deltaType) arrow.Field {
	meta := map[string]string{source.MetaType: own.String()}
	if k.deep != nil {
		meta[record.MetaJSON] = "true"
	}
	return arrow.Field{Name: name, Type: k.typ, Nullable: true, Metadata: arrow.MetadataFrom(meta)}
}

// String answers the type as Databricks writes it in SQL.
func (t *deltaType) String() string {
	switch t.name {
	case "array":
		return "array<" + t.of.String() + ">"
	case "map":
		return "map<" + t.key.String() + "," + t.of.String() + ">"
	case "struct":
		var b strings.Builder
		for i, f := range t.fields {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(f.name + ":" + f.typ.String())
		}
		return "struct<" + b.String() + ">"
	}
	return t.name
}

// instant is what timestamps become.
//
//nolint:gochecknoglobals // never changed
var instant = &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}

// kindOf answers how a type is read, or why it is not.
func kindOf(t *deltaType) (kind, string) {
	switch t.name {
	case "boolean":
		return kind{typ: arrow.FixedWidthTypes.Boolean}, ""
	case "byte":
		return kind{typ: arrow.PrimitiveTypes.Int8}, ""
	case "short":
		return kind{typ: arrow.PrimitiveTypes.Int16}, ""
	case "integer":
		return kind{typ: arrow.PrimitiveTypes.Int32}, ""
	case "long":
		return kind{typ: arrow.PrimitiveTypes.Int64}, ""
	case "float":
		return kind{typ: arrow.PrimitiveTypes.Float32}, ""
	case "double":
		return kind{typ: arrow.PrimitiveTypes.Float64}, ""
	case "string":
		return kind{typ: arrow.BinaryTypes.String}, ""
	case "binary":
		return kind{typ: arrow.BinaryTypes.Binary}, ""
	case "date":
		return kind{typ: arrow.FixedWidthTypes.Date32}, ""
	case "timestamp":
		return kind{typ: instant}, ""
	case "array", "map", "struct":
		if refusal := t.deepRefusal(); refusal != "" {
			return kind{}, refusal
		}
		return kind{typ: arrow.BinaryTypes.String, deep: t}, ""
	}
	if p, s, ok := digits(t.name); ok {
		return kind{typ: &arrow.Decimal128Type{Precision: p, Scale: s}}, ""
	}
	return kind{}, refusalOf(t.name)
}

// refusalOf says why a type is not read.
func refusalOf(name string) string {
	switch {
	case name == "timestamp_ntz":
		return "is of type TIMESTAMP_NTZ, which Delta Sharing does not carry"
	case strings.HasPrefix(name, "interval"):
		return "is an interval, which no field of a customer data platform can hold"
	case name == "void":
		return "is of type VOID, which no file holds"
	}
	return "is of the type " + name + ", which is not read"
}

// deepRefusal says why a nested type is not read, "" where it is.
func (t *deltaType) deepRefusal() string {
	for _, inner := range []*deltaType{t.of, t.key} {
		if inner == nil {
			continue
		}
		if _, refusal := kindOf(inner); refusal != "" {
			return "has within it what " + refusal
		}
	}
	for _, f := range t.fields {
		if _, refusal := kindOf(f.typ); refusal != "" {
			return "has within it field " + sqltext.Quote(f.name) + ", which " + refusal
		}
	}
	return ""
}

// digits reads "decimal(38,10)".
func digits(name string) (precision, scale int32, ok bool) {
	rest, ok := strings.CutPrefix(name, "decimal(")
	if !ok {
		return 0, 0, false
	}
	p, s, ok := strings.Cut(strings.TrimSuffix(rest, ")"), ",")
	n, err := strconv.ParseInt(strings.TrimSpace(p), 10, 32)
	m, err2 := strconv.ParseInt(strings.TrimSpace(s), 10, 32)
	return int32(n), int32(m), ok && err == nil && err2 == nil && n >= 1 && n <= 38 && m >= 0 && m <= n
}
