package bigquery

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	bq "google.golang.org/api/bigquery/v2"

	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
)

var (
	_ source.ChangeReader = (*Source)(nil)
	_ source.StateKeeper  = (*Driver)(nil)
)

// Changes finds how q's rows differ from what they were: by the history that BigQuery keeps of a table's changes where
// q.Engine is native (a state is an instant), else by a snapshot in the state data set.
func (s *Source) Changes(ctx context.Context, q source.ChangeQuery, want int) (source.Changes, error) {
	d, err := s.describe(ctx, q.Query)
	if err != nil {
		return source.Changes{}, err
	}
	var out source.Changes
	if q.Engine == resource.Native {
		out, err = s.follow(ctx, q, d)
	} else {
		out, err = s.snapshot(ctx, q, d)
	}
	if err != nil {
		return source.Changes{}, err
	}
	out.Parts = s.cuts(out.Changed, want)
	return out, nil
}

// snapshot copies q's rows into a table of the state data set and compares it there with the one that q.Since names. Each
// is one statement, and so of one instant.
func (s *Source) snapshot(ctx context.Context, q source.ChangeQuery, d *query) (source.Changes, error) {
	c := changes{s: s, q: q, d: d, kept: source.Kept{Owner: q.Owner, Attempt: q.Attempt}}
	err := c.make(ctx)
	return c.out, err
}

// changes makes one state.
type changes struct {
	s     *Source
	q     source.ChangeQuery
	d     *query
	kept  source.Kept
	since source.Kept
	was   relation
	out   source.Changes
}

func (c *changes) make(ctx context.Context) error {
	if err := c.s.ensureStates(ctx); err != nil {
		return err
	}
	if err := c.base(ctx); err != nil {
		return err
	}
	if err := c.s.dropEarlier(ctx, c.q.Owner, c.q.Attempt, c.since.Table()); err != nil {
		return err
	}
	if err := c.copy(ctx); err != nil {
		return err
	}
	c.out.State, c.out.Rows, c.out.Changed = c.kept.State(), c.kept.Rows, c.kept.Rows
	if c.out.Since == "" {
		return nil
	}
	return c.compare(ctx)
}

// base sees whether the table that the rows are compared with is there, whole, and of columns that compare.
func (c *changes) base(ctx context.Context) error {
	if c.q.Since == "" {
		return nil
	}
	k, ok := source.ParseKept(c.q.Since)
	if !ok || k.Owner != c.q.Owner {
		c.out.Lost = lostExpired
		return nil
	}
	t, err := c.s.stateTable(ctx, k.Table())
	if err != nil {
		return err
	}
	switch {
	case t == nil:
		c.out.Lost = lostExpired
		return nil
	case t.rows != k.Rows:
		c.out.Lost = "the snapshot of the last run is not whole"
		return nil
	}
	c.was = relation{from: c.s.stateName(k.Table()), types: t.types}
	if !c.was.hasAll(c.d, c.q.Model.KeyColumns, c.q.Compared) {
		c.out.Lost = "the snapshot of the last run has other columns"
		return nil
	}
	c.since, c.out.Since = k, c.q.Since
	return nil
}

// copy makes the new snapshot. Its rows are spread evenly, so that parts of them are read without a look at the rest.
func (c *changes) copy(ctx context.Context) error {
	reads := make([]string, len(c.d.columns))
	for i, x := range c.d.columns {
		reads[i] = x.reading() + " AS " + field(x.name)
	}
	list := spread + " AS " + partField + ", " + strings.Join(reads, ", ")
	start, err := c.s.execute(ctx, request{sql: c.s.creating(c.kept.Table()) + c.d.probe(list, ""), label: c.q.Label, shift: 1, within: c.q.Within})
	if err != nil {
		return c.s.stateFault(err)
	}
	c.out.Time = start
	t, err := c.s.stateTable(ctx, c.kept.Table())
	if err != nil {
		return err
	}
	if t == nil {
		return stateGone()
	}
	c.kept.Rows = t.rows
	return nil
}

// compare makes the table of what has changed: rows of the new snapshot, and keys that are gone.
func (c *changes) compare(ctx context.Context) error {
	is := relation{from: c.s.stateName(c.kept.Table()), types: map[string]string{}}
	for _, x := range c.d.columns {
		is.types[field(x.name)] = class(x.typ)
	}
	text := c.s.creating(c.kept.Changes()) + differences(is, c.was, c.d, c.q)
	if _, err := c.s.execute(ctx, request{sql: text, label: c.q.Label, shift: -1, within: c.q.Within}); err != nil {
		return c.s.stateFault(err)
	}
	var err error
	c.out.Changed, c.out.Gone, err = c.s.countChanges(ctx, c.s.stateName(c.kept.Changes()), c.q)
	return err
}

// countChanges counts the rows, and the keys that are gone, of a table of what has changed.
func (s *Source) countChanges(ctx context.Context, table string, q source.ChangeQuery) (changed, gone int64, err error) {
	row, err := (&planner{s: s}).one(ctx, request{
		sql:   "SELECT CAST(COUNTIF(NOT " + goneField + ") AS STRING) AS c0, CAST(COUNTIF(" + goneField + ") AS STRING) AS c1 FROM " + table,
		label: q.Label, shift: -1, within: q.Within,
	}, 2)
	if err != nil {
		return 0, 0, err
	}
	if changed, err = number(row[0]); err != nil {
		return 0, 0, err
	}
	gone, err = number(row[1])
	return changed, gone, err
}

