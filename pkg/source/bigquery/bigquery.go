// Package bigquery reads Google BigQuery: queries run as jobs of its REST API, and their results are read as Arrow
// through the Storage Read API.
//
// A plan runs the model's query once. BigQuery keeps the result in a temporary table for a day; the streams of a read
// session over that table are the run's parts, so that all of them read one snapshot and the query is paid for once.
package bigquery

import (
	"context"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow/memory"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
)

// Settings bound what the driver does. Zero fields have the defaults.
type Settings struct {
	// RequestTimeout bounds one call of BigQuery's API, its body included. Default 1m.
	RequestTimeout time.Duration
	// Tries is how often a call, or a stream that makes no progress, is tried. Default 5.
	Tries int
	// Wait is how long the first retry waits; each further one twice as long, up to 20 times. Default 500ms.
	Wait time.Duration
	// PartRows is how many rows make another part worth its own stream. Default 500,000.
	PartRows int64
	// Streams is how many streams a read that is no part takes at once. Default 4.
	Streams int
	// Allocator gives the memory of batches. Default Go's.
	Allocator memory.Allocator
}

func (s Settings) withDefaults() Settings {
	if s.RequestTimeout <= 0 {
		s.RequestTimeout = time.Minute
	}
	if s.Tries <= 0 {
		s.Tries = 5
	}
	if s.Wait <= 0 {
		s.Wait = 500 * time.Millisecond
	}
	if s.PartRows <= 0 {
		s.PartRows = 500_000
	}
	if s.Streams <= 0 {
		s.Streams = 4
	}
	if s.Allocator == nil {
		s.Allocator = memory.DefaultAllocator
	}
	return s
}

// Driver opens BigQuery sources. Make it with New. Safe for concurrent use.
type Driver struct{ settings Settings }

// New answers a driver that opens sources within s.
func New(s Settings) *Driver { return &Driver{settings: s.withDefaults()} }

// Provider answers "bigquery".
func (*Driver) Provider() string { return "bigquery" }

// Source is one project, read as one account.
type Source struct {
	settings Settings
	address  resource.BigQuery
	client   *client
	meter    meter
	once     sync.Once
	err      error
}

var (
	_ source.Driver  = (*Driver)(nil)
	_ source.Setup   = (*Driver)(nil)
	_ source.Source  = (*Source)(nil)
	_ source.Planner = (*Source)(nil)
	_ source.Browser = (*Source)(nil)
	_ source.Keys    = (*Source)(nil)
)

// Open answers a source for a connection; nothing is connected to yet. Credentials that cannot be any are Denied.
func (d *Driver) Open(ctx context.Context, c resource.Connection) (source.Source, error) {
	if c.BigQuery == nil {
		return nil, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "the connection has no bigquery block")
	}
	cl, err := newClient(ctx, *c.BigQuery, d.settings)
	if err != nil {
		return nil, err
	}
	return &Source{settings: d.settings, address: *c.BigQuery, client: cl}, nil
}

// Close ends the source's connections. It may be called again.
func (s *Source) Close() error {
	s.once.Do(func() { s.err = s.client.close() })
	return s.err
}
