package ingestion

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/stretchr/testify/require"

	configv1 "millrace.dev/gen/millrace/config/v1"
	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	"millrace.dev/pkg/bus"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/row"
	"millrace.dev/pkg/secret"
	"millrace.dev/pkg/store"
)

// emptied makes the streams of the world's bus empty.
func (w *world) emptied() *world {
	w.extent = func(context.Context, bus.Stream) (bus.Extent, error) { return bus.Extent{}, nil }
	return w
}

func (w *world) erase(typ, value string) *ingestionv1.Erasure {
	w.t.Helper()
	r, err := w.client.EraseProfile(w.t.Context(), &ingestionv1.EraseProfileRequest{Identity: &ingestionv1.Identity{Type: typ, Value: value}})
	require.NoError(w.t, err)
	return r.GetErasure()
}

func (w *world) erasure(at string) *ingestionv1.Erasure {
	w.t.Helper()
	r, err := w.client.GetErasure(w.t.Context(), &ingestionv1.GetErasureRequest{Id: at})
	require.NoError(w.t, err)
	return r.GetErasure()
}

// removed answers what was removed by place, where anything was, and the states of the places.
func removed(e *ingestionv1.Erasure) (counts map[string]int64, states map[string]string) {
	counts, states = map[string]int64{}, map[string]string{}
	for _, p := range e.GetPlaces() {
		states[p.GetPlace()] = p.GetState()
		if p.GetRemoved() != 0 {
			counts[p.GetPlace()] = p.GetRemoved()
		}
	}
	return counts, states
}

// again is rows as a later run of another sync would bring them.
func (w *world) again(b record.Batch) bus.Message {
	o := w.origin(int(b.Rows()))
	o.RunNo, o.Batch.Run = 2, id.NewRun()
	return w.message(o, b)
}

func TestAPersonIsErasedFromEveryPlaceAndStaysAway(t *testing.T) {
	w := newWorld(t, nil).emptied()
	require.NoError(t, w.handle(w.users(user{"2", "bob@example.com", "Bob", 100})))
	others := w.digest()
	require.NoError(t, w.handle(w.message(w.origin(3), rejectedBatch(t)))) // customer 1, and a reject of id 7
	require.NoError(t, w.handle(w.message(w.origin(2), ordersBatch(order{"o1", "1", "paid", 10, 200}, order{"o2", "1", "sent", 10, 300}))))
	for range 3 {
		w.report()
	}
	preview, err := w.client.PreviewEraseProfile(t.Context(), &ingestionv1.PreviewEraseProfileRequest{Identity: email("a@example.com")})
	require.NoError(t, err)
	require.Equal(t, []int64{1, 3, 1, 2, 0}, []int64{preview.GetProfiles(), preview.GetIdentities(), preview.GetAttributes(), preview.GetEvents(), preview.GetMerges()})
	ann, err := w.profile("customer_id", "1")
	require.NoError(t, err)

	e := w.erase("email", "a@example.com")
	require.Equal(t, "removing", e.GetState())
	require.EqualValues(t, 3, e.GetBlocked())
	require.NoError(t, w.eraseAll(t.Context()))
	e = w.erasure(e.GetId())
	require.Equal(t, "done", e.GetState())
	counts, states := removed(e)
	require.Equal(t, map[string]int64{"profiles": 1, "identities": 2, "events": 2, "row_index": 3}, counts)
	require.Equal(t, "cleared", states["rejects"])
	require.Equal(t, "holds_no_values", states["traces"])
	require.NotNil(t, e.GetRemoveTime())
	require.Equal(t, others, w.digest(), "all of others is there")
	_, err = w.profile("customer_id", "1")
	require.Equal(t, fault.NotFound, fault.ClassOf(fault.FromStatus(err)))

	require.NoError(t, w.handle(w.again(usersBatch(
		user{"1", "a@example.com", "Ann", 100}, user{"9", "a@example.com", "Nine", 100}, user{"2", "bob@example.com", "Bob", 100}))))
	c := w.report().GetCounts()
	require.Equal(t, []int64{3, 2, 1}, []int64{c.GetMapped(), c.GetProtected(), c.GetUnchanged()})
	require.NoError(t, w.handle(w.again(ordersBatch(order{"o1", "1", "paid", 10, 200}))))
	require.EqualValues(t, 1, w.report().GetCounts().GetProtected())
	require.Equal(t, others, w.digest(), "nobody has come back")

	p, err := w.client.PreviewRecords(t.Context(), &ingestionv1.PreviewRecordsRequest{
		Snapshot: &configv1.SyncSnapshot{Feed: &configv1.Feed{}}, Records: w.again(usersBatch(user{"1", "", "Ann", 100})).Body,
	})
	require.NoError(t, err)
	require.Equal(t, "protected", p.GetRecords()[0].GetEffect())

	o := w.origin(1)
	o.Dry, o.RunNo, o.Batch.Run = true, 3, id.NewRun()
	require.NoError(t, w.handle(w.message(o, usersBatch(user{"1", "", "Ann", 100}))))
	require.EqualValues(t, 1, w.report().GetCounts().GetProtected(), "a dry pass says so, too")

	require.Equal(t, e.GetId(), w.erase("email", "a@example.com").GetId(), "the same erasure")
	by, err := w.client.GetErasure(t.Context(), &ingestionv1.GetErasureRequest{Identity: email("a@example.com")})
	require.NoError(t, err)
	require.Equal(t, e.GetId(), by.GetErasure().GetId())
	kept, there, err := w.store.Erasure(t.Context(), mustErasureID(t, e.GetId()))
	require.NoError(t, err)
	require.True(t, there)
	body, err := profile.AppendErasure(nil, kept)
	require.NoError(t, err)
	for _, value := range []string{"a@example.com", ann.GetMpid()} {
		require.NotContains(t, string(body), value, "an erasure keeps nothing of whom it erased")
	}
	_, err = w.client.GetErasure(t.Context(), &ingestionv1.GetErasureRequest{Workspace: "other", Id: e.GetId()})
	require.Equal(t, fault.NotFound, fault.ClassOf(fault.FromStatus(err)))
}

