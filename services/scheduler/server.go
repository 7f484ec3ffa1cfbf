package scheduler

import (
	"context"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/rpc"
	"millrace.dev/pkg/run"
	"millrace.dev/pkg/sqldb"
)

const (
	watchEvery  = time.Second            // how soon a change by another process is seen
	watchGap    = 200 * time.Millisecond // between two answers at least
	watchSilent = 10 * time.Second       // between two answers at most
	cancelWait  = 10 * time.Second       // how long CancelRun waits for the run's end
)

// server is the SchedulerService.
type server struct {
	schedulerv1.UnimplementedSchedulerServiceServer
	*Service
}

// Register adds the gRPC servers.
func (s *Service) Register(r grpc.ServiceRegistrar) {
	schedulerv1.RegisterSchedulerServiceServer(r, &server{Service: s})
	schedulerv1.RegisterAccountServiceServer(r, &account{Service: s})
}

func (s *server) TriggerRun(ctx context.Context, req *schedulerv1.TriggerRunRequest) (*schedulerv1.TriggerRunResponse, error) {
	if req.GetReason() == schedulerv1.RunReason_RUN_REASON_REPLAY || req.GetReplayOf() != "" {
		return s.triggerReplay(ctx, req)
	}
	why, ok := map[schedulerv1.RunReason]reason{
		schedulerv1.RunReason_RUN_REASON_UNSPECIFIED: manual,
		schedulerv1.RunReason_RUN_REASON_MANUAL:      manual,
		schedulerv1.RunReason_RUN_REASON_API:         viaAPI,
	}[req.GetReason()]
	var vs []fault.Violation
	if !ok {
		vs = append(vs, fault.Violation{Field: "reason", Message: "is given by the scheduler alone", Fix: "pass manual or api"})
	}
	if req.GetSync() == "" {
		vs = append(vs, fault.Violation{Field: "sync", Message: "is empty", Fix: "pass the id of a sync"})
	}
	if n := len(req.GetIdempotencyKey()); n > maxKey {
		vs = append(vs, fault.Violation{Field: "idempotency_key", Message: "is longer than 255 bytes", Fix: "pass a shorter one"})
	}
	if err := fault.Of(fault.ReasonInvalidArgument, vs); err != nil {
		return nil, err
	}
	r, err := s.trigger(ctx, trigger{
		Workspace: id.Workspace(req.GetWorkspace()).Or(), Sync: req.GetSync(), Key: req.GetIdempotencyKey(),
		Full: req.GetFull() || req.GetResync(), Resync: req.GetResync(), DryRun: req.GetDryRun(), Reason: why, Join: req.GetJoin(), From: ofTime(req.GetFrom()), Until: ofTime(req.GetUntil()),
	})
	if err != nil {
		return nil, err
	}
	out, err := s.toRun(ctx, r)
	return &schedulerv1.TriggerRunResponse{Run: out}, err
}

const maxKey = 255

func (s *server) triggerReplay(ctx context.Context, req *schedulerv1.TriggerRunRequest) (*schedulerv1.TriggerRunResponse, error) {
	old, err := ofRunID("replay_of", req.GetReplayOf())
	if err != nil {
		return nil, err
	}
	if req.GetReason() != schedulerv1.RunReason_RUN_REASON_REPLAY || req.GetFull() || req.GetDryRun() || req.GetFrom() != nil || req.GetUntil() != nil {
		return nil, fault.Of(fault.ReasonInvalidArgument, []fault.Violation{{
			Field: "replay_of", Message: "goes with the reason replay, and with none of full, dry_run and bounds", Fix: "call ReplayRejects of ingestion",
		}})
	}
	r, err := s.replay(ctx, id.Workspace(req.GetWorkspace()).Or(), old)
	if err != nil {
		return nil, err
	}
	out, err := s.toRun(ctx, r)
	return &schedulerv1.TriggerRunResponse{Run: out}, err
}

