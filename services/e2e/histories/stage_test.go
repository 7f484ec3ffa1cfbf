package histories_test

import (
	"context"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
)

// stage stands between the services, the broker and the store of one mesh, and makes the faults of the seeds that play on
// it. Each seed has a workspace of its own and is told apart by it.
type stage struct {
	broker *broker

	mu     sync.Mutex
	plots  map[string]*plot // by workspace
	byRun  map[string]*plot
	totals totals

	// steady is held for reading by seeds whose run needs its snapshot to live, and for writing by a restart of the
	// extractor, with which snapshots die.
	steady sync.RWMutex

	mapper, ingestion, extractor *restartable
}

func newStage() *stage {
	return &stage{plots: map[string]*plot{}, byRun: map[string]*plot{}, totals: newTotals()}
}

func (s *stage) join(workspace string, p *plot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plots[workspace] = p
}

// leave forgets a seed and adds up what was done to it.
func (s *stage) leave(workspace string, p *plot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.plots, workspace)
	for run, q := range s.byRun {
		if q == p {
			delete(s.byRun, run)
		}
	}
	s.totals.add(p)
}

func (s *stage) of(run string) *plot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byRun[run]
}

// lease answers the plot of a leased part, whose run it learns by that.
func (s *stage) lease(l *schedulerv1.PartLease) *plot {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.plots[l.GetWorkspace()]
	if p != nil {
		s.byRun[l.GetRun()] = p
	}
	return p
}

// plotOf answers the plot that a call belongs to, nil where it belongs to none.
func (s *stage) plotOf(args any) *plot {
	switch r := args.(type) {
	case interface{ GetBatch() *schedulerv1.BatchRef }:
		return s.of(r.GetBatch().GetRun())
	case *schedulerv1.ReportIngestedRequest:
		return s.of(r.GetResult().GetBatch().GetRun())
	case interface{ GetRun() string }:
		return s.of(r.GetRun())
	case interface{ GetWorkspace() string }:
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.plots[r.GetWorkspace()]
	}
	return nil
}

// conn is a connection between two services on which calls get lost.
type conn struct {
	grpc.ClientConnInterface
	stage *stage
}

func errCallLost() error {
	return status.Error(codes.Unavailable, "the call was lost")
}

// Invoke makes one call, or loses it before or after it took effect, or holds it.
func (c conn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	call := func() error { return c.ClientConnInterface.Invoke(ctx, method, args, reply, opts...) } //nolint:wrapcheck // as it is
	name := method[strings.LastIndex(method, "/")+1:]
	if name == "LeasePart" {
		return c.leased(ctx, call, reply)
	}
	p := c.stage.plotOf(args)
	if p == nil {
		return call()
	}
	switch r := args.(type) {
	case *schedulerv1.HeartbeatPartRequest:
		if p.muted(part{r.GetRun(), r.GetPart(), r.GetEpoch()}) {
			return nil // the worker believes that it is heard
		}
	case *schedulerv1.ReportExtractedRequest:
		b := r.GetBatch()
		p.acked(b, r.GetRows())
		if p.take(onReport, zombieReports) {
			p.outlive(ctx, part{b.GetRun(), b.GetPart(), b.GetEpoch()}, zombieReports)
		}
	}
	f, lost := p.next(onCall + name)
	if lost && f.kind == callLost {
		p.made(f.kind)
		return errCallLost()
	}
	err := call()
	if err == nil {
		c.done(ctx, p, args)
	}
	if lost && f.kind == answerLost {
		p.made(f.kind)
		return errCallLost()
	}
	return err
}

// done tells the plot what a call has moved.
func (c conn) done(ctx context.Context, p *plot, args any) {
	switch args.(type) {
	case *schedulerv1.ReportIngestedRequest:
		p.progress()
	case *schedulerv1.ReportExtractedRequest:
		if p.take(onReport, sourceCut) {
			p.disturb(ctx, sourceCut)
		}
	case *schedulerv1.ReportPlanRequest:
		p.planned(ctx)
	}
}

// leased passes an answer of LeasePart on, or loses or holds it.
func (c conn) leased(ctx context.Context, call func() error, reply any) error {
	if err := call(); err != nil {
		return err
	}
	l := reply.(*schedulerv1.LeasePartResponse).GetLease()
	if l == nil {
		return nil
	}
	p := c.stage.lease(l)
	if p == nil {
		return nil
	}
	at := part{l.GetRun(), l.GetPart(), l.GetEpoch()}
	p.leased(at)
	if at.part == 0 {
		return nil
	}
	f, ok := p.next(onLease)
	if !ok {
		return nil
	}
	switch f.kind {
	case leaseLost:
		p.made(f.kind)
		return errCallLost()
	case zombieStarts:
		p.outlive(ctx, at, zombieStarts)
	default:
		c.stage.broker.ambush(ctx, p, f)
	}
	return nil
}

// part names a lease.
type part struct {
	run   string
	part  uint32
	epoch uint32
}

// holdLimit bounds how long a worker is held: its part is leased again long before.
const holdLimit = 8 * time.Second
