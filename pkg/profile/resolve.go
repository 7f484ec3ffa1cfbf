package profile

import (
	"slices"

	"github.com/zeebo/xxh3"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/identity"
)

// usable says whether the row at i has an identity that names somebody.
func (d *decider) usable(i int) bool {
	for c, col := range d.k.Identities {
		if !col.Values.IsNull(i) && (col.Type != identity.MPID || d.st.Profiles[c][i] != 0) {
			return true
		}
	}
	return false
}

// resolve answers the profile of the row at i, 0 where none of its identities is bound, and says whether any identity
// names somebody. It leaves what each is bound to in d.profiles.
func (d *decider) resolve(i int) (p id.Profile, known bool) {
	d.asked = false
	for c, col := range d.k.Identities {
		d.profiles[c] = 0
		if col.Values.IsNull(i) {
			continue
		}
		q := d.st.Profiles[c][i]
		switch {
		case q == 0 && col.Type != identity.MPID:
			var at int
			if at, d.idHashes[c] = d.newlyBound(c, col.Values.Value(i)); at >= 0 {
				q = d.eff.Identities[at].Profile
			}
		case len(d.eff.Links) > 0 || len(d.rebound) > 0:
			q = d.follow(c, i, q)
		}
		if q == 0 && col.Type == identity.MPID {
			continue // names nobody
		}
		known = true
		d.profiles[c] = q
		if p == 0 {
			p = q
		}
	}
	if known && d.resolves(i) {
		p = d.ask(i)
	}
	return p, known
}

// newlyBound answers the position in eff.Identities of the value, where a row before has bound it, or -1; and its hash.
func (d *decider) newlyBound(c int, value string) (at int, hash uint64) {
	h := xxh3.HashStringSeed(value, uint64(c)) //nolint:gosec // a small number
	for s := d.bound.first(h); ; s = d.bound.next(s) {
		at, more := d.bound.at(s, h)
		if !more {
			return -1, h
		}
		if at < 0 {
			continue
		}
		if w := &d.eff.Identities[at]; w.Value == value && w.Type == d.k.Identities[c].Type {
			return at, h
		}
	}
}

// resolveUser says which profile a user row goes to, making one where it may. Where the row has none it counts why and
// answers false.
func (d *decider) resolveUser(i int, key id.Row, v Version, e *Entry) bool {
	p, known := d.resolve(i)
	if !known {
		d.refuse(i, key, v)
		return false
	}
	if d.readOnly || (p == 0 && !d.mayCreate) {
		d.count(Protected, 0)
		return false
	}
	if p == 0 {
		p = d.create(i)
	}
	d.bind(i, p)
	e.Profile = p
	return true
}

// resolveEvent answers the profile that an event goes to, 0: none.
func (d *decider) resolveEvent(i int) id.Profile {
	p, known := d.resolve(i)
	if p == 0 && known && d.mayCreate {
		p = d.create(i)
	}
	return p
}

// create answers the id of a new profile for the row at i.
func (d *decider) create(i int) id.Profile {
	if d.newOnes == nil {
		d.newOnes = make([]id.Profile, 0, d.n)
		d.fresh.grow(d.n)
	}
	p := d.st.Fresh[i]
	if p == 0 || d.isNew(p) {
		p = d.derive(i, p)
	}
	d.fresh.add(uint64(p), len(d.newOnes))
	d.newOnes = append(d.newOnes, p)
	d.born(i, p)
	return p
}

// derive answers the next choice of an id behind `taken` for the row's first identity that no row before has taken.
func (d *decider) derive(i int, taken id.Profile) id.Profile {
	for _, col := range d.k.Identities {
		if col.Values.IsNull(i) || col.Type == identity.MPID {
			continue
		}
		n := 0
		for taken != 0 && n < maxChoices && Derive(d.k.Scope, col.Type, col.Values.Value(i), n) != taken {
			n++
		}
		if n == maxChoices {
			n = -1 // taken is none of this identity's; begin anew
		}
		for n++; ; n++ {
			if p := Derive(d.k.Scope, col.Type, col.Values.Value(i), n); !d.isNew(p) {
				return p
			}
		}
	}
	return 0
}

// maxChoices bounds the search for the choice that a store made: more collisions of 63 bits do not happen.
const maxChoices = 64

func (d *decider) isNew(p id.Profile) bool {
	for s := d.fresh.first(uint64(p)); ; s = d.fresh.next(s) {
		at, more := d.fresh.at(s, uint64(p))
		if !more {
			return false
		}
		if at >= 0 && d.newOnes[at] == p {
			return true
		}
	}
}

// bind binds the row's identities that are bound to nobody, does what the resolver said of the others, and answers how
// many came to p.
func (d *decider) bind(i int, p id.Profile) int {
	more := 0
	if d.asked {
		more = d.carryOut(i, p)
	}
	before := len(d.eff.Identities)
	for c, col := range d.k.Identities {
		if d.profiles[c] != 0 || col.Values.IsNull(i) || col.Type == identity.MPID {
			continue
		}
		if d.bound.slots == nil {
			d.eff.Identities = slices.Grow(d.eff.Identities, d.n*len(d.k.Identities))
			d.bound.grow(d.n * len(d.k.Identities))
		}
		d.bound.add(d.idHashes[c], len(d.eff.Identities))
		d.eff.Identities = append(d.eff.Identities, IdentityWrite{Type: col.Type, Value: col.Values.Value(i), Profile: p})
		d.profiles[c] = p
		d.hold(i, p, Identity{col.Type, col.Values.Value(i)})
	}
	return len(d.eff.Identities) - before + more
}
