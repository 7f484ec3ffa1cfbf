//go:build cgo && duckdb_arrow

package sharing_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sharing"
	"millrace.dev/pkg/source/sharing/sharingtest"
)

// TestAFeedIsLost lets a feed not tell everything, in each way that is known: the reason is told, everything is read, and
// the next run goes on by changes.
func TestAFeedIsLost(t *testing.T) {
	update := func(t *testing.T, p *sharingtest.Peer) { p.Exec(t, "UPDATE plans SET plan = 'pro' WHERE id = 1") }
	refused := func(status int, code string) func(*testing.T, *sharingtest.Peer, *follower) {
		return func(t *testing.T, p *sharingtest.Peer, _ *follower) {
			update(t, p)
			p.Intercept(on("changes", 1, &sharingtest.Fault{Status: status, Code: code}))
		}
	}
	mangled := func(old, by string) func(*testing.T, *sharingtest.Peer, *follower) {
		return func(t *testing.T, p *sharingtest.Peer, _ *follower) {
			update(t, p)
			p.Intercept(on("changes", 1, &sharingtest.Fault{Mangle: func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(old), []byte(by)) }}))
		}
	}
	for name, c := range map[string]struct {
		by     func(t *testing.T, p *sharingtest.Peer, f *follower)
		reason string
	}{
		"its versions are not there any more": {func(t *testing.T, p *sharingtest.Peer, _ *follower) {
			update(t, p)
			p.Exec(t, "UPDATE plans SET plan = 'gold' WHERE id = 1")
			p.Set("plans", sharingtest.Table{FeedFrom: 2})
		}, "DS_CDF_START_VERSION_TOO_EARLY"},
		"a bad request": {refused(http.StatusBadRequest, "INVALID_PARAMETER_VALUE"), "HTTP 400 INVALID_PARAMETER_VALUE"},
		"forbidden":     {refused(http.StatusForbidden, "PERMISSION_DENIED"), "HTTP 403 PERMISSION_DENIED"},
		"not found":     {refused(http.StatusNotFound, "RESOURCE_DOES_NOT_EXIST"), "HTTP 404 RESOURCE_DOES_NOT_EXIST"},
		"its files are not there any more": {func(t *testing.T, p *sharingtest.Peer, _ *follower) {
			update(t, p)
			p.Vacuum(t, "plans")
		}, "link to a file"},
		"the table was made again": {func(t *testing.T, p *sharingtest.Peer, _ *follower) {
			p.Exec(t, "DROP TABLE plans")
			p.Exec(t, plans)
			update(t, p)
		}, "made again"},
		"a column has come": {func(t *testing.T, p *sharingtest.Peer, _ *follower) {
			p.Exec(t, "ALTER TABLE plans ADD COLUMN city VARCHAR DEFAULT 'Rome'")
		}, "columns have changed"},
		"a column has come and gone": {func(t *testing.T, p *sharingtest.Peer, _ *follower) {
			p.Exec(t, "ALTER TABLE plans ADD COLUMN city VARCHAR DEFAULT 'Rome'")
			p.Exec(t, "ALTER TABLE plans DROP COLUMN city")
		}, "had other columns"},
		"it was off meanwhile": {func(t *testing.T, p *sharingtest.Peer, _ *follower) {
			p.Set("plans", sharingtest.Table{NoFeed: true})
			p.Exec(t, "UPDATE plans SET plan = 'unseen' WHERE id = 2")
			p.Set("plans", sharingtest.Table{})
			update(t, p)
		}, "no feed"},
		"the model is another one": {func(_ *testing.T, _ *sharingtest.Peer, f *follower) {
			f.q.Model.Table, f.q.Model.SQL = "", "SELECT id, n AS plan FROM plans"
		}, "reads other columns"},
		"a column counts that did not": {func(_ *testing.T, _ *sharingtest.Peer, f *follower) { f.q.Added = []string{"n"} }, "columns count that did not"},
		"the state is no version":      {func(_ *testing.T, _ *sharingtest.Peer, f *follower) { f.q.Since = "nonsense" }, "not known"},
		"the server is behind": {func(_ *testing.T, _ *sharingtest.Peer, f *follower) {
			f.q.Since = source.State(strings.Replace(string(f.q.Since), "version 0", "version 7", 1))
		}, "at version 0, before version 7"},
		"the rows do not add up": {func(t *testing.T, p *sharingtest.Peer, f *follower) {
			update(t, p)
			f.q.Since = source.State(strings.Replace(string(f.q.Since), "of 40 rows", "of 41 rows", 1))
		}, "do not lead from 41 rows to 40"},
		"the feed contradicts the rows": {func(t *testing.T, p *sharingtest.Peer, _ *follower) {
			p.Exec(t, "DELETE FROM plans WHERE id = 1; INSERT INTO plans VALUES (50, 'free', 50)")
			p.Intercept(on("changes", 1, &sharingtest.Fault{Mangle: twice(`"id":"`, `"id":"again-`)}))
		}, "contradict"},
		"it names a file twice": {func(t *testing.T, p *sharingtest.Peer, _ *follower) {
			update(t, p)
			p.Intercept(on("changes", 1, &sharingtest.Fault{Mangle: twice("", "")}))
		}, "twice"},
		"it names other versions": {mangled(`"version":1`, `"version":7`), "other versions"},
		"its files have vectors":  {mangled(`"cdf":{`, `"cdf":{"deletionVectorDescriptor":{},`), "deletion vectors"},
	} {
		t.Run(name, func(t *testing.T) {
			p, f := followed(t)
			f.next(t)
			c.by(t, p, f)
			got, rows, _ := f.next(t)
			require.Contains(t, got.Lost, c.reason)
			require.NotContains(t, got.Lost, "secret_value")
			require.Empty(t, got.Since)
			require.Len(t, rows, 40)
			p.Intercept(nil)
			p.Set("plans", sharingtest.Table{})
			f.q.Added = nil
			f.next(t)
			p.Exec(t, "UPDATE plans SET n = 70, plan = 'own' WHERE id = 7; DELETE FROM plans WHERE id = 8")
			got, rows, gone := f.next(t)
			require.Empty(t, got.Lost)
			require.Equal(t, []string{"7"}, rows)
			require.Equal(t, []string{"8"}, gone)
		})
	}
}

