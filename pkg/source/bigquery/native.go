package bigquery

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	bq "google.golang.org/api/bigquery/v2"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/source"
)

// What CHANGES takes, and what of it is asked for: a little less, for the warehouse's clock goes on meanwhile.
const (
	changesLag   = 10*time.Minute + time.Second
	changesRange = 24 * time.Hour
	day          = 24 * time.Hour
)

// instant is a state by the table's change history: an instant of the warehouse, how many rows the query had then, and
// what must be as it was for the history to tell everything since: which table it is, its columns, and the query. It
// names the result in which the run that made it finds its rows; later runs do not go by that.
type instant struct {
	at                   time.Time
	rows                 int64
	made, columns, query string // fingerprints
	partial              bool   // the result has what has changed, else everything
	result               string // project/dataset/table; "nothing": no row
}

//nolint:gochecknoglobals // compiled once, never changed
var instantText = regexp.MustCompile(`^at (\S{20,40}) of (\d{1,18}) rows of table ([0-9a-f]{16}) with columns ([0-9a-f]{16}) by query ([0-9a-f]{16}), (changes|everything) in (\S+)$`)

const nothing = "nothing"

func (i instant) state() source.State {
	what := "everything"
	if i.partial {
		what = "changes"
	}
	return source.State(fmt.Sprintf("at %s of %d rows of table %s with columns %s by query %s, %s in %s", i.at.UTC().Format(time.RFC3339Nano), i.rows, i.made, i.columns, i.query, what, i.result))
}

func parseInstant(s source.State) (instant, bool) {
	m := instantText.FindStringSubmatch(string(s))
	if m == nil {
		return instant{}, false
	}
	at, err := time.Parse(time.RFC3339Nano, m[1])
	rows, err2 := strconv.ParseInt(m[2], 10, 64)
	return instant{at: at, rows: rows, made: m[3], columns: m[4], query: m[5], partial: m[6] == "changes", result: m[7]}, err == nil && err2 == nil
}

// lost says why the history cannot tell what has changed since i; empty: it can.
func (i instant) lost(now instant) string {
	switch {
	case i.made != now.made:
		return "the table was made again, or another one has its name"
	case i.columns != now.columns:
		return "the table's columns were altered, and its changes do not tell what that did to its rows"
	case i.query != now.query:
		return "the query is another one"
	}
	return ""
}

// table answers where the rows are, nil where there are none.
func (i instant) table() (*bq.TableReference, bool) {
	const parts = 3
	p := strings.Split(i.result, "/")
	if i.result == nothing {
		return nil, true
	}
	if len(p) != parts {
		return nil, false
	}
	return &bq.TableReference{ProjectId: p[0], DatasetId: p[1], TableId: p[2]}, true
}

func resultName(t *bq.TableReference) string {
	return t.ProjectId + "/" + t.DatasetId + "/" + t.TableId
}

func fingerprint(text string) string {
	const short = 8
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:short])
}

// shape is what is compared of columns. Results do not tell which are required, nor all of their digits.
func shape(fields []*bq.TableFieldSchema) string {
	var b strings.Builder
	for _, f := range fields {
		if f != nil {
			fmt.Fprintf(&b, "%q %s %t (%s), ", f.Name, f.Type, f.Mode == "REPEATED", shape(f.Fields))
		}
	}
	return b.String()
}

// native makes one state by the table's change history. Each of its statements looks at the table as of one time, for
// BigQuery refuses others; what one finds stands in its result, where the next looks.
type native struct {
	s     *Source
	q     source.ChangeQuery
	d     *query
	f     feed
	now   instant
	keeps time.Duration // how long the past is kept; 0: not known
	out   source.Changes
}

// follow finds by the history of a table what has changed since q.Since.
func (s *Source) follow(ctx context.Context, q source.ChangeQuery, d *query) (source.Changes, error) {
	if len(q.Model.KeyColumns) == 0 {
		return source.Changes{}, invalid("rows without key columns cannot be compared; name the key columns of the model")
	}
	f, err := feedOf(d.sql, s.address)
	if err != nil {
		return source.Changes{}, err
	}
	n := native{s: s, q: q, d: d, f: f}
	if !n.relation("").hasAll(d, q.Model.KeyColumns, q.Compared) {
		return source.Changes{}, stateGone() // they were there before
	}
	if err := n.identify(ctx); err != nil {
		return source.Changes{}, err
	}
	if err := n.find(ctx); err != nil {
		return source.Changes{}, err
	}
	n.now.rows, n.out.Time = n.out.Rows, n.now.at
	n.out.State = n.now.state()
	return n.out, nil
}

// find compares with the base where that can be, and reads everything where not.
func (n *native) find(ctx context.Context) error {
	base, ok := parseInstant(n.q.Since)
	switch {
	case n.q.Since == "":
	case !ok:
		n.out.Lost = "the instant of the last run is not known"
	case len(n.q.Added) > 0:
		n.out.Lost = "columns count that did not"
	default:
		n.out.Lost = base.lost(n.now)
	}
	if n.q.Since != "" && n.out.Lost == "" {
		if err := n.compare(ctx, base); err != nil || n.out.Lost == "" {
			return err
		}
	}
	return n.everything(ctx)
}

