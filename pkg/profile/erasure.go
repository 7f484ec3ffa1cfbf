package profile

import (
	"encoding/hex"
	"encoding/json"
	"time"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
)

// ErasureID names the erasure of a person.
type ErasureID [16]byte

func (e ErasureID) String() string { return hex.EncodeToString(e[:]) }

// ParseErasureID reads what String answers.
func ParseErasureID(s string) (e ErasureID, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(e) {
		return e, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "is no id of an erasure; use the one that profiles erase shows")
	}
	copy(e[:], b)
	return e, nil
}

// Place is where something of a person is, or might be.
type Place string

// The places, in the order in which they are cleared.
const (
	InProfiles     Place = "profiles"
	InIdentities   Place = "identities"
	InOthers       Place = "other_profiles" // that a merge with the person was undone for
	InMerges       Place = "merge_log"
	InEvents       Place = "events"
	InHistory      Place = "profile_history"
	InMembers      Place = "group_members"
	InUnattributed Place = "unattributed_events"
	InRowIndex     Place = "row_index"
	InRejects      Place = "rejects"
	InRows         Place = "staged_rows"
	InRecords      Place = "staged_records"
	InQuarantine   Place = "quarantine"
	InSights       Place = "keys_of_read_rows"
	InSamples      Place = "run_samples"
	InDryRuns      Place = "dry_run_notes"
	InLinked       Place = "linked_profiles"
	InBatches      Place = "batch_results"
	InTraces       Place = "traces"
)

// PlaceState is how a place stands.
type PlaceState string

// The states.
const (
	PlacePending PlaceState = "pending"         // it is still to be cleared
	PlaceCleared PlaceState = "cleared"         // nothing of the person is left in it
	PlaceExpires PlaceState = "expires"         // what may be left goes by itself
	PlaceLeft    PlaceState = "left"            // it is not of the person for sure, and stays
	PlaceNone    PlaceState = "holds_no_values" // nothing by which a person is known ever is in it
)

// PlaceReport says what became of a place.
type PlaceReport struct {
	Place   Place
	State   PlaceState
	Removed int64
	Time    time.Time // of the state
	Until   time.Time // of PlaceExpires: when it is gone at the latest; zero: Note says when
	Note    string
}

// Erasure is the removal of a person, as a store keeps it. It has no values of identities.
type Erasure struct {
	ID       ErasureID
	Scope    Scope
	Revision int64 // counts its steps
	// Type is the type of the identity that the person was named by.
	Type    string
	Created time.Time
	Removed time.Time // zero: something is still to be removed from the store
	Done    time.Time // zero: something is pending
	Hashes  int64     // how many identities are blocked by it
	Places  []PlaceReport

	// What the steps go by; empty when all is removed.
	Profiles []id.Profile `json:",omitempty"`
	Others   []id.Profile `json:",omitempty"`
	Linked   []id.Profile `json:",omitempty"`
	Syncs    []id.Sync    `json:",omitempty"`
	At       int          `json:",omitempty"` // which of Profiles or Syncs is under way in the first pending place
	After    string       `json:",omitempty"` // the page of that
	Mark     uint64       `json:",omitempty"` // the last message of the stream that the first pending place waits for
}

// Pending answers the first place that is to be cleared, nil where none is.
func (e *Erasure) Pending() *PlaceReport {
	for i := range e.Places {
		if e.Places[i].State == PlacePending {
			return &e.Places[i]
		}
	}
	return nil
}

// Report answers the report of a place, which is added where it is missing.
func (e *Erasure) Report(p Place) *PlaceReport {
	for i := range e.Places {
		if e.Places[i].Place == p {
			return &e.Places[i]
		}
	}
	e.Places = append(e.Places, PlaceReport{Place: p})
	return &e.Places[len(e.Places)-1]
}

// Clone answers a copy that shares nothing.
func (e *Erasure) Clone() Erasure {
	out := *e
	out.Places = append([]PlaceReport(nil), e.Places...)
	out.Profiles = append([]id.Profile(nil), e.Profiles...)
	out.Others = append([]id.Profile(nil), e.Others...)
	out.Linked = append([]id.Profile(nil), e.Linked...)
	out.Syncs = append([]id.Sync(nil), e.Syncs...)
	return out
}

// AppendErasure appends the stored form of e.
func AppendErasure(dst []byte, e Erasure) ([]byte, error) {
	b, err := json.Marshal(e)
	if err != nil {
		return nil, fault.New(fault.Internal, fault.ReasonInternal, "an erasure can not be written: %w", err)
	}
	return append(dst, b...), nil
}

// DecodeErasure reads what AppendErasure wrote. The error is Internal.
func DecodeErasure(b []byte) (e Erasure, err error) {
	if json.Unmarshal(b, &e) != nil {
		return Erasure{}, badDocument("an erasure")
	}
	return e, nil
}

// Erasing is one step of an erasure. A store makes all of it durable in one step, or nothing.
type Erasing struct {
	// Erasure is how it stands from now on. Its revision is one more than the one that is kept; 1 where none is.
	Erasure Erasure
	// Block has what to add to the hash list of the scope; what is in it already stays once. Whoever has looked before
	// must look again.
	Block []Blocked
	// Read has the documents that the step goes by: Conflict where one is another by now.
	Read []ProfileRead
	// Profiles to delete with their documents, and Rewritten documents; each of them is in Read.
	Profiles  []id.Profile
	Rewritten []Rewritten
	// Unbound has identities that go where they are bound to their profile.
	Unbound []IdentityWrite
	// Merges of the log to put as they are here, and those that go.
	Merges     []Merge
	MergesGone []Merge
	// EventScope is where Events go.
	EventScope Scope
	Events     []EventKey
	// Rows of Sync whose entries of the row index go. Conflict where one is of none of Erasure.Profiles by now.
	Sync id.Sync
	Rows []id.Row
	// Rejects that go, and what is kept of rows of the batches that lose some.
	Rejects []RejectName
	Kept    []KeptRows
}

// Takes says whether the step changes what others may have looked up.
func (e *Erasing) Takes() bool {
	return len(e.Block)+len(e.Profiles)+len(e.Rewritten)+len(e.Unbound)+len(e.Events)+len(e.Rows) > 0
}

// ProfileRead is a document as it was read.
type ProfileRead struct {
	Profile id.Profile
	Doc     []byte // nil: there was none
}

// Rewritten is the document that a profile has instead of what it had.
type Rewritten struct {
	Profile id.Profile
	Doc     []byte
}

// RejectName names a reject.
type RejectName struct {
	Batch id.Batch
	Row   int32
}

// KeptRows is what is kept of the rows of a batch's rejects, sealed; empty: nothing any more.
type KeptRows struct {
	Batch  id.Batch
	Sealed []byte
}