// twice names each file of changes again, with something replaced.
func twice(old, by string) func([]byte) []byte {
	return func(body []byte) []byte {
		var out []byte
		for line := range bytes.Lines(body) {
			if out = append(out, line...); bytes.HasPrefix(line, []byte(`{"cdf"`)) {
				out = append(out, bytes.Replace(line, []byte(old), []byte(by), 1)...)
			}
		}
		return out
	}
}

// TestAFeedThatIsNotSharedIsRefused tells at the first run, before anything is read, what the provider does.
func TestAFeedThatIsNotSharedIsRefused(t *testing.T) {
	p, f := followed(t)
	for _, refused := range []sharingtest.Fault{{Status: 400, Code: "DS_CDF_NOT_ENABLED"}, {Status: 403, Code: "PERMISSION_DENIED"}, {Status: 404}} {
		p.Intercept(on("changes", 0, &refused))
		_, err := f.changes(t.Context())
		require.Equal(t, fault.Precondition, fault.ClassOf(err), "%v", err)
		require.ErrorContains(t, err, "delta.enableChangeDataFeed = true")
		require.ErrorContains(t, err, "WITH HISTORY")
		require.ErrorContains(t, err, "mirror_engine: row_index")
		require.ErrorContains(t, err, fmt.Sprint("HTTP ", refused.Status))
		require.Zero(t, p.Calls()["file"])
	}
	p.Intercept(nil)
	f.next(t)
	p.Exec(t, "UPDATE plans SET plan = 'pro'")
	p.Set("plans", sharingtest.Table{NoFeed: true})
	_, err := f.changes(t.Context())
	require.Equal(t, fault.Precondition, fault.ClassOf(err), "a feed that was shared: %v", err)
	require.ErrorContains(t, err, "DS_CDF_NOT_ENABLED")

	p = sharingtest.Start(t, sharingtest.Options{NoHistory: true})
	p.Exec(t, plans)
	_, err = follow(t, p, "plans").changes(t.Context())
	require.Equal(t, fault.Precondition, fault.ClassOf(err), "%v", err)
}