// toRun answers a run with its account: the stored one of a closed run, that of its parts so far of an open one.
func (s *Service) toRun(ctx context.Context, r runRow) (*schedulerv1.Run, error) {
	if !r.Open {
		return toRun(r, r.Totals), nil
	}
	have, err := partsOf(ctx, s.db, r.ID)
	if err != nil {
		return nil, err
	}
	out := toRun(r, total(r, have))
	out.RejectReasons = toReasons(reasonsOf(have))
	if out.WaitingFor, err = waitsFor(ctx, s.db, r, have); err != nil {
		return nil, err
	}
	batches, err := s.waitsForBatches(ctx, s.db, have)
	out.WaitingFor = append(out.WaitingFor, batches...)
	return out, err
}

// get answers a run of a workspace by the texts of a request.
func (s *Service) get(ctx context.Context, workspace, field, text string) (runRow, error) {
	runID, err := ofRunID(field, text)
	if err != nil {
		return runRow{}, err
	}
	return s.runOf(ctx, s.db, id.Workspace(workspace).Or(), runID)
}

func (s *server) GetRun(ctx context.Context, req *schedulerv1.GetRunRequest) (*schedulerv1.GetRunResponse, error) {
	r, err := s.get(ctx, req.GetWorkspace(), "id", req.GetId())
	if err != nil {
		return nil, err
	}
	out, err := s.toRun(ctx, r)
	return &schedulerv1.GetRunResponse{Run: out}, err
}

func (s *server) ListRuns(ctx context.Context, req *schedulerv1.ListRunsRequest) (*schedulerv1.ListRunsResponse, error) {
	w := id.Workspace(req.GetWorkspace()).Or()
	page, err := rpc.NewPage(req.GetPageSize(), req.GetPageToken(), string(w), req.GetSync(), req.GetFilter(), req.GetOrderBy())
	if err != nil {
		return nil, err
	}
	filter, err := rpc.ParseFilter(req.GetFilter(), "state", "lane", "reason")
	if err != nil {
		return nil, err
	}
	order, err := rpc.ParseOrderBy(req.GetOrderBy(), "create_time")
	if err != nil {
		return nil, err
	}
	where, args := "WHERE workspace = ?", []any{string(w)}
	add := func(cond string, arg any) { where, args = where+" AND "+cond, append(args, arg) }
	if req.GetSync() != "" {
		add("sync_id = ?", req.GetSync())
	}
	for _, t := range filter {
		add(t.Field+" = ?", t.Value) // a field of the list above
	}
	cmp, dir := "<", "DESC" // newest first: ids order by time of creation
	if len(order) > 0 && !order[0].Desc {
		cmp, dir = ">", "ASC"
	}
	if page.After != "" {
		add("id "+cmp+" ?", page.After)
	}
	found, err := runs(ctx, s.db, where+" ORDER BY id "+dir+" LIMIT "+strconv.Itoa(page.Size+1), args...)
	if err != nil {
		return nil, err
	}
	out := &schedulerv1.ListRunsResponse{}
	if len(found) > page.Size {
		found = found[:page.Size]
		out.NextPageToken = page.Next(found[page.Size-1].ID.String())
	}
	for _, r := range found {
		x, err := s.toRun(ctx, r)
		if err != nil {
			return nil, err
		}
		out.Runs = append(out.Runs, x)
	}
	return out, nil
}

func (s *server) WatchRun(req *schedulerv1.WatchRunRequest, stream grpc.ServerStreamingServer[schedulerv1.WatchRunResponse]) error {
	ctx := stream.Context()
	var (
		last *schedulerv1.Run
		sent time.Time
	)
	return s.watch(ctx, func() (bool, error) {
		r, err := s.get(ctx, req.GetWorkspace(), "id", req.GetId())
		if err != nil {
			return false, err
		}
		now, err := s.toRun(ctx, r)
		if err != nil {
			return false, err
		}
		if last == nil || time.Since(sent) >= watchSilent || !proto.Equal(last, now) {
			if err := stream.Send(&schedulerv1.WatchRunResponse{Run: now}); err != nil {
				return false, err
			}
			last, sent = now, time.Now()
		}
		return !r.Open, nil
	})
}

