package redshift

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/jackc/pgx/v5/pgtype"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
)

var (
	_ source.ChangeReader = (*Source)(nil)
	_ source.StateKeeper  = (*Driver)(nil)
)

// Changes copies q's rows into a table of the state schema and compares it there with the one that q.Since names, both in
// one transaction: the only one that writes. A snapshot that cannot be compared with, whatever became of it, costs one read
// of everything.
func (s *Source) Changes(ctx context.Context, q source.ChangeQuery, want int) (source.Changes, error) {
	switch {
	case len(q.Model.KeyColumns) == 0:
		return source.Changes{}, invalid("rows without key columns cannot be compared; name the key columns of the model")
	case !source.IsOwner(q.Owner), strings.ToLower(q.Owner) != q.Owner:
		return source.Changes{}, fault.New(fault.Internal, fault.ReasonInternal, "%q can own no state", q.Owner)
	}
	x, err := s.begin(ctx, q.Label)
	if err != nil {
		return source.Changes{}, err
	}
	defer x.close(ctx)
	c := changes{x: x, q: q, kept: source.Kept{Owner: q.Owner, Attempt: q.Attempt}}
	for _, step := range []func(context.Context) error{c.look, c.tidy, c.make} {
		if err := step(ctx); err != nil {
			return source.Changes{}, err
		}
	}
	c.cut(want)
	return c.out, nil
}

// changes makes one state.
type changes struct {
	x     *session
	q     source.ChangeQuery
	d     *query
	by    comparison
	kept  source.Kept
	since source.Kept

	there bool     // the schema of states
	names []string // its tables
	out   source.Changes
}

// look looks at the query, the schema and the base, in a READ ONLY transaction.
func (c *changes) look(ctx context.Context) (err error) {
	if c.d, c.by, err = c.x.ofQuery(ctx, c.q); err != nil {
		return err
	}
	if c.there, c.names, err = c.x.stateTables(ctx); err != nil {
		return err
	}
	if err := c.base(ctx); err != nil {
		return err
	}
	return classify(ctx, c.x.exec(ctx, "ROLLBACK"), "", 0)
}

// ofQuery looks at a query whose rows are compared.
func (x *session) ofQuery(ctx context.Context, q source.ChangeQuery) (*query, comparison, error) {
	d, err := x.describe(ctx, q.Query)
	if err != nil {
		return nil, comparison{}, err
	}
	if slices.ContainsFunc(d.columns, func(c column) bool { return strings.EqualFold(c.name, keysColumn) }) {
		return nil, comparison{}, fault.New(fault.Invalid, fault.ReasonQueryInvalid, "the column %s has the name of one of the snapshot's own; give it another with AS", sqltext.Quote(keysColumn))
	}
	by, err := comparisonOf(d, q)
	return d, by, err
}

// base sees whether the table that the rows are compared with is there, whole, and as the rows are now.
func (c *changes) base(ctx context.Context) error {
	if c.q.Since == "" {
		return nil
	}
	var ok bool
	c.since, ok = source.ParseKept(c.q.Since)
	if !ok || c.since.Owner != c.q.Owner || !slices.Contains(c.names, c.since.Table()) {
		c.out.Lost = "the snapshot of the last run is gone"
		return nil
	}
	var err error
	if c.out.Lost, err = c.unlike(ctx); err == nil && c.out.Lost == "" {
		c.out.Since = c.q.Since
	}
	return err
}

// unlike answers why the base's table cannot be compared with, "" where it can.
func (c *changes) unlike(ctx context.Context) (string, error) {
	const others, denied = "the snapshot of the last run has other columns", "the snapshot of the last run is another user's, and cannot be read"
	text := c.by.compared(c.x.s.table(c.since.Table()))
	p, err := c.x.conn.PgConn().Prepare(ctx, "", text, nil)
	var n int64
	if err == nil {
		err = c.x.conn.QueryRow(ctx, "SELECT count(*) FROM "+c.x.s.table(c.since.Table())).Scan(&n)
	}
	switch {
	case ctx.Err() == nil && isMissing(err):
		return others, nil
	case ctx.Err() == nil && codeOf(err) == codeDenied:
		return denied, nil
	case err != nil:
		return "", classify(ctx, err, "", 0)
	}
	columns := slices.Concat(c.by.keys, c.by.values)
	for i, f := range p.Fields[:len(columns)] {
		if is := columns[i]; f.DataTypeOID != is.oid && is.oid != pgtype.UnknownOID || !is.isLike(columnOf(f)) {
			return others, nil
		}
	}
	if n != c.since.Rows {
		return "the snapshot of the last run is not whole", nil
	}
	return "", nil
}

