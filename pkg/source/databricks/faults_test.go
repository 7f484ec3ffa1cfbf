//go:build cgo && duckdb_arrow

package databricks_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source/databricks"
	"millrace.dev/pkg/source/databricks/databrickstest"
	"millrace.dev/pkg/source/databricks/thriftwire"
)

const manyRows = 200_000

func many() string {
	return "SELECT i AS id, concat('row ', CAST(i AS STRING)) AS name FROM generate_series(1, 200000) AS g(i)"
}

// on answers an interceptor that answers f at the n-th call of a name.
func on(call string, nth int, f *databrickstest.Fault) func(string, int) *databrickstest.Fault {
	return func(c string, n int) *databrickstest.Fault {
		if c == call && n == nth {
			return f
		}
		return nil
	}
}

func TestATokenThatExpiresMidReadIsRenewed(t *testing.T) {
	p := databrickstest.Start(t, databrickstest.Options{})
	s := open(t, p)
	p.Intercept(func(call string, n int) *databrickstest.Fault {
		if call == "FetchResults" && n == 2 {
			p.ExpireTokens()
		}
		return nil
	})
	require.Len(t, values(t, s, model(many())), manyRows)
	require.Equal(t, 2, p.Calls()["token"])
}

func TestAPersonalTokenThatIsRefused(t *testing.T) {
	p := databrickstest.Start(t, databrickstest.Options{})
	c := p.Connection()
	c.Databricks.ClientID, c.Databricks.ClientSecret = "", resource.Secret{}
	c.Databricks.Token = resource.Secret{Plain: databrickstest.Token}
	require.Equal(t, []string{"1"}, values(t, openWith(t, databricks.Settings{}, c), model("SELECT 1 AS one")))
	c.Databricks.Token = resource.Secret{Plain: "dapi-canary"}
	_, err := openWith(t, databricks.Settings{}, c).Describe(t.Context(), model("SELECT 1 AS one"))
	require.Equal(t, fault.Denied, fault.ClassOf(err))
	require.ErrorContains(t, err, "databricks.token")
	require.NotContains(t, err.Error(), "canary")
	c.Databricks.Token = resource.Secret{}
	_, err = databricks.New(databricks.Settings{}).Open(t.Context(), c)
	require.Equal(t, fault.Denied, fault.ClassOf(err))
}

// Whatever breaks off, the rows that came before do not look like all of them: the vendor's client takes a page that it
// cannot get for the end.
func TestWhatBreaksOffIsNoEnd(t *testing.T) {
	for _, o := range []databrickstest.Options{{}, {Files: true}, {Async: true}} {
		p := databrickstest.Start(t, o)
		s := open(t, p)
		calls := []string{"OpenSession", "ExecuteStatement", "FetchResults"}
		switch {
		case o.Files:
			calls = append(calls, "file")
		case o.Async:
			calls = append(calls, "GetOperationStatus")
		}
		for _, call := range calls {
			for _, f := range []*databrickstest.Fault{{Cut: true}, {Status: http.StatusInternalServerError}, {Mangle: func([]byte) []byte { return nil }}} {
				nth := 1
				if call == "FetchResults" || call == "file" {
					nth = 3 // of the read: what describes comes within one answer
				}
				p.Intercept(on(call, nth, f))
				got, err := read(t.Context(), s, model(many()))
				require.Error(t, err, "%s %+v", call, f)
				require.Less(t, len(got), manyRows)
				require.Equal(t, fault.Unavailable, fault.ClassOf(err), "%s %+v: %v", call, f, err)
				require.NotContains(t, err.Error(), "sig=")
				require.NotContains(t, err.Error(), "127.0.0.1")
			}
		}
		p.Intercept(nil)
		require.Len(t, values(t, s, model(many())), manyRows)
		require.Zero(t, p.Running())
	}
}

func TestALinkThatHasExpired(t *testing.T) {
	p := databrickstest.Start(t, databrickstest.Options{Files: true, FileLife: -time.Hour})
	_, err := read(t.Context(), open(t, p), model(many()))
	require.Equal(t, fault.Unavailable, fault.ClassOf(err), "%v", err)

	p = databrickstest.Start(t, databrickstest.Options{Files: true})
	s := open(t, p)
	p.Intercept(on("file", 4, &databrickstest.Fault{Status: http.StatusForbidden}))
	_, err = read(t.Context(), s, model(many()))
	require.Equal(t, fault.ReasonQueryInterrupted, fault.ReasonOf(err), "%v", err)
	require.ErrorContains(t, err, "expired")
}

