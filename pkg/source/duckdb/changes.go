//go:build cgo && duckdb_arrow

package duckdb

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
)

var (
	_ source.ChangeReader = (*Source)(nil)
	_ source.StateKeeper  = (*Driver)(nil)
)

// Changes copies q's rows into the owner's file and compares them there with the copy that q.Since names.
func (s *Source) Changes(ctx context.Context, q source.ChangeQuery, want int) (source.Changes, error) {
	path, err := s.driver.statePath(q.Owner)
	if err != nil {
		return source.Changes{}, err
	}
	own, err := s.db.connect()
	if err != nil {
		return source.Changes{}, err
	}
	defer own.close()
	name, _, err := s.snapshot(ctx, own)
	if err != nil {
		return source.Changes{}, err
	}
	d, err := own.describe(ctx, q.Query)
	if err != nil {
		return source.Changes{}, err
	}
	var out source.Changes
	err = s.writeStates(ctx, path, func(c *conn) error {
		x := changes{c: c, q: q, d: d, kept: source.Kept{Owner: q.Owner, Attempt: q.Attempt}, partRows: s.settings.PartRows, want: want}
		out, err = x.make(ctx)
		return err
	})
	if err != nil {
		return source.Changes{}, err
	}
	return out, s.unchanged(ctx, own, name)
}

// changes makes one state.
type changes struct {
	c        *conn
	q        source.ChangeQuery
	d        *query
	kept     source.Kept
	since    source.Kept
	partRows int64
	want     int
	out      source.Changes
}

func (x *changes) make(ctx context.Context) (source.Changes, error) {
	if err := x.begin(ctx); err != nil {
		return x.out, err
	}
	if err := x.copy(ctx); err != nil {
		return x.out, err
	}
	x.out.State, x.out.Rows, x.out.Changed = x.kept.State(), x.kept.Rows, x.kept.Rows
	if x.out.Since != "" {
		if err := x.compare(ctx); err != nil {
			return x.out, err
		}
	}
	return x.out, x.cut(ctx)
}

