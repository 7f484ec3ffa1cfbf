//go:build cgo && duckdb_arrow

package millrace_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/services/millrace"
)

// laptop is `millrace up` with everything embedded, and the commands that talk to it.
type laptop struct {
	t    *testing.T
	addr string
}

// up starts a laptop over a folder of data; stop ends it and waits.
func up(t *testing.T, data string) (l laptop, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, said := io.Pipe()
	var log bytes.Buffer
	ended := make(chan int, 1)
	go func() {
		ended <- millrace.Main(ctx, []string{"up", "-o", "json", "--data", data, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--log-level", "warn"},
			millrace.IO{In: strings.NewReader(""), Out: said, Err: &log, Environ: os.LookupEnv, Now: time.Now})
		_ = said.Close()
	}()
	stop = func() {
		cancel()
		code := <-ended
		require.Zero(t, code, log.String())
	}
	var at struct{ GRPC, HTTP string }
	if err := json.NewDecoder(out).Decode(&at); err != nil {
		stop()
		require.NoError(t, err, log.String())
	}
	go func() { _, _ = io.Copy(io.Discard, out) }() // ends when the process has
	return laptop{t, at.GRPC}, stop
}

// do runs a command that must end with a code and answers its stdout.
func (l laptop) do(code int, line string) string {
	l.t.Helper()
	var out, errs bytes.Buffer
	args := append([]string{"--server", l.addr}, strings.Fields(line)...)
	got := millrace.Main(l.t.Context(), args, millrace.IO{In: strings.NewReader(""), Out: &out, Err: &errs, Environ: os.LookupEnv, Now: time.Now})
	require.Equal(l.t, code, got, "`%s`: %s%s", line, out.String(), errs.String())
	return out.String()
}

// document runs a command with -o json and reads its document into T.
func document[T any](l laptop, code int, line string) T {
	l.t.Helper()
	var v T
	text := l.do(code, line+" -o json")
	require.NoError(l.t, json.Unmarshal([]byte(text), &v), text)
	return v
}

type runDocument struct {
	ID, State   string
	Counts      map[string]string
	Certificate struct {
		Balanced        bool
		RowsDigest      string `json:"rows_digest"`
		AccountedDigest string `json:"accounted_digest"`
	}
}

func TestALaptopFromSampleToProfiles(t *testing.T) {
	const customers, orders = 2000, 5000
	dir := t.TempDir()
	shop, data := filepath.Join(dir, "shop"), filepath.Join(dir, "data")
	l, stop := up(t, data)
	l.do(0, "demo --dir "+shop+" --customers "+strconv.Itoa(customers)+" --orders "+strconv.Itoa(orders))

	plan := document[struct {
		Applied bool
		Changes []struct{ Action, Kind, ID string }
	}](l, 0, "apply --yes -f "+shop)
	require.True(t, plan.Applied)
	require.Len(t, plan.Changes, 8)
	for _, c := range plan.Changes {
		require.Equal(t, "create", c.Action, c)
	}
	require.Contains(t, l.do(0, "apply --yes -f "+shop), "0 created, 0 changed, 0 deleted, 8 unchanged")

	require.Contains(t, l.do(0, "connections test shop"), "ok")
	require.Contains(t, l.do(0, "connections tables shop"), "order_history")
	require.Contains(t, l.do(0, "models preview customers --limit 3"), "@example.com")
	require.Contains(t, l.do(0, "preview customers --limit 3"), "customer_id")

	first := document[runDocument](l, 0, "run customers --wait")
	require.Equal(t, "succeeded", first.State)
	require.Equal(t, strconv.Itoa(customers), first.Counts["created"])
	require.True(t, first.Certificate.Balanced)
	require.Equal(t, first.Certificate.RowsDigest, first.Certificate.AccountedDigest)
	second := document[runDocument](l, 0, "run --wait orders")
	require.Equal(t, strconv.Itoa(orders), second.Counts["created"])
	require.Equal(t, "0", second.Counts["unattributed"])

	events := document[struct {
		Events []struct {
			ID, Sync, Run, MPID string
			EventType           string `json:"event_type"`
			Data                map[string]any
		}
	}](l, 0, "events list --sync orders").Events
	require.Len(t, events, orders)
	one := events[0]
	require.Equal(t, "custom_event", one.EventType)
	require.Equal(t, "orders", one.Sync)
	require.Equal(t, second.ID, one.Run)
	require.NotEmpty(t, one.ID)
	require.Contains(t, one.Data, "timestamp_unixtime_ms")
	require.Contains(t, one.Data, "custom_attributes")

	profile := document[struct {
		MPID       string
		Identities []struct{ Type, Value string }
		Attributes map[string]any `json:"user_attributes"`
		Provenance map[string]struct{ Sync, Run string }
	}](l, 0, "profiles get customer_id=1")
	require.NotEmpty(t, profile.Attributes["city"])
	require.Equal(t, "customers", profile.Provenance["city"].Sync)
	require.Equal(t, first.ID, profile.Provenance["city"].Run)
	require.Contains(t, l.do(0, "profiles events customer_id=1"), "TIME")
	l.do(1, "profiles get customer_id=none-such")

	require.Contains(t, l.do(0, "preview customers --limit 3"), "unchanged")

	before := l.do(0, "store digest")
	again := document[runDocument](l, 0, "run customers --wait --full")
	require.Equal(t, "0", again.Counts["created"])
	require.Equal(t, strconv.Itoa(customers), again.Counts["unchanged"])
	require.Equal(t, before, l.do(0, "store digest"))

	require.Len(t, document[struct{ Runs []runDocument }](l, 0, "runs list customers").Runs, 2)
	require.NotEmpty(t, document[struct{ Parts []any }](l, 0, "runs parts "+first.ID).Parts)
	require.NotEmpty(t, document[struct{ Batches []any }](l, 0, "runs batches "+first.ID).Batches)
	require.Empty(t, document[struct{ Rejects []any }](l, 0, "rejects list "+first.ID).Rejects)
	l.do(1, "runs retry "+first.ID)

	require.Contains(t, l.do(0, "syncs pause customers"), "paused")
	require.Contains(t, l.do(0, "syncs resume customers"), "active")
	l.do(1, "connections delete shop")
	out := filepath.Join(dir, "export")
	l.do(0, "export --dir "+out)
	require.Contains(t, l.do(0, "apply --dry-run -f "+out), "0 to create")
	stop()

	l, stop = up(t, data)
	require.Equal(t, before, l.do(0, "store digest"), "a restart loses nothing")
	l.do(0, "runs get "+first.ID)
	stop()
	l.do(4, "syncs list")
}

func TestBadDocumentsChangeNothing(t *testing.T) {
	dir := t.TempDir()
	l, stop := up(t, filepath.Join(dir, "data"))
	defer stop()
	path := filepath.Join(dir, "bad.yaml")
	require.NoError(t, os.WriteFile(path, []byte("kind: Feed\nid: crm\nbogus: 1\n---\nkind: Sync\nid: s\nmode: sideways\n"), 0o600))
	var out, errs bytes.Buffer
	code := millrace.Main(t.Context(), []string{"apply", "--yes", "-f", path, "--server", l.addr},
		millrace.IO{In: strings.NewReader(""), Out: &out, Err: &errs, Environ: os.LookupEnv, Now: time.Now})
	require.Equal(t, 1, code)
	require.Empty(t, out.String())
	require.Contains(t, errs.String(), path+":3:")
	require.Contains(t, errs.String(), path+":7:")
	require.Empty(t, document[struct{ Feeds []any }](l, 0, "feeds list --filter id=crm").Feeds)
}

func TestTheDemonstrationEndsWell(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	for range 2 { // a second one starts anew
		var out, errs bytes.Buffer
		code := millrace.Main(t.Context(), []string{"demo", "--run", "--dir", dir, "--customers", "300", "--orders", "900"},
			millrace.IO{In: strings.NewReader(""), Out: &out, Err: &errs, Environ: func(string) (string, bool) { return "", false }, Now: time.Now})
		require.Zero(t, code, out.String()+errs.String())
		require.Contains(t, out.String(), "created 300")
		require.Contains(t, out.String(), "created 900")
		require.Equal(t, 2, strings.Count(out.String(), "certificate  balanced"))
		require.Contains(t, out.String(), "bin/millrace up --data "+filepath.Join(dir, "data"))
		require.Contains(t, out.String(), "http://127.0.0.1:7081/ while Millrace serves: make demo KEEP=1")
		require.Contains(t, errs.String(), "customers #1: succeeded")
	}
}

func TestADemonstrationThatIsKeptServesTheConsole(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, said := io.Pipe()
	var errs bytes.Buffer
	ended := make(chan int, 1)
	go func() {
		ended <- millrace.Main(ctx, []string{
			"demo", "--run", "--keep", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--dir", filepath.Join(t.TempDir(), "demo"), "--customers", "300", "--orders", "900",
		}, millrace.IO{In: strings.NewReader(""), Out: said, Err: &errs, Environ: func(string) (string, bool) { return "", false }, Now: time.Now})
		_ = said.Close()
	}()
	console := ""
	for lines := bufio.NewScanner(out); console == "" && lines.Scan(); {
		console = regexp.MustCompile(`^http://127\.0\.0\.1:\d+/`).FindString(lines.Text())
	}
	go func() { _, _ = io.Copy(io.Discard, out) }() // ends when the process has
	if console != "" {
		page := open(t, console)
		require.Contains(t, page, "customers")
		require.Contains(t, page, "orders")
	}
	cancel()
	require.Zero(t, <-ended, errs.String())
	require.NotEmpty(t, console, errs.String())
}

// open answers a page of the console.
func open(t *testing.T, address string) string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	require.NoError(t, err)
	res, err := client.Do(req)
	require.NoError(t, err)
	defer func() { require.NoError(t, res.Body.Close()) }()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, res.StatusCode, string(text))
	return string(text)
}
