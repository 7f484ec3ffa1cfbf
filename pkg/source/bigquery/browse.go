package bigquery

import (
	"context"
	"iter"
	"strings"

	bq "google.golang.org/api/bigquery/v2"

	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/bigquery/googlesql"
)

// Tables lists the tables and views whose name, with or without its data set, starts with prefix: of the connection's
// data set, or of all of the project that the account sees. It reads no data and costs nothing.
func (s *Source) Tables(ctx context.Context, prefix string) iter.Seq2[source.Table, error] {
	return func(yield func(source.Table, error) bool) {
		if err := s.tables(ctx, prefix, func(t source.Table) bool { return yield(t, nil) }); err != nil {
			yield(source.Table{}, classify(ctx, err, looking, -1))
		}
	}
}

func (s *Source) tables(ctx context.Context, prefix string, each func(source.Table) bool) error {
	if s.address.DatasetID != "" {
		_, err := s.tablesOf(ctx, s.address.DatasetID, prefix, each)
		return err
	}
	for token := ""; ; {
		page, err := call(ctx, s.client, func(ctx context.Context) (*bq.DatasetList, error) {
			return s.client.rest.Datasets.List(s.address.ProjectID).PageToken(token).Context(ctx).Do()
		})
		if err != nil {
			return err
		}
		for _, d := range page.Datasets {
			if d == nil || d.DatasetReference == nil {
				continue
			}
			if more, err := s.tablesOf(ctx, d.DatasetReference.DatasetId, prefix, each); err != nil || !more {
				return err
			}
		}
		if token = page.NextPageToken; token == "" {
			return nil
		}
	}
}

// tablesOf says whether more is wanted.
func (s *Source) tablesOf(ctx context.Context, dataset, prefix string, each func(source.Table) bool) (bool, error) {
	for token := ""; ; {
		page, err := call(ctx, s.client, func(ctx context.Context) (*bq.TableList, error) {
			return s.client.rest.Tables.List(s.address.ProjectID, dataset).PageToken(token).Context(ctx).Do()
		})
		if err != nil {
			return false, err
		}
		for _, t := range page.Tables {
			if t == nil || t.TableReference == nil {
				continue
			}
			ref := t.TableReference
			if !strings.HasPrefix(ref.TableId, prefix) && !strings.HasPrefix(dataset+"."+ref.TableId, prefix) {
				continue
			}
			columns, err := s.columnsOf(ctx, dataset, ref.TableId)
			if err != nil {
				return false, err
			}
			if !each(source.Table{Name: s.tableName(dataset, ref.TableId), Columns: columns}) {
				return false, nil
			}
		}
		if token = page.NextPageToken; token == "" {
			return true, nil
		}
	}
}

func (s *Source) columnsOf(ctx context.Context, dataset, table string) ([]source.Column, error) {
	t, err := call(ctx, s.client, func(ctx context.Context) (*bq.Table, error) {
		return s.client.rest.Tables.Get(s.address.ProjectID, dataset, table).Fields("schema").Context(ctx).Do()
	})
	if err != nil || t.Schema == nil {
		return nil, err
	}
	var out []source.Column
	for _, f := range t.Schema.Fields {
		if f == nil {
			return nil, unreadable("a look at a table")
		}
		out = append(out, source.Column{Name: f.Name, Type: typeName(f), Nullable: f.Mode != "REQUIRED"})
	}
	return out, nil
}

// tableName answers how a query names a table.
func (s *Source) tableName(dataset, table string) string {
	name := plainName(table)
	if dataset != s.address.DatasetID {
		name = plainName(dataset) + "." + name
	}
	return name
}

// plainName answers name without backticks where it needs none.
func plainName(name string) string {
	for i, r := range name {
		if r != '_' && (r < 'a' || r > 'z') && (i == 0 || r < '0' || r > '9') {
			return googlesql.Quote(name)
		}
	}
	if keyword(name) {
		return googlesql.Quote(name)
	}
	return name
}

// keyword says whether a lower-case name is a word that BigQuery's SQL reserves.
func keyword(name string) bool {
	const reserved = " all and any array as asc assert_rows_modified at between by case cast collate contains create cross cube current default define desc distinct else end enum escape except exclude exists extract false fetch following for from full group grouping groups hash having if ignore in inner intersect interval into is join lateral left like limit lookup merge natural new no not null nulls of on or order outer over partition preceding proto qualify range recursive respect right rollup rows select set some struct tablesample then to treat true unbounded union unnest using when where window with within "
	return strings.Contains(reserved, " "+name+" ")
}

// CheckKeys counts rows with a NULL among the key columns, and key values of more than one row.
func (s *Source) CheckKeys(ctx context.Context, q source.Query) (source.KeyFaults, error) {
	var out source.KeyFaults
	if len(q.Model.KeyColumns) == 0 {
		return out, nil
	}
	d, err := s.describe(ctx, q)
	if err != nil {
		return out, err
	}
	var columns, nulls []string
	for _, k := range q.Model.KeyColumns {
		columns, nulls = append(columns, googlesql.Quote(k)), append(nulls, googlesql.Quote(k)+" IS NULL")
	}
	p := planner{s: s, d: d, q: q}
	grouped := d.probe("COUNT(*) AS n, "+strings.Join(nulls, " OR ")+" AS absent", " GROUP BY "+strings.Join(columns, ", "))
	row, err := p.one(ctx, request{
		sql:   "SELECT CAST(IFNULL(SUM(IF(absent, n, 0)), 0) AS STRING) AS c0, CAST(COUNTIF(n > 1) AS STRING) AS c1 FROM (" + grouped + ") AS k",
		label: q.Label, shift: 1,
	}, 2)
	if err != nil {
		return out, err
	}
	if out.Nulls, err = number(row[0]); err != nil {
		return out, err
	}
	out.Repeated, err = number(row[1])
	return out, err
}
