package pebble

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/row"
	"millrace.dev/pkg/store"
)

// storedReject is a reject as it is written. Rejects are few.
type storedReject struct {
	Key       id.Row       `json:"k"`
	Hash      row.Hash     `json:"h"`
	KeyValues []byte       `json:"v"`
	Column    string       `json:"c,omitempty"`
	Stage     record.Stage `json:"s"`
	Rule      string       `json:"r"`
	Reason    string       `json:"m"`
	Workspace id.Workspace `json:"w"`
	Sync      id.Sync      `json:"y"`
	SyncID    string       `json:"i"`
	Time      int64        `json:"t"`
}

func encodeReject(r record.Reject, o record.Origin, now time.Time) ([]byte, error) {
	b, err := json.Marshal(storedReject{
		r.Key, r.Hash, []byte(r.KeyValues), r.Column, r.Stage, r.Rule, r.Reason, o.Workspace, o.Sync, o.SyncID, now.UnixMicro(),
	})
	if err != nil {
		return nil, fault.New(fault.Internal, fault.ReasonInternal, "store: commit: a reject can not be written: %w", err)
	}
	return b, nil
}

func decodeReject(key, b []byte) (store.StoredReject, error) {
	var r storedReject
	if len(key) != batchKeyLen+4 || json.Unmarshal(b, &r) != nil {
		return store.StoredReject{}, damaged("a reject")
	}
	return store.StoredReject{
		Reject: record.Reject{
			Row: int32(binary.BigEndian.Uint32(key[batchKeyLen:])), Key: r.Key, Hash: r.Hash, KeyValues: string(r.KeyValues), //nolint:gosec // written from int32
			Column: r.Column, Stage: r.Stage, Rule: r.Rule, Reason: r.Reason,
		},
		Batch:  readBatchKey(key[:batchKeyLen]),
		Origin: store.StoredOrigin{Workspace: r.Workspace, Sync: r.Sync, SyncID: r.SyncID},
		Time:   time.UnixMicro(r.Time).UTC(),
	}, nil
}

// rejects puts the rejects and, beside them, the rows that are kept of them.
func (w *writing) rejects() error {
	now := time.Now()
	for _, r := range w.e.Rejects {
		v, err := encodeReject(r, w.e.Keys.Origin, now)
		if err != nil {
			return err
		}
		if err := w.b.Set(rejectKey(nil, w.e.Result.Batch, r.Row), v, nil); err != nil {
			return unavailable("commit", err)
		}
	}
	if len(w.e.Kept) == 0 {
		return nil
	}
	if err := w.b.Set(batchKey(nil, kindKept, w.e.Result.Batch), w.e.Kept, nil); err != nil {
		return unavailable("commit", err)
	}
	return nil
}

// Rejects answers the rejects of a run in the order of batches and rows.
func (s *Store) Rejects(ctx context.Context, run id.Run, after string, limit int) ([]store.StoredReject, string, error) {
	newest := s.newestEpochs()
	return page(ctx, s, append([]byte{kindReject}, run[:]...), after, limit, func(k, v []byte) (store.StoredReject, bool, error) {
		r, err := decodeReject(k, v)
		if err != nil {
			return r, false, err
		}
		ok, err := newest(r.Batch)
		return r, ok, err
	})
}

// newestEpoch answers the highest epoch of a part that has applied batches.
func (s *Store) newestEpoch(p id.Part) (uint32, error) {
	prefix := partKey(nil, kindBatch, p)
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return 0, unavailable("read", err)
	}
	epoch := uint32(0)
	if it.Last() && len(it.Key()) == batchKeyLen {
		epoch = readBatchKey(it.Key()).Epoch
	}
	if err := it.Close(); err != nil {
		return 0, unavailable("read", err)
	}
	return epoch, nil
}

// newestEpochs answers what says whether a batch is of the highest epoch of its part, and looks once for each part.
func (s *Store) newestEpochs() func(id.Batch) (bool, error) {
	known := map[id.Part]uint32{}
	return func(b id.Batch) (bool, error) {
		epoch, ok := known[partOf(b)]
		if !ok {
			var err error
			if epoch, err = s.newestEpoch(partOf(b)); err != nil {
				return false, err
			}
			known[partOf(b)] = epoch
		}
		return b.Epoch == epoch, nil
	}
}

// CountRejects counts the rejects of a run in one pass.
func (s *Store) CountRejects(ctx context.Context, run id.Run, limit int) ([]store.RejectCount, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	newest, rest := s.newestEpochs(), int64(0)
	groups := map[store.RejectGroup]int64{}
	err := s.each(ctx, append([]byte{kindReject}, run[:]...), nil, func(k, v []byte) (bool, error) {
		r, err := decodeReject(k, v)
		if err != nil {
			return false, err
		}
		if ok, err := newest(r.Batch); !ok || err != nil {
			return true, err
		}
		g := store.RejectGroup{Stage: r.Reject.Stage, Column: r.Reject.Column, Rule: r.Reject.Rule, Reason: r.Reject.Reason}
		if _, known := groups[g]; known || len(groups) < limit {
			groups[g]++
		} else {
			rest++
		}
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	out := make([]store.RejectCount, 0, len(groups))
	for g, n := range groups {
		out = append(out, store.RejectCount{RejectGroup: g, Rejects: n})
	}
	return store.Ranked(out, rest), nil
}

// Kept answers the rows that were kept of the rejects of a batch.
func (s *Store) Kept(ctx context.Context, b id.Batch) ([]byte, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	v, closer, err := s.db.Get(batchKey(nil, kindKept, b))
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, unavailable("read", err)
	}
	defer func() { _ = closer.Close() }() //nolint:errcheck // frees memory only
	return bytes.Clone(v), nil
}

// Expire removes rejects, run by run. Run ids order by their time of creation, so that the first young run ends it.
func (s *Store) Expire(ctx context.Context, before time.Time, limit int) (int, error) {
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	s.keeping.Lock()
	defer s.keeping.Unlock()
	b := s.db.NewBatch()
	defer func() { _ = b.Close() }() //nolint:errcheck // frees memory only
	n := 0
	err := s.each(ctx, []byte{kindReject}, nil, func(k, v []byte) (bool, error) {
		r, err := decodeReject(k, v)
		switch {
		case err != nil:
			return false, err
		case n == limit || !r.Batch.Run.Time().Before(before):
			return false, nil
		case !r.Time.Before(before):
			return true, nil
		}
		n++
		if err := b.Delete(k, nil); err != nil {
			return false, unavailable("expire", err)
		}
		if err := b.Delete(batchKey(nil, kindKept, r.Batch), nil); err != nil {
			return false, unavailable("expire", err)
		}
		return true, nil
	})
	if err != nil || n == 0 {
		return 0, err
	}
	if err := s.apply(b); err != nil {
		return 0, err
	}
	if err := b.SyncWait(); err != nil {
		return 0, s.breakDown("expire", err)
	}
	return n, nil
}
