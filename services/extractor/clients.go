package extractor

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"github.com/cenkalti/backoff/v5"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	configv1 "millrace.dev/gen/millrace/config/v1"
	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/record/recordpb"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/resource/resourcepb"
	"millrace.dev/pkg/source"
)

// peers are the services that the extractor calls. Safe for concurrent use.
type peers struct {
	config    configv1.ConfigServiceClient
	account   schedulerv1.AccountServiceClient
	scheduler schedulerv1.SchedulerServiceClient
	ingestion ingestionv1.IngestionServiceClient
}

func newPeers(dial func(string) (grpc.ClientConnInterface, error)) (*peers, error) {
	config, err := dial("config")
	if err != nil {
		return nil, err
	}
	scheduler, err := dial("scheduler")
	if err != nil {
		return nil, err
	}
	ingestion, err := dial("ingestion")
	if err != nil {
		return nil, err
	}
	return &peers{
		config:    configv1.NewConfigServiceClient(config),
		ingestion: ingestionv1.NewIngestionServiceClient(ingestion),
		account:   schedulerv1.NewAccountServiceClient(scheduler),
		scheduler: schedulerv1.NewSchedulerServiceClient(scheduler),
	}, nil
}

// callTimeout bounds one try of a call.
const callTimeout = 10 * time.Second

// until calls f until it is answered: what is Unavailable or Throttled is tried again until ctx ends.
func until(ctx context.Context, f func(context.Context) error) error {
	waits := backoff.NewExponentialBackOff()
	waits.InitialInterval, waits.MaxInterval = 100*time.Millisecond, 2*time.Second
	var last error
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		try, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		last = fault.FromStatus(f(try))
		if last == nil {
			return struct{}{}, nil
		}
		switch c := fault.ClassOf(last); {
		case c == fault.Unavailable, c == fault.Throttled, c == fault.Cancelled && ctx.Err() == nil:
			return struct{}{}, last
		}
		return struct{}{}, backoff.Permanent(last)
	}, backoff.WithBackOff(waits), backoff.WithMaxElapsedTime(0))
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fault.As(context.Cause(ctx))
	}
	return last
}

// lease answers a part to work on, nil where there is none.
func (p *peers) lease(ctx context.Context, worker string, wait time.Duration) (*lease, error) {
	ctx, cancel := context.WithTimeout(ctx, wait+callTimeout)
	defer cancel()
	r, err := p.account.LeasePart(ctx, &schedulerv1.LeasePartRequest{Worker: worker, Wait: durationpb.New(wait)})
	if err != nil {
		return nil, fault.FromStatus(err)
	}
	if r.GetLease() == nil {
		return nil, nil //nolint:nilnil // no part and no error is what the scheduler mostly answers
	}
	return toLease(r.GetLease())
}

// heartbeat keeps a lease, and answers whether to stop.
func (p *peers) heartbeat(ctx context.Context, l *lease, rows, bytes int64) (stop bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.beatEvery())
	defer cancel()
	r, err := p.account.HeartbeatPart(ctx, &schedulerv1.HeartbeatPartRequest{
		Run: l.run.String(), Part: l.part, Epoch: l.epoch, Rows: rows, Bytes: bytes,
	})
	return r.GetCancel(), fault.FromStatus(err)
}

// snapshot answers the sync as it was at the lease's version.
func (p *peers) snapshot(ctx context.Context, l *lease) (resource.Snapshot, error) {
	return p.snapshotAt(ctx, l.workspace, l.uid, l.syncVersion)
}

// snapshotAt answers a sync as it was at a version, 0: as it is, or was when it was deleted.
func (p *peers) snapshotAt(ctx context.Context, w id.Workspace, sync id.Sync, version int64) (resource.Snapshot, error) {
	var out resource.Snapshot
	err := until(ctx, func(ctx context.Context) error {
		r, err := p.config.GetSyncSnapshot(ctx, &configv1.GetSyncSnapshotRequest{Workspace: string(w), Sync: sync.String(), Version: version})
		if err == nil {
			out = resourcepb.OfSnapshot(r.GetSnapshot())
		}
		return err //nolint:wrapcheck // classified by until
	})
	return out, err
}

// rejected answers the rows of the rejects that a run replays, as envelopes in the order in which they were read.
func (p *peers) rejected(ctx context.Context, l *lease) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := p.ingestion.ReadRejectedRows(ctx, &ingestionv1.ReadRejectedRowsRequest{Workspace: string(l.workspace), Run: l.replayOf.String()})
		if err != nil {
			yield(nil, fault.FromStatus(err))
			return
		}
		for {
			m, err := stream.Recv()
			switch {
			case errors.Is(err, io.EOF):
				return
			case err != nil:
				yield(nil, fault.FromStatus(err))
				return
			case !yield(m.GetRows(), nil):
				return
			}
		}
	}
}

// absentKeys is what a part is about that passes on the rows which a mirror run lacks.
type absentKeys struct{ message *schedulerv1.AbsentKeys }

// atMost answers how many keys may be passed on, 0: any number.
func (a *absentKeys) atMost() int64 { return a.message.GetAtMost() }

func toAbsent(m *schedulerv1.AbsentKeys) *absentKeys {
	if m == nil {
		return nil
	}
	return &absentKeys{m}
}