func TestAWarehouseThatAsksToWait(t *testing.T) {
	for _, o := range []databrickstest.Options{{}, {Files: true}} {
		p := databrickstest.Start(t, o)
		s := open(t, p)
		for header, want := range map[string]time.Duration{"7": 7 * time.Second, "": 0, "-1": 0, "1000000000": time.Hour, "soon": 0, "Fri, 01 Jan 2010 00:00:00 GMT": 0} {
			for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
				for _, call := range []string{"OpenSession", "ExecuteStatement", "FetchResults", "file"} {
					if call == "file" && !o.Files {
						continue
					}
					p.Intercept(on(call, 1, &databrickstest.Fault{Status: status, RetryAfter: header}))
					_, err := read(t.Context(), s, model(many()))
					require.Equal(t, fault.Throttled, fault.ClassOf(err), "%s: %v", call, err)
					require.Equal(t, want, fault.As(err).RetryAfter, "%s %q", call, header)
					require.Equal(t, 1, p.Calls()[call], "the wait is the caller's")
				}
			}
		}
	}
}

func TestAnAnswerThatDoesNotCome(t *testing.T) {
	for _, call := range []string{"token", "OpenSession", "ExecuteStatement", "FetchResults", "file"} {
		p := databrickstest.Start(t, databrickstest.Options{Files: call == "file"})
		s := openWith(t, databricks.Settings{ReplyTimeout: 200 * time.Millisecond}, p.Connection())
		p.Intercept(func(c string, _ int) *databrickstest.Fault {
			if c == call {
				return &databrickstest.Fault{Hang: true}
			}
			return nil
		})
		_, err := read(t.Context(), s, model("SELECT i FROM generate_series(1, 100000) AS g(i)"))
		require.Equal(t, fault.Unavailable, fault.ClassOf(err), "%s: %v", call, err)
		p.Intercept(nil)
	}
}

func TestAnAnswerThatIsTooLong(t *testing.T) {
	for _, o := range []databrickstest.Options{{}, {Files: true}} {
		s := openWith(t, databricks.Settings{MaxReply: 64 << 10}, databrickstest.Start(t, o).Connection())
		_, err := read(t.Context(), s, model(many()))
		require.Equal(t, fault.Unavailable, fault.ClassOf(err), "%v", err)
		require.ErrorContains(t, err, "longer than 65536 bytes")
	}
}

// Answers that are cut or changed anywhere end in an error or in rows, never in a panic or without an end.
func TestMalformedAnswers(t *testing.T) {
	for _, o := range []databrickstest.Options{{}, {Files: true}} {
		p := databrickstest.Start(t, o)
		s := openWith(t, databricks.Settings{ReplyTimeout: 2 * time.Second}, p.Connection())
		q := model("SELECT i AS id, CAST(i AS STRING) AS name, CAST(i AS DECIMAL(38,2)) AS d FROM generate_series(1, 3000) AS g(i)")
		for _, call := range []string{"OpenSession", "ExecuteStatement", "FetchResults", "file"} {
			for i := range 60 {
				p.Intercept(func(c string, _ int) *databrickstest.Fault {
					if c != call {
						return nil
					}
					return &databrickstest.Fault{Mangle: func(b []byte) []byte {
						at := len(b) * i / 60
						if i%2 == 0 {
							return b[:at]
						}
						b[at] ^= byte(1 << (i % 8))
						return b
					}}
				})
				got, err := read(t.Context(), s, q)
				if i%2 == 0 && (call == "OpenSession" || call == "ExecuteStatement") {
					require.Error(t, err, "cut %s at %d/60", call, i)
				}
				require.LessOrEqual(t, len(got), 4000)
			}
		}
		p.Intercept(nil)
		require.Len(t, values(t, s, q), 3000)
	}
}

