package pebble

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/killpoint"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/store"
)

// Commit writes all effects as one synced batch.
func (s *Store) Commit(ctx context.Context, e profile.Effects) (store.Outcome, error) {
	if err := s.usable(ctx); err != nil {
		return store.Outcome{}, err
	}
	saw, ok := e.Seen.(seen)
	if !ok {
		return store.Outcome{}, fault.New(fault.Internal, fault.ReasonInternal, "store: commit: the effects were decided on no state of this store")
	}
	if err := s.roomy("commit"); err != nil {
		return store.Outcome{}, err
	}
	b := s.db.NewBatch(pebble.WithInitialSizeBytes(sizeOf(e)), pebble.WithMaxRetainedSizeBytes(maxRetained))
	defer func() { _ = b.Close() }() //nolint:errcheck // frees memory only
	w := writing{Store: s, b: b, e: &e}
	if err := w.all(); err != nil {
		return store.Outcome{}, err
	}
	out, err := s.enter(ctx, saw, &w)
	if err != nil || out.Fenced {
		return out, err
	}
	if out.Repeated {
		return out, s.synced()
	}
	killpoint.Reach("pebble.commit.applied")
	if err := b.SyncWait(); err != nil {
		return store.Outcome{}, s.breakDown("commit", err)
	}
	killpoint.Reach("pebble.commit.after")
	return out, nil
}

// enter lets a batch into the database, unless it has been there, is fenced, or is overtaken. It does not wait for the
// disk.
func (s *Store) enter(ctx context.Context, saw seen, w *writing) (store.Outcome, error) {
	if w.shapes() {
		return s.enterAlone(ctx, saw, w)
	}
	out, n, err := s.admit(ctx, saw, w)
	if err != nil || n == 0 {
		return out, err
	}
	defer s.turns.entering.RUnlock()
	if err := s.apply(w.b); err != nil {
		return store.Outcome{}, err // the store is broken: that it never lands does no harm
	}
	s.bindings.drop(w.moved)
	s.turns.land(n)
	return out, nil
}

// shapes says whether the effects depend on more than what recent commits have touched, or take something away.
func (w *writing) shapes() bool {
	r := &w.e.Reshaping
	return w.takes() || len(r.Guards)+len(r.Links)+len(r.Inside)+len(r.Merges) > 0
}

// admit lets a batch go into the database beside others; with 0 it does not.
func (s *Store) admit(ctx context.Context, saw seen, w *writing) (store.Outcome, uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.turns.meets(w.e.Result); err != nil { // first: what has landed since is met in the database
		return store.Outcome{}, 0, err
	}
	out, enters, err := s.may(ctx, saw, w)
	if err != nil || !enters {
		return out, 0, err
	}
	w.goes()
	w.touched.seq = s.turns.take(w.e.Result)
	s.recent.add(w.touched)
	s.turns.entering.RLock()
	return out, w.touched.seq, nil
}

// goes is what comes right before a batch goes into the database.
func (w *writing) goes() {
	w.filter.addAll(w.touched.slots)
	w.filter.add(batchHash(w.e.Result.Batch))
	killpoint.Reach("pebble.commit.before")
}

// enterAlone lets a batch into the database while nothing else is on its way.
func (s *Store) enterAlone(ctx context.Context, saw seen, w *writing) (store.Outcome, error) {
	defer s.alone()()
	out, enters, err := s.may(ctx, saw, w)
	if err != nil || !enters {
		return out, err
	}
	if err := cmp.Or(w.still(saw), w.guarded()); err != nil {
		return store.Outcome{}, err
	}
	w.goes()
	if err := s.apply(w.b); err != nil {
		return store.Outcome{}, err
	}
	s.bindings.drop(w.moved)
	w.touched.seq = s.turns.next()
	s.recent.add(w.touched)
	if w.takes() { // whoever has looked before must look again
		s.fenceSeq = w.touched.seq
	}
	return out, nil
}