// absent answers the keys that a mirror run lacks, some at a time.
func (p *peers) absent(ctx context.Context, l *lease) iter.Seq2[[]id.Row, error] {
	return func(yield func([]id.Row, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		req := &ingestionv1.ReadAbsentKeysRequest{Workspace: string(l.workspace), SyncUid: l.uid.String(), RunNo: l.runNo, Absent: l.absent.message, Dry: l.dry}
		for _, r := range l.retried {
			req.Retried = append(req.Retried, r.RunNo)
		}
		stream, err := p.ingestion.ReadAbsentKeys(ctx, req)
		if err != nil {
			yield(nil, fault.FromStatus(err))
			return
		}
		for {
			m, err := stream.Recv()
			switch {
			case errors.Is(err, io.EOF):
				return
			case err != nil:
				yield(nil, fault.FromStatus(err))
				return
			}
			keys := make([]id.Row, 0, len(m.GetKeys())/16)
			for b := m.GetKeys(); len(b) >= 16; b = b[16:] {
				keys = append(keys, id.Row(b[:16]))
			}
			if !yield(keys, nil) {
				return
			}
		}
	}
}

// planned stores a run's plan.
func (p *peers) planned(ctx context.Context, l *lease, pl plan) error {
	return until(ctx, func(ctx context.Context) error {
		_, err := p.account.ReportPlan(ctx, &schedulerv1.ReportPlanRequest{Run: l.run.String(), Epoch: l.epoch, Plan: ofPlan(pl)})
		return err //nolint:wrapcheck // classified by until
	})
}

// published tells of a batch that the broker holds.
func (p *peers) published(ctx context.Context, x piece, bytes int64, traceID string) error {
	sum := x.digest.Bytes()
	return until(ctx, func(ctx context.Context) error {
		_, err := p.account.ReportExtracted(ctx, &schedulerv1.ReportExtractedRequest{
			Batch: recordpb.ToBatch(x.batch), Rows: x.rows, Bytes: bytes, Digest: sum[:], TraceId: traceID, Nulls: x.nulls,
		})
		return err //nolint:wrapcheck // classified by until
	})
}

// complete tells how an attempt at a part ended.
func (p *peers) complete(ctx context.Context, l *lease, e ending) error {
	req := &schedulerv1.CompletePartRequest{
		Run: l.run.String(), Part: l.part, Epoch: l.epoch,
		Batches: e.batches, Rows: e.rows, Released: e.released, Replan: e.replan, Snapshot: e.snapshot, Cost: ofCost(e.cost),
	}
	if e.err != nil {
		f := fault.As(e.err)
		req.Error, req.Permanent = &schedulerv1.RunError{Reason: f.Reason.Word(), Message: told(f)}, f.Class.Permanent()
		if req.Failure = failureOf(f); f.RetryAfter > 0 {
			req.RetryAfter = durationpb.New(f.RetryAfter)
		}
	}
	return until(ctx, func(ctx context.Context) error {
		_, err := p.account.CompletePart(ctx, req)
		return err //nolint:wrapcheck // classified by until
	})
}

// spent tells what an attempt cost that has lost its lease.
func (p *peers) spent(ctx context.Context, l *lease, c source.Cost) error {
	return until(ctx, func(ctx context.Context) error {
		_, err := p.account.ReportCost(ctx, &schedulerv1.ReportCostRequest{Run: l.run.String(), Part: l.part, Epoch: l.epoch, Cost: ofCost(c)})
		return err //nolint:wrapcheck // classified by until
	})
}

// failureOf says what of the warehouse made an attempt fail. A warehouse that interrupts a
// query answers.
func failureOf(f *fault.Error) schedulerv1.FailureClass {
	switch {
	case f.Class == fault.Throttled:
		return schedulerv1.FailureClass_FAILURE_CLASS_THROTTLED
	case f.Class == fault.Unavailable && (f.Reason == fault.ReasonWarehouseUnavailable || f.Reason == fault.ReasonWarehouseLocked):
		return schedulerv1.FailureClass_FAILURE_CLASS_UNAVAILABLE
	}
	return schedulerv1.FailureClass_FAILURE_CLASS_UNSPECIFIED
}

// told answers what users read of a fault: not the text of one that nobody classified.
func told(f *fault.Error) string {
	if f.Class == fault.Internal && f.Reason == fault.ReasonInternal {
		return "the extractor failed; its log has the cause"
	}
	return f.Message
}

// over says whether a run has ended, or is not known, and whether it is done.
func (p *peers) over(ctx context.Context, l *lease) (over, done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	r, err := p.scheduler.GetRun(ctx, &schedulerv1.GetRunRequest{Workspace: string(l.workspace), Id: l.run.String()})
	if err = fault.FromStatus(err); err != nil {
		return fault.ClassOf(err) == fault.NotFound, false, err
	}
	switch r.GetRun().GetState() {
	case schedulerv1.RunState_RUN_STATE_SUCCEEDED, schedulerv1.RunState_RUN_STATE_PARTIALLY_SUCCEEDED:
		return true, true, nil
	case schedulerv1.RunState_RUN_STATE_FAILED, schedulerv1.RunState_RUN_STATE_CANCELLED,
		schedulerv1.RunState_RUN_STATE_SKIPPED, schedulerv1.RunState_RUN_STATE_REHEARSED:
		return true, false, nil
	default:
		return false, false, nil
	}
}
