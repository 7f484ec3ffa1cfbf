// Package overlay lets the batches of a dry run meet what the batches before them would have done. What a dry batch would
// write is noted in the store's scratch, apart from the platform's data, and read through: the notes of the run first, then
// what is there. So a dry run counts what the run itself would count, in whatever order its batches come, and whichever
// processes judge them.
//
// Notes are kept until the run is over; Owner says whose they are.
package overlay

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"maps"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/identity"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/store"
)

// Overlay is a store as a batch of a dry run meets it. It serves one attempt at one batch and is not safe for concurrent
// use. Only what Decide goes by is laid over; other readers meet the store as it is.
type Overlay struct {
	store.Store
	origin record.Origin
	scope  profile.Scope
	// lean says that nobody reads what profiles hold, only whether they are there.
	lean bool

	begun bool
	turn  int64
}

var _ store.Reader = (*Overlay)(nil)

// New lays the notes of the run of o over base.
func New(base store.Store, o record.Origin, s profile.Scope, r profile.Rules) *Overlay {
	return &Overlay{Store: base, origin: o, scope: s, lean: !o.Mirror && r.Strategy.Strategy() == identity.BestMatch}
}

// What a note is of.
const (
	noteBatch   = 'b' // part, epoch, seq, fragment → what it became
	noteRow     = 'r' // row key → entry
	noteBinding = 'i' // hash of type and value → profile; 0: bound to none
	noteProfile = 'p' // profile → flags, and what was merged into its document
	noteTypes   = 't' // → types of attributes
	noteOwner   = 'o' // → whose notes they are
)

func batchKey(b id.Batch) []byte {
	k := []byte{noteBatch}
	for _, n := range [...]uint32{b.Part, b.Epoch, b.Seq, b.Fragment} {
		k = binary.BigEndian.AppendUint32(k, n)
	}
	return k
}

func rowKey(k id.Row) []byte { return append([]byte{noteRow}, k[:]...) }

// bindingKey is a cryptographic hash, so that nobody can make two values meet.
func bindingKey(typ, value string) []byte {
	sum := sha256.Sum256(append(append([]byte(typ), 0), value...))
	return append([]byte{noteBinding}, sum[:16]...)
}

func profileKey(p id.Profile) []byte {
	return binary.BigEndian.AppendUint64([]byte{noteProfile}, uint64(p))
}

// noted answers notes as they were when the first ones were read. Conflict where others have been added since.
func (o *Overlay) noted(ctx context.Context, keys [][]byte) ([][]byte, error) {
	values, turn, err := o.Noted(ctx, o.origin.Batch.Run, keys)
	switch {
	case err != nil:
		return nil, err //nolint:wrapcheck // classified by the driver
	case !o.begun:
		o.begun, o.turn = true, turn
	case o.turn != turn:
		return nil, fault.New(fault.Conflict, fault.ReasonCommitConflict, "another batch of the dry run was noted meanwhile; look and decide again")
	}
	return values, nil
}

// Types answers the types of attributes as the dry run would have made them by now.
func (o *Overlay) Types(ctx context.Context, s profile.Scope) (map[string]profile.AttributeType, error) {
	types, err := o.Store.Types(ctx, s)
	if err != nil || s != o.scope {
		return types, err //nolint:wrapcheck // classified by the driver
	}
	mine, err := o.types(ctx)
	if err != nil || len(mine) == 0 {
		return types, err
	}
	types = maps.Clone(types)
	maps.Copy(types, mine)
	return types, nil
}

func (o *Overlay) types(ctx context.Context) (mine map[string]profile.AttributeType, err error) {
	values, err := o.noted(ctx, [][]byte{{noteTypes}})
	if err != nil || values[0] == nil {
		return nil, err
	}
	return mine, readJSON(values[0], &mine)
}

// Owner is whose notes they are.
type Owner struct {
	Workspace id.Workspace
	Sync      id.Sync
	RunNo     int64
}

// OwnerOf answers whose the notes of a run are; false where it has none.
func OwnerOf(ctx context.Context, s store.Scratch, run id.Run) (w Owner, ok bool, err error) {
	values, _, err := s.Noted(ctx, run, [][]byte{{noteOwner}})
	if err != nil || values[0] == nil {
		return w, false, err //nolint:wrapcheck // classified by the driver
	}
	return w, true, readJSON(values[0], &w)
}

func readJSON(b []byte, into any) error {
	if json.Unmarshal(b, into) != nil {
		return damaged()
	}
	return nil
}

func damaged() error {
	return fault.New(fault.Internal, fault.ReasonInternal, "a note of a dry run can not be read; cancel the dry run and start it anew")
}
