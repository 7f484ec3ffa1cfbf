//go:build cgo && duckdb_arrow

package bigquery_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/bigquery"
	"millrace.dev/pkg/source/bigquery/bigquerytest"
)

// checked answers settings whose batches are counted: when the test ends, all are freed.
func checked(t *testing.T) bigquery.Settings {
	mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
	t.Cleanup(func() { mem.AssertSize(t, 0) })
	s := quick()
	s.Allocator = mem
	return s
}

func TestOnePlanIsOneSnapshotAndOneQuery(t *testing.T) {
	peer := bigquerytest.Start(t)
	peer.Exec(t, "CREATE TABLE people AS SELECT i AS id, 'name ' || i AS name FROM generate_series(1, 5000) AS g(i)")
	s := open(t, peer, checked(t))
	q := model("SELECT id, name FROM people")
	q.Full, q.Model.KeyColumns = true, []string{"id"}
	plan, err := s.Plan(t.Context(), q, 4)
	require.NoError(t, err)
	require.Len(t, plan.Parts, 4)
	require.True(t, plan.Replan, "streams of one result do not go with those of another")
	require.EqualValues(t, 5000, plan.EstimatedRows)
	require.EqualValues(t, 5000*2*8, plan.EstimatedBytes)
	ran := len(queries(peer))

	peer.Exec(t, "DELETE FROM people WHERE id > 10; INSERT INTO people VALUES (9999, 'late')")
	again := open(t, peer, checked(t)) // parts are read elsewhere
	seen := map[string]bool{}
	for _, r := range plan.Parts {
		q.Snapshot, q.Range = plan.Snapshot, r
		ids, err := values(t.Context(), again, q)
		require.NoError(t, err)
		require.NotEmpty(t, ids)
		for _, id := range ids {
			require.False(t, seen[id], "a row is in two parts")
			seen[id] = true
		}
	}
	require.Len(t, seen, 5000)
	require.False(t, seen["9999"], "what came after the plan is not in its snapshot")
	require.Len(t, queries(peer), ran, "parts run no query")
}

// queries answers the queries that ran.
func queries(peer *bigquerytest.Server) []bigquerytest.Call {
	var out []bigquerytest.Call
	for _, c := range peer.Calls("jobs.insert") {
		if !c.Dry {
			out = append(out, c)
		}
	}
	return out
}

func TestAQuerySaysWhoseItIs(t *testing.T) {
	peer := bigquerytest.Start(t)
	s := open(t, peer, quick())
	q := numbers(1)
	q.Label = "millrace:Default/cust omers/" + strings.Repeat("x", 90)
	_, err := values(t.Context(), s, q)
	require.NoError(t, err)
	for _, c := range peer.Calls("jobs.insert") {
		require.Equal(t, map[string]string{
			"millrace": "true", "millrace_workspace": "default", "millrace_sync": "cust_omers", "millrace_run": strings.Repeat("x", 63),
		}, c.Labels)
	}
}

func TestValuesOfAWindowAreParameters(t *testing.T) {
	peer := bigquerytest.Start(t)
	s := open(t, peer, quick())
	q := model("SELECT 1 AS id, TIMESTAMP '2026-01-01 00:00:00+00' AS at")
	q.Model.Iterator = resource.Iterator{Column: "at", Type: resource.IteratorTimestamp}
	q.Range = source.Range{Low: "2025-12-31T23:59:59.123457Z", High: "+10000-01-01T00:00:00Z"}
	got, err := values(t.Context(), s, q)
	require.NoError(t, err)
	require.Equal(t, []string{"1"}, got)
	q.Range = source.Range{Low: "-0004-01-01T00:00:00Z", High: "2026-01-01T00:00:00Z"}
	got, err = values(t.Context(), s, q)
	require.NoError(t, err)
	require.Empty(t, got)
	for _, c := range peer.Calls("jobs.insert") {
		require.NotContains(t, c.SQL, "123457")
	}
}

func TestARangeWithNothingInItRunsNoQuery(t *testing.T) {
	peer := bigquerytest.Start(t)
	s := open(t, peer, quick())
	q := model("SELECT 1 AS id")
	q.Model.Iterator = resource.Iterator{Column: "id", Type: resource.IteratorInteger}
	q.Range = source.Range{Low: "5", High: "5"}
	got, err := values(t.Context(), s, q)
	require.NoError(t, err)
	require.Empty(t, got)
	require.Empty(t, queries(peer))
}

