package ingestion

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	configv1 "millrace.dev/gen/millrace/config/v1"
	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	"millrace.dev/pkg/bus"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/store"
)

func TestABatchBecomesProfilesAndAReport(t *testing.T) {
	w := newWorld(t, nil)
	m := w.users(user{"1", "a@example.com", "Ann", 100}, user{"2", "b@example.com", "Bob", 100})
	require.NoError(t, w.handle(m))

	r := w.report()
	require.Equal(t, int64(2), r.GetCounts().GetCreated())
	require.Equal(t, int64(2), r.GetRows())
	require.True(t, r.GetLast())

	p, err := w.profile("email", "a@example.com")
	require.NoError(t, err)
	require.Equal(t, "Ann", p.GetUserAttributes().AsMap()["name"])
	require.Len(t, p.GetIdentities(), 2)
	from := p.GetProvenance()["name"]
	require.Equal(t, "customers", from.GetSync())
	require.Equal(t, w.run.String(), from.GetRun())
	require.Equal(t, []string{"1"}, from.GetKeyValues())
	require.Equal(t, int64(100), from.GetRowTime().GetSeconds())
	require.Equal(t, m.ID, from.GetBatch())
}

func TestTheStagesStandInTheBatchsTrace(t *testing.T) {
	w := newWorld(t, nil)
	m := w.users(user{"1", "a@example.com", "Ann", 100})
	m.Header = map[string]string{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
	require.NoError(t, w.handle(m))
	var names []string
	for _, s := range w.spans.Ended() {
		require.Equal(t, "0af7651916cd43dd8448eb211c80319c", s.SpanContext().TraceID().String())
		names = append(names, s.Name())
		for _, a := range s.Attributes() {
			require.NotContains(t, a.Value.String(), "Ann")
		}
	}
	require.Equal(t, []string{"commit", "report", "ingest"}, names)
}

func TestASecondDeliveryReportsTheSameAndChangesNothing(t *testing.T) {
	w := newWorld(t, nil)
	m := w.users(user{"1", "a@example.com", "Ann", 100})
	require.NoError(t, w.handle(m))
	first, before := w.report(), w.digest()
	require.NoError(t, w.handle(m))
	require.Equal(t, first.String(), w.report().String())
	require.Equal(t, before, w.digest())
	require.Equal(t, 1, w.Service.peers.snapshots.order.Len())
	require.Equal(t, 1, w.peers.asked, "the snapshot is remembered")
}

func TestABatchBelowItsFenceHasNoEffectAndNoReport(t *testing.T) {
	w := newWorld(t, nil)
	late := w.users(user{"1", "a@example.com", "Ann", 100})
	applied := w.users(user{"2", "b@example.com", "Bob", 100})
	require.NoError(t, w.handle(applied))
	result := w.report()

	r, err := w.client.Fence(t.Context(), &ingestionv1.FenceRequest{Run: w.run.String(), Part: 1, Epoch: 2})
	require.NoError(t, err)
	require.Len(t, r.GetApplied(), 1)
	require.Equal(t, result.String(), r.GetApplied()[0].String())

	before := w.digest()
	require.NoError(t, w.handle(late))
	w.silent()
	require.Equal(t, before, w.digest())
	_, err = w.profile("customer_id", "1")
	require.Equal(t, fault.NotFound, fault.ClassOf(err))

	require.NoError(t, w.handle(applied), "what was applied stays applied, and is reported again")
	require.Equal(t, result.String(), w.report().String())
}

func TestAReportThatNobodyWantsEndsQuietly(t *testing.T) {
	w := newWorld(t, nil)
	w.peers.answer = fault.New(fault.Conflict, fault.ReasonFenced, "the part has moved on")
	require.NoError(t, w.handle(w.users(user{"1", "a@example.com", "Ann", 100})))

	w.peers.answer = fault.New(fault.NotFound, fault.ReasonNotFound, "the run is not known")
	require.NoError(t, w.handle(w.users(user{"3", "c@example.com", "Cid", 100})))

	w.peers.answer = fault.New(fault.Unavailable, fault.ReasonServiceUnavailable, "the scheduler restarts")
	m := w.users(user{"2", "b@example.com", "Bob", 100})
	require.Equal(t, fault.Unavailable, fault.ClassOf(w.handle(m)), "the bus holds the message and tries again")
	w.peers.answer = nil
	require.NoError(t, w.handle(m))
	require.Equal(t, int64(1), w.report().GetCounts().GetCreated())
}

func TestADevFeedWritesToADataSetOfItsOwn(t *testing.T) {
	w := newWorld(t, nil)
	w.peers.setFeed(&configv1.Feed{Environment: configv1.Environment_ENVIRONMENT_DEV})
	require.NoError(t, w.handle(w.users(user{"1", "a@example.com", "Ann", 100})))
	_, err := w.profile("customer_id", "1")
	require.Equal(t, fault.NotFound, fault.ClassOf(err))
	r, err := w.client.GetProfile(t.Context(), &ingestionv1.GetProfileRequest{
		Environment: configv1.Environment_ENVIRONMENT_DEV, Identity: &ingestionv1.Identity{Type: "customer_id", Value: "1"},
	})
	require.NoError(t, err)
	require.Equal(t, configv1.Environment_ENVIRONMENT_DEV, r.GetProfile().GetEnvironment())
}

func TestRowsOfAReadOnlyFeedAreProtected(t *testing.T) {
	w := newWorld(t, nil)
	w.peers.setFeed(&configv1.Feed{InputProtection: configv1.InputProtection_INPUT_PROTECTION_READ_ONLY})
	require.NoError(t, w.handle(w.users(user{"1", "a@example.com", "Ann", 100})))
	require.Equal(t, int64(1), w.report().GetCounts().GetProtected())
}

// faulty is a store whose commits fail as told.
type faulty struct {
	store.Store
	fail func(call int64) error
	call atomic.Int64
}

func (f *faulty) Commit(ctx context.Context, e profile.Effects) (store.Outcome, error) {
	if err := f.fail(f.call.Add(1)); err != nil {
		return store.Outcome{}, err
	}
	return f.Store.Commit(ctx, e)
}

func failing(fail func(call int64) error) func(store.Store) store.Store {
	return func(s store.Store) store.Store { return &faulty{Store: s, fail: fail} }
}

var errConflict = fault.New(fault.Conflict, fault.ReasonCommitConflict, "what was looked up has changed")

func TestAConflictIsDecidedAnew(t *testing.T) {
	w := newWorld(t, failing(func(call int64) error {
		if call < Tries {
			return errConflict
		}
		return nil
	}))
	require.NoError(t, w.handle(w.users(user{"1", "a@example.com", "Ann", 100})))
	require.Equal(t, int64(1), w.report().GetCounts().GetCreated())
}

func TestEndlessConflictsWait(t *testing.T) {
	w := newWorld(t, failing(func(int64) error { return errConflict }))
	err := w.handle(w.users(user{"1", "a@example.com", "Ann", 100}))
	require.Equal(t, fault.Unavailable, fault.ClassOf(err))
	w.silent()
}

func TestACommitWhoseAnswerIsLostIsNotDoubled(t *testing.T) {
	w := newWorld(t, func(s store.Store) store.Store { return &forgetful{Store: s} })
	m := w.users(user{"1", "a@example.com", "Ann", 100})
	require.Equal(t, fault.Unavailable, fault.ClassOf(w.handle(m)))
	require.NoError(t, w.handle(m))
	require.Equal(t, int64(1), w.report().GetCounts().GetCreated())
}

// forgetful commits, and says the first time that it does not know.
type forgetful struct {
	store.Store
	once sync.Once
}

func (f *forgetful) Commit(ctx context.Context, e profile.Effects) (out store.Outcome, err error) {
	out, err = f.Store.Commit(ctx, e)
	f.once.Do(func() { err = fault.New(fault.Unavailable, fault.ReasonStoreUnavailable, "the connection is lost") })
	return out, err
}

func TestBytesThatAreNoBatchAreGivenUp(t *testing.T) {
	w := newWorld(t, nil)
	d := bus.Delivery{Message: bus.Message{ID: w.origin(1).Batch.String(), Body: []byte("rubbish")}, Attempt: 5}
	cause := (&worker{w.Service}).Handle(t.Context(), d)
	require.Equal(t, fault.Invalid, fault.ClassOf(cause))
	require.NoError(t, (&worker{w.Service}).Quarantined(t.Context(), d, cause))
	require.Len(t, w.peers.quarantined, 1)
	require.Equal(t, w.run.String(), w.peers.quarantined[0].GetBatch().GetRun())

	secret := errors.New("value hunter2")
	require.NoError(t, (&worker{w.Service}).Quarantined(t.Context(), d, secret))
	require.NotContains(t, w.peers.quarantined[1].GetError().GetMessage(), "hunter2")
	require.Equal(t, "internal", w.peers.quarantined[1].GetError().GetReason())

	d.ID = "no batch"
	require.NoError(t, (&worker{w.Service}).Quarantined(t.Context(), d, secret), "nobody could be told")
	require.Len(t, w.peers.quarantined, 2)
}

// consume runs the service on a bus of its own until the function it answers is called.
func (w *world) consume() (publish func(...bus.Message), stop func()) {
	t := w.t
	b, err := bus.Open(t.Context(), bus.Settings{Dir: t.TempDir(), MaxBytes: 64 << 20})
	require.NoError(t, err)
	w.bus = b
	soft, end := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = w.Run(soft, t.Context()) })
	stop = sync.OnceFunc(func() {
		end()
		running.Wait()
		require.NoError(t, b.Close())
	})
	t.Cleanup(stop)
	p := b.Publisher(bus.Records, 4)
	return func(ms ...bus.Message) {
		for _, m := range ms {
			require.NoError(t, p.Publish(t.Context(), m, nil))
		}
		require.NoError(t, p.Flush(t.Context()))
	}, stop
}

