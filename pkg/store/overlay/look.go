package overlay

import (
	"context"
	"fmt"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/identity"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/row"
)

// Met is the state that a batch meets, and where it was judged before what its judge said then.
type Met struct {
	profile.State
	Said []byte
}

// Look answers the state that the keys of a batch meet: that of the store, with what the batches before would have done.
func (o *Overlay) Look(ctx context.Context, k profile.Keys) (m Met, err error) {
	keys := make([][]byte, 0, 1+k.Len())
	keys = append(keys, batchKey(k.Origin.Batch))
	for i := range k.Len() {
		keys = append(keys, rowKey(id.Row(k.Rows.Value(i))))
	}
	values, err := o.noted(ctx, keys)
	if err != nil {
		return m, err
	}
	if values[0] != nil {
		var b became
		if err := readJSON(values[0], &b); err != nil {
			return m, err
		}
		m.Applied, m.Said = &b.Result, b.Said
		return m, nil
	}
	rows := values[1:]
	if m.State, err = o.Store.Look(ctx, asking(k, rows)); err != nil {
		return m, err //nolint:wrapcheck // classified by the driver
	}
	if m.Seen = nil; m.Fenced || m.Applied != nil {
		return m, nil
	}
	for i, v := range rows {
		var ok bool
		if v == nil {
			continue
		}
		if m.Entries[i], ok = readEntry(v); !ok {
			return m, damaged()
		}
	}
	l := looking{Overlay: o, k: k, st: &m.State, settled: k.Settled(m.Entries)}
	for _, step := range []func(context.Context) error{l.bindings, l.named, l.fresh, l.documents} {
		if err := step(ctx); err != nil {
			return m, err
		}
	}
	return m, nil
}

// asking answers k so that the store is asked for everything of the rows that have notes: their record hashes are changed,
// as otherwise the store's own entry of such a row might settle it.
func asking(k profile.Keys, rows [][]byte) profile.Keys {
	any := false
	for _, v := range rows {
		any = any || v != nil
	}
	if !any || k.RecordHashes == nil {
		return k
	}
	flat := make([]byte, 0, 16*len(rows))
	for i, v := range rows {
		flat = append(flat, k.RecordHashes.Value(i)...)
		if v == nil {
			continue
		}
		for j := 16 * i; j < 16*i+16; j++ {
			flat[j] = ^flat[j]
		}
	}
	k.RecordHashes = row.Fixed16(flat)
	return k
}

// looking is a Look under way, whose entries are those of the overlay already.
type looking struct {
	*Overlay
	k       profile.Keys
	st      *profile.State
	settled profile.Settled
}

// place is an identity column and a position.
type place struct{ column, row int }

// open calls f for the identities of the rows that their entries do not settle.
func (l *looking) open(f func(c, i int)) {
	for i := range l.k.Len() {
		if l.settled.At(i) {
			continue
		}
		for c, x := range l.k.Identities {
			if !x.Values.IsNull(i) {
				f(c, i)
			}
		}
	}
}

// bindings lays over what identities are bound to.
func (l *looking) bindings(ctx context.Context) error {
	var places []place
	var keys [][]byte
	l.open(func(c, i int) {
		if x := l.k.Identities[c]; x.Type != identity.MPID {
			places, keys = append(places, place{c, i}), append(keys, bindingKey(x.Type, x.Values.Value(i)))
		}
	})
	values, err := l.noted(ctx, keys)
	if err != nil {
		return err
	}
	for j, v := range values {
		if v == nil {
			continue
		}
		p, ok := readProfile(v)
		if !ok {
			return damaged()
		}
		l.st.Profiles[places[j].column][places[j].row] = p
	}
	return nil
}

// named finds the profiles that rows name by their ids, or what they would be merged into. Few batches have any.
func (l *looking) named(ctx context.Context) error {
	at := map[place]id.Profile{}
	l.open(func(c, i int) {
		if x := l.k.Identities[c]; x.Type == identity.MPID {
			l.st.Profiles[c][i] = 0
			if p, err := id.ParseProfile(x.Values.Value(i)); err == nil {
				at[place{c, i}] = p
			}
		}
	})
	for len(at) > 0 {
		var places []place
		var ps []id.Profile
		for w, p := range at {
			places, ps = append(places, w), append(ps, p)
		}
		docs, err := l.Docs(ctx, l.k.Scope, ps)
		if err != nil {
			return err
		}
		for j, w := range places {
			to := profile.SurvivorOf(docs[j])
			if docs[j] != nil && to != 0 {
				at[w] = to
				continue
			}
			if docs[j] != nil {
				l.st.Profiles[w.column][w.row] = ps[j]
			}
			delete(at, w)
		}
	}
	return nil
}