// begin sees whether the base is whole, and drops what earlier attempts left.
func (x *changes) begin(ctx context.Context) error {
	tables, err := x.c.stateTables(ctx)
	if err != nil {
		return err
	}
	if err := x.base(ctx, tables); err != nil {
		return err
	}
	for t := range tables {
		_, at, ok := source.TableAttempt(t)
		if ok && (at.Before(x.q.Attempt) || at == x.q.Attempt) && (x.out.Since == "" || t != x.since.Table()) {
			if err := x.c.exec(ctx, "DROP TABLE IF EXISTS "+stateSchema+sqltext.Quote(t)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (x *changes) base(ctx context.Context, tables map[string]bool) error {
	if x.q.Since == "" {
		return nil
	}
	var ok bool
	if x.since, ok = source.ParseKept(x.q.Since); !ok || x.since.Owner != x.q.Owner || !tables[x.since.Table()] {
		x.out.Lost = "the snapshot of the last run is gone"
		return nil
	}
	n, err := x.number(ctx, "SELECT CAST(count(*) AS VARCHAR) FROM "+table(x.since.Table()))
	if err != nil {
		return err
	}
	if n != x.since.Rows {
		x.out.Lost = "the snapshot of the last run is not whole"
		return nil
	}
	x.out.Since = x.q.Since
	return nil
}

// copy makes the new snapshot. Texts are compared by their bytes from here on, whatever collation their column has.
func (x *changes) copy(ctx context.Context) error {
	reads := make([]string, len(x.d.reads))
	for i, r := range x.d.reads {
		if reads[i] = r; x.d.schema.Field(i).Type.ID() == arrow.STRING && r == sqltext.Quote(x.d.schema.Field(i).Name) {
			reads[i] = r + ` COLLATE C AS ` + r
		}
	}
	name := table(x.kept.Table())
	if err := x.c.exec(ctx, "CREATE TABLE "+name+" AS SELECT "+strings.Join(reads, ", ")+" FROM (\n"+x.d.sql+"\n) AS q"); err != nil {
		return err
	}
	row, err := x.c.one(ctx, "SELECT CAST(epoch_us(now()) AS VARCHAR)")
	if err != nil {
		return err
	}
	micros, err := number(row[0])
	if err != nil {
		return err
	}
	x.out.Time = time.UnixMicro(micros).UTC()
	if x.kept.Rows, err = x.number(ctx, "SELECT CAST(count(*) AS VARCHAR) FROM "+name); err != nil {
		return err
	}
	keys := quoted(x.q.Model.KeyColumns)
	odd, err := x.number(ctx, "SELECT CAST(count(*) AS VARCHAR) FROM (SELECT 1 FROM "+name+" GROUP BY "+strings.Join(keys, ", ")+
		" HAVING count(*) > 1 OR "+strings.Join(each(keys, "%s IS NULL"), " OR ")+" LIMIT 1) AS k")
	x.kept.Unique = odd == 0
	return err
}

// compare makes the table of changed keys: k1, k2 …, and whether the key is gone.
func (x *changes) compare(ctx context.Context) error {
	if err := x.differing(ctx); err != nil {
		return err
	}
	name := table(x.kept.Changes())
	keys := positions(len(x.q.Model.KeyColumns))
	var err error
	if x.out.Gone, err = x.number(ctx, "SELECT CAST(count(*) AS VARCHAR) FROM "+name+" WHERE g AND "+strings.Join(each(keys, "%s IS NOT NULL"), " AND ")); err != nil {
		return err
	}
	x.out.Changed, err = x.number(ctx, "SELECT CAST(count(*) AS VARCHAR) FROM "+table(x.kept.Table())+" AS q WHERE "+touched(x.kept, x.q.Model.KeyColumns))
	return err
}

// maxSlices bounds into how many slices a comparison is cut.
const maxSlices = 256

// differing compares everything at once, or, where the memory does not do for that, slice by slice of the keys' hash.
func (x *changes) differing(ctx context.Context) error {
	of := 1
	for {
		err := x.inSlices(ctx, of)
		if fault.ReasonOf(err) != fault.ReasonQueryInterrupted || of == maxSlices {
			return err
		}
		if same, unlike := x.sameKeys(ctx); unlike != nil || !same {
			return cmp.Or(unlike, err)
		}
		of *= 4
	}
}

func (x *changes) inSlices(ctx context.Context, of int) error {
	name := table(x.kept.Changes())
	if err := x.c.exec(ctx, "DROP TABLE IF EXISTS "+name); err != nil {
		return err
	}
	for i := range of {
		is, was := x.slice(x.kept, i, of), x.slice(x.since, i, of)
		text := bySets(x.q, is, was)
		if x.kept.Unique && x.since.Unique {
			text = byKey(x.q, is, was)
		}
		into := "INSERT INTO " + name + " "
		if i == 0 {
			into = "CREATE TABLE " + name + " AS "
		}
		if err := x.c.exec(ctx, into+text); err != nil {
			return err
		}
	}
	return nil
}

// slice answers what a snapshot's rows are selected from: all, or one slice of the keys' hash.
func (x *changes) slice(k source.Kept, i, of int) string {
	if of == 1 {
		return table(k.Table())
	}
	return "(SELECT * FROM " + table(k.Table()) + (&query{}).bucket(sqltext.Bucket{Index: i, Of: of}, x.q.Model.KeyColumns) + ")"
}

// sameKeys says whether the key columns have the same types in both snapshots, without which the same key may have another
// hash.
func (x *changes) sameKeys(ctx context.Context) (bool, error) {
	var types [2][]string
	for i, k := range []source.Kept{x.kept, x.since} {
		list := strings.Join(each(quoted(x.q.Model.KeyColumns), "typeof(%s)"), ", ")
		err := x.c.texts(ctx, "SELECT "+list+" FROM "+table(k.Table())+" LIMIT 1", nil, func(row []string) bool {
			types[i] = slices.Clone(row)
			return true
		})
		if err != nil {
			return false, err
		}
	}
	return slices.Equal(types[0], types[1]), nil
}

// byKey pairs rows by their key, which is unique and without NULLs in both.
func byKey(q source.ChangeQuery, is, was string) string {
	keys := quoted(q.Model.KeyColumns)
	list := make([]string, len(keys))
	for i, k := range keys {
		list[i] = fmt.Sprintf("coalesce(n.%s, o.%s) AS k%d", k, k, i+1)
	}
	differs := append(each(quoted(q.Compared), "n.%[1]s IS DISTINCT FROM o.%[1]s"), each(quoted(q.Added), "n.%s IS NOT NULL")...)
	return "SELECT " + strings.Join(list, ", ") + ", n." + keys[0] + " IS NULL AS g FROM " + is + " AS n FULL JOIN " + was +
		" AS o ON " + strings.Join(each(keys, "n.%[1]s = o.%[1]s"), " AND ") +
		" WHERE " + strings.Join(append([]string{"n." + keys[0] + " IS NULL", "o." + keys[0] + " IS NULL"}, differs...), " OR ")
}

// bySets compares the set of rows that each key has: repeats of a row are one.
func bySets(q source.ChangeQuery, is, was string) string {
	keys, n := quoted(q.Model.KeyColumns), len(q.Model.KeyColumns)
	list, group := each(keys, "%s"), []string{}
	for i := range list {
		list[i] += " AS k" + strconv.Itoa(i+1)
	}
	at := 0
	value := func(expression string) {
		at++
		list, group = append(list, expression+" AS c"+strconv.Itoa(at)), append(group, "c"+strconv.Itoa(at))
	}
	for _, c := range without(q.Compared, q.Model.KeyColumns) {
		value(sqltext.Quote(c))
	}
	old := list[:len(list):len(list)]
	for _, c := range without(q.Added, q.Model.KeyColumns) {
		value(sqltext.Quote(c))
		old = append(old, "NULL AS c"+strconv.Itoa(at))
	}
	group = append(positions(n), group...)
	return "SELECT DISTINCT " + strings.Join(positions(n), ", ") + ", NOT EXISTS (SELECT 1 FROM " + is + " AS n WHERE " + matches(keys, "n", "t") + ") AS g FROM (SELECT " +
		strings.Join(positions(n), ", ") + " FROM (SELECT " + strings.Join(list, ", ") + ", 1 AS s FROM " + is +
		" UNION ALL SELECT " + strings.Join(old, ", ") + ", 2 AS s FROM " + was + ") AS u GROUP BY " + strings.Join(group, ", ") +
		" HAVING min(s) = max(s)) AS t"
}

// cut makes the parts.
func (x *changes) cut(ctx context.Context) error {
	n := int(min(int64(x.want), (x.out.Changed+x.partRows-1)/x.partRows))
	x.out.Parts = []source.Range{{}}
	if n <= 1 {
		return nil
	}
	by, err := x.c.hash(ctx)
	if err != nil {
		return err
	}
	x.out.Parts = x.out.Parts[:0]
	for i := range n {
		x.out.Parts = append(x.out.Parts, source.Range{Unit: sqltext.Bucket{Index: i, Of: n, By: by}.String()})
	}
	return nil
}

func (x *changes) number(ctx context.Context, sql string) (int64, error) {
	row, err := x.c.one(ctx, sql)
	if err != nil {
		return 0, err
	}
	return number(row[0])
}

// ReadChanges answers rows of a state.
func (s *Source) ReadChanges(ctx context.Context, q source.ChangeQuery, st source.State, r source.Range) iter.Seq2[arrow.RecordBatch, error] {
	return func(yield func(arrow.RecordBatch, error) bool) {
		schema, err := s.Describe(ctx, q.Query)
		if err == nil {
			err = s.driver.kept(ctx, st, func(c *conn, k source.Kept) error {
				where := ""
				if q.Since != "" {
					where = " WHERE " + touched(k, q.Model.KeyColumns)
				}
				if r.Unit != "" {
					by, err := c.hash(ctx)
					if err != nil {
						return err
					}
					b, err := sqltext.ParseBucket(r.Unit, by)
					if err != nil {
						return err
					}
					bucket := (&query{}).bucket(b, q.Model.KeyColumns)
					if where != "" {
						bucket = " AND" + strings.TrimPrefix(bucket, " WHERE")
					}
					where += bucket
				}
				return c.rows(ctx, "SELECT "+strings.Join(names(schema), ", ")+" FROM "+table(k.Table())+" AS q"+where, schema, yield)
			})
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

// ReadGone answers the keys that a state has no more.
func (s *Source) ReadGone(ctx context.Context, q source.ChangeQuery, st source.State) iter.Seq2[arrow.RecordBatch, error] {
	return func(yield func(arrow.RecordBatch, error) bool) {
		schema, err := s.Describe(ctx, q.Query)
		if err == nil {
			fields := make([]arrow.Field, len(q.Model.KeyColumns))
			for i, k := range q.Model.KeyColumns {
				at := schema.FieldIndices(k)
				if len(at) != 1 {
					yield(nil, stateGone())
					return
				}
				fields[i] = schema.Field(at[0])
			}
			err = s.driver.kept(ctx, st, func(c *conn, k source.Kept) error {
				keys := positions(len(fields))
				return c.rows(ctx, "SELECT "+strings.Join(keys, ", ")+" FROM "+table(k.Changes())+" WHERE g AND "+strings.Join(each(keys, "%s IS NOT NULL"), " AND "),
					arrow.NewSchema(fields, nil), yield)
			})
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

// Drop drops the tables of a state. The connection's path is not looked at.
func (d *Driver) Drop(ctx context.Context, _ resource.Connection, st source.State) error {
	err := d.kept(ctx, st, func(c *conn, k source.Kept) error {
		return c.exec(ctx, "DROP TABLE IF EXISTS "+table(k.Changes())+"; DROP TABLE IF EXISTS "+table(k.Table()))
	})
	if fault.ReasonOf(err) == fault.ReasonSourceChanged {
		return nil
	}
	return err
}

// kept calls f with a connection to the file of a state.
func (d *Driver) kept(ctx context.Context, st source.State, f func(c *conn, k source.Kept) error) error {
	k, ok := source.ParseKept(st)
	if !ok {
		return stateGone()
	}
	path, err := d.statePath(k.Owner)
	if err != nil {
		return err
	}
	return d.readStates(ctx, path, func(c *conn) error { return f(c, k) })
}

// rows runs a statement over a state, whose columns are those of schema. A table that is not there any more, or has other
// columns, is SOURCE_CHANGED.
func (c *conn) rows(ctx context.Context, sql string, schema *arrow.Schema, yield func(arrow.RecordBatch, error) bool) error {
	stmt, err := c.prepare(ctx, sql)
	if err != nil {
		if fault.ReasonOf(err) == fault.ReasonQueryInvalid {
			return stateGone()
		}
		return err
	}
	defer stmt.close()
	have, err := stmt.schema()
	if err != nil {
		return err
	}
	for i, f := range have.Fields() {
		if !arrow.TypeEqual(f.Type, schema.Field(i).Type) {
			return stateGone()
		}
	}
	return stmt.run(ctx, func(b arrow.RecordBatch) bool {
		named := array.NewRecordBatch(schema, b.Columns(), b.NumRows())
		defer named.Release()
		return yield(named, nil)
	})
}

// touched is the condition of a snapshot's rows, as q, whose keys were found changed.
func touched(k source.Kept, keys []string) string {
	return "EXISTS (SELECT 1 FROM " + table(k.Changes()) + " AS t WHERE NOT t.g AND " + matches(quoted(keys), "q", "t") + ")"
}

// matches compares key columns of one alias with k1, k2 … of another.
func matches(keys []string, a, positional string) string {
	out := make([]string, len(keys))
	for i, k := range keys {
		out[i] = a + "." + k + " IS NOT DISTINCT FROM " + positional + ".k" + strconv.Itoa(i+1)
	}
	return strings.Join(out, " AND ")
}

func table(name string) string { return stateSchema + sqltext.Quote(name) }

func names(s *arrow.Schema) []string {
	out := make([]string, s.NumFields())
	for i, f := range s.Fields() {
		out[i] = sqltext.Quote(f.Name)
	}
	return out
}

func positions(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = "k" + strconv.Itoa(i+1)
	}
	return out
}

func quoted(columns []string) []string {
	out := make([]string, len(columns))
	for i, c := range columns {
		out[i] = sqltext.Quote(c)
	}
	return out
}

// each answers a text for each name, with the name in the place of %s or %[1]s.
func each(names []string, format string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = fmt.Sprintf(format, n)
	}
	return out
}

func without(all, some []string) []string {
	var out []string
	for _, c := range all {
		drop := false
		for _, s := range some {
			drop = drop || c == s
		}
		if !drop {
			out = append(out, c)
		}
	}
	return out
}