func TestAnEstimateAboveTheBoundIsRefused(t *testing.T) {
	peer := bigquerytest.Start(t)
	peer.Exec(t, "CREATE TABLE big AS SELECT i AS id FROM generate_series(1, 1000) AS g(i)")
	c := peer.Connection(t)
	c.BigQuery.MaximumBytesBilled = 7999
	s := openAs(t, c, quick())
	for name, f := range map[string]func(source.Query) error{
		"read": func(q source.Query) error { _, err := values(t.Context(), s, q); return err },
		"plan": func(q source.Query) error { _, err := s.Plan(t.Context(), q, 1); return err },
	} {
		q := model("SELECT id FROM big")
		q.Full = true
		err := f(q)
		require.Equal(t, fault.Precondition, fault.ClassOf(err), name)
		require.Equal(t, fault.ReasonLimitExceeded, fault.ReasonOf(err), name)
		require.ErrorContains(t, err, "8000 bytes", name)
		require.ErrorContains(t, err, "7999", name)
	}
	require.Empty(t, queries(peer), "nothing is paid for")
	_, err := s.Describe(t.Context(), model("SELECT id FROM big"))
	require.NoError(t, err, "looking costs nothing")
	q := model("SELECT id FROM big")
	q.Model.Iterator = resource.Iterator{Column: "id", Type: resource.IteratorInteger}
	_, err = s.Plan(t.Context(), q, 1)
	require.Equal(t, fault.ReasonLimitExceeded, fault.ReasonOf(err), "BigQuery refuses the look at the iterator: %v", err)
}

func TestNamesAreQuoted(t *testing.T) {
	s := open(t, bigquerytest.Start(t), quick())
	names := []string{"a b", "SELECT", "größe", "with-dash", "millrace_q", "100%", "a'b"}
	var list []string
	for i, n := range names {
		list = append(list, strconv.Itoa(i)+" AS `"+n+"`")
	}
	schema, err := s.Describe(t.Context(), model("SELECT "+strings.Join(list, ", ")))
	require.NoError(t, err)
	for i, n := range names {
		require.Equal(t, n, schema.Field(i).Name)
		q := model("SELECT 7 AS `" + n + "`")
		q.Model.Iterator, q.Range = resource.Iterator{Column: n, Type: resource.IteratorInteger}, source.Range{Low: "7"}
		got, err := values(t.Context(), s, q)
		require.NoError(t, err, n)
		require.Len(t, got, 1, n)
	}
}

func TestSameNamesAreRefused(t *testing.T) {
	s := open(t, bigquerytest.Start(t), quick())
	for _, q := range []string{"SELECT 1 AS id, 2 AS ID", "SELECT 1 AS id, 2 AS id"} {
		_, err := s.Describe(t.Context(), model(q))
		require.Equal(t, fault.ReasonQueryInvalid, fault.ReasonOf(err), q)
		require.ErrorContains(t, err, "Duplicate column names", q)
	}
}

func TestTablesAreNamedAsBigQueryDoes(t *testing.T) {
	peer := bigquerytest.Start(t)
	peer.Exec(t, "CREATE TABLE people (id BIGINT)")
	s := open(t, peer, quick())
	for table, fine := range map[string]bool{
		"people": true, "marts.people": true, "`marts.people`": true, "`acme-test.marts.people`": true, "`acme-test`.`marts`.`people`": true,
		"people;": false, "people -- x": false, "a.b.c.d": false, "": false, "people x": false, "`people": false, "a--b": false, "(SELECT 1)": false,
	} {
		_, err := s.Describe(t.Context(), source.Query{Model: resource.DataModel{Table: table}})
		if fine {
			require.NoError(t, err, table)
			continue
		}
		require.Equal(t, fault.ReasonQueryInvalid, fault.ReasonOf(err), "%q: %v", table, err)
	}
}

