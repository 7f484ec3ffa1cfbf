package ingestion

import (
	"time"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/identity"
	"millrace.dev/pkg/profile"
)

// Settings are the service's own.
type Settings struct {
	Workers  int   `help:"Batches worked on at once: while one is committed, the next is looked up." default:"2"`
	MaxBatch int64 `help:"Bytes that a decoded batch may take." default:"268435456"`
	MaxConns int   `help:"Connections to a PostgreSQL store." default:"8"`

	IdentityPriority  []string `help:"Identity types, highest priority first; types not listed follow in alphabetical order. Default: customer_id, email, the other user identities, devices." placeholder:"TYPE"`
	IdentityMaxLength int      `help:"Bytes that an identity value may have." default:"512"`
	BlockedIdentities []string `help:"Identity values that name nobody; one that begins with ^ is a regular expression. Default: ^[0-]*$ -1 null none anonymous undefined n/a." placeholder:"VALUE"`

	IdentityStrategy    string   `help:"How a row finds its profile: best_match, default, profile_conversion, profile_link, profile_isolation or graph. Default: best_match, the profile of its highest-priority bound identity."`
	IdentityUnique      []string `help:"Identity types of which a value belongs to one profile and goes with the row that brings it. Default: customer_id; under profile_link and profile_isolation also email." placeholder:"TYPE"`
	IdentityLogin       []string `help:"Identity types by one of which alone a profile is found that holds any of them. Default: as identity-unique." placeholder:"TYPE"`
	IdentityImmutable   []string `help:"Identity types of which a profile gets no second value and loses none; they must be unique and login." placeholder:"TYPE"`
	IdentityLimits      []string `help:"Strategy graph: how many values of a type a profile may get, as TYPE=COUNT or 'TYPE=COUNT WINDOW' (ever, weekly, monthly, annually); * stands for all others. Default: customer_id=1, *=5." placeholder:"LIMIT"`
	IdentityMaxMerges   int      `help:"Strategy graph: merges that a profile is made of at most." default:"100"`
	IdentityMaxMappings int      `help:"Strategy graph: identities that a profile holds at most." default:"1000"`

	AttributeConflict string `help:"What becomes of an attribute that comes with another type than it has: widen makes its type the narrowest that holds both, reject refuses the row, text keeps the value as text." default:"widen" enum:"widen,reject,text"`

	KeepRejects time.Duration `help:"How long rejects and their rows are kept; 0: for ever." default:"720h"`

	Snapshots int `help:"Snapshots of syncs that are remembered." default:"1024"`
}

// Tries is how often a batch is decided anew when others change what it goes by, before it waits.
const Tries = 8

// rules answers the settings that Decide goes by, less what depends on the feed. Every setting at fault is listed.
func (s Settings) rules() (profile.Rules, error) {
	r := profile.Rules{Priority: s.IdentityPriority}
	var values, strategy error
	r.Identities, values = s.policy()
	r.Strategy, strategy = identity.NewRules(identity.Options{
		Strategy: s.IdentityStrategy, Priority: s.IdentityPriority, Unique: s.IdentityUnique, Login: s.IdentityLogin,
		Immutable: s.IdentityImmutable, Limits: s.IdentityLimits, MaxMerges: s.IdentityMaxMerges, MaxMappings: s.IdentityMaxMappings,
	})
	var bad []fault.Violation
	for _, err := range []error{values, strategy} {
		if err != nil {
			bad = append(bad, fault.As(err).Violations...)
		}
	}
	return r, fault.Of(fault.ReasonInvalidArgument, bad) //nolint:wrapcheck // lists the settings at fault
}

// policy answers which identity values are usable.
func (s Settings) policy() (p identity.Policy, err error) {
	if len(s.BlockedIdentities) == 0 && (s.IdentityMaxLength == 0 || s.IdentityMaxLength == identity.DefaultMaxLength) {
		return p, nil
	}
	blocked := s.BlockedIdentities
	if len(blocked) == 0 {
		blocked = identity.DefaultBlocked()
	}
	return identity.NewPolicy(blocked, s.IdentityMaxLength) //nolint:wrapcheck // lists the settings at fault
}