// identify finds out what the feed's table is, takes the instant, and refuses what has no history that tells everything.
func (n *native) identify(ctx context.Context) error {
	t, err := call(ctx, n.s.client, func(ctx context.Context) (*bq.Table, error) {
		ref := n.f.table
		return n.s.client.rest.Tables.Get(ref.ProjectId, ref.DatasetId, ref.TableId).Fields("type", "creationTime", "schema", "timePartitioning").Context(ctx).Do()
	})
	switch {
	case err != nil:
		return classify(ctx, err, looking, -1)
	case t.Type != "TABLE":
		return unfed(n.f.line, "%s is a %s, of whose changes BigQuery keeps no history", n.f.path, strings.ToLower(strings.ReplaceAll(t.Type, "_", " ")))
	case t.CreationTime <= 0 || t.Schema == nil:
		return unreadable("a look at a table")
	case t.TimePartitioning != nil && t.TimePartitioning.ExpirationMs > 0:
		return unfed(n.f.line, "partitions of %s expire, of which its history does not tell", n.f.path)
	}
	made := time.UnixMilli(t.CreationTime).UTC()
	n.now = instant{
		made:    fingerprint(resultName(n.f.table) + " " + strconv.FormatInt(t.CreationTime, 10)),
		columns: fingerprint(shape(t.Schema.Fields)), query: fingerprint(n.d.sql), result: nothing,
	}
	if err := n.clock(ctx); err != nil {
		return err
	}
	if !made.Before(n.now.at) {
		return n.tooYoung("was made", made.Sub(n.now.at))
	}
	return n.settled(ctx)
}

// tooYoung asks to wait until what was done to the table lies as far back as its changes are told.
func (n *native) tooYoung(what string, wait time.Duration) error {
	return fault.New(fault.Throttled, fault.ReasonWarehouseThrottled,
		"the table %s %s less than ten minutes ago, and BigQuery tells the changes of a table up to ten minutes ago; the run waits until then", n.f.path, what).
		WithRetry(min(max(wait, time.Second), changesLag))
}

// clock takes the instant, and sees whether the table keeps the history of its changes.
func (n *native) clock(ctx context.Context) error {
	const name = "millrace_table"
	t := n.f.table
	row, err := (&planner{s: n.s}).one(ctx, request{
		sql: "SELECT CAST(UNIX_MICROS(CURRENT_TIMESTAMP()) AS STRING) AS c0, CAST(COUNTIF(is_change_history_enabled = 'YES') AS STRING) AS c1 FROM " +
			quoted(&bq.TableReference{ProjectId: t.ProjectId, DatasetId: t.DatasetId, TableId: "INFORMATION_SCHEMA"}) + ".TABLES WHERE table_name = @" + name,
		params: []*bq.QueryParameter{{Name: name, ParameterType: &bq.QueryParameterType{Type: "STRING"}, ParameterValue: &bq.QueryParameterValue{Value: t.TableId}}},
		label:  n.q.Label, shift: -1, within: n.q.Within,
	}, 2)
	if err != nil {
		return err
	}
	if row[1] != "1" {
		return fault.New(fault.Precondition, fault.ReasonQueryInvalid,
			"the table %[1]s keeps no history of its changes, which mirror_engine native goes by; run ALTER TABLE %[1]s SET OPTIONS (enable_change_history = TRUE) as its owner, or use mirror_engine: row_index or diff", n.f.path)
	}
	micros, err := number(row[0])
	if err != nil {
		return err
	}
	n.now.at = time.UnixMicro(micros).UTC().Add(-changesLag)
	if base, ok := parseInstant(n.q.Since); ok && base.at.After(n.now.at) {
		n.now.at = base.at // the warehouse's clock went back
	}
	return nil
}

// settled sees that the table had the columns then that it has now, and that BigQuery gives its changes.
func (n *native) settled(ctx context.Context) error {
	then, err := n.s.dryRun(ctx, request{
		sql: "SELECT * FROM " + quoted(n.f.table) + " FOR SYSTEM_TIME AS OF @" + atName, params: []*bq.QueryParameter{instantParameter(atName, n.now.at)},
		label: n.q.Label, shift: -1,
	})
	if err != nil {
		return err
	}
	if then.Schema == nil || fingerprint(shape(then.Schema.Fields)) != n.now.columns {
		return n.tooYoung("was altered", changesLag)
	}
	probe := n.touched(n.now.at, n.now.at)
	if _, err := n.s.dryRun(ctx, probe); refusesQuery(err) {
		return invalid("%sBigQuery does not give the changes of the table %s, which mirror_engine native goes by (%s); use mirror_engine: row_index or diff", n.f.line, n.f.path, fault.As(err).Message)
	} else if err != nil {
		return err
	}
	return n.retention(ctx)
}

// retention looks how long the data set keeps the past. An account that may not look does without.
func (n *native) retention(ctx context.Context) error {
	const most = 7 * day
	set, err := call(ctx, n.s.client, func(ctx context.Context) (*bq.Dataset, error) {
		return n.s.client.rest.Datasets.Get(n.f.table.ProjectId, n.f.table.DatasetId).Fields("maxTimeTravelHours").Context(ctx).Do()
	})
	if err = classify(ctx, err, looking, -1); fault.ClassOf(err) == fault.Denied {
		return nil
	}
	if err != nil {
		return err
	}
	if n.keeps = most; set.MaxTimeTravelHours > 0 && set.MaxTimeTravelHours < int64(most/time.Hour) {
		n.keeps = time.Duration(set.MaxTimeTravelHours) * time.Hour
	}
	return nil
}

// refusesQuery says whether BigQuery refused a statement, or it failed on a row.
func refusesQuery(err error) bool {
	return err != nil && fault.ReasonOf(err) == fault.ReasonQueryInvalid
}
