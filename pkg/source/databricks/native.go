package databricks

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
)

// commit is a state by the table's change data feed: a version of the table, when it was looked at and how many rows the
// query had in it, and what must be as it was for the feed to tell everything since: which table it is, and what the query
// says of it.
type commit struct {
	version      int64
	at           time.Time
	rows         int64
	table, query string // fingerprints
}

//nolint:gochecknoglobals // compiled once, never changed
var commitText = regexp.MustCompile(`^version (\d{1,18}) at (\S{20,40}) of (\d{1,18}) rows of table ([0-9a-f]{16}) by query ([0-9a-f]{16})$`)

func (c commit) state() source.State {
	return source.State(fmt.Sprintf("version %d at %s of %d rows of table %s by query %s", c.version, c.at.Format(time.RFC3339Nano), c.rows, c.table, c.query))
}

func parseCommit(s source.State) (commit, bool) {
	m := commitText.FindStringSubmatch(string(s))
	if m == nil {
		return commit{}, false
	}
	version, err := strconv.ParseInt(m[1], 10, 64)
	at, err2 := time.Parse(time.RFC3339Nano, m[2])
	rows, err3 := strconv.ParseInt(m[3], 10, 64)
	return commit{version: version, at: at, rows: rows, table: m[4], query: m[5]}, err == nil && err2 == nil && err3 == nil
}

// lost says why the feed cannot tell what has changed since c; empty: it may.
func (c commit) lost(now commit) string {
	switch {
	case c.table != now.table:
		return "the table was made again, or another one has its name"
	case c.query != now.query:
		return "the query is another one"
	case c.version > now.version:
		return fmt.Sprintf("the table has gone back from version %d to %d", c.version, now.version)
	}
	return ""
}

func fingerprint(text string) string {
	const short = 8
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:short])
}

// identify answers the fingerprint of which table it is, and refuses what is none of Delta.
func (x *session) identify(ctx context.Context, f feed) (string, error) {
	const noTable = "42P01"
	row, err := x.record(ctx, "DESCRIBE DETAIL "+f.table, "format", "id")
	switch {
	case fault.ClassOf(err) == fault.Invalid && fault.As(err).Metadata[stateKey] != noTable:
		return "", unfed(f.line, "%s is a view, or something else that is no table of its own (%s)", f.table, fault.As(err).Message)
	case err != nil:
		return "", err
	case !strings.EqualFold(row[0], "delta") || row[1] == "":
		return "", unfed(f.line, "%s is no table of Delta, which alone has a change data feed", f.table)
	}
	return fingerprint(row[1]), nil
}

// look answers what the table is now.
func (x *session) look(ctx context.Context, f feed) (now commit, err error) {
	now.query = fingerprint(f.text)
	if now.table, err = x.identify(ctx, f); err != nil {
		return now, err
	}
	if now.at, err = x.now(ctx); err != nil {
		return now, err
	}
	now.version, err = x.newest(ctx, f.table)
	if err == nil && now.version < 0 {
		err = malformed()
	}
	return now, err
}

// follow finds by the table's feed what has changed since q.Since.
func (x *session) follow(ctx context.Context, q source.ChangeQuery, f feed) (out source.Changes, err error) {
	now, err := x.look(ctx, f)
	if err != nil {
		return out, err
	}
	d, err := x.describe(ctx, f.asOf(now.version))
	switch {
	case isPast(err):
		return out, stateGone()
	case err != nil:
		return out, err
	}
	c, err := comparisonOf(d, q)
	if err != nil {
		return out, err
	}
	if err := x.probe(ctx, f, now.version); err != nil {
		return out, err
	}
	out.Time = now.at
	if err := x.compare(ctx, q, f, c, now, &out); err != nil {
		return source.Changes{}, err
	}
	if out.Since == "" {
		if out.Rows, err = x.number(ctx, "SELECT count(*) AS n FROM (\n"+f.asOf(now.version)+"\n) AS q"); err != nil {
			return source.Changes{}, err
		}
		out.Changed = out.Rows
	}
	if err := x.still(ctx, f, now); err != nil {
		return source.Changes{}, err
	}
	now.rows = out.Rows
	out.State = now.state()
	return out, nil
}

// still sees that a table is the one that it was before it was read: a version is a number that another table may have too.
func (x *session) still(ctx context.Context, f feed, was commit) error {
	table, err := x.identify(ctx, f)
	if err == nil && table != was.table {
		return stateGone()
	}
	return err
}

