package ingestion

import (
	"time"

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

	KeepRejects time.Duration `help:"How long rejects and their rows are kept; 0: for ever." default:"720h"`

	Snapshots int `help:"Snapshots of syncs that are remembered." default:"1024"`
}

// Tries is how often a batch is decided anew when others change what it goes by, before it waits.
const Tries = 8

// rules answers the settings that Decide goes by, less what depends on the feed.
func (s Settings) rules() (profile.Rules, error) {
	r := profile.Rules{Priority: s.IdentityPriority}
	if len(s.BlockedIdentities) == 0 && (s.IdentityMaxLength == 0 || s.IdentityMaxLength == identity.DefaultMaxLength) {
		return r, nil
	}
	blocked := s.BlockedIdentities
	if len(blocked) == 0 {
		blocked = identity.DefaultBlocked()
	}
	var err error
	r.Identities, err = identity.NewPolicy(blocked, s.IdentityMaxLength)
	return r, err //nolint:wrapcheck // lists the settings at fault
}
