package ingestion

import (
	"context"
	"fmt"
	"time"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/row"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/wire"
)

// seal answers the rows that are to be kept of rejects, as an envelope of rows sealed under the run's name; nothing
// where there are none.
func (s *Service) seal(o record.Origin, kept record.Kept, rejects []record.Reject) ([]byte, error) {
	rejected := make(map[int32]bool, len(rejects))
	for _, r := range rejects {
		rejected[r.Row] = true
	}
	kept = kept.Only(func(at int32) bool { return rejected[at] })
	if kept.Len() == 0 {
		return nil, nil
	}
	body, err := wire.EncodeRows(o, kept.Rows)
	if err != nil {
		return nil, err //nolint:wrapcheck // classified by wire
	}
	sealed, err := s.keys.Seal(body, rejectsOf(o.Batch.Run))
	if err != nil {
		return nil, fmt.Errorf("seal rejected rows: %w", err)
	}
	return sealed, nil
}

// rejectsOf is the additional data under which rejected rows of a run are sealed.
func rejectsOf(run id.Run) string { return "rejects/" + run.String() }

// unseal answers the envelope of rows that is kept of the rejects of a batch, nothing where none is. SECRET_UNREADABLE
// where the key set that it was sealed with is gone.
func (s *Service) unseal(ctx context.Context, b id.Batch) ([]byte, error) {
	sealed, err := s.store.Kept(ctx, b)
	if err != nil {
		return nil, fmt.Errorf("read the kept rows of batch %s: %w", b, err)
	}
	if len(sealed) == 0 {
		return nil, nil
	}
	body, err := s.keys.Unseal(sealed, rejectsOf(b.Run))
	if fault.ReasonOf(err) == fault.ReasonSecretUnreadable {
		return nil, fault.New(fault.Precondition, fault.ReasonSecretUnreadable,
			"the rejected rows of run %s were sealed with another key set; start ingestion with the key set of then, or read the rows from the warehouse again: %w", b.Run, err)
	}
	return body, err //nolint:wrapcheck // classified by secret
}

// keptRows are the rows that are kept of one batch's rejects, by the hash of their content.
type keptRows struct {
	rows row.Batch
	at   map[row.Hash]int
}

// opened answers the kept rows of a batch, none where none are kept.
func (s *Service) opened(ctx context.Context, b id.Batch) (keptRows, error) {
	body, err := s.unseal(ctx, b)
	if len(body) == 0 || err != nil {
		return keptRows{}, err
	}
	_, rows, err := wire.DecodeRows(body, s.settings.MaxBatch)
	if err != nil {
		return keptRows{}, fmt.Errorf("read the kept rows of batch %s: %w", b, err)
	}
	k := keptRows{rows: rows, at: map[row.Hash]int{}}
	hashes := rows.Hashes()
	for i := range hashes.Len() {
		k.at[row.FromBytes(hashes.Value(i))] = i
	}
	return k, nil
}

// json answers the row of a reject as a JSON object, nil where it is not kept.
func (k keptRows) json(r record.Reject) []byte {
	i, ok := k.at[r.Hash]
	if !ok {
		return nil
	}
	return record.AppendRow(nil, k.rows.Record, k.rows.Columns(), i)
}

const (
	// rejectsPage is how many rejects are read at once.
	rejectsPage = 1000
	// maxGroups bounds the reasons that rejects are counted by.
	maxGroups = 1000
)

// eachReject calls f for the rejects of a run in a workspace, until it answers false.
func (s *Service) eachReject(ctx context.Context, w id.Workspace, run id.Run, f func(store.StoredReject) (bool, error)) error {
	for after := ""; ; {
		rejects, next, err := s.store.Rejects(ctx, run, after, rejectsPage)
		if err != nil {
			return fmt.Errorf("list the rejects of run %s: %w", run, err)
		}
		for _, r := range rejects {
			if r.Origin.Workspace.Or() != w {
				continue
			}
			if more, err := f(r); !more || err != nil {
				return err
			}
		}
		if after = next; after == "" {
			return nil
		}
	}
}

// eachKept calls f for the envelopes of rows that are kept of a run's rejects, in the order of batches, until it answers
// false.
func (s *Service) eachKept(ctx context.Context, w id.Workspace, run id.Run, f func(envelope []byte) (bool, error)) error {
	var last id.Batch
	return s.eachReject(ctx, w, run, func(r store.StoredReject) (bool, error) {
		if r.Batch == last {
			return true, nil
		}
		last = r.Batch
		body, err := s.unseal(ctx, r.Batch)
		if len(body) == 0 || err != nil {
			return err == nil, err
		}
		return f(body)
	})
}

const (
	// expireEvery is how often old rejects are looked for.
	expireEvery = time.Hour
	// expireStep is how many are removed at once.
	expireStep = 1000
)

// expire removes old rejects now and then, until ctx ends. What fails is tried again the next time.
func (s *Service) expire(ctx context.Context) {
	every := time.NewTicker(expireEvery)
	defer every.Stop()
	began := time.Now()
	for {
		// A wall clock that leaps ahead while this process runs makes no reject old.
		now := began.Add(time.Since(began))
		if wall := time.Now(); wall.Before(now) {
			now = wall
		}
		if err := s.expireOld(ctx, now); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "old rejects could not be removed; it is tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
	}
}

// expireOld removes the rejects that are older than they are kept, in small steps.
func (s *Service) expireOld(ctx context.Context, now time.Time) error {
	if s.settings.KeepRejects <= 0 {
		return nil
	}
	before, total := now.Add(-s.settings.KeepRejects), 0
	for n := expireStep; n == expireStep; total += n {
		var err error
		if n, err = s.store.Expire(ctx, before, expireStep); err != nil {
			return fmt.Errorf("remove rejects from before %s: %w", before.UTC().Format(time.RFC3339), err)
		}
	}
	if total > 0 {
		s.log.InfoContext(ctx, "old rejects were removed", "rejects", total)
	}
	return nil
}
