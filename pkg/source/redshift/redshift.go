// Package redshift reads Amazon Redshift as Arrow batches.
//
// Where a bucket is given, a plan unloads its result to Parquet files in it, in the transaction in which it found the
// watermark, and parts are shares of those files; else, and for previews, rows come through a cursor. Nothing is written to
// the database, but for the snapshots of mirrors by diff in their schema. It is spoken to by pgx, AWS by its own client.
package redshift

import (
	"context"
	"net/http"
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
	// ConnectTimeout bounds the making of a connection, to the database or to AWS. Default 15 s.
	ConnectTimeout time.Duration
	// ReplyTimeout bounds one call to AWS, the download of one file among them. Default 5 min.
	ReplyTimeout time.Duration
	// PartRows is how many rows make another part worth its scan. Default 500,000.
	PartRows int64
	// FetchRows is how many rows are fetched from a cursor at once. Default 4,096.
	FetchRows int
	// FileMiB bounds one unloaded file, in MiB; 5 at least. Default 32.
	FileMiB int
	// LookAhead is how many files are downloaded before they are read. Default 2.
	LookAhead int
	// Renew is how long before their end temporary credentials are taken anew. Default 2 min.
	Renew time.Duration
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
	if s.PartRows <= 0 {
		s.PartRows = 500_000
	}
	if s.FetchRows <= 0 {
		s.FetchRows = 4096
	}
	if s.FileMiB <= 0 {
		s.FileMiB = 32
	}
	s.FileMiB = max(s.FileMiB, 5)
	if s.LookAhead <= 0 {
		s.LookAhead = 2
	}
	if s.Renew <= 0 {
		s.Renew = 2 * time.Minute
	}
	if s.Allocator == nil {
		s.Allocator = memory.DefaultAllocator
	}
	return s
}

// Driver opens Redshift sources. Make it with New. Safe for concurrent use.
type Driver struct{ settings Settings }

// New answers a driver that opens sources within s.
func New(s Settings) *Driver { return &Driver{settings: s.withDefaults()} }

// Provider answers "redshift".
func (*Driver) Provider() string { return "redshift" }

// Source is one database. Each call makes a connection of its own; temporary credentials are shared.
type Source struct {
	settings  Settings
	address   resource.Redshift
	config    *pgx.ConnConfig
	transport *http.Transport
	aws       *account

	mu       sync.Mutex
	unloaded string // the place of the last plan's files
}

var (
	_ source.Driver  = (*Driver)(nil)
	_ source.Setup   = (*Driver)(nil)
	_ source.Source  = (*Source)(nil)
	_ source.Planner = (*Source)(nil)
	_ source.Holder  = (*Source)(nil)
	_ source.Browser = (*Source)(nil)
	_ source.Keys    = (*Source)(nil)
)

// Open answers a source for a connection; nothing is connected to yet.
func (d *Driver) Open(_ context.Context, c resource.Connection) (source.Source, error) {
	if c.Redshift == nil {
		return nil, invalid("the connection has no redshift block")
	}
	c = c.Clone()
	c.Normalize()
	r := *c.Redshift
	if !r.ByIAM() && r.Password.Plain == "" {
		return nil, fault.New(fault.Denied, fault.ReasonWarehouseDenied, "the connection has no credentials; give redshift.password, or cluster or workgroup for those of IAM")
	}
	config, err := configOf(r, d.settings)
	if err != nil {
		return nil, err
	}
	t := transportOf(d.settings)
	return &Source{settings: d.settings, address: r, config: config, transport: t, aws: newAccount(r, d.settings, t)}, nil
}

// Holds says whether files of a plan lie in the bucket, which Close removes.
func (s *Source) Holds() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unloaded != ""
}

// hold keeps the place of a plan's files, and answers that of an earlier plan.
func (s *Source) hold(place string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.unloaded
	s.unloaded = place
	return old
}

// Close removes the files of the last plan. It may be called again.
func (s *Source) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), removeWait) //nolint:forbidigo // Close has no context
	defer cancel()
	err := s.remove(ctx, s.hold(""))
	s.transport.CloseIdleConnections()
	return err
}

func invalid(text string) error {
	return fault.New(fault.Invalid, fault.ReasonInvalidArgument, "%s", text)
}
