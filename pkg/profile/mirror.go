package profile

import (
	"maps"
	"slices"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/row"
)

// Documents calls f with the positions for which Decide asks for a document, and whose it is.
func (k *Keys) Documents(entries []Entry, s Settled, f func(i int, p id.Profile)) {
	if !k.Origin.Mirror {
		return
	}
	for i := range entries {
		if e := &entries[i]; e.Found && !e.Tombstone && e.Profile != 0 && !s.At(i) {
			f(i, e.Profile)
		}
	}
}

// keysOfAbsent answers what must be looked up to decide on keys that a complete read lacked.
func keysOfAbsent(k Keys, absent []id.Row) Keys {
	flat := make([]byte, 0, 16*len(absent))
	for i := range absent {
		flat = append(flat, absent[i][:]...)
	}
	k.Rows, k.RecordHashes = row.Fixed16(flat), row.Fixed16(make([]byte, len(flat)))
	return k
}

// mirror is what a decider keeps of a mirror run.
type mirror struct {
	affected map[id.Profile]bool // profiles from which something was taken; true: they are deleted whatever is left
	order    []id.Profile        // of affected
}

// absent judges a key of the row index that a proven complete read lacked.
func (d *decider) absent(i int) {
	d.eff.Result.Counts.Absent++
	key := d.key(i)
	old, at := d.entry(i, key)
	own := d.own(old)
	switch {
	case old.Found && old.Tombstone && own && d.recounts(old): // deleted by an attempt that does not count
		old.Part, old.Epoch, old.Version.RunNo = d.part, d.epoch, d.runNo
		d.put(key, old, at)
		d.count(Deleted, 0)
	case !d.has(old), own && !d.recounts(old):
		d.count(Unchanged, 0)
		if old.Found && !old.Tombstone && !own { // of a table that was replaced before absent rows were counted
			d.eff.EntriesGone = append(d.eff.EntriesGone, key)
		}
	case d.readOnly:
		d.count(Protected, 0)
	default:
		effect := Deleted
		if own && old.Effect == Created { // by an attempt that does not count; no counted run knows of the row
			effect = Unchanged
		}
		d.count(effect, 0)
		e := old
		e.Tombstone, e.Version, e.Part, e.Epoch, e.Effect = true, gone(d.runNo), d.part, d.epoch, effect
		d.put(key, e, at)
		v := e.Version
		if own { // above what this run itself said of the row
			v = old.Version
		}
		d.takeAway(key, old, old.Profile, v)
		if d.table.Generation != 0 {
			return // readers see the row until the table is replaced
		}
		if d.kind.Single() {
			d.eff.EventsGone = append(d.eff.EventsGone, EventKey{old.Profile, old.EventTime, EventIDOf(d.k.Origin.Sync, key)})
		} else if d.deletesProfiles && old.Profile != 0 {
			d.affect(old.Profile, true)
		}
	}
}

// replaced takes away what a row of a mirror brought before it became e: from the profile that it was of, where that is
// another one now. In the same profile its new version stands for the old one.
func (d *decider) replaced(key id.Row, e, old Entry, v Version) {
	if old.Profile == e.Profile && old.Flags&FlagMirror != 0 {
		d.affect(old.Profile, false)
		return
	}
	d.takeAway(key, old, old.Profile, v)
}

// takeAway withdraws from p what a row brought whose entry was old.
func (d *decider) takeAway(key id.Row, old Entry, p id.Profile, v Version) {
	if p == 0 || !d.knows(p) {
		return
	}
	if old.Flags&FlagMirror == 0 {
		d.withdraw(p, Withdrawal{Sync: d.k.Origin.Sync, Last: d.runNo - 1})
	}
	for n, form := range rowForms(d.k.Origin.Sync, key) {
		own := n == 0 && !d.kind.Single() && old.Flags&FlagMirror != 0
		if own || bears(d.st.Docs[p], d.k.Origin.Sync, form) {
			w := Withdrawal{From: d.from, Row: form}
			w.From.HasTime, w.From.Version = true, v
			d.withdraw(p, w)
		}
	}
}

