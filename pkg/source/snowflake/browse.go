package snowflake

import (
	"context"
	"iter"
	"regexp"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
)

const columnsSQL = `SELECT table_schema, table_name, column_name,
  data_type || CASE WHEN data_type = 'NUMBER' THEN '(' || numeric_precision || ',' || numeric_scale || ')' ELSE '' END,
  is_nullable, CASE WHEN table_schema = CURRENT_SCHEMA() THEN 1 ELSE 0 END
FROM information_schema.columns
WHERE table_schema <> 'INFORMATION_SCHEMA' AND (STARTSWITH(UPPER(table_name), ?) OR STARTSWITH(UPPER(table_schema || '.' || table_name), ?))
ORDER BY table_schema, table_name, ordinal_position`

// Tables lists the tables and views that the role may see and whose name, with or without its schema, starts with prefix
// in any case.
func (s *Source) Tables(ctx context.Context, prefix string) iter.Seq2[source.Table, error] {
	return func(yield func(source.Table, error) bool) {
		if err := s.tables(ctx, prefix, func(t source.Table) bool { return yield(t, nil) }); err != nil {
			yield(source.Table{}, err)
		}
	}
}

func (s *Source) tables(ctx context.Context, prefix string, each func(source.Table) bool) (err error) {
	x, err := s.take(ctx)
	if err != nil {
		return err
	}
	defer func() { s.give(x, err) }()
	var t source.Table
	more := true
	up := strings.ToUpper(prefix)
	err = x.rows(ctx, command{sql: columnsSQL, binds: []string{up, up}, label: "millrace"}, func(b arrow.RecordBatch) bool {
		for i := range int(b.NumRows()) {
			name, c := rowOf(b, i)
			if name != t.Name {
				if more = t.Name == "" || each(t); !more {
					return false
				}
				t = source.Table{Name: name}
			}
			t.Columns = append(t.Columns, c)
		}
		return true
	})
	if err == nil && more && t.Name != "" {
		each(t)
	}
	return err
}

// rowOf answers the table's name and the column of a row of columnsSQL.
func rowOf(b arrow.RecordBatch, i int) (string, source.Column) {
	at := func(column int) string { return strings.Clone(b.Column(column).ValueStr(i)) }
	name := nameOf(at(1))
	if at(5) != "1" {
		name = nameOf(at(0)) + "." + name
	}
	return name, source.Column{Name: at(2), Type: at(3), Nullable: at(4) == "YES"}
}

//nolint:gochecknoglobals // compiled once, never changed
var plain = regexp.MustCompile(`^[A-Z_][A-Z0-9_$]*$`)

// nameOf answers a name as SQL wants it: quoted where it is not what a bare name becomes.
func nameOf(name string) string {
	if plain.MatchString(name) {
		return name
	}
	return sqltext.Quote(name)
}

// CheckKeys counts rows with a NULL among the key columns, and key values of more than one row.
func (s *Source) CheckKeys(ctx context.Context, q source.Query) (out source.KeyFaults, err error) {
	if len(q.Model.KeyColumns) == 0 {
		return out, nil
	}
	x, err := s.take(ctx)
	if err != nil {
		return out, err
	}
	defer func() { s.give(x, err) }()
	d, err := x.describe(ctx, q)
	if err != nil {
		return out, err
	}
	var columns, nulls []string
	for _, k := range q.Model.KeyColumns {
		columns, nulls = append(columns, sqltext.Quote(k)), append(nulls, sqltext.Quote(k)+" IS NULL")
	}
	if out.Nulls, err = x.count(ctx, d.command("COUNT(*)", " WHERE "+strings.Join(nulls, " OR "), 0)); err != nil {
		return out, err
	}
	repeated := d.command("1 AS "+sqltext.Quote("k"), " GROUP BY "+strings.Join(columns, ", ")+" HAVING COUNT(*) > 1", 0)
	repeated.sql = "SELECT COUNT(*) FROM (" + repeated.sql + ") AS " + sqltext.Quote("k")
	out.Repeated, err = x.count(ctx, repeated)
	return out, err
}
