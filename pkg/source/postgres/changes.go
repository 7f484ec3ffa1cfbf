package postgres

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
)

var (
	_ source.ChangeReader = (*Source)(nil)
	_ source.StateKeeper  = (*Driver)(nil)
)

// Changes copies q's rows into a table of the state schema and compares it there with the one that q.Since names, both in
// one REPEATABLE READ transaction. Rows are compared by the bytes that reading them sends, column by column.
func (s *Source) Changes(ctx context.Context, q source.ChangeQuery, want int) (source.Changes, error) {
	base := ""
	if k, ok := source.ParseKept(q.Since); ok {
		base = k.Table()
	}
	if err := s.prepareState(ctx, q, base); err != nil {
		return source.Changes{}, err
	}
	x, err := s.write(ctx, q.Label)
	if err != nil {
		return source.Changes{}, err
	}
	defer x.close(ctx)
	c := changes{s: s, x: x, q: q, kept: source.Kept{Owner: q.Owner, Attempt: q.Attempt}, want: want}
	if err := c.make(ctx); err != nil {
		return source.Changes{}, err
	}
	return c.out, s.stateFault(ctx, x.exec(ctx, "COMMIT"))
}

// changes makes one state in one transaction.
type changes struct {
	s     *Source
	x     *session
	q     source.ChangeQuery
	d     *query
	kept  source.Kept
	since source.Kept
	want  int
	out   source.Changes
}

func (c *changes) make(ctx context.Context) (err error) {
	if c.out.Time, err = c.x.at(ctx); err != nil {
		return err
	}
	if err := c.base(ctx); err != nil {
		return err
	}
	if err := c.copy(ctx); err != nil {
		return err
	}
	c.out.State, c.out.Rows, c.out.Changed = c.kept.State(), c.kept.Rows, c.kept.Rows
	if c.out.Since != "" {
		if err := c.compare(ctx); err != nil {
			return err
		}
	}
	n := int(min(int64(c.want), (c.out.Changed+c.s.settings.PartRows-1)/c.s.settings.PartRows))
	c.out.Parts = []source.Range{{}}
	if n > 1 {
		c.out.Parts = nil
		for i := range n {
			c.out.Parts = append(c.out.Parts, source.Range{Unit: sqltext.Bucket{Index: i, Of: n, By: hash}.String()})
		}
	}
	return nil
}

// base sees whether the table that the rows are compared with is there and whole: it is unlogged, and empty after a crash
// of the server.
func (c *changes) base(ctx context.Context) error {
	if c.q.Since == "" {
		return nil
	}
	names, err := c.s.stateTables(ctx, c.x)
	if err != nil {
		return err
	}
	var ok bool
	if c.since, ok = source.ParseKept(c.q.Since); !ok || c.since.Owner != c.q.Owner || !slices.Contains(names, c.since.Table()) {
		c.out.Lost = "the snapshot of the last run is gone"
		return nil
	}
	n, err := c.number(ctx, "SELECT count(*) FROM "+c.s.table(c.since.Table()))
	if err != nil {
		return err
	}
	if n != c.since.Rows {
		c.out.Lost = "the snapshot of the last run is not whole"
		return nil
	}
	c.out.Since = c.q.Since
	return nil
}

func (c *changes) copy(ctx context.Context) (err error) {
	if c.d, err = c.x.describe(ctx, c.q.Query); err != nil {
		return err
	}
	name := c.s.table(c.kept.Table())
	text := "CREATE UNLOGGED TABLE " + name + " AS " + c.d.text("", 0)
	if err := c.x.exec(ctx, text); err != nil {
		return c.copyFault(ctx, err, text)
	}
	if err := c.x.exec(ctx, "ANALYZE "+name); err != nil {
		return classify(ctx, err, "", 0)
	}
	if c.kept.Rows, err = c.number(ctx, "SELECT count(*) FROM "+name); err != nil {
		return err
	}
	odd, err := c.number(ctx, "SELECT count(*) FROM (SELECT 1 FROM (SELECT "+image(c.q.Model.KeyColumns)+" AS k, "+someNull(c.q.Model.KeyColumns)+
		" AS n FROM "+name+" AS q) AS r GROUP BY k HAVING count(*) > 1 OR bool_or(n) LIMIT 1) AS o")
	c.kept.Unique = odd == 0
	return err
}