func mustErasureID(t *testing.T, text string) profile.ErasureID {
	t.Helper()
	at, err := profile.ParseErasureID(text)
	require.NoError(t, err)
	return at
}

// TestRejectsOfAnErasedPersonGoAndDoNotComeAgain: those whose row names the person by a column that is mapped to an identity.
func TestRejectsOfAnErasedPersonGoAndDoNotComeAgain(t *testing.T) {
	w := newWorld(t, nil).emptied()
	w.peers.mu.Lock()
	w.peers.snapshot.Mapping = &configv1.Mapping{Rules: []*configv1.Rule{{Column: "id", To: "user_identities.customer_id"}}}
	w.peers.mu.Unlock()
	two := func() record.Batch {
		b := usersBatch()
		for i, name := range []string{"seventh", "eighth"} {
			b.Rejects = append(b.Rejects, record.Reject{
				Row: int32(i), Key: id.Row{byte(i)}, Hash: sumOf(name), KeyValues: []string{"7", "8"}[i], Column: "age", Stage: record.StageMap,
				Rule: "rules[1]", Reason: "the text is no integer",
			})
		}
		b.Kept = keptOf(t, []row.Hash{sumOf("seventh"), sumOf("eighth")}, `[{"id":7,"age":"8"},{"id":8,"age":"7"}]`)
		return b
	}
	require.NoError(t, w.handle(w.message(w.origin(2), two())))
	w.report()
	e := w.erase("customer_id", "7")
	require.EqualValues(t, 1, e.GetBlocked(), "somebody of whom nothing is known is blocked as well")
	require.NoError(t, w.eraseAll(t.Context()))
	counts, _ := removed(w.erasure(e.GetId()))
	require.Equal(t, map[string]int64{"rejects": 1}, counts)
	rows, err := w.export("")
	require.NoError(t, err)
	require.Len(t, rows, 1)
	require.JSONEq(t, `{"id":8,"age":"7"}`, string(rows[0].GetRow()), "the other reject keeps its row")

	o := w.origin(2)
	require.NoError(t, w.handle(w.message(o, two())))
	require.EqualValues(t, 2, w.report().GetCounts().GetRejected(), "it is counted")
	rows, err = w.export("")
	require.NoError(t, err)
	require.Len(t, rows, 2, "and not kept")
	for _, r := range rows {
		require.JSONEq(t, `{"id":8,"age":"7"}`, string(r.GetRow()))
	}
}

// tearing makes the n-th step of erasures fail: before it is made, or after.
type tearing struct {
	store.Store
	mu    sync.Mutex
	left  int
	after bool
}

var errTorn = fault.New(fault.Unavailable, fault.ReasonStoreUnavailable, "torn")

func (f *tearing) Erase(ctx context.Context, e profile.Erasing) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left--
	if f.left == 0 && !f.after {
		return errTorn
	}
	err := f.Store.Erase(ctx, e)
	if f.left == 0 {
		return errors.Join(errTorn, err)
	}
	return err
}