// may answers whether a batch may enter, and what became of it where it has entered before or is fenced. Called with mu
// held.
func (s *Store) may(ctx context.Context, saw seen, w *writing) (_ store.Outcome, enters bool, _ error) {
	r := w.e.Result
	if b := s.broken.Load(); b != nil {
		return store.Outcome{}, false, b
	}
	applied, err := s.result(r.Batch)
	if err != nil {
		return store.Outcome{}, false, err
	}
	if applied != nil {
		return store.Outcome{Repeated: true, Result: *applied}, false, nil
	}
	fence, err := s.fenceOf(partOf(r.Batch))
	if err != nil {
		return store.Outcome{}, false, err
	}
	if r.Batch.Epoch < fence {
		return store.Outcome{Fenced: true}, false, nil
	}
	if err := s.overlaps(ctx, r); err != nil {
		return store.Outcome{}, false, err
	}
	if s.fenceSeq > saw.seq || s.recent.clashes(saw.seq, &w.touched, w.goesTo) {
		return store.Outcome{}, false, changed()
	}
	return store.Outcome{Result: r}, true, nil
}

// apply puts a batch into the database. Pebble panics where it can not go on with the files; what is in memory is not
// to be believed then.
func (s *Store) apply(b *pebble.Batch) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = s.breakDown("commit", fmt.Errorf("pebble: %v", p)) //nolint:err113 // a cause for logs
		}
	}()
	n := uint64(b.Len()) //nolint:gosec // a length; a large batch gives its bytes away
	if err := s.db.ApplyNoSyncWait(b, pebble.Sync); err != nil {
		return s.breakDown("commit", err)
	}
	s.written.Add(n)
	return nil
}

// commitSynced writes a small batch of the store's own.
func commitSynced(db *pebble.DB, b *pebble.Batch) error {
	defer func() { _ = b.Close() }() //nolint:errcheck // frees memory only
	if err := db.ApplyNoSyncWait(b, pebble.Sync); err != nil {
		return err //nolint:wrapcheck // classified by the caller
	}
	return b.SyncWait() //nolint:wrapcheck // as above
}

// synced waits until all that is in the database is durable.
func (s *Store) synced() error {
	b := s.db.NewBatch()
	if err := b.LogData([]byte{kindMeta}, nil); err != nil {
		return unavailable("commit", err)
	}
	if err := commitSynced(s.db, b); err != nil {
		return s.breakDown("commit", err)
	}
	return nil
}

// maxRetained bounds the memory of a batch that the next one uses again, in bytes.
const maxRetained = 16 << 20

// sizeOf estimates a batch's bytes, so that it is allocated once.
func sizeOf(e profile.Effects) int {
	n := 1024 + len(e.Entries)*(rowKeyLen+entryFixed+16)
	for i := range e.Identities {
		n += identityPrefixLen + len(e.Identities[i].Value) + 16
	}
	for i := range e.Contributions {
		n += profileKeyLen + len(e.Contributions[i].Doc) + 8
	}
	for i := range e.Events {
		n += eventKeyLen + len(e.Events[i].Doc) + 8
	}
	for i := range e.Rejects {
		n += 2*len(e.Rejects[i].KeyValues) + 512
	}
	return n + keyTail*len(e.Sighted) + len(e.Kept) + len(e.EventsGone)*(eventKeyLen+4)
}

// writing fills a Pebble batch with effects, each kind in the order of its keys.
type writing struct {
	*Store
	b       *pebble.Batch
	e       *profile.Effects
	touched touched
	moved   []uint64 // identities that were bound to something else, by their hashes
	scope   uint32
	sync    uint32
	ord     order
}

