package profile

import (
	"bytes"
	"slices"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/record"
)

// Import is what a sync brought in by some of its runs.
type Import struct {
	Sync        id.Sync
	First, Last int64 // ordinals of runs, both included
}

// Wrote says whether a run of the import wrote an entry of the row index last. One run alone has not brought what it
// found unchanged: of that it moves no more than the version.
func (m Import) Wrote(e Entry) bool {
	return e.Found && !e.Tombstone && m.First <= e.Version.RunNo && e.Version.RunNo <= m.Last &&
		(m.First < m.Last || e.Effect != Unchanged)
}

// Removed is what removing rows of an import takes away.
type Removed struct {
	Rows   int64 // of the row index; they come in again as created
	Events int64 // and other records that are documents of their own
	// Profiles that lose something; of these, how many are deleted because nothing is left, and how many keep their
	// identities because they were merged with others.
	Profiles, ProfilesDeleted, ProfilesMerged int64
	Attributes                                int64 // that are gone
	AttributesBack                            int64 // that have an earlier value of another sync again
	Identities                                int64 // that are unbound, because nobody else brought them
}

// Add answers the sum of both.
func (r Removed) Add(o Removed) Removed {
	r.Rows += o.Rows
	r.Events += o.Events
	r.Profiles += o.Profiles
	r.ProfilesDeleted += o.ProfilesDeleted
	r.ProfilesMerged += o.ProfilesMerged
	r.Attributes += o.Attributes
	r.AttributesBack += o.AttributesBack
	r.Identities += o.Identities
	return r
}

// KeysOfImport answers what must be looked up to remove rows of an import; b names the removal for ever.
func KeysOfImport(s Scope, m Import, b id.Batch, rows []id.Row) Keys {
	o := record.Origin{Workspace: s.Workspace, Sync: m.Sync, RunNo: m.Last, Batch: b, Mirror: true, Rows: int64(len(rows)), Last: true}
	return keysOfAbsent(Keys{Scope: s, Origin: o}, rows)
}

// AsksOfImport answers the profiles whose newest events must be known to remove rows of an import: those that would lose
// identities, which events of others may name. Ascending.
func AsksOfImport(m Import, k Keys, st State) []id.Profile {
	var out []id.Profile
	if st.Applied != nil {
		return out
	}
	w := AppendWithdrawal(nil, Withdrawal{Sync: m.Sync, First: m.First, Last: m.Last})
	for i := range k.Len() {
		if e := st.Entries[i]; m.Wrote(e) && e.Profile != 0 {
			out = append(out, e.Profile)
		}
	}
	slices.Sort(out)
	return slices.DeleteFunc(slices.Compact(out), func(p id.Profile) bool {
		left := identitiesOf(Settle(st.Docs[p], w))
		for x := range identitiesOf(st.Docs[p]) {
			if !left[x] {
				return false
			}
		}
		return true
	})
}

// Remove decides what removing rows of an import changes, from KeysOfImport and the state that they met. Rows that no run
// of the import wrote last stay. The rows' entries and events go; what the import's runs brought to their profiles is
// withdrawn: values of other syncs come back, earlier ones of the same sync are not kept and do not. Identities that events
// and versions of others name (State.Events, of AsksOfImport) stay. Doing it again changes nothing.
func Remove(m Import, kind record.Kind, k Keys, st State) (Effects, Removed) {
	if st.Applied != nil {
		return Effects{Keys: k, Seen: st.Seen, Result: *st.Applied}, Removed{}
	}
	rm := remover{m: m, done: map[id.Profile]bool{}, decider: newDecider(record.Batch{Kind: kind, Absent: []id.Row{}}, k, st, Rules{})}
	for i := range rm.n {
		if e := st.Entries[i]; m.Wrote(e) {
			rm.remove(rm.key(i), e)
		}
	}
	rm.finishMirror()
	rm.out.ProfilesDeleted = int64(len(rm.eff.ProfilesGone))
	rm.out.Identities = int64(len(rm.eff.Unbound))
	return rm.eff, rm.out
}

// remover is the state of one Remove.
type remover struct {
	*decider
	m    Import
	done map[id.Profile]bool
	out  Removed
}

func (r *remover) remove(key id.Row, e Entry) {
	r.out.Rows++
	r.eff.EntriesGone = append(r.eff.EntriesGone, key)
	if r.kind.Single() {
		r.out.Events++
		r.eff.EventsGone = append(r.eff.EventsGone, EventKey{e.Profile, e.EventTime, EventIDOf(r.m.Sync, key)})
	}
	if p := e.Profile; p != 0 && !r.done[p] {
		r.done[p] = true
		r.withdraw(p)
	}
}

// withdraw takes what the import brought away from a profile, where it brought anything.
func (r *remover) withdraw(p id.Profile) {
	doc := r.st.Docs[p]
	w := AppendWithdrawal(nil, Withdrawal{Sync: r.m.Sync, First: r.m.First, Last: r.m.Last})
	left := Settle(doc, w)
	if bytes.Equal(Settle(doc), left) {
		return
	}
	r.out.Profiles++
	if entangled(doc) {
		r.out.ProfilesMerged++
	}
	if SurvivorOf(doc) != 0 {
		r.eff.Inside = append(r.eff.Inside, p)
	}
	r.compare(doc, left)
	r.eff.Contributions = append(r.eff.Contributions, ContributionWrite{p, w})
	r.affect(p, false)
}

// compare counts attributes that are gone, and those that have another value.
func (r *remover) compare(before, after []byte) {
	was, err := Decode(before)
	if err != nil {
		return // a document that can not be read stays as it is
	}
	is, err := Decode(after)
	if err != nil {
		return
	}
	left := make(map[string]Provenance, len(is.Attributes))
	for _, a := range is.Attributes {
		left[a.Name] = a.From
	}
	for _, a := range was.Attributes {
		switch from, ok := left[a.Name]; {
		case !ok:
			r.out.Attributes++
		case from.Sync != a.From.Sync:
			r.out.AttributesBack++
		}
	}
}
