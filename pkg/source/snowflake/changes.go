package snowflake

import (
	"context"
	"iter"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
)

var (
	_ source.ChangeReader = (*Source)(nil)
	_ source.StateKeeper  = (*Driver)(nil)
)

// Changes finds how q's rows differ from what they were: by the table's feed of changes where q.Engine is native (a state is
// an instant), else by a snapshot in the state schema.
func (s *Source) Changes(ctx context.Context, q source.ChangeQuery, want int) (out source.Changes, err error) {
	x, d, err := s.ofQuery(ctx, q)
	if err != nil {
		return source.Changes{}, err
	}
	defer func() { s.give(x, err) }()
	if q.Engine == resource.Native {
		out, err = x.follow(ctx, q, d)
	} else {
		out, err = x.snapshot(ctx, q, d)
	}
	if err != nil {
		return source.Changes{}, err
	}
	per := s.settings.PartRows
	out.Parts = []source.Range{{}}
	if n := int(min(int64(want), (out.Changed+per-1)/per)); n > 1 {
		out.Parts = nil
		for i := range n {
			out.Parts = append(out.Parts, source.Range{Unit: sqltext.Bucket{Index: i, Of: n, By: hash}.String()})
		}
	}
	return out, nil
}

// ofQuery answers a session and q's statement, looked at. Whoever asks gives the session back.
func (s *Source) ofQuery(ctx context.Context, q source.ChangeQuery) (*session, *query, error) {
	if len(q.Model.KeyColumns) == 0 {
		return nil, nil, invalid("rows without key columns cannot be compared; name the key columns of the model")
	}
	x, err := s.take(ctx)
	if err != nil {
		return nil, nil, err
	}
	d, err := x.describe(ctx, q.Query)
	if err != nil {
		s.give(x, err)
		return nil, nil, err
	}
	return x, d, nil
}

// found is where the rows of a state are, and which of its keys differ.
type found struct {
	with string // what stands before the SELECT
	rows string // selects all rows of the state
	keys string // selects the keys that differ, and whether they are gone
}

// stateOf answers where the rows of a state are.
func (x *session) stateOf(ctx context.Context, q source.ChangeQuery, d *query, st source.State) (found, error) {
	if q.Engine == resource.Native {
		return x.feedState(ctx, q, d, st)
	}
	return x.keptState(st)
}

// ReadChanges answers rows of a state.
func (s *Source) ReadChanges(ctx context.Context, q source.ChangeQuery, st source.State, r source.Range) iter.Seq2[arrow.RecordBatch, error] {
	return s.ofState(ctx, q, st, func(x *session, d *query, f found, each func(arrow.RecordBatch) bool) error {
		text := f.with + "SELECT " + d.qualified() + " FROM (" + f.rows + ") AS " + sqltext.Quote("q")
		if q.Since != "" {
			c, err := comparisonOf(d, q)
			if err != nil {
				return err
			}
			text += " JOIN (" + f.keys + ") AS t ON t.g = 0 AND " + c.Same("t")
		}
		if r.Unit != "" {
			b, err := sqltext.ParseBucket(r.Unit, hash)
			if err != nil {
				return err //nolint:wrapcheck // classified by sqltext
			}
			text += d.bucket(b, q.Model.KeyColumns)
		}
		return x.readState(ctx, command{sql: text, label: q.Label, before: hidden}, d.columns, d.schema, each)
	})
}

// ReadGone answers the keys that a state has no more.
func (s *Source) ReadGone(ctx context.Context, q source.ChangeQuery, st source.State) iter.Seq2[arrow.RecordBatch, error] {
	return s.ofState(ctx, q, st, func(x *session, d *query, f found, each func(arrow.RecordBatch) bool) error {
		c, err := comparisonOf(d, q)
		if err != nil {
			return err
		}
		return x.readState(ctx, command{sql: f.with + c.Gone(f.keys), label: q.Label, before: hidden}, c.keys, schemaOf(c.keys), each)
	})
}

// hidden is more lines than a statement has: those of the driver's own are not told.
const hidden = 1 << 24

// ofState answers what f reads of a state.
func (s *Source) ofState(ctx context.Context, q source.ChangeQuery, st source.State,
	f func(x *session, d *query, f found, each func(arrow.RecordBatch) bool) error,
) iter.Seq2[arrow.RecordBatch, error] {
	return func(yield func(arrow.RecordBatch, error) bool) {
		read := func() (err error) {
			x, d, err := s.ofQuery(ctx, q)
			if err != nil {
				return err
			}
			defer func() { s.give(x, err) }()
			at, err := x.stateOf(ctx, q, d, st)
			if err != nil {
				return err
			}
			return f(x, d, at, func(b arrow.RecordBatch) bool { return yield(b, nil) })
		}
		if err := read(); err != nil {
			yield(nil, err)
		}
	}
}

// readState runs a SELECT over a state. One that is not there any more, or has other columns, is SOURCE_CHANGED.
func (x *session) readState(ctx context.Context, c command, columns []column, schema *arrow.Schema, each func(arrow.RecordBatch) bool) error {
	loader, _, err := x.run(ctx, c, false)
	if isCompile(err) || isUntracked(err) {
		return stateGone()
	}
	if err != nil {
		return err
	}
	var have []column
	for _, t := range loader.RowTypes() {
		have = append(have, columnOf(t.Name, t.Type, t.Precision, t.Scale, t.Length, x.s.address.Timestamps))
	}
	if !slices.EqualFunc(columns, have, func(a, b column) bool { return a.name == b.name && b.typ != nil && arrow.TypeEqual(a.typ, b.typ) }) {
		return stateGone()
	}
	return x.batches(ctx, loader, columns, schema, each)
}

func stateGone() error {
	return fault.New(fault.Unavailable, fault.ReasonSourceChanged, "the state of the mirror is gone; the run is planned again")
}

// qualified answers the select list of q's columns.
func (q *query) qualified() string {
	return sqlList(q.columns, func(c column) string { return sqltext.Quote("q") + "." + sqltext.Quote(c.name) })
}
