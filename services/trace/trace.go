// Package trace is the service that keeps the journeys of batches: it takes spans by OTLP/gRPC from the mesh and from any
// other client, keeps them in a database of its own for a day within a bound of bytes, and answers for them.
//
// Its failures are nobody else's: senders never wait for its database, a full queue refuses spans and counts them, and
// while the database can not be opened the process goes on without traces. It holds no personal data: what is kept of a
// span is ids, counts, sizes, durations and versions of an allow-list (SPANS.md), whoever sent it.
package trace

import (
	"context"
	"embed"
	"errors"
	"io/fs"
	"log/slog"
	"sync/atomic"
	"time"

	"millrace.dev/pkg/app"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/sqldb"
)

//go:embed migrations/*.sql
var migrations embed.FS

const (
	openTimeout = 5 * time.Second
	lastTimeout = 5 * time.Second // of one attempt to write at the end
	reopenEvery = 5 * time.Second
	sweepEvery  = 5 * time.Second
)

// Service keeps traces. Safe for concurrent use; any number of processes may share its database.
type Service struct {
	log      *slog.Logger
	settings Settings
	alone    bool
	inbox    *inbox
	metrics  *metrics
	db       atomic.Pointer[sqldb.DB] // nil until it could be opened
	total    atomic.Int64             // bytes kept, as far as this process knows
	away     atomic.Bool              // the last write failed
}

var _ app.Readier = (*Service)(nil)

// New opens the traces' database. Where it can not be opened now, Run tries on: a process that has other services too
// goes on without traces.
func New(ctx context.Context, env *app.Env, s Settings) (*Service, error) {
	s = s.complete(env.Shared.Data)
	if err := s.check(); err != nil {
		return nil, err
	}
	in := newInbox(s.QueueSpans)
	m, err := newMetrics(env.Metrics, in)
	if err != nil {
		return nil, err
	}
	v := &Service{log: env.Log, settings: s, alone: env.Alone, inbox: in, metrics: m}
	if err := v.open(ctx); err != nil {
		v.log.Warn("the database of traces can not be opened; it is tried again, and nothing else waits for it", "error", err)
	}
	return v, nil
}

// open opens the database and brings its tables up to date.
func (s *Service) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	db, err := sqldb.Open(ctx, s.settings.Database, sqldb.Relaxed)
	if err != nil {
		return err //nolint:wrapcheck // classified by sqldb
	}
	files, err := fs.Sub(migrations, "migrations")
	if err == nil {
		err = db.Migrate(ctx, files, Name)
	}
	if err == nil {
		err = s.measure(ctx, db)
	}
	if err != nil {
		return errors.Join(err, db.Close())
	}
	s.db.Store(db)
	return nil
}

// database answers the database, or that there is none now.
func (s *Service) database() (*sqldb.DB, error) {
	if db := s.db.Load(); db != nil {
		return db, nil
	}
	return nil, fault.New(fault.Unavailable, fault.ReasonStoreUnavailable, "the database of traces can not be opened; see --trace-database and the log")
}

// Run writes what is received and deletes what is old or unwanted, until soft ends; then it writes what waits, until hard
// ends or the database does not take it.
func (s *Service) Run(soft, hard context.Context) error {
	reopen, sweep := time.NewTicker(reopenEvery), time.NewTicker(sweepEvery)
	defer reopen.Stop()
	defer sweep.Stop()
	for {
		select {
		case <-soft.Done():
			s.writeLast(hard)
			return nil
		case <-s.inbox.bell:
			s.writeAll(soft, hard)
		case <-sweep.C:
			s.sweep(hard)
		case <-reopen.C:
			if s.db.Load() == nil && s.open(soft) == nil {
				s.log.Info("the database of traces is open")
				s.writeAll(soft, hard)
			}
		}
	}
}

// Ready says whether traces can be kept, where the process is this service's alone; others do not stop for it.
func (s *Service) Ready() error {
	if !s.alone {
		return nil
	}
	_, err := s.database()
	return err
}

// Close writes what came in after Run had ended, and closes the database.
func (s *Service) Close() error {
	db := s.db.Load()
	if db == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), lastTimeout) //nolint:forbidigo // every context has ended, and what is left is worth a moment
	defer cancel()
	s.writeLast(ctx)
	if err := db.Close(); err != nil {
		return fault.New(fault.Internal, fault.ReasonInternal, "close the database of traces: %w", err)
	}
	return nil
}
