// Package storetest holds the suite that every driver of a platform store passes.
package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/record/recordtest"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/store"
)

// Opener prepares empty storage for one test and answers how it is opened: once at first, and again after each Close,
// with what was kept in it. It fails the test when it can not, and cleans up by t.Cleanup.
type Opener func(t *testing.T) (open func() store.Store)

// Exceptions are parts of the suite that a driver does not pass, each with its reason. The zero value runs all.
type Exceptions struct {
	// Reopen: the driver keeps nothing over Close.
	Reopen string
}

// Run holds a driver to the suite.
func Run(t *testing.T, open Opener, ex Exceptions) {
	t.Helper()
	for _, c := range []struct {
		name   string
		except string
		run    func(t *testing.T, open func() store.Store)
	}{
		{"look at nothing", "", lookAtNothing},
		{"row index", "", rowIndex},
		{"a key that a complete read has twice", "", repeatedKeys},
		{"identities", "", identities},
		{"an mpid names its profile", "", mpid},
		{"ids of profiles are probed", "", probed},
		{"contributions merge", "", contributions},
		{"scopes do not meet", "", scopes},
		{"events", "", events},
		{"events of a profile page by page", "", eventPages},
		{"events of a sync", "", syncEvents},
		{"profiles page by page", "", profilePages},
		{"rejects", "", rejects},
		{"rejects of a part that was read again", "", rejectsReadAgain},
		{"rejects by reason", "", rejectsCounted},
		{"kept rows of rejects", "", rowsKept},
		{"rejects expire", "", rejectsExpire},
		{"empty batch", "", emptyBatch},
		{"a batch commits once", "", commitsOnce},
		{"fragments", "", fragments},
		{"fence", "", fence},
		{"a fence falls between look and commit", "", fenceBetween},
		{"a part that is read again", "", readAgain},
		{"retried run", "", retriedRun},
		{"conflict over a row", "", conflictRow},
		{"conflict over an identity", "", conflictIdentity},
		{"no conflict without a meeting", "", noConflict},
		{"eight committers", "", eightCommitters},
		{"a mirror takes rows away", "", withdrawn},
		{"a mirror takes events away", "", withdrawnEvents},
		{"keys that a mirror run lacks", "", absentKeys},
		{"conflict over what is taken away", "", takingAway},
		{"an import is deleted", "", importDeleted},
		{"a run is deleted", "", runDeleted},
		{"an import leaves people of whom there are events", "", importLeavesPeopleOfEvents},
		{"conflict over an import that moves on", "", importMoved},
		{"merge", "", merge},
		{"a merge is undone", "", undo},
		{"a merge within one batch", "", mergeInBatch},
		{"conflict over a profile that is merged", "", conflictMerge},
		{"conflict over an undone merge", "", conflictUndo},
		{"an identity goes to another profile", "", steal},
		{"eight mergers", "", eightMergers},
		{"an identity is looked up again", "", lookedUpAgain},
		{"an identity is looked up while it goes to and fro", "", lookedUpMeanwhile},
		{"a mirror of merged profiles", "", mirrorOfMerged},
		{"erasures are kept", "", erasuresKept},
		{"hash lists", "", hashLists},
		{"a person is erased", "", personErased},
		{"conflict over a blocked identity", "", blockedBetween},
		{"conflict over what is erased", "", erasingOvertaken},
		{"rejects of a person are erased", "", rejectsErased},
		{"types of attributes", "", types},
		{"notes of dry runs", "", notes},
		{"keys of one run are forgotten", "", unsighted},
		{"an event is read by its key", "", eventRead},
		{"groups", "", groups},
		{"lookup tables", "", lookups},
		{"profile histories", "", histories},
		{"everything", "", everything},
		{"a page token that is none", "", badToken},
		{"ended context", "", endedContext},
		{"closed", "", closed},
		{"reopened", ex.Reopen, reopened},
		{"reopened with nothing but a fence and a hash list", ex.Reopen, reopenedWithoutRows},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.except != "" {
				t.Skip("this driver is excepted: " + c.except)
			}
			c.run(t, open(t))
		})
	}
	t.Run("shared identities", func(t *testing.T) { sharedStories(t, open) })
	t.Run("any split, order and repetition", func(t *testing.T) { Agree(t, open) })
	t.Run("a dry run counts what the run counts", func(t *testing.T) { drySame(t, open) })
	t.Run("a mirror is equal to its table", func(t *testing.T) { mirrored(t, open) })
}

// harness is a store with the loop that ingestion runs over it.
type harness struct {
	store.Store
	t     *testing.T
	ctx   context.Context //nolint:containedctx // lives as long as one test
	rules profile.Rules
	scope profile.Scope
}

