// Package extractor is the service that reads warehouses: it leases parts of runs from the scheduler, plans runs, and
// passes the rows of parts on as hashed Arrow batches.
//
// Nothing is kept here but what a part in hand needs, and the sources whose open snapshot a run's parts share. A worker
// that loses its lease stops; whoever has the next lease reads the part again.
package extractor

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/semaphore"

	"millrace.dev/pkg/app"
	"millrace.dev/pkg/bus"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/killpoint"
	"millrace.dev/pkg/secret"
	"millrace.dev/pkg/source"
)

// Service reads warehouses. Safe for concurrent use.
type Service struct {
	log      *slog.Logger
	tracer   trace.Tracer
	settings Settings
	bus      *bus.Bus
	keys     *secret.Keyring
	roots    roots
	drivers  map[string]source.Driver
	peers    *peers
	metrics  *metrics
	worker   string
	held     *held
	// encoders bounds the batches that are hashed and compressed at once.
	encoders *semaphore.Weighted
}

// New opens the key set that credentials are sealed with. Nothing is leased before Run.
func New(ctx context.Context, env *app.Env, s Settings) (*Service, error) {
	s = s.withDefaults()
	keys, err := secret.Open(ctx, env.Shared.Keys)
	if err != nil {
		return nil, err //nolint:wrapcheck // classified by secret
	}
	p, err := newPeers(env.Dial)
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(env.Metrics)
	if err != nil {
		return nil, err
	}
	v := &Service{
		log: env.Log, tracer: env.Tracer, settings: s, bus: env.Bus, keys: keys, peers: p, metrics: m,
		roots:    roots{anywhere: env.Shared.FilesAnywhere, folders: s.FilesRoots},
		drivers:  map[string]source.Driver{},
		worker:   workerName(),
		encoders: semaphore.NewWeighted(int64(max(1, runtime.GOMAXPROCS(0)))),
	}
	v.held = newHeld(v)
	for _, d := range drivers(s, filepath.Join(env.Shared.Data, "extractor")) {
		v.drivers[d.Provider()] = d
	}
	return v, nil
}

// workerName names this process among those that lease.
func workerName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s/%d/%s", host, os.Getpid(), id.NewRun().String()[24:])
}

// Run leases and works on parts until soft ends; the batches in hand go by hard, and what is unfinished is given back.
func (s *Service) Run(soft, hard context.Context) error {
	var slots sync.WaitGroup
	for range s.settings.Slots {
		slots.Go(func() { s.slot(soft, hard) })
	}
	slots.Go(func() { s.clearing(soft, hard) })
	slots.Wait()
	s.held.wait()
	return nil
}

// leaseWait is how long the scheduler may take to find a part.
const leaseWait = 20 * time.Second

// slot works on one part after the other.
func (s *Service) slot(soft, hard context.Context) {
	for soft.Err() == nil {
		l, err := s.peers.lease(soft, s.worker, leaseWait)
		switch {
		case soft.Err() != nil:
			return
		case err != nil:
			s.log.WarnContext(soft, "no part can be leased; trying again", "error", err)
			wait(soft, time.Second)
		case l != nil:
			killpoint.Reach("extractor.lease.after")
			s.work(soft, hard, l)
		}
	}
}

// wait waits d, or less where ctx ends.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// Close frees nothing: what was open, Run has closed.
func (s *Service) Close() error { return nil }

// internal classifies what nobody else did.
func internal(doing string, err error) error {
	return fault.New(fault.Internal, fault.ReasonInternal, doing+": %w", err)
}
