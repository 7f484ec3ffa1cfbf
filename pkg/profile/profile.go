// Package profile decides what records change: from a batch and the state that it meets to effects. It is pure; package
// store keeps what it decides.
//
// Values on the hot path are addressed by position: everything said of "position i" is said of row i of the batch's
// record. Arrays may alias Arrow buffers of the batch and must not outlive it.
package profile

import (
	"github.com/apache/arrow-go/v18/arrow/array"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/identity"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/row"
)

// Scope is a data set of the platform: profiles of one scope never meet those of another.
type Scope struct {
	Workspace   id.Workspace
	Environment resource.Environment
	// Space is what the scope is about: empty for people and their events, else as the Space functions name it.
	Space string
}

// Keys is what must be looked up to decide on a batch.
type Keys struct {
	Scope  Scope
	Origin record.Origin
	// Rows has the row key of each position (fixed_size_binary[16]).
	Rows *array.FixedSizeBinary
	// RecordHashes has the record hash of each position (fixed_size_binary[16]). Where a position's entry has that very
	// record hash, Decide asks for no profile, and a store may leave Profiles and Fresh of the position zero.
	RecordHashes *array.FixedSizeBinary
	// Identities has one column per identity type of the batch, highest priority first.
	Identities []IdentityColumn
	// Blocked is how many identity values are left out because they are blocked.
	Blocked int64
}

// IdentityColumn is the values of one identity type by position; NULL where a row has none that is usable. A value of
// type identity.MPID is the decimal text of a profile id: it is bound to the profile of that id where there is one, it
// is never an IdentityWrite, and no profile id is derived from it (it counts for nothing in State.Fresh).
type IdentityColumn struct {
	Type   string
	Values *array.String
}

// State is what Keys met in the store.
type State struct {
	// Applied is the result of this very batch, when it was committed before. Nothing else is set then.
	Applied *Result
	// Fenced says that the batch's epoch is below the fence of its part: it must have no effect. Nothing else is set.
	Fenced bool
	// Entries has the row-index entry of each position; Found tells whether there is one.
	Entries []Entry
	// Profiles has, per identity column and position, the profile that the identity is bound to; 0: none.
	Profiles [][]id.Profile
	// Fresh has, for positions of which no identity is bound, the id that a new profile would get: the first of
	// Derive(scope, type, value, 0, 1, …) that no profile has, of the position's first identity. 0 elsewhere.
	Fresh []id.Profile
	// Docs has the documents of the profiles that Keys.Document names; nil where there is none.
	Docs map[id.Profile][]byte
	// Fences has the fences of the run's own parts, and of the parts of the runs it retries, by run_no and part.
	Fences map[RunPart]uint32
	// Held has what Asks asks for, by profile; nil where it asks for nothing.
	Held map[id.Profile]Holding
	// Blocked is how many identities the hash list of the scope has: what Erased must have been decided on.
	Blocked int64
	// Erased says which positions have an identity in the hash list of erased people; nil: none has. Such rows are
	// protected, whatever else they meet. It is the caller's to set.
	Erased []bool
	// Events has, for the profiles that Asks names for it, the newest of their events and versions.
	Events map[id.Profile][]EventWrite
	// Seen lets Commit find out whether anything above has changed since. It is the store's own; Decide hands it on.
	Seen any
}

// RunPart names a part within a sync by the run's ordinal.
type RunPart struct {
	RunNo int64
	Part  uint32
}

// Effect is what a row did, as the account counts it.
type Effect uint8

// The effects.
const (
	NoEffect Effect = iota
	Created
	Updated
	Unchanged
	Deleted
	Protected
	Refused
)

// Version orders the writes of one sync, and, between syncs, of one attribute (design: Versions). Time is nanoseconds
// since the Unix epoch: the row time, or else the run's snapshot instant.
type Version struct {
	Time    int64
	RunNo   int64
	RowHash row.Hash
}

// Entry is what the row index keeps of a row that had an effect (design: Row index).
type Entry struct {
	Found      bool
	Tombstone  bool // deleted; kept until its run is closed
	RecordHash row.Hash
	Version    Version
	Part       uint32
	Epoch      uint32
	Effect     Effect
	Flags      EntryFlags // what else was counted for the row
	Repeats    bool       // a complete read has had the row's key more than once, with rows that differ
	Profile    id.Profile // where the row went; 0: an unattributed event
	EventTime  int64      // of an event's key, milliseconds since the Unix epoch
}

// EntryFlags are the counts in no sum that were counted with the recorded effect.
type EntryFlags uint8

