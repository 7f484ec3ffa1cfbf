//go:build cgo && duckdb_arrow

package sharing_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/source/sharing"
	"millrace.dev/pkg/source/sharing/sharingtest"
)

// on makes the n-th call of a name go wrong; 0: every one.
func on(name string, n int, f *sharingtest.Fault) func(string, int) *sharingtest.Fault {
	return func(call string, i int) *sharingtest.Fault {
		if call == name && (n == 0 || n == i) {
			return f
		}
		return nil
	}
}

const large = "CREATE TABLE large AS SELECT i AS id, md5(CAST(i AS VARCHAR)) AS text FROM range(200000) AS g(i)"

func largePeer(t testing.TB, o sharingtest.Options) *sharingtest.Peer {
	t.Helper()
	p := sharingtest.Start(t, o)
	p.Exec(t, large)
	return p
}

func TestServerFaultsAreClassified(t *testing.T) {
	p := sharingtest.Start(t, sharingtest.Options{})
	p.Exec(t, people)
	s := open(t, p)
	for _, c := range []struct {
		call   string
		fault  sharingtest.Fault
		class  fault.Class
		reason fault.Reason
		says   string
	}{
		{"query", sharingtest.Fault{Status: 401}, fault.Denied, fault.ReasonWarehouseDenied, "rotate"},
		{"query", sharingtest.Fault{Status: 403, Code: "PERMISSION_DENIED"}, fault.Denied, fault.ReasonWarehouseDenied, "HTTP 403 PERMISSION_DENIED"},
		{"query", sharingtest.Fault{Status: 404}, fault.Invalid, fault.ReasonQueryInvalid, `no table "sales"."people"`},
		{"query", sharingtest.Fault{Status: 400, Code: "INVALID_PARAMETER_VALUE"}, fault.Precondition, fault.ReasonQueryInvalid, "INVALID_PARAMETER_VALUE"},
		{"query", sharingtest.Fault{Status: 400, Code: "DS_UNSUPPORTED_DELTA_TABLE_FEATURES"}, fault.Invalid, fault.ReasonQueryInvalid, "enableDeletionVectors"},
		{"query", sharingtest.Fault{Status: 400, Code: "DS_VIEW_NOT_SUPPORTED"}, fault.Invalid, fault.ReasonQueryInvalid, "does not serve views"},
		{"query", sharingtest.Fault{Status: 429, Header: map[string]string{"Retry-After": "7"}}, fault.Throttled, fault.ReasonWarehouseThrottled, "asks to wait"},
		{"query", sharingtest.Fault{Status: 503}, fault.Throttled, fault.ReasonWarehouseThrottled, "asks to wait"},
		{"query", sharingtest.Fault{Status: 500, Code: "INTERNAL_ERROR"}, fault.Unavailable, fault.ReasonWarehouseUnavailable, "cannot answer"},
		{"query", sharingtest.Fault{Status: 302, Header: map[string]string{"Location": "http://example.com/"}}, fault.Unavailable, fault.ReasonWarehouseUnavailable, "HTTP 302"},
		{"query", sharingtest.Fault{Cut: true}, fault.Unavailable, fault.ReasonWarehouseUnavailable, "lost"},
		{"query", sharingtest.Fault{Mangle: func(b []byte) []byte { return b[:len(b)/3] }}, fault.Unavailable, fault.ReasonWarehouseUnavailable, "malformed"},
		{"query", sharingtest.Fault{Mangle: func(b []byte) []byte { return b[:bytes.LastIndexByte(b[:len(b)-1], '\n')+1] }}, fault.Unavailable, fault.ReasonQueryInterrupted, "ends early"},
		{"query", sharingtest.Fault{Mangle: func([]byte) []byte { return []byte("<html>") }}, fault.Unavailable, fault.ReasonWarehouseUnavailable, "malformed"},
		{"query", sharingtest.Fault{Mangle: func(b []byte) []byte {
			return bytes.Replace(b, []byte(`"endStreamAction":{`), []byte(`"endStreamAction":{"errorMessage":"secret_value","httpStatusErrorCode":500,`), 1)
		}}, fault.Unavailable, fault.ReasonQueryInterrupted, "breaks its answer"},
		{"query", sharingtest.Fault{Mangle: func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("struct"), []byte("strict")) }}, fault.Unavailable, fault.ReasonWarehouseUnavailable, "malformed"},
		{"query", sharingtest.Fault{Mangle: func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("http://"), []byte("file:///")) }}, fault.Denied, fault.ReasonWarehouseDenied, "no https address"},
		{"file", sharingtest.Fault{Status: 429, Header: map[string]string{"Retry-After": "7"}}, fault.Throttled, fault.ReasonWarehouseThrottled, "asks to wait"},
		{"file", sharingtest.Fault{Status: 500}, fault.Unavailable, fault.ReasonWarehouseUnavailable, "store"},
		{"file", sharingtest.Fault{Status: 403}, fault.Unavailable, fault.ReasonQueryInterrupted, "expired"},
		{"file", sharingtest.Fault{Mangle: func(b []byte) []byte { return make([]byte, len(b)) }}, fault.Unavailable, fault.ReasonWarehouseUnavailable, "malformed"},
	} {
		p.Intercept(on(c.call, 0, &c.fault))
		_, err := read(t.Context(), s, table("people"))
		require.Error(t, err, c.says)
		require.Equal(t, c.class, fault.ClassOf(err), "%+v: %v", c.fault, err)
		require.Equal(t, c.reason, fault.ReasonOf(err), "%v", err)
		require.ErrorContains(t, err, c.says)
		for _, secret := range []string{"secret_value", "token-1", p.Host(), "X-Signature"} {
			require.NotContains(t, err.Error(), secret)
		}
		if c.fault.Header["Retry-After"] != "" {
			require.Equal(t, 7*time.Second, fault.As(err).RetryAfter)
		}
	}
	p.Intercept(nil)
	require.Len(t, values(t, s, table("people")), 5, "the source reads on")
}

