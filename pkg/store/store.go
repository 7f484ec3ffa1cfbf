// Package store is the seam to what keeps the platform's data: profiles, identities, events, the row index, batch keys,
// fences, rejects and the hash lists of erased people. Its methods are I/O without domain rules; package profile has the
// rules. Drivers stand in folders below; package storetest holds the suite that each of them passes.
package store

import (
	"context"
	"iter"
	"time"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
)

// Store keeps the platform's data. Safe for concurrent use.
type Store interface {
	// Look answers the state that the keys of a batch meet, in one go. It writes nothing.
	Look(ctx context.Context, k profile.Keys) (profile.State, error)
	// Commit writes all effects and the batch key with its result in one durable step. It is idempotent by batch: where
	// the batch key is there already, or the batch is below its part's fence, nothing is written and Outcome says so.
	// Conflict (COMMIT_CONFLICT) when something that Look saw has changed; then look and decide again.
	Commit(ctx context.Context, e profile.Effects) (Outcome, error)
	// Undo takes a merge back, all of it in one durable step. Conflict when what was looked up has changed; then look and
	// decide again.
	Undo(ctx context.Context, u profile.Undoing) error
	// Fence raises the fence of a part to epoch (it never falls), durably, and answers the results of every fragment of
	// that part that is applied, of any epoch.
	Fence(ctx context.Context, p id.Part, epoch uint32) ([]profile.Result, error)
	// Expire removes up to limit rejects that were committed before an instant, and the rows that were kept of them. It
	// answers how many: fewer than limit where no such reject is left. Results of batches stay.
	Expire(ctx context.Context, before time.Time, limit int) (int, error)
	// Sweep removes up to limit events of a scope whose time, in milliseconds, is before an instant, durably. It answers
	// how many: fewer than limit where no such event is left. Their entries of the row index stay.
	Sweep(ctx context.Context, s profile.Scope, before int64, limit int) (int, error)
	// Types answers the types of the attributes of a scope.
	Types(ctx context.Context, s profile.Scope) (map[string]profile.AttributeType, error)
	// DefineTypes gives attributes their types, durably: all of them, or none. Conflict (COMMIT_CONFLICT) where one has
	// another type than TypeWrite.From.
	DefineTypes(ctx context.Context, s profile.Scope, ws []profile.TypeWrite) error
	// Close frees what Open took. No other call may be under way. Calls after it answer Unavailable.
	Close() error

	Reader
	Mirrors
	Imports
	Scratch
	Erasures
}

// Outcome is what a Commit did.
type Outcome struct {
	// Fenced: the batch is below its part's fence; it had and will have no effect.
	Fenced bool
	// Repeated: the batch was applied before; Result is what it was then.
	Repeated bool
	Result   profile.Result
}

// Reader answers for what is stored. Pages are bounded by `limit`; `after` is the token of the page before, empty at
// first; the token answered is empty at the end.
type Reader interface {
	// Resolve answers the profile that an identity is bound to, 0 where it is bound to none.
	Resolve(ctx context.Context, s profile.Scope, typ, value string) (id.Profile, error)
	// Profile answers the document of a profile (see profile.Decode), nil where there is none. It is the profile's own, also
	// where others are merged into it or it is merged itself; Whole follows that.
	Profile(ctx context.Context, s profile.Scope, p id.Profile) ([]byte, error)
	// Docs answers the documents of some profiles, each as Profile does.
	Docs(ctx context.Context, s profile.Scope, ps []id.Profile) ([][]byte, error)
	// Merges answers the entries of the log of merges that a profile is in, in the order of their ids.
	Merges(ctx context.Context, s profile.Scope, p id.Profile, after string, limit int) ([]profile.Merge, string, error)
	// Merge answers an entry of the log of merges, one of Kind 0 where there is none.
	Merge(ctx context.Context, s profile.Scope, at profile.MergeID) (profile.Merge, error)
	// Profiles answers profiles in the order of their ids, without those that are merged into others.
	Profiles(ctx context.Context, s profile.Scope, after string, limit int) ([]ProfileDoc, string, error)
	// ProfileEvents answers the events of a profile, newest first.
	ProfileEvents(ctx context.Context, s profile.Scope, p id.Profile, after string, limit int) ([]EventDoc, string, error)
	// SyncEvents answers the events that a sync brought in, in no stated but a stable order. Of a run are the events whose
	// document it wrote.
	SyncEvents(ctx context.Context, s profile.Scope, f EventFilter, after string, limit int) ([]EventDoc, string, error)
	// Rejects answers the rejects of a run in the order of batches and rows: of each part those of the highest epoch that
	// has applied batches, because what an earlier epoch rejected is read again.
	Rejects(ctx context.Context, run id.Run, after string, limit int) ([]StoredReject, string, error)
	// CountRejects counts the rejects that Rejects answers by stage, column, rule and reason, most first. What is beyond
	// limit groups is one more, the last, whose reason is OtherReasons; which groups those are is the store's choice.
	CountRejects(ctx context.Context, run id.Run, limit int) ([]RejectCount, error)
	// Kept answers the rows that were kept of the rejects of a batch (profile.Effects.Kept), nil where there are none.
	Kept(ctx context.Context, b id.Batch) ([]byte, error)
	// Event answers the document of an event, nil where there is none.
	Event(ctx context.Context, s profile.Scope, k profile.EventKey) ([]byte, error)
	// Everything walks all that the store digest covers: identities, then profiles, then events; see Digest.
	Everything(ctx context.Context) iter.Seq2[Item, error]
}

// EventFilter chooses events of one sync.
type EventFilter struct {
	Sync        id.Sync
	RunNo       int64     // 0: of any run
	From, Until time.Time // of the event; From is in, Until is not; zero: unbounded
}

// ProfileDoc is a profile with its document.
type ProfileDoc struct {
	Profile id.Profile
	Doc     []byte
}

// EventDoc is an event with its document.
type EventDoc struct {
	Key profile.EventKey
	Doc []byte
}

// Item is one thing that the store digest covers: exactly one of Identity, Profile and Event is set.
type Item struct {
	Scope    profile.Scope
	Identity *profile.IdentityWrite
	Profile  *ProfileDoc
	Event    *EventDoc
}