// cuts answers the parts of so many rows: ranges of the numbers that they are spread over.
func (s *Source) cuts(rows int64, want int) []source.Range {
	n := max(1, int(min(int64(want), cells, (rows+s.settings.PartRows-1)/s.settings.PartRows)))
	if n == 1 {
		return []source.Range{{}}
	}
	out := make([]source.Range, n)
	for i := range out {
		out[i].Unit = fmt.Sprintf(cutText, i*cells/n, (i+1)*cells/n)
	}
	return out
}

// cutText is how a part is named: from a number on, and below another.
const cutText = "cells %d to %d of BigQuery"

// within answers the condition of a part. What is none is SOURCE_CHANGED.
func within(r source.Range) (string, error) {
	if r.Unit == "" {
		return "", nil
	}
	var low, high int
	if n, err := fmt.Sscanf(r.Unit, cutText, &low, &high); err != nil || n != 2 || r.Unit != fmt.Sprintf(cutText, low, high) || low < 0 || high > cells || low >= high {
		return "", stateGone()
	}
	return fmt.Sprintf("%s >= %d AND %s < %d", partField, low, partField, high), nil
}

// ReadChanges answers rows of a state.
func (s *Source) ReadChanges(ctx context.Context, q source.ChangeQuery, st source.State, r source.Range) iter.Seq2[arrow.RecordBatch, error] {
	return s.ofState(ctx, q, st, func(d *query, h held, each func(arrow.RecordBatch) bool) error {
		where, err := within(r)
		if err != nil {
			return err
		}
		if h.partial {
			where = strings.TrimSuffix("NOT "+goneField+" AND "+where, " AND ")
		}
		fields := make([]string, len(d.columns))
		for i, c := range d.columns {
			fields[i] = field(c.name)
		}
		n := s.settings.Streams
		if r.Unit != "" {
			n = 1
		}
		return s.readTable(ctx, h.table, selection{fields: fields, where: where}, n, d, each)
	})
}

// ReadGone answers the keys that a state has no more.
func (s *Source) ReadGone(ctx context.Context, q source.ChangeQuery, st source.State) iter.Seq2[arrow.RecordBatch, error] {
	return s.ofState(ctx, q, st, func(d *query, h held, each func(arrow.RecordBatch) bool) error {
		of := &query{}
		var fields []string
		for i, key := range q.Model.KeyColumns {
			c := d.column(key)
			if c == nil {
				return stateGone()
			}
			of.columns, fields = append(of.columns, *c), append(fields, keyField(i))
		}
		of.schema = schemaOf(of.columns)
		return s.readTable(ctx, h.table, selection{fields: fields, where: goneField}, s.settings.Streams, of, each)
	})
}

// held is where the rows of a state are read from.
type held struct {
	table   *bq.TableReference // nil: there is no row
	partial bool               // it has what has changed, else everything
}

// holding answers where the rows of a state are. What is no state of q's engine is SOURCE_CHANGED.
func (s *Source) holding(q source.ChangeQuery, st source.State) (held, error) {
	h := held{partial: q.Since != ""}
	if q.Engine == resource.Native {
		i, ok := parseInstant(st)
		if ok {
			h.table, ok = i.table()
		}
		if !ok || i.partial != h.partial {
			return held{}, stateGone()
		}
		return h, nil
	}
	k, ok := source.ParseKept(st)
	if !ok {
		return held{}, stateGone()
	}
	h.table = s.stateRef(k.Table())
	if h.partial {
		h.table = s.stateRef(k.Changes())
	}
	return h, nil
}

// ofState answers what f reads of a state.
func (s *Source) ofState(ctx context.Context, q source.ChangeQuery, st source.State,
	f func(d *query, h held, each func(arrow.RecordBatch) bool) error,
) iter.Seq2[arrow.RecordBatch, error] {
	return func(yield func(arrow.RecordBatch, error) bool) {
		read := func() error {
			h, err := s.holding(q, st)
			if err != nil || h.table == nil {
				return err
			}
			d, err := s.describe(ctx, q.Query)
			if err != nil {
				return err
			}
			return f(d, h, func(b arrow.RecordBatch) bool { return yield(b, nil) })
		}
		if err := read(); err != nil {
			yield(nil, err)
		}
	}
}

// readTable reads rows and columns of a table as batches of d's columns, by at most n streams. A table that is not there any
// more, or has other columns, is SOURCE_CHANGED.
func (s *Source) readTable(ctx context.Context, t *bq.TableReference, of selection, n int, d *query, each func(arrow.RecordBatch) bool) error {
	session, err := s.sessionOf(ctx, t, of, n)
	if err != nil {
		return streamFault(ctx, err, true)
	}
	return s.streams(ctx, names(session), true, d, each)
}

// column answers the column of a name, nil where there is none.
func (q *query) column(name string) *column {
	for i := range q.columns {
		if q.columns[i].name == name {
			return &q.columns[i]
		}
	}
	return nil
}
