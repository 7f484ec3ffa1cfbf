package ingestion

import (
	"context"
	"fmt"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/mapping"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/row"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/wire"
)

// A reject is of a person where a column of its row that is mapped to an identity holds one of theirs, in the form that the
// mapping gives it. Where its row is not kept, its key values are looked at instead.

// withoutErased leaves out the rejects that name erased people: they are counted as what they are, and not kept.
func (s *Service) withoutErased(ctx context.Context, o record.Origin, scope profile.Scope, n int64, kept record.Kept, rejects []record.Reject) ([]record.Reject, error) {
	if n == 0 || len(rejects) == 0 || scope.Space != "" {
		return rejects, nil
	}
	snapshot, err := s.peers.snapshot(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("get version %d of sync %s: %w", o.SyncVersion, o.SyncID, err)
	}
	at := map[int32]int{}
	for i, pos := range kept.At {
		at[pos] = i
	}
	gone := map[int]bool{}
	err = s.lists.blocked(ctx, scope, n, func(yield func(naming) bool) {
		for i, r := range rejects {
			own, isKept := at[r.Row]
			if !namingsOf(snapshot, kept.Rows, own, isKept, r.KeyValues, func(x profile.Identity) bool { return yield(naming{i, x}) }) {
				return
			}
		}
	}, func(i int) { gone[i] = true })
	if err != nil || len(gone) == 0 {
		return rejects, err
	}
	left := make([]record.Reject, 0, len(rejects)-len(gone))
	for i, r := range rejects {
		if !gone[i] {
			left = append(left, r)
		}
	}
	return left, nil
}

// namingsOf yields the identities that a rejected row names. It answers false where it was broken off.
func namingsOf(snapshot resource.Snapshot, rows row.Batch, at int, isKept bool, values string, yield func(profile.Identity) bool) bool {
	if isKept {
		for _, n := range mapping.NamingOf(snapshot.Mapping, rows.Record.Schema()) {
			for _, v := range n.Values(rows.Record, at) {
				if !yield(profile.Identity{Type: n.Type, Value: v}) {
					return false
				}
			}
		}
		return true
	}
	keys := keyValues(values)
	for _, n := range mapping.NamingOfColumns(snapshot.Mapping, snapshot.DataModel.KeyColumns) {
		for i, column := range snapshot.DataModel.KeyColumns {
			if i < len(keys) && n.Of(column) && !yield(profile.Identity{Type: n.Type, Value: n.Value(keys[i])}) {
				return false
			}
		}
	}
	return true
}

// batchRejects is rejects of one batch that are judged together.
type batchRejects struct {
	batch   id.Batch
	origin  store.StoredOrigin
	rejects []store.StoredReject
}

// byBatch groups rejects, which come in the order of batches.
func byBatch(rejects []store.StoredReject) []batchRejects {
	var out []batchRejects
	for _, r := range rejects {
		if n := len(out); n == 0 || out[n-1].batch != r.Batch {
			out = append(out, batchRejects{batch: r.Batch, origin: r.Origin})
		}
		b := &out[len(out)-1]
		b.rejects = append(b.rejects, r)
	}
	return out
}

// clearRejects puts into a step what must go of the rejects of one batch, and answers whether its rows could be opened.
func (s *Service) clearRejects(ctx context.Context, scope profile.Scope, n int64, b batchRejects, x *profile.Erasing) (opened bool, err error) {
	sealed, err := s.unseal(ctx, b.batch)
	if err != nil && fault.ReasonOf(err) != fault.ReasonSecretUnreadable {
		return false, err
	}
	opened = err == nil
	var o record.Origin
	var rows row.Batch
	if len(sealed) > 0 {
		if o, rows, err = wire.DecodeRows(sealed, s.settings.MaxBatch); err != nil {
			return false, fmt.Errorf("read the kept rows of batch %s: %w", b.batch, err)
		}
	}
	snapshot, err := s.snapshotOfRejects(ctx, b, o)
	if err != nil {
		return false, err
	}
	if !mayName(snapshot, scope) {
		return opened, nil
	}
	at := map[row.Hash]int{}
	if rows.Record != nil {
		hashes := rows.Hashes()
		for i := range hashes.Len() {
			at[row.FromBytes(hashes.Value(i))] = i
		}
	}
	gone, goneRows := map[int]bool{}, map[int]bool{}
	err = s.lists.blocked(ctx, scope, n, func(yield func(naming) bool) {
		for hash, i := range at {
			if !namingsOf(snapshot, rows, i, true, "", func(x profile.Identity) bool { return yield(naming{-1 - at[hash], x}) }) {
				return
			}
		}
		for i, r := range b.rejects {
			if _, isKept := at[r.Reject.Hash]; isKept {
				continue
			}
			if !namingsOf(snapshot, rows, 0, false, r.Reject.KeyValues, func(x profile.Identity) bool { return yield(naming{i, x}) }) {
				return
			}
		}
	}, func(at int) {
		if at < 0 {
			goneRows[-1-at] = true
		} else {
			gone[at] = true
		}
	})
	if err != nil {
		return false, err
	}
	for i, r := range b.rejects {
		own, isKept := at[r.Reject.Hash]
		if gone[i] || isKept && goneRows[own] {
			x.Rejects = append(x.Rejects, profile.RejectName{Batch: r.Batch, Row: r.Reject.Row})
		}
	}
	return opened, s.reseal(o, b.batch, rows, goneRows, x)
}

// mayName says whether rows of a sync may be about people of a scope. Of a sync that is gone they may.
func mayName(s resource.Snapshot, scope profile.Scope) bool {
	env := s.Feed.Environment
	if env == "" {
		env = resource.Prod
	}
	return s.Sync.UID == "" || env == scope.Environment && s.DataModel.GroupType == "" && s.DataModel.Kind != resource.Lookup
}

// reseal puts into a step what is kept of a batch's rows without some.
func (s *Service) reseal(o record.Origin, b id.Batch, rows row.Batch, gone map[int]bool, x *profile.Erasing) error {
	if len(gone) == 0 {
		return nil
	}
	var stay []int32
	for i := range rows.Record.NumRows() {
		if !gone[int(i)] {
			stay = append(stay, int32(i)) //nolint:gosec // a batch is small
		}
	}
	if len(stay) == 0 {
		x.Kept = append(x.Kept, profile.KeptRows{Batch: b})
		return nil
	}
	body, err := wire.EncodeRows(o, record.Keep(rows, stay).Rows)
	if err != nil {
		return err //nolint:wrapcheck // classified by wire
	}
	sealed, err := s.keys.Seal(body, rejectsOf(b.Run))
	if err != nil {
		return fmt.Errorf("seal rejected rows: %w", err)
	}
	x.Kept = append(x.Kept, profile.KeptRows{Batch: b, Sealed: sealed})
	return nil
}

// snapshotOfRejects answers the sync as it was when the rows of rejects were read; where that is not known, as it is; where
// it is gone, a sync that is mapped by name.
func (s *Service) snapshotOfRejects(ctx context.Context, b batchRejects, o record.Origin) (resource.Snapshot, error) {
	var snapshot resource.Snapshot
	var err error
	if o.SyncVersion > 0 {
		snapshot, err = s.peers.snapshot(ctx, o)
	} else {
		snapshot, err = s.peers.current(ctx, b.origin.Workspace.Or(), b.origin.SyncID)
	}
	if fault.ClassOf(err) == fault.NotFound {
		return resource.Snapshot{}, nil
	}
	return snapshot, err
}
