package redshift

import (
	"context"
	"iter"
	"strings"

	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
)

const columnsSQL = `SELECT CASE WHEN schema_name = current_schema() THEN quote_ident(table_name) ELSE quote_ident(schema_name) || '.' || quote_ident(table_name) END,
  column_name, data_type, is_nullable
FROM svv_all_columns
WHERE database_name = current_database() AND schema_name NOT IN ('information_schema', 'pg_catalog', 'pg_internal', 'pg_automv', 'pg_auto_copy', 'catalog_history')
  AND (LEFT(table_name, LENGTH($1)) = $1 OR LEFT(schema_name || '.' || table_name, LENGTH($1)) = $1)
ORDER BY schema_name, table_name, ordinal_position`

// Tables lists the tables, views and external tables of the database that the user may see and whose name, with or
// without its schema, starts with prefix.
func (s *Source) Tables(ctx context.Context, prefix string) iter.Seq2[source.Table, error] {
	return func(yield func(source.Table, error) bool) {
		if err := s.tables(ctx, prefix, func(t source.Table) bool { return yield(t, nil) }); err != nil {
			yield(source.Table{}, err)
		}
	}
}

func (s *Source) tables(ctx context.Context, prefix string, each func(source.Table) bool) error {
	x, err := s.begin(ctx, "millrace")
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
		var name, nullable string
		var c source.Column
		if err := rows.Scan(&name, &c.Name, &c.Type, &nullable); err != nil {
			return classify(ctx, err, "", 0)
		}
		c.Nullable = !strings.EqualFold(nullable, "NO")
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
	x, err := s.begin(ctx, q.Label)
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
	if out.Nulls, err = x.number(ctx, d.probe("count(*)", " WHERE "+strings.Join(nulls, " OR "))); err != nil {
		return out, err
	}
	out.Repeated, err = x.number(ctx, "SELECT count(*) FROM ("+d.probe("1 AS one", " GROUP BY "+strings.Join(columns, ", ")+" HAVING count(*) > 1")+") AS k")
	return out, err
}
