package profile

import (
	"slices"

	"millrace.dev/pkg/id"
)

// losing answers the profiles that a batch of a mirror may take identities from: of rows that have brought identities to
// their profile which nobody else brought, and that are gone now or do not name them any more. Ascending.
func losing(k *Keys, st *State) []id.Profile {
	if !k.Origin.Mirror {
		return nil
	}
	var out []id.Profile
	k.Documents(st.Entries, k.Settled(st.Entries), func(i int, p id.Profile) {
		if slices.ContainsFunc(k.borne(st.Docs[p], i, &st.Entries[i]), func(x Identity) bool { return !k.names(st, i, p, x) }) {
			out = append(out, p)
		}
	})
	slices.Sort(out)
	return slices.Compact(out)
}

// borne answers the identities of a document that the row at i alone has brought.
func (k *Keys) borne(doc []byte, i int, e *Entry) []Identity {
	d, ok := parse(doc)
	if !ok {
		return nil
	}
	forms := rowForms(k.Origin.Sync, id.Row(k.Rows.Value(i)))
	d.rows = slices.DeleteFunc(d.newestRows(), func(m mirrored) bool {
		return m.from.Sync == k.Origin.Sync && slices.Contains(forms[:], m.row)
	})
	if e.Flags&FlagMirror == 0 {
		d.runs = append(d.runs, runsWithdrawn{sync: k.Origin.Sync, last: k.Origin.RunNo - 1})
	}
	d.open()
	left := d.held()
	var out []Identity
	for x := range identitiesOf(doc) {
		if !slices.Contains(left, x) {
			out = append(out, x)
		}
	}
	return out
}

// rowForms answers the keys under which a document has what a row brought: its own, and that of its event, where the
// profile has it because the event names it (see keepNamed).
func rowForms(s id.Sync, key id.Row) [2]id.Row { return [2]id.Row{key, id.Row(EventIDOf(s, key))} }

// names says whether the row at i has an identity that is bound to p.
func (k *Keys) names(st *State, i int, p id.Profile, x Identity) bool {
	for c, col := range k.Identities {
		if col.Type == x.Type && !col.Values.IsNull(i) && col.Values.Value(i) == x.Value {
			return st.Profiles[c][i] == p
		}
	}
	return false
}

// naming is which events and versions of profiles there are once a batch of a mirror is committed.
type naming struct {
	gone map[EventKey]bool
	put  map[id.Profile][]EventWrite
}

func (d *decider) namingNow() *naming {
	n := &naming{map[EventKey]bool{}, map[id.Profile][]EventWrite{}}
	for _, k := range d.eff.EventsGone {
		n.gone[k] = true
	}
	for _, w := range d.eff.Events {
		if _, ok := d.affected[w.Key.Profile]; ok {
			n.put[w.Key.Profile] = append(n.put[w.Key.Profile], w)
		}
	}
	return n
}

// keepNamed lets p keep identities that would go but that its events and versions name: each is brought by the newest of
// those, so that they can be found by it as long as they are there. It answers what it has brought.
func (d *decider) keepNamed(n *naming, p id.Profile, lost map[Identity]bool) [][]byte {
	var out [][]byte
	for _, w := range slices.Concat(d.st.Events[p], n.put[p]) {
		e, err := DecodeEvent(w.Doc)
		if n.gone[w.Key] || err != nil { // one that can not be read names nobody
			continue
		}
		e.Identities = slices.DeleteFunc(e.Identities, func(x Identity) bool { return !lost[x] })
		if len(e.Identities) == 0 {
			continue
		}
		for _, x := range e.Identities {
			delete(lost, x)
		}
		doc := d.docs.add(AppendRow(nil, id.Row(w.Key.ID), Contribution{From: e.From, Seen: seenOf(w.Key.Time), Identities: e.Identities}))
		d.eff.Contributions = append(d.eff.Contributions, ContributionWrite{p, doc})
		out = append(out, doc)
	}
	return out
}
