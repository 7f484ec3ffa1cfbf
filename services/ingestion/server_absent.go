package ingestion

import (
	"fmt"

	"google.golang.org/grpc"

	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/store"
)

// absentKeys is how many keys go into one answer.
const absentKeys = 16384

// ReadAbsentKeys sends the keys of the row index that no part of a mirror run has read. Nothing is sent before it is
// sure that the keys of all rows are at hand that the parts have read.
func (s *server) ReadAbsentKeys(r *ingestionv1.ReadAbsentKeysRequest, stream grpc.ServerStreamingServer[ingestionv1.ReadAbsentKeysResponse]) error {
	q, err := readingOf(r)
	if err != nil {
		return err
	}
	ctx := stream.Context()
	n, err := s.store.Sighted(ctx, q)
	switch {
	case err != nil:
		return fmt.Errorf("count the keys that run %d read: %w", q.RunNo, err)
	case n != r.GetAbsent().GetRows():
		return fault.New(fault.Precondition, fault.ReasonAccountUnbalanced,
			"the run read %d rows, but the keys of %d are kept, so that nobody knows which rows are gone; start a new run", r.GetAbsent().GetRows(), n)
	}
	out := &ingestionv1.ReadAbsentKeysResponse{}
	for first := range 256 {
		keys, err := s.store.Absent(ctx, q, byte(first))
		if err != nil {
			return fmt.Errorf("list the keys that run %d lacks: %w", q.RunNo, err)
		}
		for i := range keys {
			out.Keys = append(out.Keys, keys[i][:]...)
			if len(out.GetKeys()) < absentKeys*len(keys[i]) {
				continue
			}
			if err := stream.Send(out); err != nil {
				return err //nolint:wrapcheck // the caller is gone
			}
			out = &ingestionv1.ReadAbsentKeysResponse{}
		}
	}
	if len(out.GetKeys()) > 0 {
		if err := stream.Send(out); err != nil {
			return err //nolint:wrapcheck // the caller is gone
		}
	}
	if q.Dry {
		return nil
	}
	if err := s.store.Forget(ctx, q.Sync, q.Oldest()); err != nil {
		return fmt.Errorf("forget the keys of earlier runs: %w", err)
	}
	return nil
}

func readingOf(r *ingestionv1.ReadAbsentKeysRequest) (store.Reading, error) {
	sync, err := id.ParseSync(r.GetSyncUid())
	if err != nil {
		return store.Reading{}, missing("sync_uid", "pass the uid of the sync")
	}
	q := store.Reading{Sync: sync, RunNo: r.GetRunNo(), Retried: r.GetRetried(), Dry: r.GetDry()}
	for _, p := range r.GetAbsent().GetParts() {
		q.Parts = append(q.Parts, store.ReadPart{RunNo: p.GetRunNo(), Part: p.GetPart(), Epoch: p.GetEpoch()})
	}
	return q, nil
}
