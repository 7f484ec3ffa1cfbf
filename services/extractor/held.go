package extractor

import (
	"context"
	"sync"
	"time"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/source"
)

// held are the sources whose open snapshot the parts of a run share, kept until that run is over. Safe for concurrent
// use.
type held struct {
	s  *Service
	wg sync.WaitGroup

	mu    sync.Mutex
	ended context.Context //nolint:containedctx // ends when Run waits
	end   context.CancelFunc
}

func newHeld(s *Service) *held {
	h := &held{s: s}
	return h
}

// keep takes src over.
func (h *held) keep(ctx context.Context, l *lease, src source.Source) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended == nil {
		h.ended, h.end = context.WithCancel(context.WithoutCancel(ctx))
	}
	h.s.metrics.heldNow.Inc()
	h.wg.Go(func() {
		defer h.s.metrics.heldNow.Dec()
		defer h.s.release(h.ended, src)
		h.watch(h.ended, l)
	})
}

// after calls f once the run of l is done, unless Run waits before.
func (h *held) after(ctx context.Context, l *lease, f func(context.Context)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended == nil {
		h.ended, h.end = context.WithCancel(context.WithoutCancel(ctx))
	}
	h.wg.Go(func() {
		if h.watch(h.ended, l) {
			f(h.ended)
		}
	})
}

// watch returns when the run of l needs its snapshot no more, and says whether it is done.
func (h *held) watch(ctx context.Context, l *lease) bool {
	ctx, cancel := context.WithTimeout(ctx, h.s.settings.HoldMax)
	defer cancel()
	every := time.NewTicker(h.s.settings.HoldPoll)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-every.C:
		}
		over, done, err := h.s.peers.over(ctx, l)
		if over {
			return done
		}
		if err != nil && fault.ClassOf(err) != fault.Unavailable && ctx.Err() == nil {
			h.s.log.WarnContext(ctx, "it cannot be seen whether a run is over; its snapshot is held", "run", l.run.String(), "error", err)
		}
	}
}

// wait lets every source go.
func (h *held) wait() {
	h.mu.Lock()
	if h.end != nil {
		h.end()
	}
	h.mu.Unlock()
	h.wg.Wait()
}
