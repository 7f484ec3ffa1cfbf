package sharing

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/apache/arrow-go/v18/arrow"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
)

// keying names how the keys of changed rows are shared out among parts.
const keying = "hash of the keys of a Delta table"

// Changes finds by the change data feed of q's table how its rows differ from what they were. A state is a version of the
// table, of which nothing is kept. Where the feed does not tell everything since q.Since, everything is read.
func (s *Source) Changes(ctx context.Context, q source.ChangeQuery, want int) (source.Changes, error) {
	x, err := s.differ(q)
	if err != nil {
		return source.Changes{}, err
	}
	l, err := s.metadata(ctx, x.model.table, q.Label)
	if err != nil {
		return source.Changes{}, err
	}
	if !l.stated || l.meta.id == "" {
		return source.Changes{}, fault.New(fault.Precondition, fault.ReasonQueryInvalid, "the sharing server does not say which version of %s it has, or which table that is, and mirror_engine native goes by both; use mirror_engine: row_index", x.model.table.what())
	}
	if err := x.describe(l); err != nil {
		return source.Changes{}, err
	}
	out := source.Changes{Time: l.at}
	now := x.positionOf(l)
	if q.Since != "" {
		if out.Lost, err = x.since(ctx, &now, want, &out); err != nil {
			return source.Changes{}, err
		}
	}
	if out.Since == "" {
		if err := x.everything(ctx, &now, want, &out); err != nil {
			return source.Changes{}, err
		}
	}
	out.State, out.Rows = now.state(), now.rows
	return out, nil
}

// since finds what has changed since q.Since, or says why that cannot be told.
func (x *differ) since(ctx context.Context, now *position, want int, out *source.Changes) (string, error) {
	base, ok := parsePosition(x.q.Since)
	switch {
	case !ok:
		return "the version of the last run is not known", nil
	case len(x.q.Added) > 0:
		return "columns count that did not before, and the feed does not tell which rows have values in them", nil
	case base.lost(*now) != "":
		return base.lost(*now), nil
	}
	if base.version == now.version {
		now.rows = base.rows
	} else if lost, err := x.compare(ctx, base, now, out); err != nil || lost != "" {
		return lost, err
	}
	out.Since, out.Parts = x.q.Since, []source.Range{{}}
	p := planner{s: x.s, want: want}
	if n := p.parts(out.Changed); n > 1 {
		out.Parts = nil
		for i := range n {
			out.Parts = append(out.Parts, source.Range{Unit: sqltext.Bucket{Index: i, Of: n, By: keying}.String()})
		}
	}
	return "", nil
}

// compare finds by the feed how the rows at now differ from those at base, or says why it does not tell.
func (x *differ) compare(ctx context.Context, base position, now *position, out *source.Changes) (string, error) {
	full, err := x.follow(ctx, base, *now, sqltext.Bucket{Of: 1})
	switch {
	case isLasting(err):
		if err := x.s.feeds(ctx, x.model.table, x.q.Label, now.version); err != nil {
			return "", err
		}
		return fmt.Sprintf("the changes since version %d cannot be read any more: %s", base.version, fault.As(err).Message), nil
	case errors.Is(err, errAltered):
		return fmt.Sprintf("the table was altered since version %d: it had other columns or no feed, or was another one", base.version), nil
	case err != nil:
		return "", err
	case full:
		return fmt.Sprintf("the changes since version %d are of more than %d keys or rows, which are not held against one another", base.version, x.s.settings.MaxChanges), nil
	}
	if now.rows, err = x.countRows(ctx, *now); err != nil {
		return "", err
	}
	if base.rows+x.fold.came-x.fold.went != now.rows {
		return fmt.Sprintf("the changes that the server names do not lead from %d rows to %d", base.rows, now.rows), nil
	}
	ok := false
	if now.repeats, ok, err = x.settle(ctx); err != nil {
		return "", err
	}
	if ok {
		out.Changed, out.Gone, ok = x.fold.judge()
	}
	if !ok {
		return "the changes that the server names contradict the rows that the table has", nil
	}
	return "", nil
}

