//go:build cgo && duckdb_arrow

package duckdb

import (
	"context"
	"iter"
	"strings"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
)

// Check runs a query; that the path is there and opens, Open has found out.
func (s *Source) Check(ctx context.Context) []source.CheckStep {
	steps := []source.CheckStep{{Name: "open", OK: true, Message: s.place.path + " is open for reading only"}}
	c, err := s.db.connect()
	if err == nil {
		defer c.close()
		_, err = c.one(ctx, "SELECT version()")
	}
	if err != nil {
		return append(steps, source.CheckStep{Name: "run query", Message: fault.As(err).Message})
	}
	return append(steps, source.CheckStep{Name: "run query", OK: true})
}

const columnsSQL = `SELECT schema_name, table_name, column_name, data_type, CAST(is_nullable AS VARCHAR)
FROM duckdb_columns() WHERE NOT internal AND database_name = current_database()
ORDER BY schema_name, table_name, column_index`

// Tables lists tables and views whose name, with or without its schema, starts with prefix.
func (s *Source) Tables(ctx context.Context, prefix string) iter.Seq2[source.Table, error] {
	return func(yield func(source.Table, error) bool) {
		c, err := s.db.connect()
		if err != nil {
			yield(source.Table{}, err)
			return
		}
		defer c.close()
		var t source.Table
		stopped := false
		err = c.texts(ctx, columnsSQL, nil, func(row []string) bool {
			name := tableName(row[0], row[1])
			if !strings.HasPrefix(row[1], prefix) && !strings.HasPrefix(row[0]+"."+row[1], prefix) {
				return true
			}
			if name != t.Name {
				if t.Name != "" && !yield(t, nil) {
					stopped = true
					return false
				}
				t = source.Table{Name: name}
			}
			t.Columns = append(t.Columns, source.Column{Name: row[2], Type: row[3], Nullable: row[4] == "true"})
			return true
		})
		switch {
		case stopped:
		case err != nil:
			yield(source.Table{}, err)
		case t.Name != "":
			yield(t, nil)
		}
	}
}

func tableName(schema, table string) string {
	name := bare(table)
	if schema != "main" {
		name = bare(schema) + "." + name
	}
	return name
}

// bare answers name without quotes where it needs none.
func bare(name string) string {
	for i, r := range name {
		if r != '_' && (r < 'a' || r > 'z') && (i == 0 || r < '0' || r > '9') {
			return sqltext.Quote(name)
		}
	}
	return name
}

// CheckKeys counts rows with a NULL among the key columns, and key values of more than one row.
func (s *Source) CheckKeys(ctx context.Context, q source.Query) (source.KeyFaults, error) {
	c, err := s.db.connect()
	if err != nil {
		return source.KeyFaults{}, err
	}
	defer c.close()
	d, err := c.describe(ctx, q)
	if err != nil {
		return source.KeyFaults{}, err
	}
	var columns, nulls []string
	for _, k := range q.Model.KeyColumns {
		columns, nulls = append(columns, sqltext.Quote(k)), append(nulls, sqltext.Quote(k)+" IS NULL")
	}
	if len(columns) == 0 {
		return source.KeyFaults{}, nil
	}
	var out source.KeyFaults
	for _, count := range []struct {
		into *int64
		sql  string
	}{
		{&out.Nulls, d.probe("CAST(count(*) AS VARCHAR)", " WHERE "+strings.Join(nulls, " OR "))},
		{&out.Repeated, "SELECT CAST(count(*) AS VARCHAR) FROM (" + d.probe("1", " GROUP BY "+strings.Join(columns, ", ")+" HAVING count(*) > 1") + ") AS k"},
	} {
		row, err := c.one(ctx, count.sql)
		if err != nil {
			return out, err
		}
		if *count.into, err = number(row[0]); err != nil {
			return out, err
		}
	}
	return out, nil
}