// The flags.
const (
	FlagLate EntryFlags = 1 << iota
	FlagUnattributed
	FlagMirror // no count: what the row brought is kept in the form of mirrors
)

// flagMerges are the bits in which an entry keeps how many profiles its row merged.
const (
	flagMerges   EntryFlags = 0b1111 << mergesShift
	mergesShift             = 3
	maxFlagMerge            = 0b1111
)

// Merges answers how many profiles the row merged into others; what is above fifteen is not kept.
func (f EntryFlags) Merges() int64 { return int64(f & flagMerges >> mergesShift) }

// merging answers f with n more merges.
func (f EntryFlags) merging(n int64) EntryFlags {
	n = min(f.Merges()+n, maxFlagMerge)
	return f&^flagMerges | EntryFlags(n)<<mergesShift //nolint:gosec // bounded on the line above
}

// Effects is what a batch changes. A store writes all of it in one durable step, or none.
type Effects struct {
	Keys   Keys
	Seen   any // State.Seen
	Result Result
	// Entries to put; each row key at most once.
	Entries []EntryWrite
	// EntriesGone has rows whose entries to remove; none of them is in Entries.
	EntriesGone []id.Row
	// Identities to bind; each (type, value) at most once, and bound as IdentityWrite.From says when it was looked up.
	Identities []IdentityWrite
	// Unbound has identities that are bound to their profile to unbind, before Identities are bound.
	Unbound []IdentityWrite
	// ProfilesGone has profiles to delete. None has contributions; their documents are those of State.Docs.
	ProfilesGone []id.Profile
	// Sighted has the keys of all rows of the batch, to be kept for listing what a run's complete read lacked; empty: not.
	Sighted []id.Row
	// Contributions to merge blindly into profiles; several of one profile are possible.
	Contributions []ContributionWrite
	// EventScope is where Events and EventsGone are.
	EventScope Scope
	// Events to put, by their key, each at most once; and keys to remove, because their row moved elsewhere. Removals
	// come first.
	Events      []EventWrite
	EventsGone  []EventKey
	Rejects     []record.Reject
	Kept        []byte // the kept rows of the rejects, sealed by the caller of Decide; empty: none
	NewProfiles int64
	Reshaping
	// Collapsed are positions of the first rows that were collapsed into others, a few.
	Collapsed []int
	// Born are the new profiles.
	Born []id.Profile
	// Explained has, where Rules.Explain asks for it, what became of the identities of rows that were resolved.
	Explained []Explained
}

// EntryWrite puts an entry into the row index.
type EntryWrite struct {
	Row   id.Row
	Entry Entry
}

// IdentityWrite binds an identity to a profile.
type IdentityWrite struct {
	Type    string
	Value   string
	Profile id.Profile
	From    id.Profile // what it is bound to before; 0: nothing
}

// ContributionWrite merges Doc, an encoded contribution (see AppendContribution), into a profile.
type ContributionWrite struct {
	Profile id.Profile
	Doc     []byte
}

// EventKey names an event: by profile (0: unattributed), time and id.
type EventKey struct {
	Profile id.Profile
	Time    int64 // milliseconds since the Unix epoch
	ID      EventID
}

// EventID is derived from sync and row key: the same row is the same event for ever.
type EventID [16]byte

// EventWrite puts an event.
type EventWrite struct {
	Key EventKey
	Doc []byte // see AppendEvent
}

// Result is what a fragment became, as kept under its batch key. A second delivery reports the same.
type Result struct {
	Batch    id.Batch
	FirstRow int64
	Rows     int64
	Last     bool
	Counts   record.Counts
	Digest   row.Hash // over records, rejects and filtered rows
}

// Rules are the workspace's and the feed's settings that Decide goes by.
type Rules struct {
	Protection resource.Protection
	// Priority lists identity types, highest first; types not listed follow in alphabetical order.
	Priority []string
	// Identities says which identity values are usable; the zero value is the default policy.
	Identities identity.Policy
	// Strategy says which profile a row goes to; nil is best_match.
	Strategy *identity.Rules
	// Explain asks for Effects.Explained.
	Explain bool
	// OnDelete says what a row that a mirror does not find any more takes with it; empty: what it brought.
	OnDelete resource.OnDelete
	// GroupTypes are the types of groups; a user attribute of such a name holds ids of groups.
	GroupTypes []string
	// Typing says what the types of attributes do to the batch.
	Typing Typing
	// Table is of lookup rows.
	Table Table
}