// What needs a richer client is refused by name, before a file is read.
func TestTablesThatAreNotRead(t *testing.T) {
	p := sharingtest.Start(t, sharingtest.Options{})
	p.Exec(t, people)
	s := open(t, p)
	for says, set := range map[string]sharingtest.Table{
		"maps its columns to other names":    {Mapped: true},
		"has deletion vectors":               {Vectors: true},
		"Delta form of the protocol":         {Delta: true},
		"version 3 of the protocol":          {MinReader: 3},
		"DS_UNSUPPORTED":                     {Refused: "DS_UNSUPPORTED_DELTA_TABLE_FEATURES"},
		"Delta Sharing does not serve views": {Provider: "view"},
		"other than parquet":                 {Provider: "csv"},
	} {
		p.Set("people", set)
		p.Intercept(nil)
		_, err := read(t.Context(), s, table("people"))
		require.Equal(t, fault.ReasonQueryInvalid, fault.ReasonOf(err), says)
		require.Equal(t, fault.Invalid, fault.ClassOf(err), says)
		require.ErrorContains(t, err, says)
		require.ErrorContains(t, err, "have the provider share", says)
		require.Zero(t, p.Calls()["file"], says)
	}
}

// Links end. The files of the same version are asked for again, once for all that are read.
func TestLinksThatExpire(t *testing.T) {
	for _, o := range []sharingtest.Options{{}, {NoHistory: true}} {
		p := largePeer(t, o)
		s := openWith(t, sharing.Settings{Parallel: 2}, p.Connection())
		p.Intercept(nil)
		n := int64(0)
		for b, err := range s.Read(t.Context(), table("large")) {
			require.NoError(t, err)
			if n == 0 {
				p.ExpireLinks()
			}
			n += b.NumRows()
		}
		require.EqualValues(t, 200_000, n)
		require.LessOrEqual(t, p.Calls()["query"], 3)
		require.GreaterOrEqual(t, p.Calls()["query"], 2)
	}
	p := largePeer(t, sharingtest.Options{NoHistory: true})
	s := openWith(t, sharing.Settings{Parallel: 1}, p.Connection())
	var last error
	for _, err := range s.Read(t.Context(), table("large")) {
		if last == nil && err == nil && p.Calls()["query"] == 1 {
			p.Exec(t, "DELETE FROM large WHERE id = 1")
			p.ExpireLinks()
		}
		last = err
	}
	require.Equal(t, fault.ReasonSourceChanged, fault.ReasonOf(last), "the version is gone with its links")
}

// A transfer that breaks off is taken up where it ended. Where a server has no ranges one that broke off before the range
// begins brought nothing, and counts as a try: files are read one by one, so that every third is never four in turn.
func TestTransfersThatBreakOff(t *testing.T) {
	for _, o := range []sharingtest.Options{{}, {NoRanges: true}} {
		p := largePeer(t, o)
		p.Intercept(func(call string, n int) *sharingtest.Fault {
			if call == "file" && n%3 == 0 {
				return &sharingtest.Fault{Cut: true}
			}
			return nil
		})
		require.Len(t, values(t, openWith(t, sharing.Settings{Parallel: 1}, p.Connection()), table("large")), 200_000)
	}
}

// A file that cannot be read to its end never looks like the end of the table.
func TestABrokenFileIsNoEnd(t *testing.T) {
	p := largePeer(t, sharingtest.Options{})
	s := openWith(t, sharing.Settings{Parallel: 1}, p.Connection())
	for _, f := range []*sharingtest.Fault{{Cut: true}, {Status: 500}, {Mangle: func(b []byte) []byte { return bytes.Repeat([]byte{0xff}, len(b)) }}} {
		p.Intercept(func(call string, n int) *sharingtest.Fault {
			if call == "file" && n > 3 {
				return f
			}
			return nil
		})
		var last error
		n := int64(0)
		for b, err := range s.Read(t.Context(), table("large")) {
			require.NoError(t, last, "nothing comes after an error")
			if last = err; err == nil {
				n += b.NumRows()
			}
		}
		require.Equal(t, fault.Unavailable, fault.ClassOf(last), "%v", last)
		require.Less(t, n, int64(200_000))
	}
}

