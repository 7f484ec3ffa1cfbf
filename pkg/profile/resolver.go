package profile

import (
	"slices"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/identity"
)

// resolver is what a decider needs for rows that may belong to several profiles. It keeps what earlier rows of the batch
// have done to profiles beside what State.Held has.
type resolver struct {
	holdings map[id.Profile]*Holding
	into     map[id.Profile]id.Profile // merged in this batch → survivor
	rebound  map[Identity]int          // bound before the batch → position in eff.Identities
	guarded  map[id.Profile]bool
	// Of the row at hand: what was asked and answered; asked is false where it was plain.
	asked   bool
	given   []identity.Given
	columns []int // of given
	outcome identity.Outcome
}

// nobody stands for the profile of an identity that enters no profile.
const nobody = ^id.Profile(0)

// Explained is what became of the identities of the row at a position.
type Explained struct {
	Row     int
	Profile id.Profile
	Given   []identity.Given
	Outcome identity.Outcome
}

// follow answers the profile that an identity is bound to by now, where it was bound to p before the batch.
func (d *decider) follow(c, i int, p id.Profile) id.Profile {
	x := &d.k.Identities[c]
	if x.Type == identity.MPID {
		for q := d.into[p]; q != 0; q = d.into[p] {
			p = q
		}
		return p
	}
	if at, there := d.rebound[Identity{x.Type, x.Values.Value(i)}]; there {
		return d.eff.Identities[at].Profile
	}
	return p
}

// resolves says whether the row at i, whose identities are bound as d.profiles says, needs the resolver.
func (d *decider) resolves(i int) bool {
	if d.strategy.Strategy() == identity.BestMatch {
		return d.explain
	}
	return d.explain || !plain(&d.k, d.strategy, i, func(c int) id.Profile { return d.profiles[c] })
}

// ask asks where the row at i belongs, 0 for a new profile. bind does what comes of it.
func (d *decider) ask(i int) id.Profile {
	d.given, d.columns = d.given[:0], d.columns[:0]
	for c, x := range d.k.Identities {
		if x.Values.IsNull(i) || x.Type == identity.MPID && d.profiles[c] == 0 {
			continue
		}
		d.given = append(d.given, identity.Given{Type: x.Type, Value: x.Values.Value(i), Profile: d.profiles[c]})
		d.columns = append(d.columns, c)
	}
	v, _ := d.version(i)
	d.outcome = d.strategy.Resolve(identity.Question{
		Given: d.given, Time: v.Time, Holder: func(p id.Profile) identity.Holder { return d.holding(p).Holder },
	})
	d.asked = true
	return d.outcome.Profile
}

// holding answers what a profile holds by now.
func (d *decider) holding(p id.Profile) *Holding {
	if h := d.holdings[p]; h != nil {
		return h
	}
	if d.holdings == nil {
		d.holdings = map[id.Profile]*Holding{}
	}
	h := d.st.Held[p]
	h.Held = slices.Clone(h.Held)
	d.holdings[p] = &h
	return &h
}

// born notes a profile that the row at i makes.
func (d *decider) born(i int, p id.Profile) {
	if d.strategy.Strategy() != identity.BestMatch {
		d.holding(p).Created = d.seen(i)
	}
}

// seen answers when the row at i says that its profile was seen, 0 where it does not.
func (d *decider) seen(i int) int64 {
	v, _ := d.version(i)
	if d.kind.Single() {
		return seenOf(d.event.time(i, v.Time))
	}
	return v.Time
}

// saw notes that p was seen.
func (d *decider) saw(p id.Profile, seen int64) {
	if _, held := d.st.Held[p]; seen == 0 || !held && d.holdings[p] == nil {
		return
	}
	if h := d.holding(p); h.Created == 0 || seen < h.Created {
		h.Created = seen
	}
}

// hold notes that an identity is bound to p by the row at i, which was bound to nobody.
func (d *decider) hold(i int, p id.Profile, x Identity) {
	if d.strategy.Strategy() == identity.BestMatch {
		return
	}
	v, _ := d.version(i)
	h := d.holding(p)
	d.guard(p, h)
	h.Held = append(h.Held, identity.Held{Type: x.Type, Value: x.Value, Since: v.Time})
	b, known := h.ties.bonds[x]
	if !known && !d.strategy.Windowed() {
		return
	}
	if known && b.lost {
		b.turn++
	}
	var t ties
	t.bond(x, bond{turn: b.turn, since: v.Time})
	h.ties.bond(x, t.bonds[x])
	d.tie(p, t)
}

// tie writes ties into a profile's document.
func (d *decider) tie(p id.Profile, t ties) {
	d.eff.Contributions = append(d.eff.Contributions, ContributionWrite{p, t.append(nil)})
}

// carryOut does what the resolver said of the row at i, which goes to p, but for what is bound to nobody yet. It answers
// how many identities came to p.
func (d *decider) carryOut(i int, p id.Profile) int {
	if d.explain {
		d.eff.Explained = append(d.eff.Explained, Explained{i, p, slices.Clone(d.given), d.outcome})
	}
	for _, m := range d.outcome.Merges {
		d.merge(i, p, m)
	}
	for _, s := range d.outcome.Stops {
		d.logStop(i, p, s)
	}
	if q := d.outcome.Linked; q != 0 {
		m := d.logged(i, Linked, p, q)
		m.Rule, m.Glue = string(d.strategy.Strategy()), d.firstOf(q)
		d.eff.Merges = append(d.eff.Merges, m)
	}
	n := 0
	for at, f := range d.outcome.Fates {
		c, g := d.columns[at], d.given[at]
		switch {
		case f.Do == identity.Steal:
			d.steal(i, p, g)
			d.profiles[c] = p
			n++
		case f.Do == identity.Keep && g.Profile != 0:
			d.profiles[c] = p
		case f.Do == identity.Leave && g.Profile == 0:
			d.profiles[c] = nobody
		}
	}
	return n
}