// watch calls look now and after changes until it answers true, no more often than each watchGap.
func (s *Service) watch(ctx context.Context, look func() (bool, error)) error {
	poll := time.NewTicker(watchEvery)
	defer poll.Stop()
	gap := time.NewTimer(0)
	defer gap.Stop()
	for {
		select {
		case <-gap.C:
		case <-ctx.Done():
			return fault.As(ctx.Err())
		case <-s.stopping:
			return errStopping()
		}
		heard := s.changed.heard()
		if done, err := look(); done || err != nil {
			return err
		}
		select {
		case <-heard:
		case <-poll.C:
		case <-ctx.Done():
			return fault.As(ctx.Err())
		case <-s.stopping:
			return errStopping()
		}
		gap.Reset(watchGap)
	}
}

func errStopping() error {
	return fault.New(fault.Unavailable, fault.ReasonServiceUnavailable, "the scheduler is stopping; ask again")
}

func (s *server) CancelRun(ctx context.Context, req *schedulerv1.CancelRunRequest) (*schedulerv1.CancelRunResponse, error) {
	r, err := s.get(ctx, req.GetWorkspace(), "id", req.GetId())
	if err != nil {
		return nil, err
	}
	if err := s.cancel(ctx, r.ID); err != nil {
		return nil, err
	}
	wait, stop := context.WithTimeout(ctx, cancelWait)
	defer stop()
	err = s.watch(wait, func() (bool, error) {
		r, err = getRun(wait, s.db, r.ID)
		return err == nil && !r.Open, err
	})
	if err != nil && wait.Err() == nil {
		return nil, err
	}
	if r, err = getRun(ctx, s.db, r.ID); err != nil {
		return nil, err
	}
	out, err := s.toRun(ctx, r)
	return &schedulerv1.CancelRunResponse{Run: out}, err
}

// cancel asks for a run to be closed as cancelled once its parts are fenced. Asked again it changes nothing.
func (s *Service) cancel(ctx context.Context, runID id.Run) error {
	err := s.db.Tx(ctx, func(tx *sqldb.Tx) error {
		r, err := getRun(ctx, tx, runID)
		switch {
		case err != nil:
			return err
		case r.State == run.Cancelled || (r.Open && r.Closing != ""):
			return nil
		}
		if _, err := run.Next(r.State, run.CancelAsked); err != nil {
			return fault.New(fault.Precondition, fault.ReasonRunState, "run %s is %s; only open runs are cancelled", r.ID, r.State)
		}
		r.Closing = run.Cancelled
		return updateRun(ctx, tx, r)
	})
	if err != nil {
		return err
	}
	s.keep.ring()
	s.changed.ring()
	return nil
}

func (s *server) RetryRun(ctx context.Context, req *schedulerv1.RetryRunRequest) (*schedulerv1.RetryRunResponse, error) {
	runID, err := ofRunID("id", req.GetId())
	if err != nil {
		return nil, err
	}
	r, err := s.retry(ctx, id.Workspace(req.GetWorkspace()).Or(), runID)
	if err != nil {
		return nil, err
	}
	out, err := s.toRun(ctx, r)
	return &schedulerv1.RetryRunResponse{Run: out}, err
}

func (s *server) GetRunCertificate(ctx context.Context, req *schedulerv1.GetRunCertificateRequest) (*schedulerv1.GetRunCertificateResponse, error) {
	r, err := s.get(ctx, req.GetWorkspace(), "id", req.GetId())
	if err != nil {
		return nil, err
	}
	x, err := s.toRun(ctx, r)
	if err != nil {
		return nil, err
	}
	return &schedulerv1.GetRunCertificateResponse{Certificate: x.GetCertificate(), Counts: x.GetCounts()}, nil
}