// candidate is an id that a new profile of a row may get.
type candidate struct {
	row    int
	choice int
	probed bool // the store has no such profile
}

// fresh finds ids that no profile has, neither in the store nor by the run.
func (l *looking) fresh(ctx context.Context) error {
	var open []candidate
	for i := range l.k.Len() {
		if l.settled.At(i) {
			continue
		}
		p := l.st.Fresh[i]
		if l.st.Fresh[i] = 0; l.isBound(i) {
			continue
		}
		x := candidate{row: i, probed: p != 0}
		if !x.probed {
			p = l.choice(x)
		}
		if l.st.Fresh[i] = p; p != 0 {
			open = append(open, x)
		}
	}
	for len(open) > 0 {
		taken, err := l.taken(ctx, open)
		if err != nil {
			return err
		}
		var again []candidate
		for j, x := range open {
			if !taken[j] {
				continue
			}
			if !x.probed {
				x.choice++
			}
			x.probed = false // and a choice of the store's is looked for anew
			l.st.Fresh[x.row] = l.choice(x)
			again = append(again, x)
		}
		open = again
	}
	return nil
}

// taken says which candidates are ids of profiles.
func (l *looking) taken(ctx context.Context, open []candidate) ([]bool, error) {
	keys := make([][]byte, len(open))
	for j, x := range open {
		keys[j] = profileKey(l.st.Fresh[x.row])
	}
	values, err := l.noted(ctx, keys)
	if err != nil {
		return nil, err
	}
	out := make([]bool, len(open))
	var ask []id.Profile
	var of []int
	for j, x := range open {
		a := readAccount(values[j])
		if out[j] = a.there; !a.there && !a.hidden && !x.probed {
			ask, of = append(ask, l.st.Fresh[x.row]), append(of, j)
		}
	}
	if len(ask) == 0 {
		return out, nil
	}
	docs, err := l.Store.Docs(ctx, l.k.Scope, ask)
	if err != nil {
		return nil, fmt.Errorf("probe ids: %w", err)
	}
	for n, doc := range docs {
		out[of[n]] = doc != nil
	}
	return out, nil
}

// choice answers the id of a candidate's choice, 0 where the row has no identity that ids are derived from.
func (l *looking) choice(x candidate) id.Profile {
	for _, col := range l.k.Identities {
		if col.Type != identity.MPID && !col.Values.IsNull(x.row) {
			return profile.Derive(l.k.Scope, col.Type, col.Values.Value(x.row), x.choice)
		}
	}
	return 0
}

func (l *looking) isBound(i int) bool {
	for _, found := range l.st.Profiles {
		if found[i] != 0 {
			return true
		}
	}
	return false
}

// documents answers the documents that Decide asks for of a mirror.
func (l *looking) documents(ctx context.Context) error {
	if !l.k.Origin.Mirror {
		return nil
	}
	asked := map[id.Profile]bool{}
	var ps []id.Profile
	l.k.Documents(l.st.Entries, l.settled, func(_ int, p id.Profile) {
		if !asked[p] {
			asked[p] = true
			ps = append(ps, p)
		}
	})
	docs, err := l.Docs(ctx, l.k.Scope, ps)
	if err != nil {
		return err
	}
	l.st.Docs = make(map[id.Profile][]byte, len(ps))
	for j, p := range ps {
		l.st.Docs[p] = docs[j]
	}
	return nil
}

// Docs answers the documents of some profiles as the run would have made them by now.
func (o *Overlay) Docs(ctx context.Context, s profile.Scope, ps []id.Profile) ([][]byte, error) {
	docs, err := o.Store.Docs(ctx, s, ps)
	if err != nil || s != o.scope || len(ps) == 0 {
		return docs, err //nolint:wrapcheck // classified by the driver
	}
	keys := make([][]byte, len(ps))
	for j, p := range ps {
		keys[j] = profileKey(p)
	}
	values, err := o.noted(ctx, keys)
	if err != nil {
		return nil, err
	}
	for j, v := range values {
		docs[j] = readAccount(v).over(docs[j])
	}
	return docs, nil
}

// Profile answers the document of a profile as Docs does.
func (o *Overlay) Profile(ctx context.Context, s profile.Scope, p id.Profile) ([]byte, error) {
	docs, err := o.Docs(ctx, s, []id.Profile{p})
	if err != nil {
		return nil, err
	}
	return docs[0], nil
}
