//go:build cgo && duckdb_arrow

package databrickstest

import (
	"context"
	"errors"
	"regexp"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// sqlError is a fault as the warehouse states it.
type sqlError struct{ state, text string }

func (e *sqlError) Error() string { return e.text }

func refuse(state, condition, text string, line int) *sqlError {
	out := "[" + condition + "] " + text + " SQLSTATE: " + state
	if line > 0 {
		out += "; line " + strconv.Itoa(line) + " pos 0"
	}
	return &sqlError{state: state, text: out}
}

func syntax(line int) *sqlError {
	return refuse("42601", "PARSE_SYNTAX_ERROR", "Syntax error at or near end of input.", line)
}

var (
	lineOf     = regexp.MustCompile(`LINE (\d+):`)              //nolint:gochecknoglobals // never changes
	quotedName = regexp.MustCompile(`"([^"]+)"`)                //nolint:gochecknoglobals // never changes
	tableName  = regexp.MustCompile(`with name (\S+) does not`) //nolint:gochecknoglobals // never changes
)

// asSQL turns a fault of DuckDB into what Databricks states.
func asSQL(err error) *sqlError {
	var own *sqlError
	if err == nil || errors.As(err, &own) {
		return own
	}
	text, line := err.Error(), 0
	if m := lineOf.FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
	}
	switch {
	case strings.HasPrefix(text, "Catalog Error: Table"):
		name := "unknown"
		if m := tableName.FindStringSubmatch(text); m != nil {
			name = m[1]
		}
		return refuse("42P01", "TABLE_OR_VIEW_NOT_FOUND", "The table or view `"+name+"` cannot be found.", line)
	case strings.HasPrefix(text, "Binder Error: Referenced column"), strings.HasPrefix(text, "Binder Error: Table"):
		name := "unknown"
		if m := quotedName.FindStringSubmatch(text); m != nil {
			name = m[1]
		}
		return refuse("42703", "UNRESOLVED_COLUMN.WITHOUT_SUGGESTION", "A column, variable, or function parameter with name `"+name+"` cannot be resolved.", line)
	case strings.HasPrefix(text, "Parser Error"), strings.HasPrefix(text, "Binder Error"), strings.HasPrefix(text, "Catalog Error"), strings.HasPrefix(text, "Not implemented"):
		return syntax(line)
	case strings.HasPrefix(text, "Conversion Error"):
		return refuse("22018", "CAST_INVALID_INPUT", "The value 'secret' of the type \"STRING\" cannot be cast to \"INT\" because it is malformed.", line)
	case strings.HasPrefix(text, "Out of Range"):
		return refuse("22003", "ARITHMETIC_OVERFLOW", "integer overflow.", line)
	}
	return refuse("XX000", "INTERNAL_ERROR", "The warehouse failed.", 0)
}

// run runs one statement.
func (p *Peer) run(ctx context.Context, st Statement, op *operation) error {
	c, err := p.db.connect()
	if err != nil {
		return err
	}
	defer c.close()
	s := &sender{op: op, ctx: ctx}
	sql := st.SQL
	switch {
	case strings.HasPrefix(sql, "DESCRIBE QUERY "):
		text, err := p.translate(strings.TrimPrefix(sql, "DESCRIBE QUERY "), st.Values)
		if err != nil {
			return err
		}
		columns, err := c.describe(ctx, text)
		if err != nil {
			return err
		}
		// In a sub-select DuckDB gives columns of equal names other names, and NULL the type INTEGER. Databricks does not.
		if inner, ok := strings.CutPrefix(text, "SELECT * FROM ("); ok && strings.HasSuffix(inner, ") AS q") {
			own, err := c.describe(ctx, strings.TrimSuffix(inner, ") AS q"))
			for i := range own {
				if err == nil && len(own) == len(columns) {
					columns[i][0], columns[i][1] = own[i][0], own[i][1]
				}
			}
		}
		return s.texts([]string{"col_name", "data_type"}, columns)
	case strings.HasPrefix(sql, "DESCRIBE HISTORY "):
		version, err := p.freeze(ctx, c, strings.TrimSuffix(strings.TrimPrefix(sql, "DESCRIBE HISTORY "), " LIMIT 1"))
		if err != nil {
			return err
		}
		return s.texts([]string{"version", "operation"}, [][]string{{strconv.Itoa(version), "WRITE"}})
	case strings.HasPrefix(sql, "DESCRIBE DETAIL "), strings.HasPrefix(sql, "SHOW TBLPROPERTIES "):
		return p.tell(ctx, c, s, sql)
	case sql == "DESCRIBE SCHEMA `"+Catalog+"`.`"+Schema+"`":
		return s.texts([]string{"database_description_item", "database_description_value"}, [][]string{{"Namespace Name", Schema}})
	case strings.HasPrefix(sql, "DESCRIBE SCHEMA "):
		return refuse("42704", "SCHEMA_NOT_FOUND", "The schema cannot be found.", 0)
	case !strings.HasPrefix(sql, "SELECT ") && !strings.HasPrefix(sql, "WITH "):
		return syntax(1)
	}
	text, err := p.translate(sql, st.Values)
	if err != nil {
		return err
	}
	columns, err := c.describe(ctx, text)
	if err != nil {
		return err
	}
	if err := c.query(ctx, native(text, columns), s.begin, s.add); err != nil {
		return err
	}
	s.flush()
	return nil
}