func (s *server) ListParts(ctx context.Context, req *schedulerv1.ListPartsRequest) (*schedulerv1.ListPartsResponse, error) {
	r, err := s.get(ctx, req.GetWorkspace(), "run", req.GetRun())
	if err != nil {
		return nil, err
	}
	page, err := rpc.NewPage(req.GetPageSize(), req.GetPageToken(), r.ID.String())
	if err != nil {
		return nil, err
	}
	from := int64(-1)
	if page.After != "" {
		if from, err = strconv.ParseInt(page.After, 10, 64); err != nil {
			return nil, errToken()
		}
	}
	found, err := parts(ctx, s.db, "WHERE run_id = ? AND part > ? ORDER BY part LIMIT "+strconv.Itoa(page.Size+1), r.ID.String(), from)
	if err != nil {
		return nil, err
	}
	out := &schedulerv1.ListPartsResponse{}
	if len(found) > page.Size {
		found = found[:page.Size]
		out.NextPageToken = page.Next(strconv.FormatUint(uint64(found[page.Size-1].Part), 10))
	}
	alone, err := letAlone(ctx, s.db, r)
	if err != nil {
		return nil, err
	}
	for _, p := range found {
		x := toPart(p.waitingFor(alone))
		if x.Missing, err = missingOf(ctx, s.db, p); err != nil {
			return nil, err
		}
		out.Parts = append(out.Parts, x)
	}
	return out, nil
}

// ListBatches lists the batches of each part's last epoch, which are those of its account.
func (s *server) ListBatches(ctx context.Context, req *schedulerv1.ListBatchesRequest) (*schedulerv1.ListBatchesResponse, error) {
	r, err := s.get(ctx, req.GetWorkspace(), "run", req.GetRun())
	if err != nil {
		return nil, err
	}
	page, err := rpc.NewPage(req.GetPageSize(), req.GetPageToken(), r.ID.String())
	if err != nil {
		return nil, err
	}
	after := [2]int64{-1, -1}
	if page.After != "" {
		if after, err = ofPlace(page.After); err != nil {
			return nil, err
		}
	}
	found, err := batches(ctx, s.db, `WHERE run_id = ? AND (part > ? OR (part = ? AND seq > ?)) AND epoch =
		(SELECT p.epoch FROM scheduler_parts p WHERE p.run_id = scheduler_batches.run_id AND p.part = scheduler_batches.part AND p.state <> 'replaced')
		ORDER BY part, seq LIMIT `+strconv.Itoa(page.Size+1), r.ID.String(), after[0], after[0], after[1])
	if err != nil {
		return nil, err
	}
	out := &schedulerv1.ListBatchesResponse{}
	if len(found) > page.Size {
		found = found[:page.Size]
		end := found[page.Size-1]
		out.NextPageToken = page.Next(strconv.FormatUint(uint64(end.Part), 10) + "/" + strconv.FormatUint(uint64(end.Batch.Seq), 10))
	}
	for _, b := range found {
		out.Batches = append(out.Batches, toBatch(b))
	}
	return out, nil
}

// ofPlace reads part and seq from a page token.
func ofPlace(text string) ([2]int64, error) {
	part, seq, _ := strings.Cut(text, "/")
	p, err := strconv.ParseInt(part, 10, 64)
	q, err2 := strconv.ParseInt(seq, 10, 64)
	if err != nil || err2 != nil {
		return [2]int64{}, errToken()
	}
	return [2]int64{p, q}, nil
}

func errToken() error {
	return fault.Of(fault.ReasonInvalidArgument, []fault.Violation{{Field: "page_token", Message: "is none that this service gave", Fix: "start again without a token"}})
}