// TestAnErasureGoesOnAfterACrashAtAnyStep: the report is that of an erasure which nothing has disturbed.
func TestAnErasureGoesOnAfterACrashAtAnyStep(t *testing.T) {
	for _, after := range []bool{false, true} {
		for n, torn := 1, true; torn; n++ {
			f := &tearing{after: after}
			w := newWorld(t, func(st store.Store) store.Store { f.Store = st; return f }).emptied()
			require.NoError(t, w.handle(w.users(user{"1", "ann@example.com", "Ann", 100}, user{"2", "bob@example.com", "Bob", 100})))
			require.NoError(t, w.handle(w.message(w.origin(1), ordersBatch(order{"o1", "1", "paid", 10, 200}))))
			f.left = n
			ask := &ingestionv1.EraseProfileRequest{Identity: email("ann@example.com")}
			r, err := w.client.EraseProfile(t.Context(), ask)
			if torn = err != nil; torn {
				r, err = w.client.EraseProfile(t.Context(), ask)
				require.NoError(t, err)
			}
			if err := w.eraseAll(t.Context()); err != nil {
				torn = true
				w.lists = newHashLists(w.store, w.keys) // as another process
				require.NoError(t, w.eraseAll(t.Context()))
			}
			e := w.erasure(r.GetErasure().GetId())
			require.Equal(t, "done", e.GetState())
			counts, _ := removed(e)
			require.Equal(t, map[string]int64{"profiles": 1, "identities": 2, "events": 1, "row_index": 2}, counts, "step %d", n)
			require.NoError(t, w.handle(w.again(usersBatch(user{"1", "", "Ann", 100}))))
			_, err = w.profile("customer_id", "1")
			require.Equal(t, fault.NotFound, fault.ClassOf(fault.FromStatus(err)))
			_, err = w.profile("customer_id", "2")
			require.NoError(t, err)
		}
	}
}

// between does something once between a look and the commit that follows.
type between struct {
	store.Store
	once sync.Once
	do   func()
}

func (b *between) Commit(ctx context.Context, e profile.Effects) (store.Outcome, error) {
	b.once.Do(b.do)
	return b.Store.Commit(ctx, e)
}

// TestABatchThatWasDecidedBeforeDoesNotSlipBy: it is decided anew, and its rows of the person are protected.
func TestABatchThatWasDecidedBeforeDoesNotSlipBy(t *testing.T) {
	for _, known := range []bool{false, true} {
		b := &between{}
		w := newWorld(t, func(st store.Store) store.Store { b.Store = st; return b }).emptied()
		b.do = func() {}
		if known {
			require.NoError(t, w.handle(w.users(user{"1", "ann@example.com", "Ann", 100})))
			w.report()
			b.once = sync.Once{}
		}
		b.do = func() {
			w.erase("email", "ann@example.com")
			require.NoError(t, w.eraseAll(t.Context()))
		}
		require.NoError(t, w.handle(w.again(usersBatch(user{"1", "ann@example.com", "Ann later", 200}, user{"2", "bob@example.com", "Bob", 100}))))
		c := w.report().GetCounts()
		require.Equal(t, []int64{1, 1}, []int64{c.GetProtected(), c.GetCreated()})
		_, err := w.profile("email", "ann@example.com")
		require.Equal(t, fault.NotFound, fault.ClassOf(fault.FromStatus(err)))
	}
}

// TestTwoProcessesCarryOneErasureOut: each step is made once, whoever makes it.
func TestTwoProcessesCarryOneErasureOut(t *testing.T) {
	w := newWorld(t, nil).emptied()
	for i := range 20 {
		require.NoError(t, w.handle(w.message(w.origin(1), ordersBatch(order{string(rune('a' + i)), "1", "paid", 10, int64(i)}))))
	}
	e := w.erase("customer_id", "1")
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			if err := w.eraseAll(t.Context()); err != nil && fault.ClassOf(err) != fault.Conflict {
				t.Error(err)
			}
		})
	}
	both.Wait()
	require.NoError(t, w.eraseAll(t.Context()))
	counts, _ := removed(w.erasure(e.GetId()))
	require.Equal(t, map[string]int64{"profiles": 1, "identities": 1, "events": 20, "row_index": 20}, counts)
}

