package databricks

import (
	"context"
	"iter"
	"strings"

	"millrace.dev/pkg/source"
)

const columnsSQL = `SELECT table_schema, table_name, column_name, full_data_type, is_nullable FROM information_schema.columns
WHERE table_schema <> 'information_schema' AND (startswith(table_name, :millrace_prefix) OR startswith(concat(table_schema, '.', table_name), :millrace_prefix))
ORDER BY table_schema, table_name, ordinal_position`

// Tables lists the tables and views of the catalog that the principal may see and whose name, with or without its schema,
// starts with prefix. It asks Unity Catalog's information schema.
func (s *Source) Tables(ctx context.Context, prefix string) iter.Seq2[source.Table, error] {
	return func(yield func(source.Table, error) bool) {
		rows, err := s.columns(ctx, prefix)
		if err != nil {
			yield(source.Table{}, err)
			return
		}
		for len(rows) > 0 {
			var t source.Table
			t, rows = s.table(rows)
			if !yield(t, nil) {
				return
			}
		}
	}
}

func (s *Source) columns(ctx context.Context, prefix string) ([][]string, error) {
	x, err := s.session(ctx, "millrace")
	if err != nil {
		return nil, err
	}
	defer x.close()
	rows, err := x.texts(ctx, columnsSQL, parameter{name: "millrace_prefix", text: prefix})
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		if len(row) != 5 {
			return nil, malformed()
		}
	}
	return rows, nil
}

// table answers the table of the first rows, and the rows behind it.
func (s *Source) table(rows [][]string) (source.Table, [][]string) {
	schema, name := rows[0][0], rows[0][1]
	t := source.Table{Name: nameOf(name)}
	if schema != s.address.Schema {
		t.Name = nameOf(schema) + "." + t.Name
	}
	n := 0
	for ; n < len(rows) && rows[n][0] == schema && rows[n][1] == name; n++ {
		t.Columns = append(t.Columns, source.Column{Name: rows[n][2], Type: rows[n][3], Nullable: rows[n][4] != "NO"})
	}
	return t, rows[n:]
}

// CheckKeys counts rows with a NULL among the key columns, and key values of more than one row.
func (s *Source) CheckKeys(ctx context.Context, q source.Query) (source.KeyFaults, error) {
	var out source.KeyFaults
	if len(q.Model.KeyColumns) == 0 {
		return out, nil
	}
	x, err := s.session(ctx, q.Label)
	if err != nil {
		return out, err
	}
	defer x.close()
	d, err := s.at(ctx, x, q)
	if err != nil {
		return out, err
	}
	var columns, nulls []string
	for _, k := range q.Model.KeyColumns {
		columns, nulls = append(columns, quote(k)), append(nulls, quote(k)+" IS NULL")
	}
	if out.Nulls, err = x.number(ctx, d.probe("count(*) AS n", " WHERE "+strings.Join(nulls, " OR "))); err != nil {
		return out, err
	}
	out.Repeated, err = x.number(ctx, "SELECT count(*) AS n FROM ("+d.probe("1 AS one", " GROUP BY "+strings.Join(columns, ", ")+" HAVING count(*) > 1")+") AS k")
	return out, err
}