// probe sees whether the table's feed is on, by changes of which there are none.
func (x *session) probe(ctx context.Context, f feed, version int64) error {
	_, err := x.number(ctx, "SELECT count(*) AS n FROM ("+f.since(version, version)+") AS q")
	switch {
	case conditionOf(err) == missingChanges:
		return fault.New(fault.Precondition, fault.ReasonQueryInvalid,
			"the table %[1]s has no change data feed, which mirror_engine native goes by; run ALTER TABLE %[1]s SET TBLPROPERTIES (delta.enableChangeDataFeed = true) as its owner, or use mirror_engine: row_index", f.table)
	case isPast(err):
		return nil // it is on; how far it reaches is seen by reading it
	}
	return err
}

// compare finds what has changed since q.Since, or why that cannot be told.
func (x *session) compare(ctx context.Context, q source.ChangeQuery, f feed, c comparison, now commit, out *source.Changes) (err error) {
	if q.Since == "" {
		return nil
	}
	base, ok := parseCommit(q.Since)
	if !ok {
		out.Lost = "the version of the last run is not known"
		return nil
	}
	if out.Lost = base.lost(now); out.Lost != "" {
		return nil
	}
	if out.Lost, err = x.countFeed(ctx, c, f, base, now, out); err != nil || out.Lost != "" {
		return err
	}
	out.Since = q.Since
	out.Notice, err = x.notice(ctx, f, now.at.Sub(base.at))
	return err
}

// countFeed counts what the feed has between two versions, and sees that it accounts for every row. It answers why it does
// not.
func (x *session) countFeed(ctx context.Context, c comparison, f feed, base, now commit, out *source.Changes) (string, error) {
	at := c.between(f, base.version, now.version)
	rows, err := x.texts(ctx, at.with+"SELECT (SELECT count(*) FROM "+feedRows+") AS n, (SELECT count(*) FROM "+feedChanges+" WHERE "+came+") AS came, "+
		"(SELECT count(*) FROM "+feedChanges+" WHERE NOT "+came+") AS went, (SELECT count(*) FROM ("+c.Changed("1 AS one", at.rows, at.keys)+") AS x) AS changed, "+
		"(SELECT count(*) FROM ("+c.Gone(at.keys)+") AS y) AS gone")
	if err != nil {
		return lostBy(err, base)
	}
	const figures = 5
	if len(rows) != 1 || len(rows[0]) != figures {
		return "", malformed()
	}
	var n [figures]int64
	for i, text := range rows[0] {
		if n[i], err = strconv.ParseInt(text, 10, 64); err != nil {
			return "", malformed()
		}
	}
	if base.rows+n[1]-n[2] != n[0] {
		return fmt.Sprintf("the changes that the feed names do not lead from %d rows to %d", base.rows, n[0]), nil
	}
	out.Rows, out.Changed, out.Gone = n[0], n[3], n[4]
	return "", nil
}

// found is where the rows of a state are, and which of its keys differ.
type found struct {
	with string // what stands before the SELECT
	rows string // selects all rows of the state
	keys string // selects the keys that differ, and whether they are gone
}

// came is the condition of a change by which a row is there that was not.
const came = feedType + " IN ('insert', 'update_postimage')"

// between answers where the rows are that the feed's table had in version `to`, and which keys differ from `from`. The rows
// that a key had are those that it has, without what came and with what went: only keys that the feed names are looked at,
// and those with a value in an added column.
func (c comparison) between(f feed, from, to int64) found {
	with := "WITH " + feedRows + " AS (\n" + f.asOf(to) + "\n), " + feedChanges + " AS (" + f.since(from, to) + ") "
	touched := "SELECT DISTINCT " + c.KeyImages() + " FROM " + feedChanges + " AS q"
	if len(c.added) > 0 {
		var some []string
		for _, a := range c.added {
			some = append(some, "q."+quote(a.name)+" IS NOT NULL")
		}
		touched += " UNION SELECT " + c.KeyImages() + " FROM " + feedRows + " AS q WHERE " + strings.Join(some, " OR ")
	}
	stands := feedRows + " AS q JOIN (" + touched + ") AS c ON " + c.Same("c")
	sides := []string{c.Side(stands, "1", "1", false)}
	if len(c.added) > 0 {
		sides = []string{c.Side(stands, "1", "0", false), c.Side(stands, "0", "1", true)}
	}
	sides = append(sides, c.Side(feedChanges+" AS q", "0", "CASE WHEN q."+came+" THEN -1 ELSE 1 END", true))
	return found{with: with, rows: "SELECT * FROM " + feedRows, keys: c.Differing(sides...)}
}