// Answers that lack a part would end the process by the vendor's client.
func TestAnswersThatLackAPart(t *testing.T) {
	p := databrickstest.Start(t, databrickstest.Options{})
	s := open(t, p)
	for _, c := range []struct {
		call string
		path []int16
	}{
		{"OpenSession", []int16{0, 1}},
		{"OpenSession", []int16{0, 3}},
		{"OpenSession", []int16{0, 3, 1}},
		{"ExecuteStatement", []int16{0, 2}},
		{"ExecuteStatement", []int16{0, 2, 1}},
		{"ExecuteStatement", []int16{0, 1281, 2}},
		{"ExecuteStatement", []int16{0, 1281, 3, 3}},
		{"ExecuteStatement", []int16{0, 1281, 1}},
		{"FetchResults", []int16{0, 1281}},
		{"FetchResults", []int16{0, 3}},
		{"FetchResults", []int16{0, 3, 2}},
		{"FetchResults", []int16{0, 1281, 1283}},
		{"FetchResults", []int16{0}},
	} {
		p.Intercept(func(call string, _ int) *databrickstest.Fault {
			if call != c.call {
				return nil
			}
			return &databrickstest.Fault{Mangle: func(b []byte) []byte {
				m, err := thriftwire.Decode(b)
				require.NoError(t, err)
				m.Body = without(m.Body, c.path)
				return m.Encode()
			}}
		})
		_, err := read(t.Context(), s, model(many()))
		require.Error(t, err, "%+v", c)
		require.Equal(t, fault.Unavailable, fault.ClassOf(err), "%+v: %v", c, err)
	}
	p.Intercept(nil)
}

// without answers v less the field that a path leads to.
func without(v thriftwire.Value, path []int16) thriftwire.Value {
	var kept []thriftwire.Field
	for _, f := range v.Fields {
		switch {
		case f.ID != path[0]:
		case len(path) == 1:
			continue
		default:
			f.Value = without(f.Value, path[1:])
		}
		kept = append(kept, f)
	}
	v.Fields = kept
	return v
}

// A statement ends in the warehouse when its reader gives up, computed or not.
func TestCancelReachesTheWarehouse(t *testing.T) {
	p := databrickstest.Start(t, databrickstest.Options{Async: true})
	s := open(t, p)
	endless := "SELECT a.i * 1000000 + b.i AS n FROM generate_series(1, 1000000) AS a(i) CROSS JOIN generate_series(1, 1000000) AS b(i)"
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var counts atomic.Bool
	p.Intercept(func(call string, n int) *databrickstest.Fault {
		switch {
		case call == "ExecuteStatement" && n == 2: // behind the description
			counts.Store(true)
		case call == "GetOperationStatus" && counts.Load():
			cancel()
		}
		return nil
	})
	_, err := read(ctx, s, model("SELECT count(*) AS n FROM ("+endless+") AS e"))
	require.Equal(t, fault.Cancelled, fault.ClassOf(err), "%v", err)
	require.Equal(t, 1, p.Calls()["CancelOperation"])
	require.Zero(t, p.Running())

	p.Intercept(nil)
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	for _, err := range s.Read(ctx, model(endless)) {
		if err == nil {
			require.Equal(t, 1, p.Running())
			cancel()
		}
	}
	require.Zero(t, p.Running())
}

func TestStatementsCarryTheirSettings(t *testing.T) {
	p := databrickstest.Start(t, databrickstest.Options{})
	c := p.Connection()
	c.Databricks.StatementTimeout = 90 * time.Second
	q := by("SELECT id, ts FROM (SELECT 1 AS id, CAST('2026-01-01 00:00:00.123456' AS TIMESTAMP_NTZ) AS ts) AS t", "ts", resource.IteratorTimestamp)
	q.Range.Low, q.Range.High = "2026-01-01T00:00:00.123456", "2026-02-02T00:00:00"
	require.Equal(t, []string{"1"}, values(t, openWith(t, databricks.Settings{}, c), q))
	all := p.Statements()
	require.True(t, slices.ContainsFunc(all, func(s databrickstest.Statement) bool { return strings.HasPrefix(s.SQL, "DESCRIBE QUERY ") }))
	last := all[len(all)-1]
	require.Equal(t, `millrace:millrace\:test/sync/run`, last.Tags)
	require.Equal(t, 90*time.Second, last.Timeout)
	require.Equal(t, map[string]string{"timezone": "UTC", "ansi_mode": "true", "statement_timeout": "90"}, last.Session)
	require.Equal(t, map[string]string{"millrace_low": "2026-01-01T00:00:00.123456", "millrace_high": "2026-02-02T00:00:00"}, last.Values)
	require.NotContains(t, last.SQL, "2026-02-02", "bounds are bound, not printed")
}
