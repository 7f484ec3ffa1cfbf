package ingestion

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/killpoint"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/store/overlay"
)

// remarks is what is said of a dry batch beside its result: rows of each effect, and why rows were rejected.
type remarks struct {
	Samples []sample `json:",omitempty"`
	Reasons []reason `json:",omitempty"`
}

// rehearse answers what a batch of a dry pass would become, where the batches of the run before it had become what they
// would. Nothing of the platform's data is written. Batches of one run are judged one after the other; where another
// process judges one meanwhile, this one is judged again.
func (w *worker) rehearse(ctx context.Context, o record.Origin, b record.Batch, scope profile.Scope, rules profile.Rules) (brought, error) {
	done, err := w.turns.take(ctx, o.Batch.Run)
	if err != nil {
		return brought{}, err
	}
	defer done()
	for range Tries {
		out, err := w.rehearseOnce(ctx, o, b, scope, rules)
		if err == nil || fault.ClassOf(err) != fault.Conflict {
			return out, err
		}
		w.metrics.conflicts.Inc()
	}
	return brought{}, fault.New(fault.Unavailable, fault.ReasonCommitConflict,
		"batch %s of a dry pass met other batches %d times in a row; it is tried again", o.Batch, Tries)
}

func (w *worker) rehearseOnce(ctx context.Context, o record.Origin, b record.Batch, scope profile.Scope, rules profile.Rules) (brought, error) {
	over := overlay.New(w.store, o, scope, rules)
	types, err := w.wouldType(ctx, over, b, scope)
	if err != nil {
		return brought{}, err
	}
	rules.Typing = types
	keys := profile.KeysOf(b, o, scope, rules)
	met, err := over.Look(ctx, keys)
	if err != nil {
		return brought{}, fmt.Errorf("look batch %s up: %w", o.Batch, err)
	}
	switch {
	case met.Fenced:
		return brought{Outcome: store.Outcome{Fenced: true}}, nil
	case met.Applied != nil:
		w.metrics.batches.WithLabelValues("repeated").Inc()
		out := brought{Outcome: store.Outcome{Repeated: true, Result: *met.Applied}}
		if err := json.Unmarshal(met.Said, &out.remarks); err != nil {
			return brought{}, fault.New(fault.Internal, fault.ReasonInternal, "what was said of batch %s can not be read: %w", o.Batch, err)
		}
		return out, nil
	}
	if err := store.Consult(ctx, over, keys, &met.State, rules); err != nil {
		return brought{}, fmt.Errorf("look batch %s up: %w", o.Batch, err)
	}
	if err := w.lists.mark(ctx, keys, &met.State); err != nil {
		return brought{}, err
	}
	effects := profile.Decide(b, keys, met.State, rules)
	out := brought{Outcome: store.Outcome{Result: effects.Result}}
	if out.remarks, err = w.remarksOn(ctx, b, met.State, effects); err != nil {
		return brought{}, err
	}
	said, err := json.Marshal(out.remarks)
	if err != nil {
		return brought{}, fault.New(fault.Internal, fault.ReasonInternal, "what is to be said of batch %s can not be written: %w", o.Batch, err)
	}
	if o.Sights {
		if err := w.store.Sight(ctx, o, effects.Sighted); err != nil {
			return brought{}, fmt.Errorf("keep the keys of batch %s: %w", o.Batch, err)
		}
	}
	killpoint.Reach("ingestion.rehearse.before")
	if err := over.Keep(ctx, effects, types.Writes, said); err != nil {
		return brought{}, fmt.Errorf("note batch %s: %w", o.Batch, err)
	}
	killpoint.Reach("ingestion.rehearse.after")
	w.metrics.batches.WithLabelValues("dry").Inc()
	return out, nil
}

// wouldType answers what the types of attributes and those of a batch would do to each other.
func (w *worker) wouldType(ctx context.Context, over *overlay.Overlay, b record.Batch, scope profile.Scope) (profile.Typing, error) {
	if b.Absent != nil || b.Kind.Single() {
		return profile.Typing{}, nil
	}
	types, err := over.Types(ctx, scope)
	if err != nil {
		return profile.Typing{}, fmt.Errorf("read the types of attributes: %w", err)
	}
	return profile.TypingOf(b, types, profile.OnConflict(w.settings.AttributeConflict)), nil
}

// turns lets the batches of a dry pass be judged one after the other. Safe for concurrent use; the zero value is ready.
type turns struct {
	mu sync.Mutex
	of map[id.Run]*turn
}

// turn is a run's place, and how many hold it or wait for it.
type turn struct {
	place *semaphore.Weighted
	n     int
}

// take waits for the place of a run. It is the caller's until it calls done.
func (t *turns) take(ctx context.Context, run id.Run) (done func(), err error) {
	t.mu.Lock()
	x := t.of[run]
	if x == nil {
		if t.of == nil {
			t.of = map[id.Run]*turn{}
		}
		x = &turn{place: semaphore.NewWeighted(1)}
		t.of[run] = x
	}
	x.n++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if x.n--; x.n == 0 {
			delete(t.of, run)
		}
	}
	if err := x.place.Acquire(ctx, 1); err != nil {
		leave()
		return nil, fault.As(context.Cause(ctx))
	}
	return func() { x.place.Release(1); leave() }, nil
}

// dropEvery is how often notes of dry passes that are over are looked for.
const dropEvery = time.Minute

// dropNotes removes the notes of dry passes that are over, now and then until ctx ends. What fails is tried again the next
// time.
func (s *Service) dropNotes(ctx context.Context) {
	every := time.NewTicker(dropEvery)
	defer every.Stop()
	for {
		if err := s.dropOver(ctx); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "the notes of dry passes could not be removed; it is tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
	}
}

// dropOver removes the notes of dry passes that are over.
func (s *Service) dropOver(ctx context.Context) error {
	runs, err := s.store.Scratched(ctx)
	if err != nil {
		return fmt.Errorf("list the notes of dry passes: %w", err)
	}
	for _, run := range runs {
		if err := s.dropIfOver(ctx, run); err != nil {
			return fmt.Errorf("run %s: %w", run, err)
		}
	}
	return nil
}

func (s *Service) dropIfOver(ctx context.Context, run id.Run) error {
	of, ok, err := overlay.OwnerOf(ctx, s.store, run)
	if err != nil {
		return err //nolint:wrapcheck // classified by the store
	}
	if ok {
		r, err := s.peers.run(ctx, of.Workspace.Or(), run)
		switch {
		case err != nil && fault.ClassOf(err) != fault.NotFound:
			return err
		case err == nil && r.GetEndTime() == nil && (r.GetDry() || r.GetDryRun()):
			return nil
		case r.GetDryRun(): // nobody asks for what it read any more
			if err := s.store.Unsight(ctx, of.Sync, of.RunNo); err != nil {
				return fmt.Errorf("forget what it read: %w", err)
			}
		}
	}
	if err := s.store.Drop(ctx, run); err != nil {
		return fmt.Errorf("remove its notes: %w", err)
	}
	s.log.DebugContext(ctx, "the notes of a dry pass were removed", "run", run.String())
	return nil
}
