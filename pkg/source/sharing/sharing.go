// Package sharing reads the tables of a Delta Sharing share as Arrow batches: a client of the open protocol of our own over
// HTTP, and of the Parquet files that its answers name.
//
// A share has no engine: a model is a table, or a SELECT of its columns. What a run reads of it is decided by the files'
// statistics, and row by row on this side.
package sharing

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow/memory"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
)

// Settings bound what the driver does. Zero fields have the defaults.
type Settings struct {
	// ConnectTimeout bounds the making of a TCP and TLS connection. Default 15 s.
	ConnectTimeout time.Duration
	// ReplyTimeout bounds one call to the server, or the download of one range of a file. Default 5 min.
	ReplyTimeout time.Duration
	// MaxReply bounds the bytes of one page of an answer, and of one row group of a file as it is stored. Default 256 MiB.
	MaxReply int64
	// MaxFiles bounds the files of a table's version. Default 1,000,000.
	MaxFiles int
	// PageFiles is how many files a page of an answer may name, where the server pages. Default 10,000.
	PageFiles int
	// Parallel is how many files one read has in hand at once. Default 4.
	Parallel int
	// MaxInFlight bounds the bytes that one read has downloaded and not decoded; one row group always fits. Default 128 MiB.
	MaxInFlight int64
	// PartRows is how many rows make another part worth its read. Default 500,000.
	PartRows int64
	// MaxChanges bounds the keys of a feed of changes that are held against one another, and the images of their rows; each
	// takes about 75 bytes. Where a feed has more, everything is read. Default 1,000,000.
	MaxChanges int
	// Allocator gives the memory of batches and downloads. Default Go's.
	Allocator memory.Allocator
	// Now tells the time that expiries are held against. Default time.Now.
	Now func() time.Time
}

func (s Settings) withDefaults() Settings {
	s.ConnectTimeout = or(s.ConnectTimeout, 15*time.Second)
	s.ReplyTimeout = or(s.ReplyTimeout, 5*time.Minute)
	s.MaxReply = or(s.MaxReply, 256<<20)
	s.MaxFiles = or(s.MaxFiles, 1_000_000)
	s.PageFiles = or(s.PageFiles, 10_000)
	s.Parallel = or(s.Parallel, 4)
	s.MaxInFlight = or(s.MaxInFlight, 128<<20)
	s.PartRows = or(s.PartRows, 500_000)
	s.MaxChanges = or(s.MaxChanges, 1_000_000)
	if s.Allocator == nil {
		s.Allocator = memory.DefaultAllocator
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	return s
}

func or[N int | int64 | time.Duration](n, otherwise N) N {
	if n <= 0 {
		return otherwise
	}
	return n
}

// Driver opens Delta Sharing sources. Make it with New. Safe for concurrent use.
type Driver struct{ settings Settings }

// New answers a driver that opens sources within s.
func New(s Settings) *Driver { return &Driver{settings: s.withDefaults()} }

// Provider answers "delta_sharing".
func (*Driver) Provider() string { return "delta_sharing" }

// Source is one schema of a share. It holds no session: each call asks the server anew.
type Source struct {
	settings  Settings
	address   resource.DeltaSharing
	transport *http.Transport

	mu    sync.Mutex
	under string // the snapshot of the last read
}

var (
	_ source.Driver       = (*Driver)(nil)
	_ source.Setup        = (*Driver)(nil)
	_ source.Source       = (*Source)(nil)
	_ source.Planner      = (*Source)(nil)
	_ source.Renewer      = (*Source)(nil)
	_ source.Browser      = (*Source)(nil)
	_ source.ChangeReader = (*Source)(nil)
)

// Open answers a source for a connection; nothing is connected to yet, and the profile is looked at by each call.
func (d *Driver) Open(_ context.Context, c resource.Connection) (source.Source, error) {
	if c.DeltaSharing == nil {
		return nil, invalid("the connection has no delta_sharing block")
	}
	if c.DeltaSharing.Profile.Plain == "" {
		return nil, fault.New(fault.Denied, fault.ReasonWarehouseDenied, "the connection has no credentials; give delta_sharing.profile the text of the recipient's profile file")
	}
	return &Source{settings: d.settings, address: *c.DeltaSharing, transport: transportOf(d.settings)}, nil
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