func start(t *testing.T, open func() store.Store) *harness {
	t.Helper()
	h := &harness{Store: open(), t: t, ctx: t.Context(), scope: profile.Scope{Workspace: id.DefaultWorkspace, Environment: resource.Prod}}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// batch is what is ingested at once.
type batch struct {
	record.Batch
	origin record.Origin
}

func users(o record.Origin, rows ...recordtest.Row) batch {
	o.Rows = int64(len(rows))
	return batch{recordtest.Batch(record.Users, rows, recordtest.Options{}), o}
}

func eventsOf(o record.Origin, rows ...recordtest.Row) batch {
	o.Rows = int64(len(rows))
	return batch{recordtest.Batch(record.Events, rows, recordtest.Options{}), o}
}

// origin answers an origin of the sync "crm".
func origin(run int64, part, epoch, seq uint32) record.Origin {
	return originOf("crm", run, part, epoch, seq)
}

func originOf(sync string, run int64, part, epoch, seq uint32) record.Origin {
	r := runOf(sync, run)
	return record.Origin{
		Workspace: id.DefaultWorkspace, Sync: syncOf(sync), SyncID: sync, SyncVersion: 3, RunNo: run,
		Batch:        id.Batch{Run: r, Part: part, Epoch: epoch, Seq: seq},
		SnapshotTime: day(100 + int(run)), Last: true, Model: "customers", Provider: "duckdb",
	}
}

func syncOf(name string) id.Sync {
	var s id.Sync
	copy(s[:], name)
	return s
}

func runOf(sync string, n int64) id.Run {
	r := id.Run(syncOf(sync))
	r[15] = byte(n)
	return r
}

func day(n int) time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, n) }

// user is a row of a user whose customer_id is its key.
func user(key string, at time.Time, attributes map[string]any) recordtest.Row {
	return recordtest.Row{Key: key, Time: at, Identities: map[string]string{"customer_id": key}, Attributes: attributes}
}

func event(key, customer string, ms int64) recordtest.Row {
	return recordtest.Row{
		Key: key, Time: day(1), Identities: map[string]string{"customer_id": customer}, EventType: "custom_event",
		Data: map[string]any{"timestamp_unixtime_ms": ms, "event_name": "n" + key},
	}
}

func (h *harness) look(b batch) profile.Effects {
	h.t.Helper()
	k := profile.KeysOf(b.Batch, b.origin, h.scope, h.rules)
	st, err := h.Look(h.ctx, k)
	require.NoError(h.t, err)
	require.False(h.t, st.Fenced)
	require.NoError(h.t, store.Consult(h.ctx, h, k, &st, h.rules))
	return profile.Decide(b.Batch, k, st, h.rules)
}

// ingest looks, decides and commits, again on Conflict. It can be called from several goroutines.
func (h *harness) ingest(b batch) (store.Outcome, error) {
	for {
		k := profile.KeysOf(b.Batch, b.origin, h.scope, h.rules)
		st, err := h.Look(h.ctx, k)
		switch {
		case err != nil:
			return store.Outcome{}, err
		case st.Fenced:
			return store.Outcome{Fenced: true}, nil
		case st.Applied != nil:
			return store.Outcome{Repeated: true, Result: *st.Applied}, nil
		}
		if err := store.Consult(h.ctx, h, k, &st, h.rules); err != nil {
			return store.Outcome{}, err
		}
		out, err := h.Commit(h.ctx, profile.Decide(b.Batch, k, st, h.rules))
		if err != nil && fault.ClassOf(err) == fault.Conflict {
			continue
		}
		return out, err
	}
}

func (h *harness) must(b batch) record.Counts {
	h.t.Helper()
	out, err := h.ingest(b)
	require.NoError(h.t, err)
	require.False(h.t, out.Fenced)
	require.False(h.t, out.Repeated)
	require.Equal(h.t, b.origin.Batch, out.Result.Batch)
	require.True(h.t, out.Result.Counts.Balanced())
	return out.Result.Counts
}

func (h *harness) resolve(typ, value string) id.Profile {
	h.t.Helper()
	p, err := h.Resolve(h.ctx, h.scope, typ, value)
	require.NoError(h.t, err)
	return p
}

// profileOf answers the decoded profile of a customer.
func (h *harness) profileOf(customer string) profile.Profile {
	h.t.Helper()
	p := h.resolve("customer_id", customer)
	require.NotZero(h.t, p, "customer %s has no profile", customer)
	f, err := store.Whole(h.ctx, h, h.scope, p)
	require.NoError(h.t, err)
	require.NotNil(h.t, f.Doc())
	d, err := profile.Decode(f.Doc())
	require.NoError(h.t, err)
	return d
}

// attributes answers the attributes of a customer as JSON texts.
func (h *harness) attributes(customer string) map[string]string {
	h.t.Helper()
	m := map[string]string{}
	for _, a := range h.profileOf(customer).Attributes {
		m[a.Name] = string(a.Value.AppendJSON(nil))
	}
	return m
}

// Digest answers the digest of a whole store as text, for comparing.
func Digest(t *testing.T, r store.Reader) string {
	t.Helper()
	h, _, err := store.Digest(t.Context(), r, "")
	require.NoError(t, err)
	return h.String()
}