// logged begins an entry of the log of merges.
func (d *decider) logged(i int, kind MergeKind, p id.Profile, others ...id.Profile) Merge {
	return Merge{
		ID: mergeIDOf(d.k.Origin.Batch, d.key(i), others[0]), Kind: kind, Profile: p, Others: others,
		SyncID: d.k.Origin.SyncID, Batch: d.k.Origin.Batch, KeyValues: d.keyValue(i),
	}
}

// firstOf answers the first identity of the row at hand that is bound to p.
func (d *decider) firstOf(p id.Profile) Identity {
	for _, g := range d.given {
		if g.Profile == p {
			return Identity{g.Type, g.Value}
		}
	}
	return Identity{}
}

func (d *decider) logStop(i int, p id.Profile, s identity.Stop) {
	m := d.logged(i, Stopped, p, s.Profiles...)
	m.Rule, m.Glue = s.Rule, Identity{d.given[s.Demoted].Type, d.given[s.Demoted].Value}
	if s.Type != "" {
		m.Limit = s.Type + " " + s.Limit.String()
	}
	m.ID = stopIDOf(m.Rule, m.Limit, m.Glue, m.Others)
	if !slices.ContainsFunc(d.eff.Merges, func(x Merge) bool { return x.ID == m.ID }) {
		d.eff.Merges = append(d.eff.Merges, m)
	}
}

// merge merges a profile into p: what is bound to it is bound to p, and the documents are tied.
func (d *decider) merge(i int, p id.Profile, m identity.Merge) {
	to, from := d.holding(p), d.holding(m.Profile)
	d.guard(p, to)
	d.guard(m.Profile, from)
	log := d.logged(i, Merged, p, m.Profile)
	log.Rule, log.Glue = string(d.strategy.Strategy()), Identity{d.given[m.By].Type, d.given[m.By].Value}
	for _, h := range from.Held {
		x := Identity{h.Type, h.Value}
		d.rebind(x, m.Profile, p)
		log.Moved = append(log.Moved, x)
	}
	at := max(to.ties.kin[kinship{false, m.Profile}], from.ties.kin[kinship{true, p}]) + 1
	var up, down ties
	up.kinTo(kinship{false, m.Profile}, at)
	down.kinTo(kinship{true, p}, at)
	d.tie(p, up)
	d.tie(m.Profile, down)
	to.Held = append(to.Held, from.Held...)
	to.Merges += 1 + from.Merges
	to.Members = append(append(to.Members[:len(to.Members):len(to.Members)], m.Profile), from.Members...)
	to.Apart = append(to.Apart[:len(to.Apart):len(to.Apart)], from.Apart...)
	to.ties = joined(to.ties, from.ties, up, down)
	if d.into == nil {
		d.into = map[id.Profile]id.Profile{}
	}
	d.into[m.Profile] = p
	delete(d.holdings, m.Profile)
	d.eff.Links = append(d.eff.Links, Link{m.Profile, p})
	d.eff.Merges = append(d.eff.Merges, log)
}

// joined answers ties that have what all of some have.
func joined(all ...ties) (t ties) {
	for _, x := range all {
		for i, b := range x.bonds {
			t.bond(i, b)
		}
		for k, at := range x.kin {
			t.kinTo(k, at)
		}
		for a := range x.apart {
			t.apartFrom(a)
		}
	}
	return t
}

// steal takes an identity from the profile that it is bound to.
func (d *decider) steal(i int, p id.Profile, g identity.Given) {
	v, _ := d.version(i)
	x := Identity{g.Type, g.Value}
	to, from := d.holding(p), d.holding(g.Profile)
	d.guard(p, to)
	d.guard(g.Profile, from)
	at := max(to.ties.bonds[x].turn, from.ties.bonds[x].turn) + 1
	var gain, loss ties
	gain.bond(x, bond{turn: at, since: v.Time})
	loss.bond(x, bond{turn: at, lost: true})
	d.tie(p, gain)
	d.tie(g.Profile, loss)
	to.ties, from.ties = joined(to.ties, gain), joined(from.ties, loss)
	to.Held = append(to.Held, identity.Held{Type: x.Type, Value: x.Value, Since: v.Time})
	from.Held = slices.DeleteFunc(from.Held, func(h identity.Held) bool { return h.Type == x.Type && h.Value == x.Value })
	d.rebind(x, g.Profile, p)
}

// guard lets Commit see that a profile is as it was looked up.
func (d *decider) guard(p id.Profile, h *Holding) {
	if _, held := d.st.Held[p]; !held || d.guarded[p] {
		return
	}
	if d.guarded == nil {
		d.guarded = map[id.Profile]bool{}
	}
	d.guarded[p] = true
	d.eff.Guards = append(d.eff.Guards, Guard{p, h.Shape})
}

// rebind binds an identity anew that is bound.
func (d *decider) rebind(x Identity, from, to id.Profile) {
	if at, there := d.rebound[x]; there {
		d.eff.Identities[at].Profile = to
		return
	}
	for c := range d.k.Identities {
		if d.k.Identities[c].Type != x.Type {
			continue
		}
		if at, _ := d.newlyBound(c, x.Value); at >= 0 {
			d.eff.Identities[at].Profile = to
			return
		}
	}
	if d.rebound == nil {
		d.rebound = map[Identity]int{}
	}
	d.rebound[x] = len(d.eff.Identities)
	d.eff.Identities = append(d.eff.Identities, IdentityWrite{Type: x.Type, Value: x.Value, Profile: to, From: from})
}
