package postgres

import (
	"context"
	"iter"
	"strings"

	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
)

const columnsSQL = `SELECT CASE WHEN n.nspname = current_schema() THEN quote_ident(c.relname) ELSE quote_ident(n.nspname) || '.' || quote_ident(c.relname) END,
  a.attname::text, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace JOIN pg_attribute AS a ON a.attrelid = c.oid
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attnum > 0 AND NOT a.attisdropped
  AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%' AND has_table_privilege(c.oid, 'SELECT')
  AND (starts_with(c.relname::text, $1) OR starts_with(n.nspname || '.' || c.relname, $1))
ORDER BY n.nspname, c.relname, a.attnum`

// Tables lists the tables and views that the role may read and whose name, with or without its schema, starts with
// prefix.
func (s *Source) Tables(ctx context.Context, prefix string) iter.Seq2[source.Table, error] {
	return func(yield func(source.Table, error) bool) {
		if err := s.tables(ctx, prefix, func(t source.Table) bool { return yield(t, nil) }); err != nil {
			yield(source.Table{}, err)
		}
	}
}

func (s *Source) tables(ctx context.Context, prefix string, each func(source.Table) bool) error {
	x, err := s.begin(ctx, "millrace", "")
	if err != nil {
		return err
	}
	defer x.close(ctx)
	rows, err := x.conn.Query(ctx, columnsSQL, prefix)
	if err != nil {
		return classify(ctx, err, "", 0)
	}
	defer rows.Close()
	var t source.Table
	for rows.Next() {
		var name string
		var c source.Column
		if err := rows.Scan(&name, &c.Name, &c.Type, &c.Nullable); err != nil {
			return classify(ctx, err, "", 0)
		}
		if name != t.Name {
			if t.Name != "" && !each(t) {
				return nil
			}
			t = source.Table{Name: name}
		}
		t.Columns = append(t.Columns, c)
	}
	if err := rows.Err(); err != nil {
		return classify(ctx, err, "", 0)
	}
	if t.Name != "" {
		each(t)
	}
	return nil
}

// CheckKeys counts rows with a NULL among the key columns, and key values of more than one row.
func (s *Source) CheckKeys(ctx context.Context, q source.Query) (source.KeyFaults, error) {
	var out source.KeyFaults
	if len(q.Model.KeyColumns) == 0 {
		return out, nil
	}
	x, err := s.begin(ctx, q.Label, "")
	if err != nil {
		return out, err
	}
	defer x.close(ctx)
	d, err := x.describe(ctx, q)
	if err != nil {
		return out, err
	}
	var columns, nulls []string
	for _, k := range q.Model.KeyColumns {
		columns, nulls = append(columns, sqltext.Quote(k)), append(nulls, sqltext.Quote(k)+" IS NULL")
	}
	sql := d.probe("count(*)", " WHERE "+strings.Join(nulls, " OR "))
	if err := x.conn.QueryRow(ctx, sql).Scan(&out.Nulls); err != nil {
		return out, classify(ctx, err, sql, 1)
	}
	sql = "SELECT count(*) FROM (" + d.probe("1", " GROUP BY "+strings.Join(columns, ", ")+" HAVING count(*) > 1") + ") AS k"
	err = x.conn.QueryRow(ctx, sql).Scan(&out.Repeated)
	return out, classify(ctx, err, sql, 1)
}
