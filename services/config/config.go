// Package config is the service that keeps what people want: connections, feeds, data models, mappings, syncs and alerts,
// and the immutable snapshots of syncs by which runs go.
//
// Every change is planned on the resources as a transaction sees them, checked as a whole, and written as one. Where a
// sync becomes active, the plan is checked against its warehouse before it is written, outside any transaction.
package config

import (
	"context"
	"embed"
	"errors"
	"io/fs"
	"log/slog"

	"millrace.dev/pkg/app"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/secret"
	"millrace.dev/pkg/sqldb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Service keeps resources. Safe for concurrent use; any number of processes may share its database.
type Service struct {
	log      *slog.Logger
	settings Settings
	db       *sqldb.DB
	keys     *secret.Keyring
	peers    *peers
}

// New opens the control database, brings its tables up to date, and opens the key set of credentials.
func New(ctx context.Context, env *app.Env, s Settings) (*Service, error) {
	keys, err := secret.Open(ctx, env.Shared.Keys)
	if err != nil {
		return nil, err //nolint:wrapcheck // classified by secret
	}
	peers, err := newPeers(env.Dial)
	if err != nil {
		return nil, err
	}
	db, err := sqldb.Open(ctx, env.Shared.SQL)
	if err != nil {
		return nil, err //nolint:wrapcheck // classified by sqldb
	}
	files, err := fs.Sub(migrations, "migrations")
	if err == nil {
		err = db.Migrate(ctx, files, Name)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &Service{log: env.Log, settings: s.complete(), db: db, keys: keys, peers: peers}, nil
}

// Run has no work of its own.
func (s *Service) Run(soft, _ context.Context) error {
	<-soft.Done()
	return nil
}

// Close closes the control database.
func (s *Service) Close() error {
	if err := s.db.Close(); err != nil {
		return fault.New(fault.Internal, fault.ReasonInternal, "close the control database: %w", err)
	}
	return nil
}
