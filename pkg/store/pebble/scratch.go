package pebble

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/store"
)

var _ store.Scratch = (*Store)(nil)

func scratchPrefix(run id.Run) []byte { return append([]byte{kindScratch}, run[:]...) }

const scratchPrefixLen = 1 + 16

// Noted answers notes of a dry run.
func (s *Store) Noted(ctx context.Context, run id.Run, keys [][]byte) ([][]byte, int64, error) {
	if err := s.usable(ctx); err != nil {
		return nil, 0, err
	}
	turn, err := s.turn(run)
	if err != nil {
		return nil, 0, err
	}
	out := make([][]byte, len(keys))
	if turn == 0 || len(keys) == 0 {
		return out, turn, nil
	}
	prefix := scratchPrefix(run)
	it, err := s.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return nil, 0, unavailable("look", err)
	}
	key := prefix
	for i, k := range keys {
		if i%checkEvery == 0 && ctx.Err() != nil {
			break
		}
		key = append(key[:scratchPrefixLen], k...)
		if !it.SeekPrefixGE(key) {
			continue
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return nil, 0, errors.Join(unavailableOr(ctx, "look", err), it.Close())
		}
		out[i] = append([]byte(nil), v...)
	}
	if err := it.Close(); err != nil || ctx.Err() != nil {
		return nil, 0, unavailableOr(ctx, "look", err)
	}
	return out, turn, nil
}

// turn answers the turn of a run's notes, 0 where there are none.
func (s *Store) turn(run id.Run) (int64, error) {
	v, err := s.get(scratchPrefix(run))
	switch {
	case err != nil:
		return 0, err
	case v == nil:
		return 0, nil
	case len(v) != 8:
		return 0, damaged("the turn of a dry run")
	}
	return int64(binary.BigEndian.Uint64(v)), nil //nolint:gosec // two's complement
}

// Note puts notes of a dry run.
func (s *Store) Note(ctx context.Context, run id.Run, turn int64, notes []store.Note) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	if err := s.roomy("note"); err != nil {
		return err
	}
	size := scratchPrefixLen + 64
	for _, n := range notes {
		size += scratchPrefixLen + len(n.Key) + len(n.Value) + 16
	}
	b := s.db.NewBatch(pebble.WithInitialSizeBytes(size), pebble.WithMaxRetainedSizeBytes(maxRetained))
	key := scratchPrefix(run)
	if err := b.Set(key, binary.BigEndian.AppendUint64(nil, uint64(turn)+1), nil); err != nil { //nolint:gosec // two's complement
		return errors.Join(unavailable("note", err), b.Close())
	}
	for _, n := range notes {
		key = append(key[:scratchPrefixLen], n.Key...)
		if err := b.Set(key, n.Value, nil); err != nil {
			return errors.Join(unavailable("note", err), b.Close())
		}
	}
	s.scratch.Lock()
	defer s.scratch.Unlock()
	has, err := s.turn(run)
	if err == nil && has != turn {
		err = fault.New(fault.Conflict, fault.ReasonCommitConflict, "store: note: another batch of the dry run was noted meanwhile; look and decide again")
	}
	if err != nil {
		return errors.Join(err, b.Close())
	}
	if err := commitSynced(s.db, b); err != nil {
		return s.breakDown("note", err)
	}
	return nil
}

// Scratched answers the runs that have notes.
func (s *Store) Scratched(ctx context.Context) ([]id.Run, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	it, err := s.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: []byte{kindScratch}, UpperBound: []byte{kindScratch + 1}})
	if err != nil {
		return nil, unavailable("read", err)
	}
	var out []id.Run
	for ok := it.First(); ok; ok = it.SeekGE(after(it.Key()[:scratchPrefixLen])) {
		if len(it.Key()) < scratchPrefixLen {
			return nil, errors.Join(damaged("a note of a dry run"), it.Close())
		}
		out = append(out, id.Run(it.Key()[1:scratchPrefixLen]))
	}
	if err := it.Close(); err != nil {
		return nil, unavailableOr(ctx, "read", err)
	}
	return out, nil
}

// Drop removes all notes of a run.
func (s *Store) Drop(ctx context.Context, run id.Run) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	s.scratch.Lock()
	defer s.scratch.Unlock()
	prefix := scratchPrefix(run)
	if err := s.db.DeleteRange(prefix, after(prefix), pebble.Sync); err != nil {
		return s.breakDown("drop", err)
	}
	return nil
}

// Unsight removes the keys that are kept of one run.
func (s *Store) Unsight(ctx context.Context, sync id.Sync, runNo int64) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	n, known := s.dict.find(wordSync, syncName(sync))
	if !known {
		return nil
	}
	prefix := sightRun(nil, n, runNo)
	if err := s.db.DeleteRange(prefix, after(prefix), pebble.Sync); err != nil {
		return s.breakDown("drop", err)
	}
	return nil
}

// Event answers the document of an event.
func (s *Store) Event(ctx context.Context, sc profile.Scope, k profile.EventKey) ([]byte, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	scope, known := s.dict.find(wordScope, scopeName(sc))
	if !known {
		return nil, nil
	}
	return s.get(eventKey(nil, scope, k))
}