// Conditions by which a version, or the changes behind it, cannot be read.
const (
	missingChanges = "DELTA_MISSING_CHANGE_DATA"
	otherColumns   = "DELTA_CHANGE_DATA_FEED_INCOMPATIBLE"
)

// past are the conditions by which a version, or a file of it, is not there any more.
//
//nolint:gochecknoglobals // never changed
var past = setOf(`DELTA_CHANGE_DATA_FILE_NOT_FOUND DELTA_FILE_NOT_FOUND DELTA_FILE_NOT_FOUND_DETAILED DELTA_LOG_FILE_NOT_FOUND DELTA_VERSION_NOT_FOUND DELTA_VERSION_INVALID
DELTA_VERSION_NOT_CONTIGUOUS DELTA_VERSIONS_NOT_CONTIGUOUS DELTA_TRUNCATED_TRANSACTION_LOG DELTA_NO_RECREATABLE_HISTORY_FOUND DELTA_NO_COMMITS_FOUND DELTA_INVALID_CDC_RANGE
DELTA_UNSUPPORTED_TIME_TRAVEL_BEYOND_DELETED_FILE_RETENTION_DURATION FAILED_READ_FILE.DBR_FILE_NOT_EXIST FAILED_READ_FILE.FILE_NOT_EXIST`)

func isPast(err error) bool { return past[conditionOf(err)] }

// lostBy answers why a feed that could not be read does not tell what has changed since base. What passes by itself, and
// what the principal may not read, stays an error.
func lostBy(err error, base commit) (string, error) {
	class := fault.ClassOf(err)
	switch c := conditionOf(err); {
	case c == missingChanges:
		return fmt.Sprintf("the table's change data feed was not on all the time since version %d", base.version), nil
	case strings.HasPrefix(c, otherColumns):
		return fmt.Sprintf("the table was altered since version %d, and its change data feed does not lead across that", base.version), nil
	case isPast(err):
		return fmt.Sprintf("Databricks no longer has the changes since version %d of %s, by VACUUM or by the retention of the table's log", base.version, base.at.Format(time.RFC3339)), nil
	case class == fault.Invalid, class == fault.Precondition, strings.HasPrefix(c, "DELTA_"):
		return fmt.Sprintf("the changes since version %d cannot be read (%s)", base.version, fault.As(err).Message), nil
	}
	return "", err
}

const (
	day = 24 * time.Hour
	// usualRetention is how long VACUUM leaves changes alone where the table says nothing else.
	usualRetention = 7 * day
)

//nolint:gochecknoglobals // compiled once, never changed
var retentionText = regexp.MustCompile(`(?i)^interval\s+'?(\d{1,6})'?\s+(hour|day|week)s?$`)

// notice tells where the last run lies further back than half of the time for which VACUUM leaves changes alone.
func (x *session) notice(ctx context.Context, f feed, age time.Duration) (string, error) {
	const least = time.Hour
	if age < least {
		return "", nil
	}
	rows, err := x.texts(ctx, "SHOW TBLPROPERTIES "+f.table)
	if err != nil {
		return "", err
	}
	keeps := usualRetention
	for _, row := range rows {
		if len(row) > 1 && row[0] == "delta.deletedFileRetentionDuration" {
			keeps = retention(row[1])
		}
	}
	if keeps == 0 || age <= keeps/2 {
		return "", nil
	}
	return fmt.Sprintf("the last changes were read %s ago, and VACUUM may take those of %s after %s; raise its delta.deletedFileRetentionDuration, or run more often",
		resource.FormatDuration(age.Round(time.Minute)), f.table, resource.FormatDuration(keeps)), nil
}

// retention reads "interval 7 days"; 0 where it says something else.
func retention(text string) time.Duration {
	m := retentionText.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return 0
	}
	n, _ := strconv.ParseInt(m[1], 10, 64) // six digits
	unit := map[string]time.Duration{"hour": time.Hour, "day": day, "week": 7 * day}[strings.ToLower(m[2])]
	return time.Duration(n) * unit
}
