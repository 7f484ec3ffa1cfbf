// Package ingestion is the service that brings records into the platform's store and answers for what is there.
//
// Batches come from RECORDS, many workers at a time and many processes. Each is looked up, decided by package profile
// and committed with its result in one durable step; a second delivery finds the result and reports it again.
//
// People are erased place by place (erasing.go), behind a hash list of their identities that every batch is compared with
// (blocked.go). A hash is made with a key of the workspace, which is kept sealed with the key set: without that key set no
// batch of a workspace with erased people comes in. What is about no person is not looked at: groups, their histories and
// lookup tables. Nor are other people's events whose rows named the erased person beside them, and what a profile keeps of
// an identity that it lost. Nothing lifts a block.
package ingestion

import (
	"context"
	"log/slog"
	"sync"

	"go.opentelemetry.io/otel/trace"

	"millrace.dev/pkg/app"
	"millrace.dev/pkg/bus"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/secret"
	"millrace.dev/pkg/store"
)

// Service brings records in. Safe for concurrent use.
type Service struct {
	log      *slog.Logger
	tracer   trace.Tracer
	settings Settings
	rules    profile.Rules
	bus      *bus.Bus
	store    store.Store
	system   string // of the store, by the conventions of spans
	keys     *secret.Keyring
	peers    *peers
	types    dictionaries
	turns    turns
	metrics  *metrics
	lists    *hashLists
	extent   func(context.Context, bus.Stream) (bus.Extent, error) // of a stream of the bus
	asked    chan struct{}                                         // has something where an erasure was asked for
}

// New opens the store and the key set that rejected rows are sealed with. Nothing is consumed before Run.
func New(ctx context.Context, env *app.Env, s Settings) (*Service, error) {
	return open(ctx, env, s, func(st store.Store) store.Store { return st })
}

// open is New over what `over` makes of the store.
func open(ctx context.Context, env *app.Env, s Settings, over func(store.Store) store.Store) (*Service, error) {
	st, err := openStore(ctx, env.Shared.Store, s, env.Log)
	if err != nil {
		return nil, err
	}
	st = over(st)
	v, err := build(ctx, env, s, st)
	if err != nil {
		if cerr := st.Close(); cerr != nil {
			env.Log.Error("the store could not be closed", "error", cerr)
		}
		return nil, err
	}
	return v, nil
}

// build makes the service over an open store, which stays the caller's when it fails.
func build(ctx context.Context, env *app.Env, s Settings, st store.Store) (*Service, error) {
	rules, err := s.rules()
	if err != nil {
		return nil, err
	}
	keys, err := secret.Open(ctx, env.Shared.Keys)
	if err != nil {
		return nil, err //nolint:wrapcheck // classified by secret
	}
	p, err := newPeers(env.Dial, s.Snapshots)
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(env.Metrics)
	if err != nil {
		return nil, err
	}
	if err := watchStore(env.Metrics, st); err != nil {
		return nil, err
	}
	v := &Service{
		log: env.Log, tracer: env.Tracer, settings: s, rules: rules,
		bus: env.Bus, store: st, system: storeSystem(env.Shared.Store), keys: keys, peers: p, metrics: m, lists: newHashLists(st, keys), asked: make(chan struct{}, 1),
	}
	v.extent = v.bus.Extent
	return v, nil
}

// Run works on RECORDS until soft ends; batches in hand go by hard. Beside that it removes rejects that are old, and what
// dry passes noted that are over, and goes on with erasures that are not done.
func (s *Service) Run(soft, hard context.Context) error {
	ctx, stop := context.WithCancel(soft)
	var beside sync.WaitGroup
	beside.Go(func() { s.expire(ctx) })
	beside.Go(func() { s.dropNotes(ctx) })
	beside.Go(func() { s.eraseOn(ctx) })
	defer beside.Wait()
	defer stop()
	o := bus.ConsumeOptions{Workers: s.settings.Workers, Hard: hard}
	if err := s.bus.Consume(soft, bus.Records, Name, o, &worker{s}); err != nil {
		return err //nolint:wrapcheck // classified by bus
	}
	return nil
}

// Ready answers why this process can bring nothing in until it is started again, nil where it can.
func (s *Service) Ready() error {
	if r, ok := s.store.(app.Readier); ok {
		return r.Ready() //nolint:wrapcheck // classified by the driver
	}
	return nil
}

// Close closes the store.
func (s *Service) Close() error {
	if err := s.store.Close(); err != nil {
		return fault.New(fault.Internal, fault.ReasonInternal, "close the store: %w", err)
	}
	return nil
}
