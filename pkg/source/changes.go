package source

import (
	"context"
	"iter"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"millrace.dev/pkg/resource"
)

// ChangeReader is the power of a source to find out in its own engine how a query's rows differ from what they were: by
// comparing with a snapshot that it keeps in the warehouse, or by a feed of changes that the warehouse has.
//
// A run asks for Changes once, in its plan, and reads them in parts, as often as it must: what a state names never changes.
// Its state becomes the base of the next run only when the run's account has closed; whoever asks keeps that, the source
// does not. So a run that ends otherwise leaves nothing behind that a later one goes by: its state is dropped by the next
// Changes of the same owner.
type ChangeReader interface {
	// Changes fixes the state of q's rows as they are now, and how it differs from q.Since. Made again by the same attempt
	// it makes the state anew. It drops the states of earlier attempts of the owner, but for q.Since. Where q.Since cannot be
	// compared with (it is gone, or not whole) everything counts as new, and Changes.Lost says why.
	Changes(ctx context.Context, q ChangeQuery, want int) (Changes, error)
	// ReadChanges answers the rows of one part of the changes, new and changed ones with all their values as they are in the
	// state. A state that is gone is SOURCE_CHANGED. The batches are as Read's. Here and below q is as Changes was asked, with
	// the Since that it answered.
	ReadChanges(ctx context.Context, q ChangeQuery, c State, r Range) iter.Seq2[arrow.RecordBatch, error]
	// ReadGone answers the keys that the rows of q.Since had and those of the state have not, each once: batches of
	// the key columns, in the model's order. Keys with a NULL among them are left out.
	ReadGone(ctx context.Context, q ChangeQuery, c State) iter.Seq2[arrow.RecordBatch, error]
}

// StateKeeper is the power of a driver whose states take room in the warehouse, or beside it.
type StateKeeper interface {
	// Drop frees what is kept of a state that nobody asks for any more. One that is gone already is no error; one that
	// somebody still reads may stay, for the next Changes of its owner.
	Drop(ctx context.Context, c resource.Connection, s State) error
	// Clear frees all that is kept of an owner's attempts up to last, itself included, whether or not anybody knows the states
	// by name; nothing of other owners, and nothing else, is touched. What is gone already is no error. Where something stays,
	// as somebody reads it or it is another user's, that is one. Made again it goes on.
	Clear(ctx context.Context, c resource.Connection, owner string, last Attempt) error
	// Whereabouts names, for who drops it by hand, what is kept of an owner and where. Nothing is connected to.
	Whereabouts(c resource.Connection, owner string) string
}

// State names the rows of a query at one time: a driver's own text, such as the name of a snapshot or a commit version.
// Empty: none.
type State string

// ChangeQuery is a query whose changes are wanted.
type ChangeQuery struct {
	Query // its range, bounds and iterator are not used

	// Engine is resource.Diff or resource.Native; Since is of the same.
	Engine resource.MirrorEngine
	// Owner names whose states these are: those of one sync, for ever. Attempt orders them.
	Owner   string
	Attempt Attempt
	// Since is what the rows are compared with; empty: everything is new.
	Since State
	// Compared are the columns that count, beside the key columns: a row in which none of them differs is not changed.
	// Added are those that count and did not in Since: there they are taken to have been NULL.
	Compared, Added []string
}

// Attempt is one making of a state.
type Attempt struct {
	Run   int64
	Epoch uint32
}

// Before says whether a is an earlier attempt than b.
func (a Attempt) Before(b Attempt) bool {
	return a.Run < b.Run || a.Run == b.Run && a.Epoch < b.Epoch
}

// Changes is how the rows of a query differ from what they were.
type Changes struct {
	State State
	Since State  // what they were compared with; empty: all rows are read
	Lost  string // why it is not what was asked for; empty: it is
	// Notice is what the owner should know of what the warehouse keeps, such as that it hardly reaches back to Since.
	Notice string
	Time   time.Time

	Rows    int64   // of the query
	Changed int64   // of them, new or changed: what the parts have
	Gone    int64   // keys
	Parts   []Range // at least one
}