func (d *decider) withdraw(p id.Profile, w Withdrawal) {
	if SurvivorOf(d.st.Docs[p]) != 0 {
		d.eff.Inside = append(d.eff.Inside, p)
	}
	d.scratch = AppendWithdrawal(d.scratch[:0], w)
	d.eff.Contributions = append(d.eff.Contributions, ContributionWrite{p, d.docs.add(d.scratch)})
	d.affect(p, false)
}

// knows says whether all that p holds is known: its document was looked up, or the batch makes it.
func (d *decider) knows(p id.Profile) bool {
	_, looked := d.st.Docs[p]
	return looked || d.isNew(p)
}

// affect notes that something is taken from p. What was merged with others keeps its identities and is never deleted: they
// name the survivor, who may have them from elsewhere.
func (d *decider) affect(p id.Profile, whole bool) {
	if p == 0 || !d.knows(p) || entangled(d.st.Docs[p]) {
		return
	}
	if d.affected == nil {
		d.affected = map[id.Profile]bool{}
	}
	if _, ok := d.affected[p]; !ok {
		d.order = append(d.order, p)
	}
	d.affected[p] = d.affected[p] || whole
}

// finishMirror unbinds identities that nobody brings any more and deletes profiles of which nothing is left.
func (d *decider) finishMirror() {
	if len(d.order) == 0 {
		return
	}
	brought := make(map[id.Profile][][]byte, len(d.order))
	for _, c := range d.eff.Contributions {
		if _, ok := d.affected[c.Profile]; ok {
			brought[c.Profile] = append(brought[c.Profile], c.Doc)
		}
	}
	bound := map[id.Profile][]Identity{}
	for _, w := range d.eff.Identities {
		if _, ok := d.affected[w.Profile]; ok && w.From == 0 {
			bound[w.Profile] = append(bound[w.Profile], Identity{w.Type, w.Value})
		}
	}
	lost := map[Identity]bool{}
	deleted := map[id.Profile]bool{}
	n := d.namingNow()
	for _, p := range d.order {
		var left []byte
		if !d.affected[p] {
			left = d.remaining(n, p, brought[p], bound[p])
		}
		if left == nil {
			deleted[p] = true
		}
		if _, stored := d.st.Docs[p]; stored && left == nil {
			d.eff.ProfilesGone = append(d.eff.ProfilesGone, p)
		}
		has := identitiesOf(left)
		for i := range identitiesOf(d.st.Docs[p]) {
			if !has[i] {
				d.eff.Unbound = append(d.eff.Unbound, IdentityWrite{Type: i.Type, Value: i.Value, Profile: p})
			}
		}
		for _, i := range bound[p] {
			if !has[i] {
				lost[i] = true
			}
		}
	}
	if len(lost) > 0 {
		d.eff.Identities = slices.DeleteFunc(d.eff.Identities, func(w IdentityWrite) bool { return lost[Identity{w.Type, w.Value}] })
	}
	if len(deleted) > 0 {
		d.eff.Contributions = slices.DeleteFunc(d.eff.Contributions, func(c ContributionWrite) bool { return deleted[c.Profile] })
	}
}

// remaining answers the document of p without what is taken from it, nil where nothing is left.
func (d *decider) remaining(n *naming, p id.Profile, brought [][]byte, bound []Identity) []byte {
	docs := append([][]byte{d.st.Docs[p]}, brought...)
	left := Settle(docs...)
	lost, has := identitiesOf(d.st.Docs[p]), identitiesOf(left)
	for _, x := range bound {
		if lost != nil {
			lost[x] = true
		}
	}
	maps.DeleteFunc(lost, func(x Identity, _ bool) bool { return has[x] })
	if len(lost) == 0 {
		return left
	}
	if kept := d.keepNamed(n, p, lost); len(kept) > 0 {
		left = Settle(append(docs, kept...)...)
	}
	return left
}

// sighted answers the keys of all rows that b accounts for.
func (d *decider) sighted(b record.Batch) []id.Row {
	out := make([]id.Row, 0, d.n+len(b.Rejects)+len(b.Filtered))
	for i := range d.n {
		out = append(out, d.key(i))
	}
	for i := range b.Rejects {
		out = append(out, b.Rejects[i].Key)
	}
	for i := range b.Filtered {
		out = append(out, b.Filtered[i].Key)
	}
	return out
}

// onDelete says whether a deleted row takes its profile with it.
func onDelete(r Rules) bool { return r.OnDelete == resource.DeleteProfile }
