package profile

import (
	"bytes"
	"maps"
	"slices"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/identity"
)

// Person is whom an erasure is about: a profile with all that is merged into it.
type Person struct {
	Profiles []id.Profile
	// Identities are those that the profiles hold, and their ids as such.
	Identities []Identity
	// Others are profiles from which these were once parted: their documents name some of the identities.
	Others []id.Profile
	Syncs  []id.Sync // that brought something
}

// PersonOf reads the documents of profiles that are one person.
func PersonOf(profiles []id.Profile, docs [][]byte) (Person, error) {
	d, ok := parse(settled(docs)...)
	if !ok {
		return Person{}, badDocument("a profile")
	}
	syncs := map[id.Sync]bool{}
	for _, m := range d.rows {
		syncs[m.from.Sync] = true
	}
	for _, w := range d.runs {
		syncs[w.sync] = true
	}
	d.open()
	p := Person{Profiles: profiles, Identities: d.held()}
	for _, q := range profiles {
		p.Identities = append(p.Identities, Identity{identity.MPID, q.String()})
	}
	for _, i := range d.identities {
		syncs[i.Sync] = true
	}
	for i := range d.parts {
		syncs[d.parts[i].Sync] = true
	}
	p.Syncs = slices.SortedFunc(maps.Keys(syncs), func(a, b id.Sync) int { return bytes.Compare(a[:], b[:]) })
	others := map[id.Profile]bool{}
	for k := range d.ties.kin {
		others[k.other] = true
	}
	for a := range d.ties.apart {
		others[a.other] = true
	}
	for _, q := range profiles {
		delete(others, q)
	}
	p.Others = slices.Sorted(maps.Keys(others))
	return p, nil
}

// Forget answers a document without what it says of profiles and identities that are erased: ties to them. Nil where it
// says nothing of them, or can not be read.
func Forget(doc []byte, erased func(id.Profile) bool, blocked func(Identity) bool) []byte {
	d, ok := parse(doc)
	if !ok {
		return nil
	}
	before := len(d.ties.bonds) + len(d.ties.kin) + len(d.ties.apart)
	maps.DeleteFunc(d.ties.kin, func(k kinship, _ turn) bool { return erased(k.other) })
	maps.DeleteFunc(d.ties.apart, func(a apartness, _ bool) bool { return erased(a.other) || blocked(a.Identity) })
	lost := map[Identity]bool{}
	maps.DeleteFunc(d.ties.bonds, func(i Identity, b bond) bool {
		if b.lost && blocked(i) {
			lost[i] = true
		}
		return lost[i]
	})
	if len(d.ties.bonds)+len(d.ties.kin)+len(d.ties.apart) == before {
		return nil
	}
	d.identities = slices.DeleteFunc(d.identities, func(i syncIdentity) bool { return lost[i.Identity] })
	return d.folded([][]byte{doc})
}

// Erase answers an entry of the log as it stays when somebody in it is erased: that it happened, to which profiles, by
// which rule and when. Values are gone, and it can not be undone.
func (m Merge) Erase() Merge {
	m.Erased = true
	m.Glue.Value, m.KeyValues = "", ""
	m.Moved = slices.Clone(m.Moved)
	for i := range m.Moved {
		m.Moved[i].Value = ""
	}
	return m
}
