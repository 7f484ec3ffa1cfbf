package databricks

import (
	"context"
	"iter"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
)

var _ source.ChangeReader = (*Source)(nil)

// Changes finds how q's rows differ from what they were by the change data feed of its table. A state is a version of the
// table: nothing is written, and nothing kept that would have to be dropped.
func (s *Source) Changes(ctx context.Context, q source.ChangeQuery, want int) (source.Changes, error) {
	f, x, err := s.follows(ctx, q)
	if err != nil {
		return source.Changes{}, err
	}
	defer x.close()
	out, err := x.follow(ctx, q, f)
	if err != nil {
		return source.Changes{}, err
	}
	out.Parts = buckets(s.settings.parts(out.Changed, want))
	return out, nil
}

// follows answers q's statement as one that has a feed, and a session. Whoever asks closes it.
func (s *Source) follows(ctx context.Context, q source.ChangeQuery) (feed, *session, error) {
	switch {
	case q.Engine != resource.Native:
		return feed{}, nil, invalid("Databricks keeps no snapshots of mirrors; use mirror_engine: native or row_index")
	case len(q.Model.KeyColumns) == 0:
		return feed{}, nil, invalid("rows without key columns cannot be compared; name the key columns of the model")
	}
	f, err := feedOf(q.Model)
	if err != nil {
		return f, nil, err
	}
	x, err := s.session(ctx, q.Label)
	return f, x, err
}

// ReadChanges answers rows of a state.
func (s *Source) ReadChanges(ctx context.Context, q source.ChangeQuery, st source.State, r source.Range) iter.Seq2[arrow.RecordBatch, error] {
	return s.ofState(ctx, q, st, func(at *reading) (string, []column, error) {
		text, list := at.with, items(at.columns, "q")
		if q.Since == "" {
			text += "SELECT " + list + " FROM (" + at.rows + ") AS q"
		} else {
			text += at.Changed(list, at.rows, at.found.keys)
		}
		if r.Unit == "" {
			return text, at.columns, nil
		}
		b, err := sqltext.ParseBucket(r.Unit, hash)
		return text + bucket(b, q.Model.KeyColumns, "q."), at.columns, err //nolint:wrapcheck // classified by sqltext
	})
}

// ReadGone answers the keys that a state has no more; none without a Since.
func (s *Source) ReadGone(ctx context.Context, q source.ChangeQuery, st source.State) iter.Seq2[arrow.RecordBatch, error] {
	if q.Since == "" {
		return func(func(arrow.RecordBatch, error) bool) {}
	}
	return s.ofState(ctx, q, st, func(at *reading) (string, []column, error) {
		return at.with + at.Gone(at.found.keys), at.comparison.keys, nil
	})
}

// reading is a state that is read: the table as it is known, the query's columns in the state's version, how its rows are
// compared with those of the base, and where they are.
type reading struct {
	now     commit
	columns []column
	comparison
	found
}

// ofState answers what a statement selects of a state, and its columns.
func (s *Source) ofState(ctx context.Context, q source.ChangeQuery, st source.State,
	statement func(at *reading) (string, []column, error),
) iter.Seq2[arrow.RecordBatch, error] {
	return func(yield func(arrow.RecordBatch, error) bool) {
		if err := s.readState(ctx, q, st, statement, func(b arrow.RecordBatch) bool { return yield(b, nil) }); err != nil {
			yield(nil, err)
		}
	}
}

// readState stops without an error when each answers false.
func (s *Source) readState(ctx context.Context, q source.ChangeQuery, st source.State,
	statement func(at *reading) (string, []column, error), each func(arrow.RecordBatch) bool,
) error {
	f, x, err := s.follows(ctx, q)
	if err != nil {
		return err
	}
	defer x.close()
	at, err := x.stateOf(ctx, q, f, st)
	if err != nil {
		return err
	}
	text, columns, err := statement(at)
	if err != nil {
		return err
	}
	wanted := true
	err = x.read(ctx, text, nil, schemaOf(columns), func(b arrow.RecordBatch) bool {
		wanted = each(b)
		return wanted
	})
	switch {
	case isGone(err):
		return stateGone()
	case err != nil || !wanted:
		return err
	}
	return x.still(ctx, f, at.now)
}

// stateOf answers where the rows of a state are. Where the table is another one by now, or the version gone, they are
// nowhere.
func (x *session) stateOf(ctx context.Context, q source.ChangeQuery, f feed, st source.State) (*reading, error) {
	is, ok := parseCommit(st)
	was, okToo := parseCommit(q.Since)
	at := &reading{now: commit{version: is.version, query: fingerprint(f.text)}}
	var err error
	if at.now.table, err = x.identify(ctx, f); err != nil {
		return nil, err
	}
	if !ok || is.lost(at.now) != "" || q.Since != "" && (!okToo || was.lost(at.now) != "") {
		return nil, stateGone()
	}
	d, err := x.describe(ctx, f.asOf(is.version))
	switch {
	case isGone(err):
		return nil, stateGone()
	case err != nil:
		return nil, err
	}
	at.columns = d.columns
	if at.comparison, err = comparisonOf(d, q); err != nil {
		return nil, err
	}
	at.found = found{rows: "\n" + f.asOf(is.version) + "\n"}
	if q.Since != "" {
		at.found = at.between(f, was.version, is.version)
	}
	return at, nil
}

// isGone says whether a state's version, the changes that lead to it, or its columns are not there any more.
func isGone(err error) bool {
	c := conditionOf(err)
	return err != nil && (isPast(err) || c == missingChanges || strings.HasPrefix(c, otherColumns) || fault.ClassOf(err) == fault.Invalid)
}

func stateGone() error {
	return fault.New(fault.Unavailable, fault.ReasonSourceChanged, "the state of the mirror is gone, or has other columns; the run is planned again")
}
