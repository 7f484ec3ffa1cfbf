package identity

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace.dev/pkg/fault"
)

// Strategy is how a row finds its profile.
type Strategy string

// The strategies.
const (
	// BestMatch takes the profile of the highest-priority bound identity; whatever else is bound stays where it is.
	BestMatch Strategy = "best_match"
	// Default is ProfileConversion whose one unique and one login type is customer_id.
	Default Strategy = "default"
	// ProfileConversion finds a profile that holds a login identity only by one of its login identities; an anonymous
	// profile becomes that of the person who logs in.
	ProfileConversion Strategy = "profile_conversion"
	// ProfileLink is like ProfileConversion, but who logs in for the first time gets a new profile, to which the
	// anonymous one is linked in the log.
	ProfileLink Strategy = "profile_link"
	// ProfileIsolation is like ProfileLink without the link.
	ProfileIsolation Strategy = "profile_isolation"
	// Graph takes whatever any identity is bound to and merges it, as far as limits allow.
	Graph Strategy = "graph"
)

// Strategies answers all of them.
func Strategies() []Strategy {
	return []Strategy{BestMatch, Default, ProfileConversion, ProfileLink, ProfileIsolation, Graph}
}

// Window is over which time values of a type are counted.
type Window string

// The windows. A month has 30 days, a year 365.
const (
	Ever     Window = "ever"
	Weekly   Window = "weekly"
	Monthly  Window = "monthly"
	Annually Window = "annually"
)

// length answers how long a window is, 0 where it has no end.
func (w Window) length() time.Duration {
	const day = 24 * time.Hour
	switch w {
	case Weekly:
		return 7 * day
	case Monthly:
		return 30 * day
	case Annually:
		return 365 * day
	case Ever:
	}
	return 0
}

// Limit is how many values of one type a profile may get within a window.
type Limit struct {
	Values int
	Window Window
}

func (l Limit) String() string { return strconv.Itoa(l.Values) + " " + string(l.Window) }

// Caps and limits of the graph, unless settings say otherwise.
const (
	DefaultMaxMerges   = 100
	DefaultMaxMappings = 1000
	defaultLimit       = 5
)

// otherTypes names, in a list of limits, the types that are not in it.
const otherTypes = "*"

// Options are the settings that Rules are made of; zero values stand for the strategy's own.
type Options struct {
	Strategy  string
	Priority  []string // types, highest first; see Order
	Unique    []string // types of which a value belongs to one profile: a row that brings it takes it along
	Login     []string // types that a profile is found by once it holds one
	Immutable []string // types of which a profile never gets a second value, and loses none
	// Limits are those of the graph, as TYPE=COUNT or TYPE=COUNT WINDOW; type * stands for all others.
	Limits      []string
	MaxMerges   int // of one profile, those of what is merged into it included
	MaxMappings int // identities of one profile
}

// Rules is how rows find their profiles. Nil is BestMatch with the default priority. Safe for concurrent use.
type Rules struct {
	strategy                 Strategy
	priority                 []string
	unique, login, immutable []string
	limits                   map[string]Limit
	others                   Limit
	maxMerges, maxMappings   int
}

// Strategy answers the strategy of r.
func (r *Rules) Strategy() Strategy {
	if r == nil {
		return BestMatch
	}
	return r.strategy
}

// Windowed says whether any limit counts over a window, so that it matters when an identity was bound.
func (r *Rules) Windowed() bool {
	if r == nil || r.strategy != Graph {
		return false
	}
	if r.others.Window != Ever {
		return true
	}
	for _, l := range r.limits {
		if l.Window != Ever {
			return true
		}
	}
	return false
}

// IsLogin says whether a profile that holds an identity of this type is found by login identities only.
func (r *Rules) IsLogin(typ string) bool { return r != nil && slices.Contains(r.login, typ) }

// NewRules makes rules of settings. Invalid lists every setting at fault.
func NewRules(o Options) (*Rules, error) {
	r := &Rules{
		strategy: Strategy(o.Strategy), priority: o.Priority, unique: o.Unique, login: o.Login, immutable: o.Immutable,
		limits: map[string]Limit{}, others: Limit{defaultLimit, Ever}, maxMerges: o.MaxMerges, maxMappings: o.MaxMappings,
	}
	c := checking{r: r}
	c.strategy()
	c.types(o)
	c.limits(o.Limits)
	c.caps(o)
	if len(c.bad) > 0 {
		return nil, fault.Of(fault.ReasonInvalidArgument, c.bad)
	}
	return r, nil
}