// TestFaultsOfAFeedAreNoLoss has faults that pass, and those of the profile: they are told as they are, and the base stays.
func TestFaultsOfAFeedAreNoLoss(t *testing.T) {
	p, f := followed(t)
	f.next(t)
	p.Exec(t, "UPDATE plans SET plan = 'pro' WHERE id = 1")
	for _, c := range []struct {
		call  string
		fault sharingtest.Fault
		class fault.Class
	}{
		{"changes", sharingtest.Fault{Status: 401}, fault.Denied},
		{"changes", sharingtest.Fault{Status: 429}, fault.Throttled},
		{"changes", sharingtest.Fault{Status: 500}, fault.Unavailable},
		{"changes", sharingtest.Fault{Cut: true}, fault.Unavailable},
		{"changes", sharingtest.Fault{Mangle: func(b []byte) []byte { return b[:bytes.LastIndexByte(b[:len(b)-1], '\n')+1] }}, fault.Unavailable},
		{"changes", sharingtest.Fault{Mangle: func([]byte) []byte { return []byte("<html>") }}, fault.Unavailable},
		{"file", sharingtest.Fault{Status: 500}, fault.Unavailable},
		{"file", sharingtest.Fault{Mangle: func(b []byte) []byte { return make([]byte, len(b)) }}, fault.Unavailable},
		{"metadata", sharingtest.Fault{Status: 404}, fault.Invalid},
		{"query", sharingtest.Fault{Status: 403}, fault.Denied},
	} {
		p.Intercept(on(c.call, 0, &c.fault))
		_, err := f.changes(t.Context())
		require.Equal(t, c.class, fault.ClassOf(err), "%+v: %v", c, err)
		require.NotContains(t, err.Error(), "secret_value")
	}
	p.Intercept(nil)
	_, rows, _ := f.next(t)
	require.Equal(t, []string{"1"}, rows)

	end := time.Date(2030, 5, 15, 12, 0, 0, 0, time.UTC)
	now := end.Add(-time.Hour)
	p = sharingtest.Start(t, sharingtest.Options{Expires: end})
	p.Exec(t, plans)
	f = followWith(t, sharing.Settings{Now: func() time.Time { return now }}, p, "plans", "plan")
	f.next(t)
	c, err := f.changes(t.Context())
	require.NoError(t, err)
	now = end
	_, err = f.changes(t.Context())
	require.Equal(t, fault.Precondition, fault.ClassOf(err), "%v", err)
	require.ErrorContains(t, err, "the profile expired on 2030-05-15")
	c.State = source.State(strings.Replace(string(c.State), "version 0", "version 1", 1))
	_, _, err = f.read(t.Context(), c)
	require.ErrorContains(t, err, "the profile expired on 2030-05-15")
}

// TestAServerThatDoesNotSayWhatItHasIsRefused: without a version or a table's id nobody can tell what has changed.
func TestAServerThatDoesNotSayWhatItHasIsRefused(t *testing.T) {
	p, f := followed(t)
	p.Intercept(on("metadata", 0, &sharingtest.Fault{Mangle: func(b []byte) []byte {
		return bytes.Replace(b, []byte(`"id":"`), []byte(`"id":"","was":"`), 1)
	}}))
	_, err := f.changes(t.Context())
	require.Equal(t, fault.Precondition, fault.ClassOf(err), "%v", err)
	require.ErrorContains(t, err, "row_index")
	p.Intercept(on("metadata", 0, &sharingtest.Fault{Header: map[string]string{"Delta-Table-Version": ""}}))
	_, err = f.changes(t.Context())
	require.Equal(t, fault.Precondition, fault.ClassOf(err), "%v", err)
}

// TestWhatAStateNamesIsGone takes away, between a plan and its parts, what the state names: the run is planned again.
func TestWhatAStateNamesIsGone(t *testing.T) {
	for name, by := range map[string]func(t *testing.T, p *sharingtest.Peer){
		"the table is another one": func(t *testing.T, p *sharingtest.Peer) {
			p.Exec(t, "DROP TABLE plans")
			p.Exec(t, plans)
			p.Exec(t, "DELETE FROM plans WHERE id = 9")
		},
		"the table":             func(t *testing.T, p *sharingtest.Peer) { p.Exec(t, "DROP TABLE plans") },
		"the versions":          func(_ *testing.T, p *sharingtest.Peer) { p.Set("plans", sharingtest.Table{FeedFrom: 2}) },
		"the feed":              func(_ *testing.T, p *sharingtest.Peer) { p.Set("plans", sharingtest.Table{NoFeed: true}) },
		"the files of the feed": func(t *testing.T, p *sharingtest.Peer) { p.Vacuum(t, "plans") },
	} {
		t.Run(name, func(t *testing.T) {
			p, f := followed(t)
			f.next(t)
			p.Exec(t, "DELETE FROM plans WHERE id = 1; UPDATE plans SET plan = 'pro' WHERE id = 2")
			c, err := f.changes(t.Context())
			require.NoError(t, err)
			by(t, p)
			for _, err := range f.ReadChanges(t.Context(), f.q, c.State, source.Range{}) {
				require.Equal(t, fault.ReasonSourceChanged, fault.ReasonOf(err), "%v", err)
			}
			for _, err := range f.ReadGone(t.Context(), f.q, c.State) {
				require.Equal(t, fault.ReasonSourceChanged, fault.ReasonOf(err), "%v", err)
			}
		})
	}
	p, f := followed(t)
	c, err := f.changes(t.Context())
	require.NoError(t, err)
	p.Exec(t, "DROP TABLE plans")
	p.Exec(t, plans)
	for _, odd := range []source.State{c.State, "", "nonsense", source.State(strings.Replace(string(c.State), "version 0", "version 5", 1)), source.State(strings.Replace(string(c.State), "of table ", "of table 0", 1))} {
		n := 0
		for _, err := range f.ReadChanges(t.Context(), f.q, odd, source.Range{}) {
			require.Equal(t, fault.ReasonSourceChanged, fault.ReasonOf(err), "%q: %v", odd, err)
			n++
		}
		require.Equal(t, 1, n)
	}
}