// copyFault classifies why there is no snapshot: the schema that it was to be made in, or the query.
func (c *changes) copyFault(ctx context.Context, err error, text string) error {
	var p *pgconn.PgError
	if errors.As(err, &p) && p.Code == "42501" && strings.Contains(p.Message, "schema "+c.s.stateSchema()) {
		return c.s.stateFault(ctx, err)
	}
	return classify(ctx, err, text, 1)
}

// compare makes the table of changed keys: the bytes of the key, and whether it is gone.
func (c *changes) compare(ctx context.Context) error {
	text := c.bySets()
	if c.kept.Unique && c.since.Unique {
		text = c.byKey()
	}
	name := c.s.table(c.kept.Changes())
	if err := c.x.exec(ctx, "CREATE UNLOGGED TABLE "+name+" AS "+text+"; ANALYZE "+name); err != nil {
		return c.s.stateFault(ctx, err)
	}
	var err error
	if c.out.Gone, err = c.number(ctx, "SELECT count(*) FROM ("+c.s.goneText(c.kept, c.since, c.q.Model.KeyColumns)+") AS g"); err != nil {
		return err
	}
	c.out.Changed, err = c.number(ctx, "SELECT count(*) FROM "+c.s.table(c.kept.Table())+" AS q WHERE "+c.s.touched(c.kept, c.q.Model.KeyColumns))
	return err
}

// sides answers the rows of both tables as key and value, in bytes.
func (c *changes) sides() (is, was string) {
	k, now, then := image(c.q.Model.KeyColumns), quoted(c.q.Compared), quoted(c.q.Compared)
	for _, a := range c.q.Added {
		now = append(now, sqltext.Quote(a))
		then = append(then, "CAST(NULL AS "+c.typeOf(a)+")")
	}
	side := func(of source.Kept, values []string) string {
		return "SELECT " + k + " AS k, " + sent(values) + " AS v FROM " + c.s.table(of.Table()) + " AS q"
	}
	return side(c.kept, now), side(c.since, then)
}

// typeOf answers the type of a column in the snapshot.
func (c *changes) typeOf(name string) string {
	for _, x := range c.d.columns {
		if x.name == name && x.oid != pgtype.TextOID {
			return x.own
		}
	}
	return "text"
}

// byKey pairs rows by their key, which is unique in both.
func (c *changes) byKey() string {
	is, was := c.sides()
	return "SELECT COALESCE(n.k, o.k) AS k, n.k IS NULL AS g FROM (" + is + ") AS n FULL JOIN (" + was + ") AS o ON n.k = o.k" +
		" WHERE n.k IS NULL OR o.k IS NULL OR n.v <> o.v"
}

// bySets compares the set of rows that each key has: repeats of a row are one.
func (c *changes) bySets() string {
	is, was := c.sides()
	return "SELECT t.k, NOT EXISTS (SELECT 1 FROM " + c.s.table(c.kept.Table()) + " AS q WHERE " + image(c.q.Model.KeyColumns) + " = t.k) AS g" +
		" FROM (SELECT DISTINCT u.k FROM (SELECT 1 AS s, n.* FROM (" + is + ") AS n UNION ALL SELECT 2 AS s, o.* FROM (" + was + ") AS o) AS u" +
		" GROUP BY u.k, u.v HAVING min(u.s) = max(u.s)) AS t"
}

func (c *changes) number(ctx context.Context, sql string) (n int64, err error) {
	err = c.x.conn.QueryRow(ctx, sql).Scan(&n)
	return n, classify(ctx, err, "", 0)
}

// touched is the condition of a snapshot's rows, as q, whose keys were found changed.
func (s *Source) touched(k source.Kept, keys []string) string {
	return "EXISTS (SELECT 1 FROM " + s.table(k.Changes()) + " AS t WHERE NOT t.g AND t.k = " + image(keys) + ")"
}

// goneText selects the key columns of keys that are gone, as they were.
func (s *Source) goneText(k, since source.Kept, keys []string) string {
	return "SELECT DISTINCT ON (t.k) " + strings.Join(quoted(keys), ", ") + " FROM " + s.table(since.Table()) + " AS q JOIN " + s.table(k.Changes()) +
		" AS t ON t.k = " + image(keys) + " WHERE t.g AND NOT (" + someNull(keys) + ") ORDER BY t.k"
}

