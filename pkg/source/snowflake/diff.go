package snowflake

import (
	"context"
	"slices"
	"strconv"

	"millrace.dev/pkg/source"
)

// snapshot copies q's rows, each table as it was at one instant, into a table of the state schema and compares it there
// with the one that q.Since names. Each statement commits by itself; a state is named once all of them have.
func (x *session) snapshot(ctx context.Context, q source.ChangeQuery, d *query) (out source.Changes, err error) {
	since, known := source.ParseKept(q.Since)
	names, err := x.prepareState(ctx, q, since.Table())
	if err != nil {
		return out, err
	}
	switch {
	case q.Since == "":
	case !known || since.Owner != q.Owner || !slices.Contains(names, since.Table()):
		out.Lost = "the snapshot of the last run is gone"
	default:
		n, err := x.count(ctx, command{sql: "SELECT COUNT(*) FROM " + x.s.table(since.Table()), label: q.Label})
		if err != nil {
			return out, err
		}
		if n != since.Rows {
			out.Lost = "the snapshot of the last run is not whole"
			break
		}
		out.Since = q.Since
	}
	kept := source.Kept{Owner: q.Owner, Attempt: q.Attempt}
	if out.Time, err = x.copy(ctx, q, d, kept); err != nil {
		return out, err
	}
	if kept.Rows, err = x.count(ctx, command{sql: "SELECT COUNT(*) FROM " + x.s.table(kept.Table()), label: q.Label}); err != nil {
		return out, err
	}
	out.State, out.Rows, out.Changed = kept.State(), kept.Rows, kept.Rows
	if out.Since == "" {
		return out, nil
	}
	out.Changed, out.Gone, err = x.compareKept(ctx, q, d, kept, since)
	return out, err
}

// compareKept makes the table of the keys that differ between two snapshots, and counts.
func (x *session) compareKept(ctx context.Context, q source.ChangeQuery, d *query, kept, since source.Kept) (changed, gone int64, err error) {
	c, err := comparisonOf(d, q)
	if err != nil {
		return 0, 0, err
	}
	now, was := x.s.table(kept.Table()), x.s.table(since.Table())
	text := c.Differing(c.Side(now+" AS q", "1", "0", false), c.Side(was+" AS q", "0", "1", true))
	if err := x.exec(ctx, command{sql: createTable + x.s.table(kept.Changes()) + noTravel + text, label: q.Label, before: hidden}); err != nil {
		return 0, 0, x.s.stateFault(err)
	}
	row, err := x.one(ctx, command{sql: "SELECT " + c.counts("SELECT * FROM "+now, keptKeys(x.s, kept)), label: q.Label, before: hidden})
	if err != nil {
		return 0, 0, err
	}
	n, err := numbersOf(row, 2)
	if err != nil {
		return 0, 0, err
	}
	return n[0], n[1], nil
}

// keptState answers where the rows of a snapshot are.
func (x *session) keptState(st source.State) (found, error) {
	k, ok := source.ParseKept(st)
	if !ok {
		return found{}, stateGone()
	}
	return found{rows: "SELECT * FROM " + x.s.table(k.Table()), keys: keptKeys(x.s, k)}, nil
}

func keptKeys(s *Source, k source.Kept) string { return "SELECT * FROM " + s.table(k.Changes()) }

// numbersOf answers the numbers of a row.
func numbersOf(row []string, n int) ([]int64, error) {
	out := make([]int64, len(row))
	for i, text := range row {
		var err error
		if out[i], err = strconv.ParseInt(text, 10, 64); err != nil {
			return nil, malformed()
		}
	}
	if len(out) != n {
		return nil, malformed()
	}
	return out, nil
}
