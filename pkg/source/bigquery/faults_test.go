//go:build cgo && duckdb_arrow

package bigquery_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/bigquery"
	"millrace.dev/pkg/source/bigquery/bigquerytest"
)

func TestAStreamThatBreaksOffGoesOnBehindItsLastRow(t *testing.T) {
	peer := bigquerytest.Start(t)
	peer.SetBatch(100)
	settings := checked(t)
	settings.Streams = 1
	s := open(t, peer, settings)
	for _, code := range []codes.Code{codes.Unavailable, codes.Internal, codes.Aborted, codes.DeadlineExceeded, codes.ResourceExhausted, codes.Unknown} {
		peer.Fail(bigquerytest.Fault{Method: "ReadRows", Times: 3, After: 2, Code: code})
	}
	before := len(peer.Calls("ReadRows"))
	got, err := values(t.Context(), s, numbers(5000))
	require.NoError(t, err)
	require.Len(t, got, 5000)
	seen := map[string]bool{}
	for _, v := range got {
		require.False(t, seen[v], "row %s came twice", v)
		seen[v] = true
	}
	calls := peer.Calls("ReadRows")[before:]
	require.Len(t, calls, 19)
	for i, c := range calls {
		require.EqualValues(t, 200*i, c.Offset)
	}
}

func TestAStreamThatMakesNoProgressIsGivenUp(t *testing.T) {
	peer := bigquerytest.Start(t)
	s := open(t, peer, checked(t))
	peer.Fail(bigquerytest.Fault{Method: "ReadRows", Times: -1, Code: codes.Unavailable})
	_, err := values(t.Context(), s, numbers(10))
	require.Equal(t, fault.Unavailable, fault.ClassOf(err))
	peer.Mend()
	peer.Fail(bigquerytest.Fault{Method: "ReadRows", Times: -1, Code: codes.ResourceExhausted})
	_, err = values(t.Context(), s, numbers(10))
	require.Equal(t, fault.ReasonWarehouseThrottled, fault.ReasonOf(err))
	peer.Mend()
	peer.Fail(bigquerytest.Fault{Method: "ReadRows", Times: -1, Code: codes.PermissionDenied})
	_, err = values(t.Context(), s, numbers(10))
	require.Equal(t, fault.ReasonWarehouseDenied, fault.ReasonOf(err))
}

func TestASilentStreamIsTakenUpAgain(t *testing.T) {
	peer := bigquerytest.Start(t)
	settings := checked(t)
	settings.RequestTimeout = 5 * time.Second
	s := open(t, peer, settings)
	peer.Fail(bigquerytest.Fault{Method: "ReadRows", Times: 1, After: 1, Hang: true})
	got, err := values(t.Context(), s, numbers(5000))
	require.NoError(t, err)
	require.Len(t, got, 5000)
}

func TestAnExpiredSessionIsPlannedAgain(t *testing.T) {
	peer := bigquerytest.Start(t)
	s := open(t, peer, quick())
	q := numbers(3000)
	q.Full, q.Model.KeyColumns = true, []string{"i"}
	plan, err := s.Plan(t.Context(), q, 3)
	require.NoError(t, err)
	peer.ExpireSessions()
	q.Snapshot, q.Range = plan.Snapshot, plan.Parts[1]
	_, err = values(t.Context(), s, q)
	require.Equal(t, fault.Unavailable, fault.ClassOf(err))
	require.Equal(t, fault.ReasonSourceChanged, fault.ReasonOf(err))
}

func TestAnExpiredTokenIsReplaced(t *testing.T) {
	peer := bigquerytest.Start(t)
	s := open(t, peer, quick())
	for range 3 {
		got, err := values(t.Context(), s, numbers(10))
		require.NoError(t, err)
		require.Len(t, got, 10)
		peer.ExpireTokens()
	}
	require.GreaterOrEqual(t, len(peer.Calls("token")), 3)
	q := numbers(3000)
	q.Full = true
	plan, err := s.Plan(t.Context(), q, 1)
	require.NoError(t, err)
	q.Snapshot, q.Range = plan.Snapshot, plan.Parts[0]
	s2 := open(t, peer, quick())
	_, err = s2.Describe(t.Context(), q)
	require.NoError(t, err)
	n := 0
	for b, err := range s2.Read(t.Context(), q) {
		require.NoError(t, err)
		if n == 0 {
			peer.ExpireTokens()
			peer.Fail(bigquerytest.Fault{Method: "ReadRows", Times: 1, Code: codes.Unavailable})
		}
		n += int(b.NumRows())
	}
	require.Equal(t, 3000, n)
}