// isLike says whether two columns are read as the same.
func (c column) isLike(d column) bool {
	return c.name == d.name && d.typ != nil && arrow.TypeEqual(c.typ, d.typ) && (c.oid == oidSuper) == (d.oid == oidSuper)
}

// tidy makes the schema where it is not there, and drops what earlier attempts of the owner left, but for the base. Each
// statement commits by itself.
func (c *changes) tidy(ctx context.Context) error {
	x := c.x
	if !c.there {
		if err := x.exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+sqltext.Quote(x.s.stateSchema())); err != nil {
			return x.s.stateFault(ctx, err)
		}
	}
	if err := x.exec(ctx, bound(dropWait)); err != nil {
		return classify(ctx, err, "", 0)
	}
	foreign := 0
	for _, t := range c.names {
		if c.q.Since != "" && t == c.since.Table() || !source.IsUpTo(t, c.q.Owner, c.q.Attempt) {
			continue
		}
		own, err := x.drop(ctx, t)
		if err != nil {
			return err
		}
		if !own {
			foreign++
		}
	}
	if foreign > 0 {
		c.out.Notice = fmt.Sprintf("%d tables of this mirror in the schema %s belong to another user of the warehouse and take room; drop them", foreign, sqltext.Quote(x.s.stateSchema()))
	}
	return classify(ctx, x.exec(ctx, bound(x.s.address.StatementTimeout)), "", 0)
}

// make makes the snapshot, and compares it with the base.
func (c *changes) make(ctx context.Context) (err error) {
	if err := c.x.transaction(ctx, "READ WRITE"); err != nil {
		return c.x.s.stateFault(ctx, err)
	}
	if c.out.Time, err = c.x.now(ctx); err != nil {
		return err
	}
	if err := c.copy(ctx); err != nil {
		return err
	}
	if c.out.Since != "" {
		if err := c.compare(ctx); err != nil {
			return err
		}
	}
	return c.x.s.stateFault(ctx, c.x.exec(ctx, "COMMIT"))
}

// creating answers how a table of the state schema is made: rows lie and are sorted by a hash of their keys, and in no
// backup.
func (s *Source) creating(table, by string) string {
	by = sqltext.Quote(by)
	return "CREATE TABLE " + s.table(table) + " BACKUP NO DISTKEY (" + by + ") SORTKEY (" + by + ") AS "
}

func (c *changes) copy(ctx context.Context) (err error) {
	text := c.x.s.creating(c.kept.Table(), keysColumn) +
		c.d.probe(listed(c.d.columns)+", "+c.d.keysHash(c.q.Model.KeyColumns)+" AS "+sqltext.Quote(keysColumn), "")
	if err := c.x.one(ctx, text); err != nil {
		return c.x.s.copyFault(ctx, err, text)
	}
	c.kept.Rows, err = c.x.number(ctx, "SELECT count(*) FROM "+c.x.s.table(c.kept.Table()))
	c.out.State, c.out.Rows, c.out.Changed = c.kept.State(), c.kept.Rows, c.kept.Rows
	return err
}

// compare makes the table of the keys that differ between the base and the snapshot, and counts.
func (c *changes) compare(ctx context.Context) error {
	s := c.x.s
	now, differing := s.table(c.kept.Table()), s.table(c.kept.Changes())
	err := c.x.one(ctx, s.creating(c.kept.Changes(), "h")+c.by.differing(now, s.table(c.since.Table())))
	switch {
	case ctx.Err() == nil && isMissing(err): // whoever dropped the base did so just now
		return stateGone()
	case err != nil:
		return s.stateFault(ctx, err)
	}
	if c.out.Changed, err = c.x.number(ctx, "SELECT count(*) FROM "+now+" AS q JOIN "+differing+" AS t ON "+c.by.same()); err != nil {
		return err
	}
	c.out.Gone, err = c.x.number(ctx, "SELECT count(*) FROM ("+c.by.gone(differing)+") AS g")
	return err
}

