// Package postgres reads PostgreSQL over its binary protocol as Arrow batches.
//
// Reading is a COPY in a READ ONLY, REPEATABLE READ transaction; the parts of a run share the snapshot that its plan
// exported, for as long as the source that planned is open.
package postgres

import (
	"context"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/jackc/pgx/v5"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
)

// Settings bound what the driver does. Zero fields have the defaults.
type Settings struct {
	// ConnectTimeout bounds the making of a connection. Default 15 s.
	ConnectTimeout time.Duration
	// PartRows is how many rows make another part worth its scan. Default 500,000.
	PartRows int64
	// Allocator gives the memory of batches. Default Go's.
	Allocator memory.Allocator
}

func (s Settings) withDefaults() Settings {
	if s.ConnectTimeout <= 0 {
		s.ConnectTimeout = 15 * time.Second
	}
	if s.PartRows <= 0 {
		s.PartRows = 500_000
	}
	if s.Allocator == nil {
		s.Allocator = memory.DefaultAllocator
	}
	return s
}

// Driver opens PostgreSQL sources. Make it with New. Safe for concurrent use.
type Driver struct{ settings Settings }

// New answers a driver that opens sources within s.
func New(s Settings) *Driver { return &Driver{settings: s.withDefaults()} }

// Provider answers "postgres".
func (*Driver) Provider() string { return "postgres" }

// Source is one database. Each call makes connections of its own.
type Source struct {
	settings Settings
	address  resource.Postgres
	config   *pgx.ConnConfig

	mu       sync.Mutex
	exporter *session // holds the snapshot of the last plan
	under    string   // the snapshot of the last read
}

var (
	_ source.Driver  = (*Driver)(nil)
	_ source.Setup   = (*Driver)(nil)
	_ source.Source  = (*Source)(nil)
	_ source.Planner = (*Source)(nil)
	_ source.Holder  = (*Source)(nil)
	_ source.Renewer = (*Source)(nil)
	_ source.Browser = (*Source)(nil)
	_ source.Keys    = (*Source)(nil)
)

// Open answers a source for a connection; nothing is connected to yet.
func (d *Driver) Open(_ context.Context, c resource.Connection) (source.Source, error) {
	if c.Postgres == nil {
		return nil, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "the connection has no postgres block")
	}
	config, err := configOf(*c.Postgres, d.settings)
	if err != nil {
		return nil, err
	}
	return &Source{settings: d.settings, address: *c.Postgres, config: config}, nil
}

// Holds says whether a plan's snapshot is open.
func (s *Source) Holds() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.exporter != nil
}

// ReadUnder names the snapshot of the last read that found one.
func (s *Source) ReadUnder() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.under
}

func (s *Source) readUnder(snapshot string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.under = snapshot
}

// hold keeps the session of a plan in the place of an earlier one.
func (s *Source) hold(x *session) {
	s.mu.Lock()
	old := s.exporter
	s.exporter = x
	s.mu.Unlock()
	if old != nil {
		old.close(old.life)
	}
}

// Close ends the snapshot of the last plan. It may be called again.
func (s *Source) Close() error {
	s.hold(nil)
	return nil
}