func TestTextsOfBigQueryAreRead(t *testing.T) {
	s := open(t, bigquerytest.Start(t), quick())
	for sql, want := range map[string]string{
		"SELECT 'it\\'s; -- no comment' AS a;":         "it's; -- no comment",
		"SELECT \"double\" AS a # a comment":           "double",
		"SELECT r'\\d' AS a -- ; more":                 `\d`,
		"SELECT '''a\n'b' ''' AS a;;":                  "a\n'b' ",
		"# first\n(SELECT '\\u00e4' AS a)":             "ä",
		"WITH t AS (SELECT 'x' AS a) SELECT a FROM t;": "x",
	} {
		got, err := values(t.Context(), s, model(sql))
		require.NoError(t, err, sql)
		require.Equal(t, []string{want}, got, sql)
	}
	for _, bad := range []string{"SELECT '''a' AS a", "SELECT 'a\n' AS a", "SELECT `a", "SELECT /* 1", "SELECT @p AS a", "SELECT @@time_zone; SELECT 1", "BEGIN SELECT 1; END", "EXPORT DATA OPTIONS(uri='gs://x') AS SELECT 1", "SELECT 1"} {
		_, err := s.Describe(t.Context(), model(bad))
		if bad == "SELECT 1" {
			continue // BigQuery names it f0_, which DuckDB does not
		}
		require.Equal(t, fault.ReasonQueryInvalid, fault.ReasonOf(err), "%s: %v", bad, err)
	}
}

func TestAReadThatIsStoppedFreesItsStreams(t *testing.T) {
	s := open(t, bigquerytest.Start(t), checked(t))
	n := 0
	for b, err := range s.Read(t.Context(), numbers(20_000)) {
		require.NoError(t, err)
		require.Positive(t, b.NumRows())
		if n++; n == 3 {
			break
		}
	}
	got, err := values(t.Context(), s, numbers(10))
	require.NoError(t, err)
	require.Len(t, got, 10)
}

func TestACancelledReadEndsAndFreesItsStreams(t *testing.T) {
	s := open(t, bigquerytest.Start(t), checked(t))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for _, err := range s.Read(ctx, numbers(50_000)) {
		require.NoError(t, last, "nothing comes after an error")
		last = err
		cancel()
	}
	require.Equal(t, fault.Cancelled, fault.ClassOf(last), "%v", last)
}

const endless = "SELECT COUNT(*) AS n FROM UNNEST(GENERATE_ARRAY(1, 1000000)) AS a CROSS JOIN UNNEST(GENERATE_ARRAY(1, 1000000)) AS b"

func TestACancelledReadCancelsItsQuery(t *testing.T) {
	peer := bigquerytest.Start(t)
	s := open(t, peer, quick())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := values(ctx, s, model(endless))
		ended <- err
	}()
	require.Eventually(t, func() bool { return len(peer.Calls("jobs.getQueryResults")) > 0 }, time.Minute, time.Millisecond)
	cancel()
	require.Equal(t, fault.Cancelled, fault.ClassOf(<-ended))
	ran := queries(peer)
	require.Len(t, ran, 1)
	require.True(t, peer.Cancelled(ran[0].Job), "the query goes on at the warehouse")
}

// The memory of a read does not grow with its result.
func TestMemoryIsBounded(t *testing.T) {
	peer := bigquerytest.Start(t)
	peer.SetBatch(1000)
	mem := &most{Allocator: memory.NewGoAllocator()}
	settings := quick()
	settings.Allocator = mem
	s := open(t, peer, settings)
	rows := int64(0)
	q := model("SELECT i, REPEAT('x', 200) AS text FROM UNNEST(GENERATE_ARRAY(1, 200000)) AS i")
	for b, err := range s.Read(t.Context(), q) {
		require.NoError(t, err)
		rows += b.NumRows()
	}
	require.EqualValues(t, 200_000, rows)
	require.Zero(t, mem.now.Load())
	require.Less(t, mem.peak.Load(), int64(16<<20), "the result has 40 MB")
}

func TestAUnitIsOfItsSnapshot(t *testing.T) {
	s := open(t, bigquerytest.Start(t), quick())
	q := numbers(10)
	q.Full = true
	plan, err := s.Plan(t.Context(), q, 1)
	require.NoError(t, err)
	unit := plan.Parts[0].Unit
	for _, c := range []struct{ snapshot, unit string }{
		{"", unit}, {"other", unit}, {plan.Snapshot + " x", unit}, {plan.Snapshot, "stream 2 of 1 of BigQuery"}, {plan.Snapshot, "stream 0 of 1 of BigQuery"},
		{plan.Snapshot, "stream 1 of 2 of BigQuery"}, {plan.Snapshot, "bucket 1 of 1 by x"},
		{"session projects/acme-test/locations/eu/sessions/S99 streams T0", unit},
	} {
		q.Snapshot, q.Range = c.snapshot, source.Range{Unit: c.unit}
		_, err := values(t.Context(), s, q)
		require.Equal(t, fault.ReasonSourceChanged, fault.ReasonOf(err), fmt.Sprint(c))
	}
}