// cut makes buckets of the keys' hash, one for each PartRows rows.
func (c *changes) cut(want int) {
	each := c.x.s.settings.PartRows
	n := int(min(int64(want), (c.out.Changed+each-1)/each))
	c.out.Parts = []source.Range{{}}
	if n <= 1 {
		return
	}
	c.out.Parts = nil
	for i := range n {
		c.out.Parts = append(c.out.Parts, source.Range{Unit: sqltext.Bucket{Index: i, Of: n, By: hash}.String()})
	}
}

// ReadChanges answers rows of a state: by files of their own where there is a bucket, else through a cursor.
func (s *Source) ReadChanges(ctx context.Context, q source.ChangeQuery, st source.State, r source.Range) iter.Seq2[arrow.RecordBatch, error] {
	return s.ofState(ctx, q, st, func(x *session, d *query, by comparison, k source.Kept, each func(arrow.RecordBatch) bool) error {
		text := "SELECT " + listed(d.columns) + " FROM " + s.table(k.Table()) + " AS q"
		if q.Since != "" {
			text += " JOIN " + s.table(k.Changes()) + " AS t ON " + by.same()
		}
		if r.Unit != "" {
			b, err := sqltext.ParseBucket(r.Unit, hash)
			if err != nil {
				return err //nolint:wrapcheck // classified by sqltext
			}
			text += bucket(b, "q."+sqltext.Quote(keysColumn))
		}
		return x.readState(ctx, q.Label, d.columns, text, each)
	})
}

// ReadGone answers the keys that a state has no more.
func (s *Source) ReadGone(ctx context.Context, q source.ChangeQuery, st source.State) iter.Seq2[arrow.RecordBatch, error] {
	return s.ofState(ctx, q, st, func(x *session, _ *query, by comparison, k source.Kept, each func(arrow.RecordBatch) bool) error {
		return x.readState(ctx, q.Label, by.keys, by.gone(s.table(k.Changes())), each)
	})
}

// ofState answers what f reads of a state, in a READ ONLY transaction of its own.
func (s *Source) ofState(ctx context.Context, q source.ChangeQuery, st source.State,
	f func(x *session, d *query, by comparison, k source.Kept, each func(arrow.RecordBatch) bool) error,
) iter.Seq2[arrow.RecordBatch, error] {
	return func(yield func(arrow.RecordBatch, error) bool) {
		read := func() error {
			k, ok := source.ParseKept(st)
			if !ok {
				return stateGone()
			}
			x, err := s.begin(ctx, q.Label)
			if err != nil {
				return err
			}
			defer x.close(ctx)
			d, by, err := x.ofQuery(ctx, q)
			if err != nil {
				return err
			}
			return f(x, d, by, k, func(b arrow.RecordBatch) bool { return yield(b, nil) })
		}
		if err := read(); err != nil {
			yield(nil, err)
		}
	}
}

// readState runs a SELECT over a state, whose columns are to be as these. Where its tables are not there any more, or have
// other columns, that is SOURCE_CHANGED.
func (x *session) readState(ctx context.Context, label string, columns []column, text string, each func(arrow.RecordBatch) bool) error {
	p, err := x.conn.PgConn().Prepare(ctx, "", text, nil)
	switch {
	case ctx.Err() == nil && isMissing(err):
		return stateGone()
	case err != nil:
		return classify(ctx, err, "", 0)
	}
	for i, f := range p.Fields {
		if !columns[i].isLike(columnOf(f)) {
			return stateGone()
		}
	}
	d := &query{sql: text, columns: columns, schema: schemaOf(columns)}
	return x.through(ctx, label, d, d.text("", 0), each)
}