// everything counts all rows at now, and cuts them into parts. The feed must be there: the next run goes by it.
func (x *differ) everything(ctx context.Context, now *position, want int, out *source.Changes) error {
	if err := x.s.feeds(ctx, x.model.table, x.q.Label, now.version); err != nil {
		return err
	}
	rows, err := x.countRows(ctx, *now)
	if err != nil {
		return err
	}
	plan := source.Plan{EstimatedRows: rows, Parts: []source.Range{{}}}
	p := planner{s: x.s, want: want, l: x.rows}
	p.groups(&plan)
	now.rows, now.repeats = rows, false
	out.Changed, out.Gone, out.Parts = rows, 0, plan.Parts
	return nil
}

// ReadChanges answers rows of a state, from the feed where it has them.
func (s *Source) ReadChanges(ctx context.Context, q source.ChangeQuery, st source.State, r source.Range) iter.Seq2[arrow.RecordBatch, error] {
	return s.ofState(q, st, func(x *differ, at, base position, each func(arrow.RecordBatch) bool) error {
		if q.Since == "" {
			return x.readAll(ctx, at, r, each)
		}
		b := sqltext.Bucket{Of: 1}
		if r.Unit != "" {
			var err error
			if b, err = sqltext.ParseBucket(r.Unit, keying); err != nil {
				return err //nolint:wrapcheck // classified
			}
		}
		if base.version == at.version {
			return nil
		}
		if err := x.again(ctx, base, at, b); err != nil {
			return err
		}
		return x.readChanged(ctx, each)
	})
}

// ReadGone answers the keys that a state has no more.
func (s *Source) ReadGone(ctx context.Context, q source.ChangeQuery, st source.State) iter.Seq2[arrow.RecordBatch, error] {
	return s.ofState(q, st, func(x *differ, at, base position, each func(arrow.RecordBatch) bool) error {
		if base.version == at.version {
			return nil
		}
		if err := x.again(ctx, base, at, sqltext.Bucket{Of: 1}); err != nil {
			return err
		}
		return x.readGone(ctx, each)
	})
}

// ofState answers what f reads of a state. One that the server does not answer any more, or whose feed's files are not there
// any more, is gone.
func (s *Source) ofState(q source.ChangeQuery, st source.State,
	f func(x *differ, at, base position, each func(arrow.RecordBatch) bool) error,
) iter.Seq2[arrow.RecordBatch, error] {
	return func(yield func(arrow.RecordBatch, error) bool) {
		read := func() error {
			x, err := s.differ(q)
			if err != nil {
				return err
			}
			at, ok := parsePosition(st)
			base, known := parsePosition(q.Since)
			if !ok || q.Since != "" && (!known || base.lost(at) != "") {
				return stateGone()
			}
			err = f(x, at, base, func(b arrow.RecordBatch) bool { return yield(b, nil) })
			if q.Since != "" && isRefusedLink(err) || isRefused(err) || errors.Is(err, errAltered) {
				return stateGone()
			}
			return err
		}
		if err := read(); err != nil {
			yield(nil, err)
		}
	}
}

// again judges the keys of a part as Changes did when it made the state.
func (x *differ) again(ctx context.Context, base, at position, b sqltext.Bucket) error {
	full, err := x.follow(ctx, base, at, b)
	if err != nil {
		return err
	}
	if full {
		return stateGone()
	}
	if !at.repeats {
		x.fold.once()
		return nil
	}
	if err := x.listRows(ctx, at); err != nil {
		return err
	}
	_, ok, err := x.settle(ctx)
	if err != nil {
		return err
	}
	if ok {
		_, _, ok = x.fold.judge()
	}
	if !ok {
		return stateGone()
	}
	return nil
}

func stateGone() error {
	return fault.New(fault.Unavailable, fault.ReasonSourceChanged, "the state of the mirror is gone; the run is planned again")
}

// differ answers what finds the changes of q, before anything is asked.
func (s *Source) differ(q source.ChangeQuery) (*differ, error) {
	switch {
	case q.Engine != resource.Native:
		return nil, invalid("a share keeps no snapshots to compare with; use mirror_engine native or row_index")
	case len(q.Model.KeyColumns) == 0:
		return nil, invalid("rows without key columns cannot be compared; name the key columns of the model")
	}
	m, err := s.modelOf(q.Model)
	return &differ{s: s, q: q, model: m}, err
}
