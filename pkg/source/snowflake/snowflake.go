// Package snowflake reads Snowflake through its own client in Arrow form: results come in chunks, a few of which are
// fetched ahead, and become record batches column by column.
//
// What the client would tell or ask of others (telemetry, cloud metadata, revocation lists) is switched off: it dials the
// connection's host, the places where that keeps its results, and the identity provider where one is set.
package snowflake

import (
	"context"
	"crypto/x509"
	"os"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow/memory"
	client "github.com/snowflakedb/gosnowflake/v2"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
)

// Settings bound what the driver does. Zero fields have the defaults.
type Settings struct {
	// ConnectTimeout bounds the making of a session. Default 30 s.
	ConnectTimeout time.Duration
	// PartRows is how many rows make another part worth its scan. Default 500,000.
	PartRows int64
	// Ahead is how many chunks of a result are fetched before the reader asks for them. Default 2.
	Ahead int
	// MaxChunk bounds one chunk as it is in memory. Default 1 GiB.
	MaxChunk int64
	// Patience is the longest wait that the warehouse may ask for before the run is told instead. Default 10 s.
	Patience time.Duration
	// Roots are the authorities that TLS trusts. Default the system's.
	Roots *x509.CertPool
	// Allocator gives the memory of batches. Default Go's.
	Allocator memory.Allocator
}

func (s Settings) withDefaults() Settings {
	if s.ConnectTimeout <= 0 {
		s.ConnectTimeout = 30 * time.Second
	}
	if s.PartRows <= 0 {
		s.PartRows = 500_000
	}
	if s.Ahead <= 0 {
		s.Ahead = 2
	}
	if s.MaxChunk <= 0 {
		s.MaxChunk = 1 << 30
	}
	if s.Patience <= 0 {
		s.Patience = 10 * time.Second
	}
	if s.Allocator == nil {
		s.Allocator = memory.DefaultAllocator
	}
	return s
}

// Driver opens Snowflake sources. Make it with New. Safe for concurrent use.
type Driver struct{ settings Settings }

//nolint:gochecknoglobals // the client's own switches are the process's
var quiet sync.Once

// New answers a driver that opens sources within s. It keeps the client from logging, and from asking cloud metadata
// services where it runs, in the whole process.
func New(s Settings) *Driver {
	quiet.Do(func() {
		_ = os.Setenv("SNOWFLAKE_DISABLE_PLATFORM_DETECTION", "true")
		_ = os.Setenv("SF_TELEMETRY_DISABLE_CONNECTION_SHAPE", "true")
		_ = client.GetLogger().SetLogLevel("off")
	})
	return &Driver{settings: s.withDefaults()}
}

// Provider answers "snowflake".
func (*Driver) Provider() string { return "snowflake" }

// Source is one database of an account. Its sessions are used again, one call at a time each.
type Source struct {
	settings Settings
	address  resource.Snowflake
	configs  []client.Config // one per key slot
	wire     *transport

	mu    sync.Mutex
	idle  []*session
	under string // the snapshot of the last read
}

var (
	_ source.Driver  = (*Driver)(nil)
	_ source.Setup   = (*Driver)(nil)
	_ source.Source  = (*Source)(nil)
	_ source.Planner = (*Source)(nil)
	_ source.Renewer = (*Source)(nil)
	_ source.Browser = (*Source)(nil)
	_ source.Keys    = (*Source)(nil)
)

// Open answers a source for a connection; nothing is connected to yet.
func (d *Driver) Open(_ context.Context, c resource.Connection) (source.Source, error) {
	if c.Snowflake == nil {
		return nil, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "the connection has no snowflake block")
	}
	s := &Source{settings: d.settings, address: *c.Snowflake, wire: newTransport(d.settings, c.Snowflake.Protocol != "http")}
	var err error
	if s.configs, err = configsOf(*c.Snowflake, d.settings, s.wire); err != nil {
		return nil, err
	}
	return s, nil
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

// Close ends the sessions. It may be called again.
func (s *Source) Close() error {
	s.mu.Lock()
	idle := s.idle
	s.idle = nil
	s.mu.Unlock()
	for _, x := range idle {
		x.close()
	}
	s.wire.base.CloseIdleConnections()
	return nil
}
