//go:build cgo && duckdb_arrow

package snowflake_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/snowflake"
	"millrace.dev/pkg/source/snowflake/snowflaketest"
)

// account reads the block of a connection from JSON.
func account(t *testing.T, text string) resource.Snowflake {
	t.Helper()
	var in map[string]string
	require.NoError(t, json.Unmarshal([]byte(text), &in))
	c := resource.Snowflake{
		Account: in["account"], Region: in["region"], Warehouse: in["warehouse"], Database: in["database"], Schema: in["schema"], Role: in["role"], User: in["user"],
		PrivateKey: resource.Secret{Plain: in["private_key"]}, Token: resource.Secret{Plain: in["token"]}, Password: resource.Secret{Plain: in["password"]},
	}
	whole := &resource.Connection{Snowflake: &c}
	whole.Normalize()
	return c
}

// read reads to the end or to an error.
func read(ctx context.Context, s source.Source, q source.Query) (rows int64, err error) {
	for b, err := range s.Read(ctx, q) {
		if err != nil {
			return rows, err
		}
		rows += b.NumRows()
	}
	return rows, nil
}

func TestExpiredTokensAreRenewed(t *testing.T) {
	for _, poll := range []bool{false, true} {
		s := snowflaketest.New(t, snowflaketest.Options{Poll: poll})
		src := open(t, s)
		require.Equal(t, []string{"1"}, values(t, src, model("SELECT 1 AS a")))
		s.ExpireSessions()
		require.Equal(t, []string{"2"}, values(t, src, model("SELECT 2 AS a")))
		renewed := 0
		for _, r := range s.Requests() {
			if r.Path == "/session/token-request" {
				renewed++
			}
		}
		require.Equal(t, 1, renewed)
	}
}

// A session that an administrator ended fails one call; the next one has a new one.
func TestAnEndedSessionIsNotUsedAgain(t *testing.T) {
	s := snowflaketest.New(t, snowflaketest.Options{})
	src := open(t, s)
	require.Equal(t, []string{"1"}, values(t, src, model("SELECT 1 AS a")))
	s.EndSessions()
	_, err := read(t.Context(), src, model("SELECT 1 AS a"))
	require.Equal(t, fault.Unavailable, fault.ClassOf(err), "%v", err)
	require.Equal(t, []string{"1"}, values(t, src, model("SELECT 1 AS a")))
}

func TestThrottling(t *testing.T) {
	for _, path := range []string{"/queries/", "/chunks/", "/session/v1/"} {
		for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
			s := snowflaketest.New(t, snowflaketest.Options{})
			asked, wait := atomic.Int32{}, atomic.Pointer[string]{}
			after := func(text string) { wait.Store(&text); asked.Store(0) }
			s.Intercept(func(w http.ResponseWriter, r *http.Request, _ string) bool {
				if !strings.HasPrefix(r.URL.Path, path) || asked.Add(1) > 2 {
					return false
				}
				w.Header().Set("Retry-After", *wait.Load())
				w.WriteHeader(status)
				return true
			})
			after("0")
			n, err := read(t.Context(), open(t, s), model(thousands))
			require.NoError(t, err, path)
			require.EqualValues(t, 60000, n)
			after("3600")
			_, err = read(t.Context(), open(t, s), model(thousands))
			require.Equal(t, fault.Throttled, fault.ClassOf(err), "%s: %v", path, err)
			require.Equal(t, time.Hour, fault.As(err).RetryAfter)
		}
	}
}

// A chunk that breaks off is read again whole: no row is missing or doubled. One that always does fails the part.
func TestDropsWithinAChunk(t *testing.T) {
	for _, c := range []struct {
		drops int32
		rows  int64
	}{{2, 60000}, {1000, 0}} {
		s := snowflaketest.New(t, snowflaketest.Options{ChunkRows: 50000})
		n := atomic.Int32{}
		s.Intercept(func(w http.ResponseWriter, r *http.Request, _ string) bool {
			if !strings.HasPrefix(r.URL.Path, "/chunks/") || n.Add(1) > c.drops {
				return false
			}
			w.Header().Set("Content-Length", "100000")
			_, _ = w.Write(bytes.Repeat([]byte{0xff}, 1000))
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		})
		rows, err := read(t.Context(), open(t, s), model(thousands))
		if c.rows > 0 {
			require.NoError(t, err)
			require.Equal(t, c.rows, rows)
			continue
		}
		require.Equal(t, fault.Unavailable, fault.ClassOf(err), "%v", err)
		require.Equal(t, fault.ReasonQueryInterrupted, fault.ReasonOf(err))
	}
}

