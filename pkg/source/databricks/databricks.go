// Package databricks reads Databricks through a SQL warehouse or a cluster as Arrow batches.
//
// The vendor's client speaks to the warehouse; every byte of it passes a gate of our own, which adds the credentials,
// bounds what is read, sees each fault as the protocol states it, and lets nothing through but the calls to the
// configured warehouse and the result files that it names.
package databricks

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/databricks/databricks-sql-go/logger"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
)

// Settings bound what the driver does. Zero fields have the defaults.
type Settings struct {
	// ConnectTimeout bounds the making of a TCP and TLS connection. Default 15 s.
	ConnectTimeout time.Duration
	// ReplyTimeout bounds one call to the warehouse, or the download of one result file. Default 5 min.
	ReplyTimeout time.Duration
	// MaxReply bounds the bytes of one answer or result file. Default 256 MiB.
	MaxReply int64
	// LookAhead is how many result files are downloaded before they are read. Default 2.
	LookAhead int
	// PartRows is how many rows make another part worth its scan. Default 500,000.
	PartRows int64
	// Allocator gives the memory of batches. Default Go's.
	Allocator memory.Allocator
}

func (s Settings) withDefaults() Settings {
	if s.ConnectTimeout <= 0 {
		s.ConnectTimeout = 15 * time.Second
	}
	if s.ReplyTimeout <= 0 {
		s.ReplyTimeout = 5 * time.Minute
	}
	if s.MaxReply <= 0 {
		s.MaxReply = 256 << 20
	}
	if s.LookAhead <= 0 {
		s.LookAhead = 2
	}
	if s.PartRows <= 0 {
		s.PartRows = 500_000
	}
	if s.Allocator == nil {
		s.Allocator = memory.DefaultAllocator
	}
	return s
}

// Driver opens Databricks sources. Make it with New. Safe for concurrent use.
type Driver struct{ settings Settings }

// New answers a driver that opens sources within s. It turns off the log of the vendor's client, which would quote SQL.
func New(s Settings) *Driver {
	logger.SetLogOutput(io.Discard)
	_ = logger.SetLogLevel("disabled") // a level that the client knows
	return &Driver{settings: s.withDefaults()}
}

// Provider answers "databricks".
func (*Driver) Provider() string { return "databricks" }

// Source is one schema of a catalog. Each call has a session of its own.
type Source struct {
	settings  Settings
	address   resource.Databricks
	path      string
	transport *http.Transport
	tokens    tokens

	mu    sync.Mutex
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
	if c.Databricks == nil {
		return nil, invalid("the connection has no databricks block")
	}
	c = c.Clone()
	c.Normalize()
	b := *c.Databricks
	s := &Source{settings: d.settings, address: b, path: pathOf(b), transport: transportOf(d.settings)}
	switch {
	case b.ClientID != "" && b.ClientSecret.Plain != "":
		s.tokens = newServicePrincipal(b, s.transport, d.settings.ReplyTimeout)
	case b.ClientID == "" && b.Token.Plain != "":
		s.tokens = personal(b.Token.Plain)
	default:
		return nil, fault.New(fault.Denied, fault.ReasonWarehouseDenied, "the connection has no credentials; give databricks.client_id and client_secret, or a token")
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

// Close frees the idle connections. It may be called again.
func (s *Source) Close() error {
	s.transport.CloseIdleConnections()
	return nil
}

func invalid(text string) error {
	return fault.New(fault.Invalid, fault.ReasonInvalidArgument, "%s", text)
}
