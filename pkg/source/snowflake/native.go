package snowflake

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
)

// instant is a state by the table's feed of changes: an instant of the warehouse, how many rows the query had then, and
// what must be as it was for the feed to tell everything since: which table it is, its last change other than of rows, and
// what the query says of it.
type instant struct {
	at                   time.Time
	rows                 int64
	made, altered, query string        // fingerprints
	retention            time.Duration // of what is known now; not in the text
}

//nolint:gochecknoglobals // compiled once, never changed
var instantText = regexp.MustCompile(`^at (\S{20,40}) of (\d{1,18}) rows of table ([0-9a-f]{16}) altered ([0-9a-f]{16}) by query ([0-9a-f]{16})$`)

func (i instant) state() source.State {
	return source.State(fmt.Sprintf("%s of %d rows of table %s altered %s by query %s", snapshotName(i.at), i.rows, i.made, i.altered, i.query))
}

func parseInstant(s source.State) (instant, bool) {
	m := instantText.FindStringSubmatch(string(s))
	if m == nil {
		return instant{}, false
	}
	at, err := time.Parse(time.RFC3339Nano, m[1])
	rows, err2 := strconv.ParseInt(m[2], 10, 64)
	return instant{at: at, rows: rows, made: m[3], altered: m[4], query: m[5]}, err == nil && err2 == nil
}

// lost says why the feed cannot tell what has changed since i; empty: it can.
func (i instant) lost(now instant) string {
	switch {
	case i.made != now.made:
		return "the table was made again, or another one has its name"
	case i.altered != now.altered:
		return "the table was altered, and its changes do not tell what that did to its rows"
	case i.query != now.query:
		return "the query is another one"
	}
	return ""
}

func fingerprint(text string) string {
	const short = 8
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:short])
}

// Names of what statements over the feed select from. No model has them.
const (
	feedRows    = `"millrace rows"`
	feedChanges = `"millrace changes"`
	feedAction  = `"millrace action"`
)

const tableSQL = `information_schema.tables WHERE table_name = ? AND table_schema IN (?, CASE WHEN ? = '' THEN CURRENT_SCHEMA() END, CASE WHEN ? = '' THEN 'PUBLIC' END)
ORDER BY CASE WHEN table_schema = CURRENT_SCHEMA() THEN 0 ELSE 1 END LIMIT 1`

// identify answers what is known of the feed's table, and refuses what has no feed that tells everything.
func (x *session) identify(ctx context.Context, f feed, label string) (out instant, err error) {
	catalog := ""
	if f.catalog != "" {
		catalog = sqltext.Quote(f.catalog) + "."
	}
	var row []string
	n, dated := 0, false
	binds := []string{f.table, f.schema, f.schema, f.schema}
	const list = "SELECT table_type, CAST(created AS TIMESTAMP_LTZ(6)) AS created, CAST(last_ddl AS TIMESTAMP_LTZ(6)) AS last_ddl, retention_time FROM "
	err = x.rows(ctx, command{sql: list + catalog + tableSQL, binds: binds, label: label, before: hidden}, func(b arrow.RecordBatch) bool {
		for i := range int(b.NumCols()) {
			row = append(row, strings.Clone(b.Column(i).ValueStr(0)))
		}
		n, dated = n+1, b.Column(1).IsValid(0) && b.Column(2).IsValid(0)
		return false
	})
	switch {
	case err != nil:
		return out, err
	case n == 0:
		return out, unfed(f.line, "%s is no table that the role sees", f.text)
	case row[0] != "BASE TABLE":
		return out, unfed(f.line, "%s is a %s, of which it would not be told when the tables below it are others", f.text, strings.ToLower(row[0]))
	case !dated:
		return out, unfed(f.line, "of %s Snowflake does not say when it was made and altered", f.text)
	}
	const day = 24 * time.Hour
	days, _ := strconv.Atoi(row[3]) // NULL is none known
	return instant{made: fingerprint(row[1]), altered: fingerprint(row[2]), query: fingerprint(f.statement.text), retention: time.Duration(days) * day}, nil
}

// follow finds by the table's feed what has changed since q.Since. What is known of the table is asked for before the
// instant is taken, so that what is altered between is found by the next run.
func (x *session) follow(ctx context.Context, q source.ChangeQuery, d *query) (out source.Changes, err error) {
	f, err := d.feed()
	if err != nil {
		return out, err
	}
	c, err := comparisonOf(d, q)
	if err != nil {
		return out, err
	}
	now, err := x.identify(ctx, f, q.Label)
	if err != nil {
		return out, err
	}
	if now.at, err = x.now(ctx, q.Label); err != nil {
		return out, err
	}
	if err := x.probe(ctx, f, now.at, q.Label); err != nil {
		return out, err
	}
	out.Time = now.at
	base, ok := parseInstant(q.Since)
	switch {
	case q.Since == "":
	case !ok:
		out.Lost = "the instant of the last run is not known"
	default:
		out.Lost = base.lost(now)
	}
	if q.Since != "" && out.Lost == "" {
		if out.Lost, err = x.countFeed(ctx, q, c, f, base, now, &out); err != nil {
			return source.Changes{}, err
		}
	}
	if q.Since == "" || out.Lost != "" {
		if out.Rows, err = x.count(ctx, command{sql: "SELECT COUNT(*) FROM (" + f.asOf(now.at) + "\n) AS q", label: q.Label, before: hidden}); err != nil {
			return source.Changes{}, err
		}
		out.Changed = out.Rows
	}
	now.rows = out.Rows
	out.State = now.state()
	return out, nil
}