func TestALinkThatHasExpired(t *testing.T) {
	s := snowflaketest.New(t, snowflaketest.Options{})
	s.Intercept(func(w http.ResponseWriter, r *http.Request, _ string) bool {
		if strings.HasPrefix(r.URL.Path, "/chunks/") {
			http.Error(w, "expired", http.StatusForbidden)
			return true
		}
		return false
	})
	_, err := read(t.Context(), open(t, s), model(thousands))
	require.Equal(t, fault.ReasonQueryInterrupted, fault.ReasonOf(err), "%v", err)
	require.Equal(t, fault.Unavailable, fault.ClassOf(err))
}

// A body that comes slowly is left as soon as its reader gives up.
func TestASlowBodyIsLeft(t *testing.T) {
	s := snowflaketest.New(t, snowflaketest.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.Intercept(func(w http.ResponseWriter, r *http.Request, _ string) bool {
		if !strings.HasPrefix(r.URL.Path, "/chunks/") {
			return false
		}
		w.Header().Set("Content-Length", "100000")
		_, _ = w.Write([]byte{1, 2, 3})
		_ = http.NewResponseController(w).Flush()
		cancel()
		<-r.Context().Done()
		return true
	})
	_, err := read(ctx, open(t, s), model(thousands))
	require.Equal(t, fault.Cancelled, fault.ClassOf(err), "%v", err)
}

// What no Snowflake would answer ends in an error that can be tried again; nothing crashes, and no row is made up.
func TestMalformedAnswers(t *testing.T) {
	const sql = "SELECT i, CAST(i AS VARCHAR) AS s FROM generate_series(1, 3) AS g(i)"
	for name, change := range map[string]func(body map[string]any){
		"no base64":     func(d map[string]any) { d["rowsetBase64"] = "%%%" },
		"no Arrow":      func(d map[string]any) { d["rowsetBase64"] = base64.StdEncoding.EncodeToString([]byte("hello, world")) },
		"half a stream": func(d map[string]any) { d["rowsetBase64"] = d["rowsetBase64"].(string)[:400] },
		"fewer rows":    func(d map[string]any) { d["total"] = 4 },
		"more rows":     func(d map[string]any) { d["total"] = 2 },
		"a row less":    func(d map[string]any) { d["rowsetBase64"] = "" },
		"text for rows": func(d map[string]any) { d["queryResultFormat"] = "json" },
		"a chunk nowhere": func(d map[string]any) {
			d["chunks"] = []any{map[string]any{"url": "http://127.0.0.1:1/x", "rowCount": 1}}
			d["total"] = 4
		},
		"a link that is none": func(d map[string]any) {
			d["chunks"] = []any{map[string]any{"url": "::", "rowCount": 1}}
			d["total"] = 4
		},
		"negative counts": func(d map[string]any) { d["total"] = -5 },
	} {
		t.Run(name, func(t *testing.T) { refuses(t, sql, change) })
	}
	for name, body := range map[string]string{
		"nothing": "", "no JSON": "<html>", "half": `{"success": tr`, "a number": "7", "no data": `{"success": true}`, "a code that is none": `{"success": false, "code": "x"}`,
		"wrong types": `{"success": "yes", "data": []}`, "deep": strings.Repeat("[", 100000),
	} {
		t.Run(name, func(t *testing.T) {
			s := snowflaketest.New(t, snowflaketest.Options{})
			src := open(t, s)
			s.Intercept(func(w http.ResponseWriter, r *http.Request, _ string) bool {
				if !strings.HasPrefix(r.URL.Path, "/queries/v1/query-request") {
					return false
				}
				_, _ = fmt.Fprint(w, body)
				return true
			})
			rows, err := read(t.Context(), src, model(sql))
			require.Error(t, err)
			require.Zero(t, rows)
			require.NotEqual(t, fault.Internal, fault.ClassOf(err), "%v", err)
		})
	}
}

// refuses reads a query whose answer is changed on its way.
func refuses(t *testing.T, sql string, change func(map[string]any)) {
	t.Helper()
	s := snowflaketest.New(t, snowflaketest.Options{})
	src := open(t, s)
	s.Rewrite(func(text string, data map[string]any) {
		if strings.HasPrefix(text, "SELECT \"i\"") && data["rowsetBase64"] != nil {
			change(data)
		}
	})
	rows, err := read(t.Context(), src, model(sql))
	require.Error(t, err)
	require.LessOrEqual(t, rows, int64(3), "what came whole before may have been handed on")
	require.NotEqual(t, fault.Internal, fault.ClassOf(err), "%v", err)
	require.NotContains(t, err.Error(), "hello")
}

func TestAChunkThatIsTooLarge(t *testing.T) {
	s := snowflaketest.New(t, snowflaketest.Options{ChunkRows: 50000})
	_, err := read(t.Context(), openWith(t, snowflake.Settings{MaxChunk: 100_000}, s), model(thousands))
	require.Equal(t, fault.Precondition, fault.ClassOf(err))
	require.Equal(t, fault.ReasonLimitExceeded, fault.ReasonOf(err))
}
