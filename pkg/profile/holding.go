package profile

import (
	"slices"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/identity"
)

// Holding is what Decide must know of a profile beside State where a row may belong to several: what it holds, with
// everything that is merged into it.
type Holding struct {
	identity.Holder
	Shape uint64 // of the profile's own document; see Shape
	ties  ties   // of all of its documents
}

// HoldingOf reads a profile's own document and those of the profiles that are merged into it, directly or not.
func HoldingOf(own []byte, members []id.Profile, docs ...[]byte) (Holding, error) {
	d, ok := parse(settled(append([][]byte{own}, docs...))...)
	if !ok {
		return Holding{}, badDocument("a profile")
	}
	d.open()
	h := Holding{Shape: Shape(own), ties: d.ties}
	h.Created, h.Merges, h.Members = d.first, len(members), members
	for _, i := range d.held() {
		h.Held = append(h.Held, identity.Held{Type: i.Type, Value: i.Value, Since: d.ties.bonds[i].since})
	}
	for a := range d.ties.apart {
		h.Apart = append(h.Apart, identity.Apart{From: a.other, Type: a.Type, Value: a.Value})
	}
	return h, nil
}

// Asked is what Decide must know beside State: see State.Held.
type Asked struct {
	Profiles []id.Profile // to be held; ascending
	// Rows are positions that are bound to somebody, but may come to a new profile all the same. Each needs a State.Fresh,
	// derived from the identity column beside it.
	Rows []AskedRow
	// Events are profiles whose events and versions must be known: see State.Events. Ascending.
	Events []id.Profile
}

// AskedRow is a position and the identity column that an id for a new profile is derived from.
type AskedRow struct {
	Row    int
	Column int
}

// Asks answers what must be known to decide on rows that the columns alone do not settle. It is nothing for rows that meet
// nobody or nothing new, and under best_match only Events of a mirror.
func Asks(k Keys, st State, r Rules) Asked {
	if st.Applied != nil || st.Fenced {
		return Asked{}
	}
	a := Asked{Events: losing(&k, &st)}
	if r.Strategy.Strategy() == identity.BestMatch {
		return a
	}
	settled := k.Settled(st.Entries)
	for i := range k.Len() {
		if settled.At(i) || plain(&k, r.Strategy, i, func(c int) id.Profile { return st.Profiles[c][i] }) {
			continue
		}
		col := -1
		for c, x := range k.Identities {
			if x.Values.IsNull(i) || x.Type == identity.MPID {
				continue
			}
			if p := st.Profiles[c][i]; p != 0 && col < 0 {
				col = c
			} else if p == 0 {
				col = c // what is unbound belongs to the new profile for sure
				break
			}
		}
		for c := range k.Identities {
			if p := st.Profiles[c][i]; p != 0 {
				a.Profiles = append(a.Profiles, p)
			}
		}
		if col >= 0 {
			a.Rows = append(a.Rows, AskedRow{i, col})
		}
	}
	slices.Sort(a.Profiles)
	a.Profiles = slices.Compact(a.Profiles)
	return a
}

// plain says whether position i needs no resolver: nobody is met, or exactly one profile by identities that are all its
// own, one of which finds it.
func plain(k *Keys, r *identity.Rules, i int, bound func(c int) id.Profile) bool {
	var met id.Profile
	unbound, found := false, r.Strategy() == identity.Graph
	for c, x := range k.Identities {
		if x.Values.IsNull(i) {
			continue
		}
		p := bound(c)
		switch {
		case p == 0:
			unbound = unbound || x.Type != identity.MPID
		case met == 0 || met == p:
			met = p
			found = found || r.IsLogin(x.Type)
		default:
			return false
		}
	}
	return met == 0 || !unbound && found
}
