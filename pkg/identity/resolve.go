package identity

import (
	"cmp"
	"slices"

	"millrace.dev/pkg/id"
)

// Given is an identity that a row brings, and the profile that it is bound to; 0: none. One of type MPID names the
// profile that it is bound to and is itself never bound.
type Given struct {
	Type    string
	Value   string
	Profile id.Profile
}

// Held is an identity that is bound to a profile.
type Held struct {
	Type  string
	Value string
	Since int64 // when it was bound, nanoseconds since the Unix epoch; 0: unknown, and long ago
}

// Holder is what is known of a profile that an identity of a row is bound to.
type Holder struct {
	Created int64 // nanoseconds since the Unix epoch; 0: unknown, and newer than any other
	Merges  int   // how many profiles are merged into it, directly or not
	Held    []Held
	Members []id.Profile // the profiles that are merged into it, directly or not
	Apart   []Apart
}

// Apart is a merge that was undone: the value must not merge these two again.
type Apart struct {
	From  id.Profile
	Type  string
	Value string
}

// Question asks where a row belongs.
type Question struct {
	Given []Given
	// Holder answers what is known of a profile of Given. One that is not known holds nothing else.
	Holder func(id.Profile) Holder
	Time   int64 // the row's, nanoseconds since the Unix epoch: the end of windows
}

// Do is what becomes of an identity of a row.
type Do uint8

// What becomes of it.
const (
	Keep  Do = iota // it is the profile's already, or becomes so by a merge
	Bind            // it was bound to nobody and is bound to the profile
	Steal           // it is taken from the profile that it was bound to
	Leave           // it does not enter: bound elsewhere it stays there, else it is bound to nobody
)

// The rules by which an identity is left, stolen, or a merge does not come about.
const (
	RuleElsewhere  = "bound_elsewhere" // it belongs to another profile and its type is not unique
	RuleUnique     = "unique"          // a value of a unique type goes with the row
	RuleImmutable  = "immutable"       // a profile's value of an immutable type never changes
	RuleLogin      = "login"           // its profile is found by login identities only, and the row has none of them
	RuleLimit      = "limit"           // a profile would get more values of a type than its limit
	RuleMergeCap   = "merge_cap"       // a profile would be made of too many
	RuleMappingCap = "mapping_cap"     // a profile would hold too many identities
	RuleUnmerged   = "unmerged"        // the merge was undone, and this value must not bring it about again
)

// Fate is what becomes of the identity of Question.Given at the same position.
type Fate struct {
	Do   Do
	Rule string // why it is left or stolen
}

// Merge is a profile that is merged into the outcome's.
type Merge struct {
	Profile id.Profile
	By      int // position in Question.Given of the value that glues the two
}

// Stop is a merge that does not come about.
type Stop struct {
	Profiles []id.Profile // ascending
	Rule     string
	Type     string // whose limit it is
	Limit    Limit
	Demoted  int // position in Question.Given of what was left in its place
}

// Outcome is where a row belongs and what becomes of its identities.
type Outcome struct {
	Profile id.Profile // 0: a new one
	Fates   []Fate
	Merges  []Merge
	Stops   []Stop
	Linked  id.Profile // under profile_link: the anonymous profile that the new one goes on from; 0: none
}

// Resolve answers where a row belongs. The order of what is given does not matter. At least one identity of another type
// than MPID, or one that is bound, must be given.
func (r *Rules) Resolve(q Question) Outcome {
	a := newAsking(r, q)
	switch r.Strategy() {
	case Graph:
		a.graph()
	case Default, ProfileConversion, ProfileLink, ProfileIsolation:
		a.byLogin()
	case BestMatch:
		a.bestMatch()
	}
	return a.out
}

// asking is a Resolve under way.
type asking struct {
	*Rules
	q       Question
	order   []int // positions in q.Given, highest priority first
	holders map[id.Profile]Holder
	out     Outcome
}

