package pebble

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/killpoint"
	"millrace.dev/pkg/profile"
)

func partOf(b id.Batch) id.Part { return id.Part{Run: b.Run, Part: b.Part} }

// Fence raises the fence of a part. It enters the database with no commit on its way, so that its answer has every batch that got
// in before it, and none gets in after it.
func (s *Store) Fence(ctx context.Context, p id.Part, epoch uint32) ([]profile.Result, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	if err := s.raise(p, epoch); err != nil {
		return nil, err
	}
	if err := s.synced(); err != nil {
		return nil, err
	}
	return s.resultsOf(ctx, partKey(nil, kindBatch, p))
}

func (s *Store) raise(p id.Part, epoch uint32) error {
	defer s.alone()()
	if b := s.broken.Load(); b != nil {
		return b
	}
	old, err := s.fenceOf(p)
	if err != nil || epoch <= old {
		return err
	}
	b := s.db.NewBatch()
	defer func() { _ = b.Close() }() //nolint:errcheck // frees memory only
	if err := b.Set(partKey(nil, kindFence, p), binary.BigEndian.AppendUint32(nil, epoch), nil); err != nil {
		return unavailable("fence", err)
	}
	s.filter.add(fenceHash(p.Run))
	killpoint.Reach("pebble.fence.before")
	if err := s.apply(b); err != nil {
		return err
	}
	if err := b.SyncWait(); err != nil {
		return s.breakDown("fence", err)
	}
	killpoint.Reach("pebble.fence.after")
	s.fenceSeq = s.turns.next()
	return nil
}

// fenceOf answers the fence of a part, 0 where it has none.
func (s *Store) fenceOf(p id.Part) (uint32, error) {
	if !s.filter.may(fenceHash(p.Run)) {
		return 0, nil
	}
	v, closer, err := s.db.Get(partKey(nil, kindFence, p))
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return 0, nil
	case err != nil:
		return 0, unavailable("look", err)
	}
	defer func() { _ = closer.Close() }() //nolint:errcheck // frees memory only
	if len(v) != 4 {
		return 0, damaged("a fence")
	}
	return binary.BigEndian.Uint32(v), nil
}

// fencesOf answers the fences of the parts of the batch's run and of the runs that it retries.
func (s *Store) fencesOf(ctx context.Context, k profile.Keys) (map[profile.RunPart]uint32, error) {
	fences := map[profile.RunPart]uint32{}
	if err := s.fencesOfRun(ctx, k.Origin.Batch.Run, k.Origin.RunNo, fences); err != nil {
		return nil, err
	}
	for _, r := range k.Origin.Retried {
		if err := s.fencesOfRun(ctx, r.Run, r.RunNo, fences); err != nil {
			return nil, err
		}
	}
	return fences, nil
}

func (s *Store) fencesOfRun(ctx context.Context, r id.Run, no int64, into map[profile.RunPart]uint32) error {
	if !s.filter.may(fenceHash(r)) {
		return nil
	}
	prefix := append([]byte{kindFence}, r[:]...)
	return s.each(ctx, prefix, nil, func(k, v []byte) (bool, error) {
		if len(k) != partKeyLen || len(v) != 4 {
			return false, damaged("a fence")
		}
		into[profile.RunPart{RunNo: no, Part: binary.BigEndian.Uint32(k[17:])}] = binary.BigEndian.Uint32(v)
		return true, nil
	})
}

// result answers what a batch became, nil where it was not applied.
func (s *Store) result(b id.Batch) (*profile.Result, error) {
	if !s.filter.may(batchHash(b)) {
		return nil, nil //nolint:nilnil // as below
	}
	k := batchKey(nil, kindBatch, b)
	v, closer, err := s.db.Get(k)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return nil, nil //nolint:nilnil // no result is no error
	case err != nil:
		return nil, unavailable("look", err)
	}
	defer func() { _ = closer.Close() }() //nolint:errcheck // frees memory only
	r, err := readResult(k, v)
	if err != nil {
		return nil, err
	}
	return &r, nil
}

// resultsOf answers what the fragments became whose keys begin with prefix.
func (s *Store) resultsOf(ctx context.Context, prefix []byte) (out []profile.Result, err error) {
	err = s.each(ctx, prefix, nil, func(k, v []byte) (bool, error) {
		r, err := readResult(k, v)
		out = append(out, r)
		return true, err
	})
	return out, err
}

// overlaps refuses a fragment that covers rows of another fragment of its batch.
func (s *Store) overlaps(ctx context.Context, r profile.Result) error {
	if !s.filter.may(batchHash(r.Batch)) {
		return nil
	}
	k := batchKey(nil, kindBatch, r.Batch)
	others, err := s.resultsOf(ctx, k[:batchKeyLen-4])
	if err != nil {
		return err
	}
	for _, o := range others {
		if covers(o, r) {
			return overlapping(r)
		}
	}
	return nil
}

// each calls f for the keys that begin with prefix, from `from` on where it is set, until f answers false.
func (s *Store) each(ctx context.Context, prefix, from []byte, f func(k, v []byte) (bool, error)) (err error) {
	if from == nil {
		from = prefix
	}
	it, err := s.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: from, UpperBound: after(prefix)})
	if err != nil {
		return unavailable("read", err)
	}
	defer func() {
		if cerr := it.Close(); err == nil && cerr != nil {
			err = unavailableOr(ctx, "read", cerr)
		}
	}()
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		if n++; n%checkEvery == 0 && ctx.Err() != nil {
			return fault.As(context.Cause(ctx))
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return unavailableOr(ctx, "read", err)
		}
		more, err := f(it.Key(), v)
		if err != nil || !more {
			return err
		}
	}
	return nil
}