func TestAMergeOfAnErasedPersonIsNotUndone(t *testing.T) {
	w := newWorld(t, nil).emptied()
	w.graph("2")
	require.NoError(t, w.handle(w.users(user{"1", "ann@example.com", "Ann", 100}, user{"2", "bob@example.com", "Bob", 200})))
	require.NoError(t, w.handle(w.users(user{"2", "ann@example.com", "Both", 300})))
	listed, err := w.client.ListMerges(t.Context(), &ingestionv1.ListMergesRequest{Identity: email("bob@example.com")})
	require.NoError(t, err)
	merge := listed.GetMerges()[0]
	e := w.erase("email", "bob@example.com")
	require.EqualValues(t, 6, e.GetBlocked(), "four identities and two ids")
	require.NoError(t, w.eraseAll(t.Context()))
	_, err = w.client.UndoMerge(t.Context(), &ingestionv1.UndoMergeRequest{Merge: merge.GetId()})
	require.Equal(t, fault.Precondition, fault.ClassOf(fault.FromStatus(err)))
	require.Contains(t, err.Error(), "erased")
	m, err := w.store.Merge(t.Context(), profile.Scope{Workspace: id.DefaultWorkspace, Environment: "prod"}, mustMergeID(t, merge.GetId()))
	require.NoError(t, err)
	require.True(t, toMerge(m).GetErased())
	require.NotContains(t, toMerge(m).String(), "@")
	counts, _ := removed(w.erasure(e.GetId()))
	require.Equal(t, map[string]int64{"profiles": 2, "identities": 4, "merge_log": 1, "row_index": 2}, counts)
	require.NoError(t, w.handle(w.again(usersBatch(user{"1", "", "Ann", 100}, user{"2", "new@example.com", "Bob", 100}))))
	all, err := w.client.ListProfiles(t.Context(), &ingestionv1.ListProfilesRequest{})
	require.NoError(t, err)
	require.Empty(t, all.GetProfiles())
}

func mustMergeID(t *testing.T, text string) profile.MergeID {
	t.Helper()
	at, err := profile.ParseMergeID(text)
	require.NoError(t, err)
	return at
}

// TestAnErasureWaitsForWhatIsOnItsWay: what the streams had is done with; what came into RECORDS from ROWS as well.
func TestAnErasureWaitsForWhatIsOnItsWay(t *testing.T) {
	w := newWorld(t, nil)
	streams := map[bus.Stream]bus.Extent{bus.Rows: {First: 3, Last: 5}, bus.Records: {First: 8, Last: 9}, bus.Quarantine: {First: 1, Last: 1}}
	w.extent = func(_ context.Context, s bus.Stream) (bus.Extent, error) { return streams[s], nil }
	e := w.erase("customer_id", "1")
	look := func() (string, map[string]string) {
		require.NoError(t, w.eraseAll(t.Context()))
		x := w.erasure(e.GetId())
		_, states := removed(x)
		return x.GetState(), states
	}
	state, states := look()
	require.Equal(t, "draining", state)
	require.Equal(t, "pending", states["staged_rows"])
	streams[bus.Rows] = bus.Extent{First: 6, Last: 9}
	streams[bus.Records] = bus.Extent{First: 9, Last: 12} // what became of the rows is in it by now
	state, states = look()
	require.Equal(t, "draining", state)
	require.Equal(t, []string{"cleared", "pending", "pending"}, []string{states["staged_rows"], states["staged_records"], states["quarantine"]})
	streams[bus.Records] = bus.Extent{First: 12, Last: 14}
	_, states = look()
	require.Equal(t, "pending", states["staged_records"])
	streams[bus.Records] = bus.Extent{First: 13, Last: 14}
	state, states = look()
	require.Equal(t, "done", state)
	require.Equal(t, "expires", states["quarantine"])
	for _, p := range w.erasure(e.GetId()).GetPlaces() {
		if p.GetPlace() == "quarantine" {
			require.NotNil(t, p.GetUntil())
		}
	}
}

// TestUnattributedEventsOfAnErasedPersonGo: those that are kept without a profile.
func TestUnattributedEventsOfAnErasedPersonGo(t *testing.T) {
	w := newWorld(t, nil).emptied()
	w.peers.setFeed(&configv1.Feed{InputProtection: configv1.InputProtection_INPUT_PROTECTION_UPDATE_ONLY})
	require.NoError(t, w.handle(w.message(w.origin(2), ordersBatch(order{"o1", "1", "paid", 10, 200}, order{"o2", "2", "paid", 10, 200}))))
	e := w.erase("customer_id", "1")
	require.NoError(t, w.eraseAll(t.Context()))
	counts, _ := removed(w.erasure(e.GetId()))
	require.Equal(t, map[string]int64{"unattributed_events": 1}, counts)
}