// probe sees whether the table's changes are tracked.
func (x *session) probe(ctx context.Context, f feed, at time.Time, label string) error {
	_, err := x.count(ctx, command{sql: "SELECT COUNT(*) FROM (" + f.since(at, time.Time{}) + "\n) AS q", label: label, before: hidden})
	switch {
	case isGone(err):
		return fault.New(fault.Precondition, fault.ReasonQueryInvalid,
			"the table %[1]s keeps no past, which mirror_engine native goes by; run ALTER TABLE %[1]s SET DATA_RETENTION_TIME_IN_DAYS = 2 as its owner, or use mirror_engine: row_index", f.text)
	case isUntracked(err):
		return fault.New(fault.Precondition, fault.ReasonQueryInvalid,
			"changes of the table %[1]s are not tracked, which mirror_engine native goes by; run ALTER TABLE %[1]s SET CHANGE_TRACKING = TRUE as its owner, or use mirror_engine: row_index", f.text)
	}
	return err
}

// countFeed counts what the feed has between two instants, and sees that it accounts for every row. It answers why it does
// not.
func (x *session) countFeed(ctx context.Context, q source.ChangeQuery, c comparison, f feed, base, now instant, out *source.Changes) (string, error) {
	at := c.between(f, base.at, now.at)
	text := at.with + "SELECT (SELECT COUNT(*) FROM " + feedRows + "), (SELECT COUNT(*) FROM " + feedChanges + " WHERE " + feedAction + " = 'INSERT'), " +
		"(SELECT COUNT(*) FROM " + feedChanges + " WHERE " + feedAction + " = 'DELETE'), " + c.counts(at.rows, at.keys)
	row, err := x.one(ctx, command{sql: text, label: q.Label, before: hidden})
	switch {
	case isGone(err), isUntracked(err):
		return "Snowflake no longer has the changes since " + base.at.Format(time.RFC3339) + ", by the table's DATA_RETENTION_TIME_IN_DAYS or since tracking was off", nil
	case err != nil:
		return "", err
	}
	const figures = 5
	n, err := numbersOf(row, figures)
	if err != nil {
		return "", err
	}
	rows, came, went := n[0], n[1], n[2]
	if base.rows+came-went != rows {
		return fmt.Sprintf("the changes that Snowflake names do not lead from %d rows to %d", base.rows, rows), nil
	}
	out.Since, out.Rows, out.Changed, out.Gone = q.Since, rows, n[3], n[4]
	if age := now.at.Sub(base.at); now.retention > 0 && age > now.retention/2 {
		out.Notice = fmt.Sprintf("the last changes were read %s ago, and Snowflake keeps those of %s for %s only; raise its DATA_RETENTION_TIME_IN_DAYS, or run more often",
			resource.FormatDuration(age.Round(time.Minute)), f.text, resource.FormatDuration(now.retention))
	}
	return "", nil
}

// between answers where the rows are that the feed's table had at `to`, and which keys differ from `from`. The rows that a
// key had are those that it has, without what came and with what went: only keys that the feed names are looked at, and
// those with a value in an added column.
func (c comparison) between(f feed, from, to time.Time) found {
	with := "WITH " + feedRows + " AS (" + f.asOf(to) + "\n), " + feedChanges + " AS (" + f.since(from, to) + "\n) "
	touched := "SELECT DISTINCT " + c.KeyImages() + " FROM " + feedChanges + " AS q"
	if len(c.added) > 0 {
		touched += " UNION SELECT " + c.KeyImages() + " FROM " + feedRows + " AS q WHERE COALESCE(" +
			sqlList(c.added, func(a column) string { return "CASE WHEN q." + sqltext.Quote(a.name) + " IS NOT NULL THEN 1 END" }) + ", 0) = 1"
	}
	stands := feedRows + " AS q JOIN (" + touched + ") AS c ON " + c.Same("c")
	sides := []string{c.Side(stands, "1", "1", false)}
	if len(c.added) > 0 {
		sides = []string{c.Side(stands, "1", "0", false), c.Side(stands, "0", "1", true)}
	}
	sides = append(sides, c.Side(feedChanges+" AS q", "0", "CASE WHEN q."+feedAction+" = 'DELETE' THEN 1 ELSE -1 END", true))
	return found{with: with, rows: "SELECT * FROM " + feedRows, keys: c.Differing(sides...)}
}

// feedState answers where the rows of an instant are. Where the table is another one by now they are nowhere.
func (x *session) feedState(ctx context.Context, q source.ChangeQuery, d *query, st source.State) (found, error) {
	at, ok := parseInstant(st)
	if !ok {
		return found{}, stateGone()
	}
	f, err := d.feed()
	if err != nil {
		return found{}, err
	}
	now, err := x.identify(ctx, f, q.Label)
	if err != nil {
		return found{}, err
	}
	if at.lost(now) != "" {
		return found{}, stateGone()
	}
	if q.Since == "" {
		return found{rows: f.asOf(at.at) + "\n"}, nil
	}
	base, ok := parseInstant(q.Since)
	if !ok || base.lost(now) != "" {
		return found{}, stateGone()
	}
	c, err := comparisonOf(d, q)
	return c.between(f, base.at, at.at), err
}