// A read ends when its reader stops, and when its context does: with it what it downloads.
func TestAReadStopsWithItsReader(t *testing.T) {
	p := largePeer(t, sharingtest.Options{})
	s := open(t, p)
	for _, err := range s.Read(t.Context(), table("large")) {
		require.NoError(t, err)
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for _, err := range s.Read(ctx, table("large")) {
		require.NoError(t, last)
		last = err
		cancel()
	}
	require.Equal(t, fault.Cancelled, fault.ClassOf(last), "%v", last)
	for _, call := range []string{"query", "file"} {
		ctx, cancel := context.WithCancel(t.Context())
		hung := make(chan struct{}, 100)
		p.Intercept(func(got string, _ int) *sharingtest.Fault {
			if got != call {
				return nil
			}
			hung <- struct{}{}
			return &sharingtest.Fault{Hang: true}
		})
		go func() {
			<-hung
			cancel()
		}()
		_, err := read(ctx, s, table("large"))
		require.Equal(t, fault.Cancelled, fault.ClassOf(err), "%v", err)
		cancel()
	}
	p.Intercept(nil)
	require.Eventually(t, func() bool { return p.Open() == 0 }, 10*time.Second, time.Millisecond, "no request is left behind")
	require.Len(t, values(t, s, table("large")), 200_000)
}

func TestASlowAnswerIsBounded(t *testing.T) {
	p := largePeer(t, sharingtest.Options{})
	s := openWith(t, sharing.Settings{ReplyTimeout: 50 * time.Millisecond}, p.Connection())
	p.Intercept(on("query", 0, &sharingtest.Fault{Hang: true}))
	_, err := read(t.Context(), s, table("large"))
	require.Equal(t, fault.Unavailable, fault.ClassOf(err), "%v", err)
	require.ErrorContains(t, err, "no answer in time")
}

// What a server answers is bounded: its pages, its files and their row groups.
func TestAnswersAreBounded(t *testing.T) {
	p := largePeer(t, sharingtest.Options{PageFiles: 2})
	for says, s := range map[string]sharing.Settings{
		"longer than this process takes": {MaxReply: 1 << 10},
		"more than 3 files":              {MaxFiles: 3},
		"row group":                      {MaxReply: 64 << 10},
	} {
		_, err := read(t.Context(), openWith(t, s, p.Connection()), table("large"))
		require.ErrorContains(t, err, says)
		require.Equal(t, fault.Precondition, fault.ClassOf(err), "%v", err)
	}
	p.Intercept(on("query", 0, &sharingtest.Fault{Mangle: func(b []byte) []byte {
		return bytes.ReplaceAll(b, []byte(`"nextPageToken":"`), []byte(`"nextPageToken":"-`))
	}}))
	_, err := read(t.Context(), openWith(t, sharing.Settings{MaxFiles: 100}, p.Connection()), table("large"))
	require.ErrorContains(t, err, "more than 100 files", "pages that do not end")
}

// Every byte goes to the profile's server and to the addresses of files that it names; the token goes to the server alone.
func TestNothingIsDialledButTheServer(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	p := largePeer(t, sharingtest.Options{})
	require.Len(t, values(t, open(t, p), table("large")), 200_000, "the peer refuses files that are asked for with a token")
}

func TestNobodyListens(t *testing.T) {
	p := sharingtest.Start(t, sharingtest.Options{})
	for step, host := range map[string]string{"connect": "127.0.0.1:1", "resolve": "no.such.host.invalid", "tls": ""} {
		c := p.Connection()
		text := strings.Replace(c.DeltaSharing.Profile.Plain, p.Host(), host, 1)
		if host == "" {
			text = strings.Replace(c.DeltaSharing.Profile.Plain, "http://", "https://", 1)
		}
		c.DeltaSharing.Profile.Plain = text
		steps := openWith(t, sharing.Settings{}, c).Check(t.Context())
		require.Equal(t, step, steps[len(steps)-1].Name)
		require.False(t, steps[len(steps)-1].OK)
	}
}

func TestConcurrentReadsOfPlans(t *testing.T) {
	p := largePeer(t, sharingtest.Options{})
	s := openWith(t, sharing.Settings{PartRows: 10_000}, p.Connection())
	q := table("large")
	q.Full, q.Model.KeyColumns = true, []string{"id"}
	plan := planOf(t, s, q, 4)
	require.Len(t, plan.Parts, 4)
	counts := make(chan int64, 4)
	for _, r := range plan.Parts {
		go func() {
			mine, n := q, int64(0)
			mine.Snapshot, mine.Range = plan.Snapshot, r
			for b, err := range s.Read(t.Context(), mine) {
				if err == nil {
					n += b.NumRows()
				}
			}
			counts <- n
		}()
	}
	total := int64(0)
	for range plan.Parts {
		total += <-counts
	}
	require.EqualValues(t, 200_000, total)
}