// texts sends rows of text.
func (s *sender) texts(names []string, rows [][]string) error {
	fields := make([]arrow.Field, len(names))
	for i, n := range names {
		fields[i] = arrow.Field{Name: n, Type: arrow.BinaryTypes.String, Nullable: true}
	}
	schema := arrow.NewSchema(fields, nil)
	if err := s.begin(schema); err != nil {
		return err
	}
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for _, row := range rows {
		for i := range names {
			text := ""
			if i < len(row) {
				text = row[i]
			}
			b.Field(i).(*array.StringBuilder).Append(text) //nolint:forcetypeassert // by the schema
		}
	}
	batch := b.NewRecordBatch()
	defer batch.Release()
	s.add(batch)
	s.flush()
	return nil
}

// describe answers names and types of a SELECT's columns, as Databricks names them, and DuckDB's own types as third.
func (c *conn) describe(ctx context.Context, sql string) ([][]string, error) {
	var out [][]string
	err := c.query(ctx, "DESCRIBE "+sql, func(*arrow.Schema) error { return nil }, func(b arrow.RecordBatch) bool {
		for i := range int(b.NumRows()) {
			own := strings.Clone(b.Column(1).ValueStr(i))
			out = append(out, []string{strings.Clone(b.Column(0).ValueStr(i)), typeName(own), own})
		}
		return true
	})
	return out, err
}

// typeName answers Databricks' name of a type of DuckDB.
func typeName(own string) string {
	switch {
	case strings.HasSuffix(own, "]"):
		return "array<" + typeName(own[:strings.LastIndexByte(own, '[')]) + ">"
	case strings.HasPrefix(own, "STRUCT("):
		return "struct<" + strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(own, "STRUCT("), ")")) + ">"
	case strings.HasPrefix(own, "MAP("):
		return "map<" + strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(own, "MAP("), ")")) + ">"
	}
	switch own {
	case "INTEGER":
		return "int"
	case "VARCHAR", "UUID":
		return "string"
	case "BLOB":
		return "binary"
	case "TIMESTAMP":
		return "timestamp_ntz"
	case "TIMESTAMP WITH TIME ZONE":
		return "timestamp"
	case "HUGEINT":
		return "decimal(38,0)"
	case "JSON":
		return "variant"
	case "INTERVAL":
		return "interval day to second"
	case `"NULL"`:
		return "void"
	case "TIME":
		return "time(6)"
	}
	return strings.ToLower(own)
}

// native answers a SELECT whose columns have types that Databricks sends.
func native(sql string, columns [][]string) string {
	list, names := make([]string, len(columns)), make([]string, len(columns))
	for i, c := range columns {
		names[i] = "c" + strconv.Itoa(i)
		list[i] = names[i]
		switch c[2] {
		case "HUGEINT":
			list[i] = "CAST(" + names[i] + " AS DECIMAL(38,0))"
		case "JSON", "UUID":
			list[i] = "CAST(" + names[i] + " AS VARCHAR)"
		}
		list[i] += " AS " + quote(c[0])
	}
	return "SELECT " + strings.Join(list, ", ") + " FROM (" + sql + "\n) AS _peer(" + strings.Join(names, ", ") + ")"
}

// lookUp answers the table of a name, where it is one, and its name for DuckDB.
func (p *Peer) lookUp(ctx context.Context, c *conn, name string) (*table, string, error) {
	text, err := p.translate(name, nil)
	if err != nil {
		return nil, "", err
	}
	if _, err := c.describe(ctx, "SELECT * FROM "+text); err != nil {
		return nil, "", err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.tables[keyOf(text)]
	if t == nil {
		return nil, "", refuse("42809", "EXPECT_TABLE_NOT_VIEW.NO_ALTERNATIVE", "The statement expects a table.", 0)
	}
	return t, text, nil
}

// freeze copies a table as it is now and answers the copy's version.
func (p *Peer) freeze(ctx context.Context, c *conn, name string) (int, error) {
	t, text, err := p.lookUp(ctx, c, name)
	if err != nil {
		return 0, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.version, p.copy(c, t, text)
}

// tell answers what is known of a table.
func (p *Peer) tell(ctx context.Context, c *conn, s *sender, sql string) error {
	words := strings.SplitN(sql, " ", 3)
	t, _, err := p.lookUp(ctx, c, words[2])
	if err != nil {
		return err
	}
	p.mu.Lock()
	detail := []string{"delta", t.id, Catalog + "." + t.schema + "." + t.name, "", "s3://peer/" + t.id, "1", "{}"}
	properties := [][]string{{"delta.minReaderVersion", "1"}}
	for key, value := range t.properties {
		properties = append(properties, []string{key, value})
	}
	p.mu.Unlock()
	if words[0] == "SHOW" {
		return s.texts([]string{"key", "value"}, properties)
	}
	return s.texts([]string{"format", "id", "name", "description", "location", "numFiles", "properties"}, [][]string{detail})
}
