//go:build cgo && duckdb_arrow

package sharingtest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// column is a column of a table, as the engine and as Delta have it.
type column struct {
	name     string
	kind     string // the engine's type
	typ      any    // Delta's, as JSON has it
	nullable bool
}

func plain(name string) any { return name }

// export answers the expression that writes the column into a file.
func (c column) export(mapped bool) string {
	out := quote(c.name)
	switch c.kind {
	case "HUGEINT":
		out = "CAST(" + out + " AS DECIMAL(38,0))"
	case "UUID", "JSON", "TIME", "INTERVAL":
		out = "CAST(" + out + " AS VARCHAR)"
	}
	as := c.name
	if mapped {
		as = "col-" + c.name
	}
	return out + " AS " + quote(as)
}

// columns answers a table's columns, in order.
func (p *Peer) columns(ctx context.Context, name string) ([]column, error) {
	rows, err := p.db.QueryContext(ctx, "SELECT column_name, data_type, is_nullable = 'YES' FROM information_schema.columns WHERE table_schema = '"+Schema+"' AND table_name = ? ORDER BY ordinal_position", name)
	if err != nil {
		return nil, err //nolint:wrapcheck // told to the test
	}
	defer func() { _ = rows.Close() }()
	var out []column
	for rows.Next() {
		var c column
		if err := rows.Scan(&c.name, &c.kind, &c.nullable); err != nil {
			return nil, err //nolint:wrapcheck // told to the test
		}
		c.typ = deltaOf(c.kind)
		out = append(out, c)
	}
	return out, rows.Err() //nolint:wrapcheck // told to the test
}

// deltaOf answers Delta's type for one of the engine's.
func deltaOf(kind string) any {
	if inner, ok := strings.CutSuffix(kind, "[]"); ok {
		return map[string]any{"type": "array", "elementType": deltaOf(inner), "containsNull": true}
	}
	if inner, ok := strings.CutPrefix(kind, "STRUCT("); ok {
		fields := []any{}
		for _, f := range split(strings.TrimSuffix(inner, ")")) {
			name, typ, _ := strings.Cut(f, " ")
			fields = append(fields, map[string]any{"name": strings.Trim(name, `"`), "type": deltaOf(typ), "nullable": true, "metadata": map[string]any{}})
		}
		return map[string]any{"type": "struct", "fields": fields}
	}
	if inner, ok := strings.CutPrefix(kind, "MAP("); ok {
		kv := split(strings.TrimSuffix(inner, ")"))
		return map[string]any{"type": "map", "keyType": deltaOf(kv[0]), "valueType": deltaOf(kv[1]), "valueContainsNull": true}
	}
	if strings.HasPrefix(kind, "DECIMAL") {
		return strings.ToLower(kind)
	}
	types := map[string]string{
		"BOOLEAN": "boolean", "TINYINT": "byte", "SMALLINT": "short", "INTEGER": "integer", "BIGINT": "long", "FLOAT": "float", "DOUBLE": "double",
		"HUGEINT": "decimal(38,0)", "BLOB": "binary", "DATE": "date", "TIMESTAMP WITH TIME ZONE": "timestamp", "TIMESTAMP": "timestamp_ntz",
		"INTERVAL": "interval day to second",
	}
	if t, ok := types[kind]; ok {
		return t
	}
	return "string"
}

// split cuts at commas outside of parentheses.
func split(s string) []string {
	var out []string
	depth, from := 0, 0
	for i, r := range s {
		switch {
		case r == '(':
			depth++
		case r == ')':
			depth--
		case r == ',' && depth == 0:
			out, from = append(out, strings.TrimSpace(s[from:i])), i+1
		}
	}
	return append(out, strings.TrimSpace(s[from:]))
}

// schemaString answers a table's schema as metadata has it.
func schemaString(columns []column, mapped bool) string {
	fields := []any{}
	for i, c := range columns {
		meta := map[string]any{}
		if mapped {
			meta = map[string]any{"delta.columnMapping.id": i + 1, "delta.columnMapping.physicalName": "col-" + c.name}
		}
		fields = append(fields, map[string]any{"name": c.name, "type": c.typ, "nullable": c.nullable, "metadata": meta})
	}
	text, err := json.Marshal(map[string]any{"type": "struct", "fields": fields})
	if err != nil {
		return "" // names and types always have a form
	}
	return string(text)
}

// stats answers a file's statistics as Delta writes them: instants cut down to milliseconds.
func (p *Peer) stats(ctx context.Context, v version, f file) (string, error) {
	from := "'" + f.path + "'"
	n, err := p.number(ctx, "SELECT count(*) FROM "+from)
	if err != nil {
		return "", err
	}
	low, high, nulls := map[string]json.RawMessage{}, map[string]json.RawMessage{}, map[string]int64{}
	for _, c := range v.columns {
		name, ok := c.typ.(string)
		if _, partition := f.partition[c.name]; !ok || partition || v.set.Mapped {
			continue
		}
		q := quote(c.name)
		if nulls[c.name], err = p.number(ctx, "SELECT count(*) - count("+q+") FROM "+from); err != nil {
			return "", err
		}
		form := ""
		switch {
		case name == "timestamp":
			form = `'"' || strftime(CAST(date_trunc('millisecond', %s) AS TIMESTAMP), '%%Y-%%m-%%dT%%H:%%M:%%S.%%g') || 'Z"'`
		case name == "date":
			form = `'"' || CAST(%s AS VARCHAR) || '"'`
		case name == "long", name == "integer", name == "short", name == "byte", strings.HasPrefix(name, "decimal"):
			form = `CAST(%s AS VARCHAR)`
		}
		if form == "" || nulls[c.name] == n {
			continue
		}
		for to, of := range map[string]string{"l": "min(" + q + ")", "h": "max(" + q + ")"} {
			text, err := p.strings(ctx, "SELECT "+fmt.Sprintf(form, of)+" FROM "+from)
			if err != nil {
				return "", err
			}
			if to == "l" {
				low[c.name] = literal(text[0])
			} else {
				high[c.name] = literal(text[0])
			}
		}
	}
	text, err := json.Marshal(map[string]any{"numRecords": n, "minValues": low, "maxValues": high, "nullCount": nulls})
	return string(text), err //nolint:wrapcheck // told to the test
}

// literal answers a number as JSON has it, with a digit before the point.
func literal(text string) json.RawMessage {
	if digits, ok := strings.CutPrefix(text, "-."); ok {
		return json.RawMessage("-0." + digits)
	}
	if strings.HasPrefix(text, ".") {
		text = "0" + text
	}
	return json.RawMessage(text)
}

func sizeOf(path string) (int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err //nolint:wrapcheck // told to the test
	}
	return info.Size(), nil
}
