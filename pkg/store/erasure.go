package store

import (
	"context"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
)

// Erasures is what erasing people asks of a store. Lists are bounded by limit, their tokens as those of Reader.
type Erasures interface {
	// Salt answers what is kept for a workspace of the key of its hash lists, sealed by the caller; where nothing is, first
	// is kept from now on, durably, unless it is empty.
	Salt(ctx context.Context, w id.Workspace, first []byte) ([]byte, error)
	// Erasure answers an erasure; false where there is none.
	Erasure(ctx context.Context, at profile.ErasureID) (profile.Erasure, bool, error)
	// Unfinished answers erasures of all scopes that are not done.
	Unfinished(ctx context.Context, limit int) ([]profile.Erasure, error)
	// Erase makes a step of an erasure, all of it in one durable step, or nothing: see profile.Erasing. Conflict
	// (COMMIT_CONFLICT) where the erasure, or something that the step goes by, has changed.
	Erase(ctx context.Context, e profile.Erasing) error
	// Blocked says which hashes are in the hash list of a scope.
	Blocked(ctx context.Context, s profile.Scope, hashes []profile.Hash) ([]bool, error)
	// Tags answers the tags of the hash list of a scope behind the first `after`, in the order in which they were added.
	Tags(ctx context.Context, s profile.Scope, after int64, limit int) ([]uint32, error)
	// RowsOf answers row keys of a sync, in ascending order, whose entries name one of some profiles. It looks at no more
	// than limit entries, so that a page may be empty and not the last.
	RowsOf(ctx context.Context, sync id.Sync, ps []id.Profile, after string, limit int) ([]id.Row, string, error)
	// EventsWith answers the events of a scope, of any profile, that have one of some ids. It looks at no more than limit
	// events, so that a page may be empty and not the last.
	EventsWith(ctx context.Context, s profile.Scope, ids []profile.EventID, after string, limit int) ([]profile.EventKey, string, error)
	// AllRejects answers the rejects of all runs, also those that Rejects leaves out, in the order of batches and rows.
	AllRejects(ctx context.Context, after string, limit int) ([]StoredReject, string, error)
}
