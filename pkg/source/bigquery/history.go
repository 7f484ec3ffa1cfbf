package bigquery

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	bq "google.golang.org/api/bigquery/v2"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
)

// atName is the parameter of the time that a table is looked at.
const atName = "millrace_at"

func instantParameter(name string, at time.Time) *bq.QueryParameter {
	return &bq.QueryParameter{
		Name: name, ParameterType: &bq.QueryParameterType{Type: "TIMESTAMP"},
		ParameterValue: &bq.QueryParameterValue{Value: at.UTC().Format("2006-01-02T15:04:05.000000Z")},
	}
}

// relation answers where rows of the query are, as its columns are read.
func (n *native) relation(from string) relation {
	r := relation{from: from, types: map[string]string{}}
	for _, c := range n.d.columns {
		r.types[field(c.name)] = class(c.typ)
	}
	return r
}

// reads selects columns of the query over a text of it, each by its field; all where names are none.
func (n *native) reads(text string, names ...string) string {
	var list []string
	for _, c := range n.d.columns {
		if len(names) == 0 || slices.Contains(names, c.name) {
			list = append(list, c.reading()+" AS "+field(c.name))
		}
	}
	return (&query{sql: text}).probe(strings.Join(list, ", "), "")
}

// edge is what more is asked for at either end of a call of CHANGES, so that it makes no difference which of its ends a
// call has. Keys that have not changed cost a comparison.
const edge = time.Microsecond

// ranges cuts what lies between two instants, both with it, into what one call of CHANGES each takes.
func ranges(from, to time.Time) [][2]time.Time {
	const step = changesRange - 2*edge
	var out [][2]time.Time
	for ; to.Sub(from) > step; from = from.Add(step) {
		out = append(out, [2]time.Time{from.Add(-edge), from.Add(step + edge)})
	}
	return append(out, [2]time.Time{from.Add(-edge), to.Add(edge)})
}

// touched selects the images of the keys that the table's history names between two instants.
func (n *native) touched(from, to time.Time) request {
	r := request{label: n.q.Label, shift: 1, within: n.q.Within}
	keys := n.q.Model.KeyColumns
	var calls []string
	for i, x := range ranges(from, to) {
		a, b := "millrace_from"+strconv.Itoa(i), "millrace_to"+strconv.Itoa(i)
		r.params = append(r.params, instantParameter(a, x[0]), instantParameter(b, x[1]))
		calls = append(calls, n.reads(n.f.over(a, b), keys...))
	}
	r.sql = "SELECT DISTINCT " + n.relation("").image(keys) + " AS k FROM (" + strings.Join(calls, " UNION ALL ") + ") AS q"
	return r
}

// rowsAt selects the rows that touched keys had at an instant: columns of the query, all where names are none.
func (n *native) rowsAt(at time.Time, touched *bq.TableReference, names ...string) request {
	var fields, own []string
	for _, c := range n.d.columns {
		if len(names) == 0 || slices.Contains(names, c.name) {
			fields, own = append(fields, "n."+field(c.name)), append(own, "q."+field(c.name))
		}
	}
	rows := n.relation("("+n.reads(n.f.asOf(atName), names...)+")").side(n.q.Model.KeyColumns, nil, own...)
	return request{
		sql:    "SELECT " + strings.Join(fields, ", ") + " FROM (" + rows + ") AS n JOIN " + quoted(touched) + " AS t ON t.k = n.k",
		params: []*bq.QueryParameter{instantParameter(atName, at)}, label: n.q.Label, shift: 1, within: n.q.Within,
	}
}

// everything reads all rows of the query as they were at the instant.
func (n *native) everything(ctx context.Context) error {
	list := strings.TrimPrefix(n.reads(n.f.asOf(atName)), "SELECT ")
	got, err := n.s.run(ctx, request{
		sql: "SELECT " + spread + " AS " + partField + ", " + list, params: []*bq.QueryParameter{instantParameter(atName, n.now.at)}, label: n.q.Label, shift: 1, within: n.q.Within,
	})
	if err != nil {
		return err
	}
	n.out.Rows, n.out.Changed = got.rows, got.rows
	n.now.result = resultName(got.table)
	return nil
}

// compare finds what has changed since a base, in four steps whose results are kept for a day: the keys that the history
// names, their rows then, their rows now, and what of these differs. It sets Lost where the history does not tell all.
func (n *native) compare(ctx context.Context, base instant) error {
	since := base.at.Format(time.RFC3339)
	if n.keeps > 0 && n.now.at.Sub(base.at) >= n.keeps {
		n.out.Lost = "BigQuery no longer has the changes since " + since + ": the data set keeps those of " + resource.FormatDuration(n.keeps)
		return nil
	}
	keys, err := n.s.run(ctx, n.touched(base.at, n.now.at))
	if refusesQuery(err) {
		n.out.Lost = fmt.Sprintf("BigQuery does not tell the changes since %s: %s", since, fault.As(err).Message)
		return nil
	}
	if err != nil {
		return err
	}
	was, is := &result{}, &result{}
	if keys.rows > 0 {
		was, err = n.s.run(ctx, n.rowsAt(base.at, keys.table, append(append([]string{}, n.q.Model.KeyColumns...), n.q.Compared...)...))
		if refusesQuery(err) {
			n.out.Lost = fmt.Sprintf("BigQuery no longer has the rows of %s: %s", since, fault.As(err).Message)
			return nil
		}
		if err != nil {
			return err
		}
		if is, err = n.s.run(ctx, n.rowsAt(n.now.at, keys.table)); err != nil {
			return err
		}
	}
	rows, err := n.count(ctx)
	if err != nil {
		return err
	}
	if base.rows-was.rows+is.rows != rows {
		n.out.Lost = fmt.Sprintf("the changes that BigQuery names do not lead from %d rows to %d", base.rows, rows)
		return nil
	}
	n.out.Since, n.out.Rows, n.now.partial = n.q.Since, rows, true
	n.notice(base)
	if keys.rows == 0 {
		return nil
	}
	return n.differ(ctx, is.table, was.table)
}

// count counts the rows of the query at the instant.
func (n *native) count(ctx context.Context) (int64, error) {
	row, err := (&planner{s: n.s}).one(ctx, request{
		sql:    (&query{sql: n.f.asOf(atName)}).probe("CAST(COUNT(*) AS STRING) AS c0", ""),
		params: []*bq.QueryParameter{instantParameter(atName, n.now.at)}, label: n.q.Label, shift: 1, within: n.q.Within,
	}, 1)
	if err != nil {
		return 0, err
	}
	return number(row[0])
}

// differ finds what differs between two results.
func (n *native) differ(ctx context.Context, is, was *bq.TableReference) error {
	got, err := n.s.run(ctx, request{sql: differences(n.relation(quoted(is)), n.relation(quoted(was)), n.d, n.q), label: n.q.Label, shift: -1, within: n.q.Within})
	if err != nil {
		return err
	}
	if n.out.Changed, n.out.Gone, err = n.s.countChanges(ctx, quoted(got.table), n.q); err != nil {
		return err
	}
	n.now.result = resultName(got.table)
	return nil
}

// notice tells of a base that lies further back than half of what is kept.
func (n *native) notice(base instant) {
	if age := n.now.at.Sub(base.at); n.keeps > 0 && age > n.keeps/2 {
		n.out.Notice = fmt.Sprintf("the last changes were read %s ago, and BigQuery keeps those of %s for %s only; run more often, or raise the data set's max_time_travel_hours",
			resource.FormatDuration(age.Round(time.Minute)), n.f.path, resource.FormatDuration(n.keeps))
	}
}