func TestConcurrentBatchesLeaveOneProfilePerIdentity(t *testing.T) {
	w := newWorld(t, nil)
	publish, stop := w.consume()
	var ms []bus.Message
	for n := range 8 {
		rows := make([]user, 0, 50)
		for i := range 50 {
			// Every e-mail address stands in every batch, under rows of their own.
			rows = append(rows, user{fmt.Sprintf("c%d", 100*n+i), fmt.Sprintf("u%d@example.com", i), fmt.Sprintf("name %d", n), int64(n)})
		}
		o := w.origin(len(rows))
		o.Sync = id.NewSync()
		ms = append(ms, w.message(o, usersBatch(rows...)))
	}
	publish(ms...)
	for range ms {
		w.report()
	}
	stop()
	r, err := w.client.GetStoreDigest(t.Context(), &ingestionv1.GetStoreDigestRequest{})
	require.NoError(t, err)
	require.Equal(t, int64(50), r.GetProfiles())
	require.Equal(t, int64(8*50+50), r.GetIdentities())
	p, err := w.profile("email", "u7@example.com")
	require.NoError(t, err)
	require.Equal(t, "name 7", p.GetUserAttributes().AsMap()["name"])
}

func TestAStoreThatIsAwayHoldsTheMessage(t *testing.T) {
	w := newWorld(t, failing(func(call int64) error {
		if call <= 3 {
			return fault.New(fault.Unavailable, fault.ReasonStoreUnavailable, "the disk is full")
		}
		return nil
	}))
	publish, stop := w.consume()
	publish(w.users(user{"1", "a@example.com", "Ann", 100}))
	require.Equal(t, int64(1), w.report().GetCounts().GetCreated())
	stop()
	require.Empty(t, w.peers.quarantined, "no delivery was spent")
}