func TestCallsAreMadeAgain(t *testing.T) {
	for name, f := range map[string]bigquerytest.Fault{
		"503":                  {Status: 503, Reason: "backendError"},
		"500":                  {Status: 500, Reason: "internalError"},
		"429":                  {Status: 429, Reason: "tooManyRequests"},
		"rateLimitExceeded":    {Status: 403, Reason: "rateLimitExceeded"},
		"jobRateLimitExceeded": {Status: 403, Reason: "jobRateLimitExceeded"},
		"an answer broken off": {Drop: true},
		"an answer lost":       {Lost: true},
	} {
		for _, method := range []string{"jobs.insert", "jobs.getQueryResults", "jobs.get"} {
			peer := bigquerytest.Start(t)
			s := open(t, peer, quick())
			f.Method, f.Times = method, 2
			peer.Fail(f)
			got, err := values(t.Context(), s, numbers(3))
			require.NoError(t, err, "%s of %s", name, method)
			require.Len(t, got, 3, "%s of %s", name, method)
			ids := map[string]bool{}
			for _, c := range queries(peer) {
				ids[c.Job] = true
			}
			require.Len(t, ids, 1, "%s of %s: the query runs once", name, method)
		}
	}
}

func TestFaultsHaveClasses(t *testing.T) {
	for _, c := range []struct {
		status int
		reason string
		class  fault.Class
		want   fault.Reason
	}{
		{403, "accessDenied", fault.Denied, fault.ReasonWarehouseDenied},
		{403, "billingNotEnabled", fault.Denied, fault.ReasonWarehouseDenied},
		{403, "quotaExceeded", fault.Throttled, fault.ReasonWarehouseThrottled},
		{403, "rateLimitExceeded", fault.Throttled, fault.ReasonWarehouseThrottled},
		{429, "", fault.Throttled, fault.ReasonWarehouseThrottled},
		{401, "authError", fault.Denied, fault.ReasonWarehouseDenied},
		{400, "bytesBilledLimitExceeded", fault.Precondition, fault.ReasonLimitExceeded},
		{400, "resourcesExceeded", fault.Precondition, fault.ReasonQueryInvalid},
		{403, "responseTooLarge", fault.Precondition, fault.ReasonQueryInvalid},
		{400, "invalidQuery", fault.Invalid, fault.ReasonQueryInvalid},
		{404, "notFound", fault.Invalid, fault.ReasonQueryInvalid},
		{499, "stopped", fault.Unavailable, fault.ReasonQueryInterrupted},
		{503, "backendError", fault.Unavailable, fault.ReasonWarehouseUnavailable},
		{418, "teapot", fault.Unavailable, fault.ReasonWarehouseUnavailable},
	} {
		peer := bigquerytest.Start(t)
		peer.Fail(bigquerytest.Fault{Method: "jobs.insert", Times: -1, Status: c.status, Reason: c.reason})
		_, err := open(t, peer, quick()).Describe(t.Context(), numbers(1))
		require.Equal(t, c.class, fault.ClassOf(err), "%d %s: %v", c.status, c.reason, err)
		require.Equal(t, c.want, fault.ReasonOf(err), "%d %s: %v", c.status, c.reason, err)
	}
}

func TestHostileAnswers(t *testing.T) {
	deep := strings.Repeat("[", 1<<20)
	for name, body := range map[string]string{
		"no JSON": "<html>", "half of one": `{"statistics": {"query": {"statementType": "SEL`, "another type": `{"statistics": 7}`, "nothing": "{}", "null": "null",
		"null fields":   `{"statistics": {"query": {"statementType": "SELECT", "schema": {"fields": [null]}}}, "configuration": null}`,
		"null rows":     `{"jobComplete": true, "rows": [null], "totalRows": "18446744073709551615"}`,
		"a null cell":   `{"jobComplete": true, "rows": [{"f": [null]}], "totalRows": "1", "configuration": {"query": {"destinationTable": {}}}}`,
		"endless pages": `{"jobComplete": true, "rows": [], "pageToken": "x"}`,
		"deep":          `{"statistics": ` + deep, "no schema": `{"statistics": {"query": {"statementType": "SELECT"}}}`,
		"no fields":    `{"statistics": {"query": {"statementType": "SELECT", "schema": {"fields": [{}, {}]}}}}`,
		"odd digits":   `{"statistics": {"query": {"statementType": "SELECT", "schema": {"fields": [{"name": "a", "type": "NUMERIC", "precision": "-7", "scale": "99999"}]}}}}`,
		"many numbers": `{"statistics": {"query": {"totalBytesProcessed": "99999999999999999999999999"}}}`,
	} {
		for _, method := range []string{"jobs.insert", "jobs.getQueryResults", "jobs.get"} {
			peer := bigquerytest.Start(t)
			s := open(t, peer, checked(t))
			peer.Fail(bigquerytest.Fault{Method: method, Times: -1, Body: body})
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			got, err := values(ctx, s, numbers(1))
			cancel()
			if err == nil { // what was wrong was not needed
				require.Equal(t, []string{"1"}, got, "%s of %s", name, method)
			}
		}
	}
}