// ReadChanges answers rows of a state.
func (s *Source) ReadChanges(ctx context.Context, q source.ChangeQuery, st source.State, r source.Range) iter.Seq2[arrow.RecordBatch, error] {
	return s.ofState(ctx, q, st, func(x *session, d *query, k source.Kept, each func(arrow.RecordBatch) bool) error {
		var terms []string
		if q.Since != "" {
			terms = append(terms, s.touched(k, q.Model.KeyColumns))
		}
		if r.Unit != "" {
			b, err := sqltext.ParseBucket(r.Unit, hash)
			if err != nil {
				return err //nolint:wrapcheck // classified by sqltext
			}
			terms = append(terms, strings.TrimPrefix(d.bucket(b, q.Model.KeyColumns), " WHERE "))
		}
		where := ""
		if len(terms) > 0 {
			where = " WHERE " + strings.Join(terms, " AND ")
		}
		names := make([]string, len(d.columns))
		for i, c := range d.columns {
			names[i] = sqltext.Quote(c.name)
		}
		return s.copyState(ctx, x, d, "SELECT "+strings.Join(names, ", ")+" FROM "+s.table(k.Table())+" AS q"+where, each)
	})
}

// ReadGone answers the keys that a state has no more.
func (s *Source) ReadGone(ctx context.Context, q source.ChangeQuery, st source.State) iter.Seq2[arrow.RecordBatch, error] {
	return s.ofState(ctx, q, st, func(x *session, d *query, k source.Kept, each func(arrow.RecordBatch) bool) error {
		since, ok := source.ParseKept(q.Since)
		if !ok {
			return stateGone()
		}
		var of query
		for _, key := range q.Model.KeyColumns {
			at := slices.IndexFunc(d.columns, func(c column) bool { return c.name == key })
			if at < 0 {
				return stateGone()
			}
			of.columns = append(of.columns, d.columns[at])
		}
		of.schema = schemaOf(of.columns)
		return s.copyState(ctx, x, &of, s.goneText(k, since, q.Model.KeyColumns), each)
	})
}

// ofState answers what f reads of a state, in a transaction of its own.
func (s *Source) ofState(ctx context.Context, q source.ChangeQuery, st source.State,
	f func(x *session, d *query, k source.Kept, each func(arrow.RecordBatch) bool) error,
) iter.Seq2[arrow.RecordBatch, error] {
	return func(yield func(arrow.RecordBatch, error) bool) {
		read := func() error {
			k, ok := source.ParseKept(st)
			if !ok {
				return stateGone()
			}
			x, err := s.begin(ctx, q.Label, "")
			if err != nil {
				return err
			}
			defer x.close(ctx)
			d, err := x.describe(ctx, q.Query)
			if err != nil {
				return err
			}
			return f(x, d, k, func(b arrow.RecordBatch) bool { return yield(b, nil) })
		}
		if err := read(); err != nil {
			yield(nil, err)
		}
	}
}

// copyState runs a SELECT over a state, whose columns are d's. A table that is not there any more, or has other columns, is
// SOURCE_CHANGED.
func (s *Source) copyState(ctx context.Context, x *session, d *query, sql string, each func(arrow.RecordBatch) bool) error {
	p, err := x.conn.PgConn().Prepare(ctx, "", sql, nil)
	if err != nil {
		return gone(ctx, err)
	}
	for i, f := range p.Fields {
		if c := d.columns[i]; f.DataTypeOID != c.oid && c.oid != pgtype.UnknownOID {
			return stateGone()
		}
	}
	return s.copy(ctx, x, d, sql, each)
}

// image answers columns of q as the bytes in which they are sent: each with its type, length and NULLs, so that two are
// equal where everything is.
func image(columns []string) string { return sent(quoted(columns)) }

func sent(values []string) string {
	if len(values) == 0 {
		return "CAST('' AS bytea)"
	}
	return "record_send(ROW(" + strings.Join(values, ", ") + "))"
}

func someNull(columns []string) string {
	out := make([]string, len(columns))
	for i, c := range columns {
		out[i] = fmt.Sprintf("q.%s IS NULL", sqltext.Quote(c))
	}
	return strings.Join(out, " OR ")
}

// quoted answers columns of q.
func quoted(columns []string) []string {
	out := make([]string, len(columns))
	for i, c := range columns {
		out[i] = "q." + sqltext.Quote(c)
	}
	return out
}
