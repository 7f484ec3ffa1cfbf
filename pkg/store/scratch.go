package store

import (
	"context"

	"millrace.dev/pkg/id"
)

// Scratch keeps notes of dry runs apart from the platform's data: no other method meets them. Package overlay says what is
// noted. A run's notes have a turn, counted up by each Note, so that several processes can work on one run.
type Scratch interface {
	// Noted answers the values of some keys of a run's notes, nil where there is none, and the turn of the notes; 0: there
	// are none. A turn that is the same before and after some calls says that nothing was noted between them.
	Noted(ctx context.Context, run id.Run, keys [][]byte) (values [][]byte, turn int64, err error)
	// Note puts notes and counts the turn up in one durable step. Conflict (COMMIT_CONFLICT) where the turn is another.
	Note(ctx context.Context, run id.Run, turn int64, notes []Note) error
	// Scratched answers the runs that have notes.
	Scratched(ctx context.Context) ([]id.Run, error)
	// Drop removes all notes of a run.
	Drop(ctx context.Context, run id.Run) error
	// Unsight removes the keys that are kept of one run of a sync (see Mirrors.Sight).
	Unsight(ctx context.Context, s id.Sync, runNo int64) error
}

// Note is a key of a run's notes with its value, neither of them empty.
type Note struct {
	Key, Value []byte
}