func TestHostileStreams(t *testing.T) {
	for name, garbage := range map[string][]byte{
		"no message":        []byte("garbage"),
		"a long length":     {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0},
		"a negative length": {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		"zeros":             make([]byte, 4096),
	} {
		peer := bigquerytest.Start(t)
		s := open(t, peer, quick())
		peer.Fail(bigquerytest.Fault{Method: "ReadRows", Times: -1, After: 1, Garbage: garbage})
		_, err := values(t.Context(), s, numbers(5000))
		require.Equal(t, fault.Unavailable, fault.ClassOf(err), "%s: %v", name, err)
	}
}

func TestNoLiteralOrValueIsTold(t *testing.T) {
	s := open(t, bigquerytest.Start(t), quick())
	for _, sql := range []string{
		"SELECT 'canary' canary2 canary3 AS a", "SELECT CAST('canary' AS INT64) AS a", "SELECT \"canary\" + nosuch AS a", "SELECT nosuch('canary') AS a",
		"SELECT CAST(CONCAT('can', 'ary') AS INT64) AS a",
	} {
		_, err := values(t.Context(), s, model(sql))
		require.Error(t, err, sql)
		require.NotContains(t, err.Error(), "'canary'", sql)
		require.NotContains(t, err.Error(), "\"canary\"", sql)
	}
}

func TestCheckNamesTheStepThatFails(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*resource.BigQuery)
		fail   bigquerytest.Fault
		step   string
		says   string
	}{
		"resolve":  {change: func(b *resource.BigQuery) { b.Endpoint = "https://nowhere.invalid" }, step: "resolve", says: "resolved"},
		"account":  {fail: bigquerytest.Fault{Method: "token", Status: 400, Reason: "invalid_grant"}, step: "authenticate", says: "service_account_key"},
		"tokens":   {fail: bigquerytest.Fault{Method: "token", Status: 503}, step: "authenticate", says: "token endpoint"},
		"project":  {change: func(b *resource.BigQuery) { b.ProjectID = "other" }, step: "project", says: "project_id"},
		"data set": {change: func(b *resource.BigQuery) { b.DatasetID = "other" }, step: "dataset", says: "dataset_id"},
		"location": {change: func(b *resource.BigQuery) { b.Location = "US" }, step: "dataset", says: "location"},
		"query":    {fail: bigquerytest.Fault{Method: "jobs.insert", Status: 403, Reason: "accessDenied"}, step: "run query", says: "jobUser"},
		"reading":  {fail: bigquerytest.Fault{Method: "CreateReadSession", Code: codes.PermissionDenied}, step: "run query", says: "readSessionUser"},
	} {
		peer := bigquerytest.Start(t)
		conn := peer.Connection(t)
		if c.change != nil {
			c.change(conn.BigQuery)
		}
		c.fail.Times = -1
		peer.Fail(c.fail)
		steps := openAs(t, conn, quick()).Check(t.Context())
		last := steps[len(steps)-1]
		require.False(t, last.OK, name)
		require.Equal(t, c.step, last.Name, name)
		require.Contains(t, last.Message, c.says, name)
		for _, s := range steps[:len(steps)-1] {
			require.True(t, s.OK, "%s: %s", name, s.Name)
		}
	}
}

func TestCheckWarnsOfAnAccountThatWrites(t *testing.T) {
	peer := bigquerytest.Start(t)
	peer.SetWritable(true)
	warned := map[string]bool{}
	for _, s := range open(t, peer, quick()).Check(t.Context()) {
		require.True(t, s.OK, s.Message)
		warned[s.Name] = s.Warning
	}
	require.True(t, warned["privileges"])
	require.True(t, warned["cost"])
}

// A key that is not the account's gets no token, and the error says nothing of it.
func TestAnotherKeyIsRefused(t *testing.T) {
	peer, other := bigquerytest.Start(t), bigquerytest.Start(t)
	c := peer.Connection(t)
	c.BigQuery.ServiceAccountKey.Plain = strings.Replace(other.Key(t), "key-1", "key-2", 1)
	_, err := openAs(t, c, quick()).Describe(t.Context(), numbers(1))
	require.Equal(t, fault.Denied, fault.ClassOf(err))
	require.NotContains(t, err.Error(), "PRIVATE")
	c.BigQuery.ServiceAccountKey.Plain = `{"type": "external_account"}`
	_, err = bigquery.New(quick()).Open(t.Context(), c)
	require.Equal(t, fault.Denied, fault.ClassOf(err))
}

// Nothing is asked of another address than those of the connection: not a metadata server, not Google.
func TestNothingElseIsCalled(t *testing.T) {
	called := make(chan string, 64)
	base := http.DefaultTransport
	http.DefaultTransport = watched{base: base, called: called}
	t.Cleanup(func() { http.DefaultTransport = base })
	t.Setenv("GCE_METADATA_HOST", "127.0.0.1:1")
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nonexistent")
	peer := bigquerytest.Start(t)
	c := peer.Connection(t)
	http.DefaultTransport = base // the driver clones it; what else goes over the default one is watched from here on
	s := openAs(t, c, quick())
	http.DefaultTransport = watched{base: base, called: called}
	_, err := values(t.Context(), s, numbers(10))
	require.NoError(t, err)
	require.Empty(t, called)
	_, ok := source.As[source.Planner](s)
	require.True(t, ok)
}

type watched struct {
	base   http.RoundTripper
	called chan string
}

func (w watched) RoundTrip(r *http.Request) (*http.Response, error) {
	w.called <- r.URL.Host
	return w.base.RoundTrip(r)
}