// checking is a NewRules under way.
type checking struct {
	r   *Rules
	bad []fault.Violation
}

func (c *checking) say(field, message, fix string) {
	c.bad = append(c.bad, fault.Violation{Field: field, Message: message, Fix: fix})
}

func (c *checking) strategy() {
	if c.r.strategy == "" {
		c.r.strategy = BestMatch
	}
	if slices.Contains(Strategies(), c.r.strategy) {
		return
	}
	var names []string
	for _, s := range Strategies() {
		names = append(names, string(s))
	}
	c.say("identity_strategy", "is none that there is", "use one of "+strings.Join(names, ", "))
}

// types fills in what a strategy has of its own, and refuses roles that it does not have.
func (c *checking) types(o Options) {
	roles := []struct {
		field string
		types []string
	}{
		{"identity_unique", o.Unique}, {"identity_login", o.Login}, {"identity_immutable", o.Immutable},
	}
	for _, l := range roles {
		if slices.Contains(l.types, MPID) {
			c.say(l.field, "lists mpid, which is never bound", "leave it out")
		}
	}
	switch c.r.strategy {
	case ProfileConversion:
		c.own("customer_id")
	case ProfileLink, ProfileIsolation:
		c.own("customer_id", "email")
	case Default, BestMatch, Graph:
		for _, l := range roles {
			if len(l.types) > 0 {
				c.say(l.field, "has no meaning under strategy "+string(c.r.strategy),
					"leave it out, or use profile_conversion, profile_link or profile_isolation")
			}
		}
		if c.r.strategy == Default {
			c.own("customer_id")
		}
		return
	}
	for _, t := range o.Immutable {
		if !slices.Contains(c.r.unique, t) || !slices.Contains(c.r.login, t) {
			c.say("identity_immutable", "lists "+t+", which is not both unique and login", "add it to identity_unique and identity_login")
		}
	}
}

func (c *checking) own(types ...string) {
	if len(c.r.unique) == 0 {
		c.r.unique = types
	}
	if len(c.r.login) == 0 {
		c.r.login = types
	}
}

func (c *checking) limits(lines []string) {
	const field, form = "identity_limits", "write TYPE=COUNT or TYPE=COUNT WINDOW, such as anonymous_id=5 weekly; windows are ever, weekly, monthly, annually"
	if c.r.strategy == Graph {
		c.r.limits["customer_id"] = Limit{1, Ever}
	} else if len(lines) > 0 {
		c.say(field, "has no meaning under strategy "+string(c.r.strategy), "leave it out, or use strategy graph")
		return
	}
	seen := map[string]bool{}
	for _, line := range lines {
		typ, text, _ := strings.Cut(line, "=")
		typ = strings.TrimSpace(typ)
		l, ok := parseLimit(text)
		switch {
		case !ok || typ == "":
			c.say(field, fmt.Sprintf("has %q, which is no limit", line), form)
		case typ == MPID:
			c.say(field, "lists mpid, which is never bound", "leave it out")
		case seen[typ]:
			c.say(field, "lists "+typ+" twice", "keep one of them")
		case typ == otherTypes:
			c.r.others, seen[typ] = l, true
		default:
			c.r.limits[typ], seen[typ] = l, true
		}
	}
}

func parseLimit(text string) (Limit, bool) {
	words := strings.Fields(text)
	if len(words) == 0 || len(words) > 2 {
		return Limit{}, false
	}
	n, err := strconv.Atoi(words[0])
	l := Limit{n, Ever}
	if len(words) == 2 {
		l.Window = Window(words[1])
	}
	return l, err == nil && n > 0 && slices.Contains([]Window{Ever, Weekly, Monthly, Annually}, l.Window)
}

func (c *checking) caps(o Options) {
	for _, n := range []struct {
		field     string
		given, by int
		into      *int
	}{
		{"identity_max_merges", o.MaxMerges, DefaultMaxMerges, &c.r.maxMerges},
		{"identity_max_mappings", o.MaxMappings, DefaultMaxMappings, &c.r.maxMappings},
	} {
		switch {
		case n.given == 0:
			*n.into = n.by
		case n.given < 0 || n.given > n.by:
			c.say(n.field, "is "+strconv.Itoa(n.given), fmt.Sprintf("use a number from 1 to %d, or 0 for the default", n.by))
		}
	}
}

// limitOf answers how many values of a type a profile may get.
func (r *Rules) limitOf(typ string) Limit {
	if l, ok := r.limits[typ]; ok {
		return l
	}
	return r.others
}