func (w *writing) all() (err error) {
	if w.scope, err = w.dict.number(wordScope, scopeName(w.e.Keys.Scope)); err != nil {
		return err
	}
	if w.sync, err = w.dict.number(wordSync, syncName(w.e.Keys.Origin.Sync)); err != nil {
		return err
	}
	w.touched = newTouched(len(w.e.Entries) + len(w.e.EntriesGone) + len(w.e.Identities) + int(w.e.NewProfiles))
	for _, step := range []func() error{w.entries, w.gone, w.identities, w.contributions, w.reshaping, w.events, w.rejects, w.sighted, w.key} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (w *writing) entries() error {
	es := w.e.Entries
	w.ord.reset()
	for i := range es {
		w.ord.add(binary.BigEndian.Uint64(es[i].Row[:]), i)
	}
	w.ord.sort()
	var v [entryMax]byte
	for _, t := range w.ord.todo {
		x := &es[t.at]
		n := putEntry(v[:], &x.Entry)
		op := w.b.SetDeferred(rowKeyLen, n)
		rowKey(op.Key[:0], w.sync, x.Row)
		copy(op.Value, v[:n])
		if err := op.Finish(); err != nil {
			return unavailable("commit", err)
		}
		w.touched.add(rowHash(w.sync, x.Row[:]))
	}
	return nil
}

// identities binds identities, type by type.
func (w *writing) identities() error {
	is := w.e.Identities
	var types []string
	for i := range is {
		x := &is[i]
		first := profile.Derive(w.e.Keys.Scope, x.Type, x.Value, 0)
		w.touched.add(profileHash(first)) // where the profile is new, it is this one: no two commits make one of the same id
		if x.From != 0 {
			w.moved = append(w.moved, profileHash(first))
		}
		if first != x.Profile {
			w.filter.add(profileHash(x.Profile))
		}
		if !slices.Contains(types, x.Type) {
			types = append(types, x.Type)
		}
	}
	for _, typ := range types {
		n, err := w.dict.number(wordType, typ)
		if err != nil {
			return err
		}
		if err := w.identitiesOf(typ, identityPrefix(w.scope, n)); err != nil {
			return err
		}
	}
	return nil
}

func (w *writing) identitiesOf(typ string, prefix []byte) error {
	is := w.e.Identities
	w.ord.reset()
	for i := range is {
		if is[i].Type == typ {
			w.ord.add(prefixOf(is[i].Value), i)
		}
	}
	w.ord.sortText(func(at int32) string { return is[at].Value })
	for _, t := range w.ord.todo {
		x := &is[t.at]
		op := w.b.SetDeferred(len(prefix)+len(x.Value), 8)
		copy(op.Key, prefix)
		copy(op.Key[len(prefix):], x.Value)
		binary.BigEndian.PutUint64(op.Value, uint64(x.Profile))
		if err := op.Finish(); err != nil {
			return unavailable("commit", err)
		}
	}
	return nil
}

// contributions merges documents into profiles; those of one profile go in as one operand. The one document of a new
// profile is put: it has nothing to be merged with below it, now or in a compaction.
func (w *writing) contributions() error {
	cs := w.e.Contributions
	born := slices.Clone(w.e.Born)
	slices.Sort(born)
	w.ord.reset()
	for i := range cs {
		w.ord.add(uint64(cs[i].Profile), i)
	}
	w.ord.sort()
	for i := 0; i < len(w.ord.todo); {
		j, size := i, 0
		for ; j < len(w.ord.todo) && w.ord.todo[j].prefix == w.ord.todo[i].prefix; j++ {
			size += len(cs[w.ord.todo[j].at].Doc)
		}
		p := cs[w.ord.todo[i].at].Profile
		for len(born) > 0 && born[0] < p {
			born = born[1:]
		}
		deferred := w.b.MergeDeferred
		if j == i+1 && len(born) > 0 && born[0] == p {
			deferred = w.b.SetDeferred
		}
		op := deferred(profileKeyLen, size)
		profileKey(op.Key[:0], w.scope, p)
		v := op.Value[:0]
		for ; i < j; i++ {
			v = append(v, cs[w.ord.todo[i].at].Doc...)
		}
		if err := op.Finish(); err != nil {
			return unavailable("commit", err)
		}
	}
	return nil
}

func (w *writing) events() error {
	es := w.e.Events
	if len(es) == 0 && len(w.e.EventsGone) == 0 {
		return nil
	}
	scope, err := w.dict.number(wordScope, scopeName(w.e.EventScope))
	if err != nil {
		return err
	}
	var k [eventKeyLen]byte
	for _, gone := range w.e.EventsGone {
		if err := w.b.Delete(eventKey(k[:0], scope, gone), nil); err != nil {
			return unavailable("commit", err)
		}
	}
	w.ord.reset()
	for i := range es {
		w.ord.add(uint64(es[i].Key.Profile), i)
	}
	w.ord.sort()
	for _, t := range w.ord.todo {
		x := &es[t.at]
		op := w.b.SetDeferred(eventKeyLen, len(x.Doc))
		eventKey(op.Key[:0], scope, x.Key)
		copy(op.Value, x.Doc)
		if err := op.Finish(); err != nil {
			return unavailable("commit", err)
		}
	}
	return nil
}

// sighted keeps the keys of the batch's rows.
func (w *writing) sighted() error { return sights(w.b, w.sync, w.e.Keys.Origin, w.e.Sighted) }

// key puts the batch key with its whole result.
func (w *writing) key() error {
	r := w.e.Result
	if err := w.b.Set(batchKey(nil, kindBatch, r.Batch), appendResult(nil, r), nil); err != nil {
		return unavailable("commit", err)
	}
	return nil
}
