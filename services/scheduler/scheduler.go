// Package scheduler is the service that starts runs, gives their parts to workers and keeps the account: it finds syncs
// that are due, leases parts under epochs, fences what a lost lease left behind, adds up what workers report, closes a run
// when its account does, and tells those who asked for alerts.
//
// It calls no worker but for Ingestion.Fence; workers call it. Everything it knows stands in the control database, so
// that several processes may share the work and a restart goes on where the last process ended.
package scheduler

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"millrace.dev/pkg/app"
	"millrace.dev/pkg/quota"
	"millrace.dev/pkg/sqldb"
)

// Service schedules runs and keeps their account. Safe for concurrent use.
type Service struct {
	log      *slog.Logger
	settings Settings
	db       *sqldb.DB
	reports  *combiner
	limits   quota.Limiter
	peers    *peers
	streams  streams
	spans    *spans
	metrics  *metrics

	work    bell // a part may be waiting for a worker
	keep    bell // a part or run may be waiting for the keeper
	changed bell // some run has changed

	alerting bell // something may have to be told
	watcher  watcher
	tellers  tellers

	stopping chan struct{} // closed when no new work is to be given out
	stop     sync.Once
}

// New opens and migrates the control tables. Nothing is scheduled before Run.
func New(ctx context.Context, env *app.Env, set Settings) (*Service, error) {
	db, err := sqldb.Open(ctx, env.Shared.SQL)
	if err != nil {
		return nil, err
	}
	s, err := build(ctx, env, set, db)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

// build makes the service over an open database, which stays the caller's when it fails.
func build(ctx context.Context, env *app.Env, set Settings, db *sqldb.DB) (*Service, error) {
	sub, err := migrationFiles()
	if err != nil {
		return nil, err
	}
	if err := db.Migrate(ctx, sub, Name); err != nil {
		return nil, err
	}
	p, err := newPeers(env.Dial)
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(env.Metrics)
	if err != nil {
		return nil, err
	}
	tell, err := newTellers(env.Shared.Keys, set)
	if err != nil {
		return nil, err
	}
	limits, err := openLimits(env.Shared.Quota)
	if err != nil {
		return nil, err
	}
	s := &Service{
		log: env.Log, settings: set.orDefaults(), db: db, reports: &combiner{db: db}, limits: limits, peers: p,
		spans: newSpans(env.Tracer), metrics: m, tellers: tell, stopping: make(chan struct{}),
	}
	if env.Bus != nil {
		s.streams = env.Bus
	}
	warnOfKeys(ctx, env)
	return s, nil
}

// Run looks for syncs that are due and keeps runs going until soft ends. What is in hand then goes by hard.
func (s *Service) Run(soft, hard context.Context) error {
	defer context.AfterFunc(soft, s.drain)()
	var g errgroup.Group
	g.Go(func() error { s.every(soft, nil, func() { s.tick(hard) }); return nil })
	k := newKeeper(s)
	g.Go(func() error { s.every(soft, &s.keep, func() { k.round(hard) }); return nil })
	a := &alerter{Service: s}
	g.Go(func() error { s.every(soft, &s.alerting, func() { a.round(hard) }); return nil })
	err := g.Wait()
	s.drain()
	return err
}

// drain ends long polls and watches, so that servers can stop. Reports are taken until they have.
func (s *Service) drain() { s.stop.Do(func() { close(s.stopping) }) }

// every calls f now, after each ring of b, and at least each Tick, until soft ends.
func (s *Service) every(soft context.Context, b *bell, f func()) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var rung <-chan struct{}
		if b != nil {
			rung = b.heard()
		}
		select {
		case <-soft.Done():
			return
		case <-timer.C:
		case <-rung:
		}
		f()
		timer.Reset(s.settings.Tick)
	}
}

// Close ends what New opened.
func (s *Service) Close() error {
	s.drain()
	s.spans.end()
	return errors.Join(s.limits.Close(), s.db.Close())
}