func newAsking(r *Rules, q Question) *asking {
	if r == nil {
		r = &Rules{strategy: BestMatch}
	}
	a := &asking{Rules: r, q: q, holders: map[id.Profile]Holder{}, out: Outcome{Fates: make([]Fate, len(q.Given))}}
	types := make([]string, 0, len(q.Given))
	for i, g := range q.Given {
		a.order = append(a.order, i)
		if !slices.Contains(types, g.Type) {
			types = append(types, g.Type)
		}
		if _, known := a.holders[g.Profile]; !known && g.Profile != 0 && q.Holder != nil {
			a.holders[g.Profile] = q.Holder(g.Profile)
		}
	}
	types = Order(types, r.priority)
	slices.SortFunc(a.order, func(i, j int) int {
		x, y := &q.Given[i], &q.Given[j]
		return cmp.Or(
			cmp.Compare(slices.Index(types, x.Type), slices.Index(types, y.Type)),
			cmp.Compare(x.Value, y.Value), cmp.Compare(i, j))
	})
	return a
}

func (a *asking) bestMatch() {
	for _, i := range a.order {
		if p := a.q.Given[i].Profile; p != 0 {
			a.out.Profile = p
			break
		}
	}
	a.fates(func(int, Given) Fate { return Fate{Leave, RuleElsewhere} })
}

// fates says what becomes of each identity once the profile is known. What is bound to another is asked of elsewhere.
func (a *asking) fates(elsewhere func(i int, g Given) Fate) {
	for i, g := range a.q.Given {
		switch {
		case g.Type == MPID || g.Profile != 0 && g.Profile == a.out.Profile:
			a.out.Fates[i] = Fate{Do: Keep}
		case g.Profile == 0:
			a.out.Fates[i] = Fate{Do: Bind}
		default:
			a.out.Fates[i] = elsewhere(i, g)
		}
	}
}

// byLogin is the four strategies that go by login identities.
func (a *asking) byLogin() {
	for _, i := range a.order {
		if p := a.q.Given[i].Profile; p != 0 && a.eligible(p) {
			a.out.Profile = p
			break
		}
	}
	a.fates(func(_ int, g Given) Fate {
		switch {
		case slices.Contains(a.immutable, g.Type):
			return Fate{Leave, RuleImmutable}
		case slices.Contains(a.unique, g.Type):
			return Fate{Steal, RuleUnique}
		}
		return Fate{Leave, RuleElsewhere}
	})
	if a.out.Profile == 0 {
		a.begin()
		return
	}
	for i, g := range a.q.Given {
		if a.out.Fates[i].Do != Leave && a.changes(g) {
			a.out.Fates[i] = Fate{Leave, RuleImmutable}
		}
	}
}

// changes says whether an identity would be a second one of an immutable type.
func (a *asking) changes(g Given) bool {
	return slices.Contains(a.immutable, g.Type) && slices.ContainsFunc(a.holders[a.out.Profile].Held, func(h Held) bool {
		return h.Type == g.Type && h.Value != g.Value
	})
}

// begin says what a new profile begins with. Where nothing is left for it, it takes along what the row has, so that the
// next such row finds it.
func (a *asking) begin() {
	if a.strategy == ProfileLink && a.hasLogin() {
		for _, i := range a.order {
			if p := a.q.Given[i].Profile; p != 0 && !a.known(p) {
				a.out.Linked = p
				break
			}
		}
	}
	for _, f := range a.out.Fates {
		if f.Do == Bind || f.Do == Steal {
			return
		}
	}
	for i, g := range a.q.Given {
		if a.out.Fates[i].Do == Leave && !slices.Contains(a.immutable, g.Type) {
			a.out.Fates[i] = Fate{Steal, RuleLogin}
		}
	}
}

// eligible says whether a row may find a profile.
func (a *asking) eligible(p id.Profile) bool {
	for _, g := range a.q.Given {
		if g.Profile == p && (g.Type == MPID || slices.Contains(a.login, g.Type)) {
			return true
		}
	}
	if a.known(p) {
		return false
	}
	conversion := a.strategy == Default || a.strategy == ProfileConversion
	return conversion || !a.hasLogin()
}

// known says whether a profile holds a login identity.
func (a *asking) known(p id.Profile) bool {
	return slices.ContainsFunc(a.holders[p].Held, func(h Held) bool { return slices.Contains(a.login, h.Type) })
}

// hasLogin says whether the row has a login identity.
func (a *asking) hasLogin() bool {
	return slices.ContainsFunc(a.q.Given, func(g Given) bool { return slices.Contains(a.login, g.Type) })
}