// TestWithoutItsKeyAHashListLetsNobodyIn: a batch waits where nobody can tell who was erased.
func TestWithoutItsKeyAHashListLetsNobodyIn(t *testing.T) {
	w := newWorld(t, nil).emptied()
	w.erase("customer_id", "1")
	keys, err := secret.Open(t.Context(), "file:"+t.TempDir()+"/other.json")
	require.NoError(t, err)
	w.lists = newHashLists(w.store, keys)
	err = w.handle(w.users(user{"2", "", "Bob", 100}))
	require.Equal(t, fault.Unavailable, fault.ClassOf(err))
	require.Equal(t, fault.ReasonSecretUnreadable, fault.ReasonOf(err))
	_, err = w.client.EraseProfile(t.Context(), &ingestionv1.EraseProfileRequest{Identity: email("b@x")})
	require.Equal(t, fault.ReasonSecretUnreadable, fault.ReasonOf(fault.FromStatus(err)))
}

func TestWhoIsErasedIsNamedWell(t *testing.T) {
	w := newWorld(t, nil)
	for name, c := range map[string]struct {
		r      *ingestionv1.EraseProfileRequest
		fields []string
	}{
		"nothing":           {&ingestionv1.EraseProfileRequest{}, []string{"identity.type", "identity.value"}},
		"unknown type":      {&ingestionv1.EraseProfileRequest{Identity: &ingestionv1.Identity{Type: "shoe_size", Value: "42"}}, []string{"identity.type"}},
		"both wrong":        {&ingestionv1.EraseProfileRequest{Identity: &ingestionv1.Identity{Type: "shoe_size", Value: strings.Repeat("x", 513)}}, []string{"identity.type", "identity.value"}},
		"empty":             {&ingestionv1.EraseProfileRequest{Identity: email("")}, []string{"identity.value"}},
		"long":              {&ingestionv1.EraseProfileRequest{Identity: email(strings.Repeat("x", 513))}, []string{"identity.value"}},
		"names nobody":      {&ingestionv1.EraseProfileRequest{Identity: email("N/A")}, []string{"identity.value"}},
		"no mpid":           {&ingestionv1.EraseProfileRequest{Mpid: "seven"}, []string{"mpid"}},
		"two at once":       {&ingestionv1.EraseProfileRequest{Mpid: "7", Identity: email("a@x")}, []string{"mpid"}},
		"an mpid of nobody": {&ingestionv1.EraseProfileRequest{Mpid: "7"}, nil},
	} {
		_, err := w.client.EraseProfile(t.Context(), c.r)
		f := fault.As(fault.FromStatus(err))
		if c.fields == nil {
			require.Equal(t, fault.NotFound, f.Class, name)
			continue
		}
		require.Equal(t, fault.Invalid, f.Class, name)
		var fields []string
		for _, v := range f.Violations {
			fields = append(fields, v.Field)
			require.NotContains(t, v.Message, "xxx", "no value is repeated")
		}
		require.Equal(t, c.fields, fields, name)
	}
	for _, r := range []*ingestionv1.GetErasureRequest{{Id: "x"}, {}} {
		_, err := w.client.GetErasure(t.Context(), r)
		require.Equal(t, fault.Invalid, fault.ClassOf(fault.FromStatus(err)))
	}
	for _, r := range []*ingestionv1.GetErasureRequest{{Id: strings.Repeat("0", 32)}, {Identity: email("a@x")}} {
		_, err := w.client.GetErasure(t.Context(), r)
		require.Equal(t, fault.NotFound, fault.ClassOf(fault.FromStatus(err)))
	}
}

// TestManyErasedPeople: the list is read on as it grows, and beyond what is held of it every identity is looked up.
func TestManyErasedPeople(t *testing.T) {
	w := newWorld(t, nil).emptied()
	for _, who := range []string{"1", "3"} {
		w.erase("customer_id", who)
		require.NoError(t, w.handle(w.again(usersBatch(user{"1", "", "a", 100}, user{"2", "", "b", 100}, user{"3", "", "c", 100}))))
	}
	require.EqualValues(t, 1, w.report().GetCounts().GetProtected())
	require.EqualValues(t, 2, w.report().GetCounts().GetProtected())
	for _, l := range w.lists.lists {
		l.tags = nil
	}
	b := usersBatch(user{"3", "", "c", 100}, user{"4", "", "d", 100})
	require.Equal(t, 2, b.Record.Column(record.PosIdentities).(*array.Struct).Len())
	require.NoError(t, w.handle(w.again(b)))
	c := w.report().GetCounts()
	require.Equal(t, []int64{1, 1}, []int64{c.GetProtected(), c.GetCreated()})
}
