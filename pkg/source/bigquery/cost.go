package bigquery

import (
	"context"
	"sync"

	bq "google.golang.org/api/bigquery/v2"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/source"
)

var (
	_ source.Meter     = (*Source)(nil)
	_ source.Estimator = (*Source)(nil)
)

// Estimate answers the bytes of a dry run.
func (s *Source) Estimate(ctx context.Context, q source.Query) (source.Cost, error) {
	d, err := s.describe(ctx, q)
	if err != nil {
		return source.Cost{}, err
	}
	return source.Cost{BytesScanned: &d.bytes}, nil
}

// Estimated answers the bytes of the dry runs that the source's queries passed.
func (s *Source) Estimated() source.Cost {
	s.meter.mu.Lock()
	defer s.meter.mu.Unlock()
	return s.meter.estimated
}

// Cost answers what the statistics of the source's jobs say. Dry runs cost nothing. Rows that the Storage Read API hands
// out are in no job's statistics.
func (s *Source) Cost() source.Cost {
	s.meter.mu.Lock()
	defer s.meter.mu.Unlock()
	return s.meter.cost
}

// meter adds up what the queries of a source cost. Safe for concurrent use.
type meter struct {
	mu              sync.Mutex
	estimated, cost source.Cost
}

// allow counts a query that is estimated to read so many bytes, unless within refuses it together with those before.
func (m *meter) allow(bytes int64, within func(int64) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	sum := m.estimated.Add(source.Cost{BytesScanned: &bytes})
	if within != nil {
		if err := within(*sum.BytesScanned); err != nil {
			return err
		}
	}
	m.estimated = sum
	return nil
}

// ended counts a query that ran to its end; nothing where BigQuery does not say what it read.
func (m *meter) ended(s *bq.JobStatistics) {
	if s == nil || s.Query == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cost = m.cost.Add(source.Cost{BytesScanned: &s.Query.TotalBytesProcessed, BytesBilled: &s.Query.TotalBytesBilled})
}

// estimate answers how many bytes a statement would read. Where that is more than the connection or the run may read the
// statement is refused, and nothing is paid for.
func (s *Source) estimate(ctx context.Context, r request) (int64, error) {
	stats, err := s.dryRun(ctx, r)
	if err != nil {
		return 0, err
	}
	bytes := stats.TotalBytesProcessed
	if most := s.address.MaximumBytesBilled; most > 0 && bytes > most {
		return 0, fault.New(fault.Precondition, fault.ReasonLimitExceeded, "the query would read %d bytes, and bigquery.maximum_bytes_billed is %d; raise it, or read less: fewer columns, a partition, an incremental sync", bytes, most)
	}
	return bytes, s.meter.allow(bytes, r.within)
}
