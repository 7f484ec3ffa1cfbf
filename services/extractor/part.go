package extractor

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"millrace.dev/pkg/bus"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/killpoint"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/row"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/window"
)

// part is a part being read.
type part struct {
	*Service
	lease  *lease
	origin record.Origin // of its batches, less their names and rows
	hasher *row.Hasher
	feed   string // that the sync writes as
	axis   window.Axis
	timed  bool // it has an axis
	low    window.Value
	engine resource.MirrorEngine // of a mirror
	far    *progress

	described, schema *arrow.Schema // of the query, and of what the run reads of it

	publisher *bus.Publisher
	budget    *semaphore.Weighted
	seq       atomic.Uint32 // of the next batch
	rowsSent  atomic.Int64
	rowBytes  atomic.Int64 // encoded, of the last batch; 0: not known yet
}

// extract reads a part and publishes its rows. When soft ends it reads no further, finishes the batches in hand and gives
// the part back.
func (s *Service) extract(soft, ctx context.Context, l *lease, far *progress) ending { //nolint:revive // soft comes first, as in Run
	snap, err := s.peers.snapshot(ctx, l)
	if err != nil {
		return ending{err: err}
	}
	if !l.replayOf.IsZero() {
		return s.replay(soft, ctx, l, snap, far)
	}
	if l.absent != nil {
		return s.absent(soft, ctx, l, snap, far)
	}
	src, err := s.open(ctx, snap.Connection)
	if err != nil {
		return ending{err: err}
	}
	defer s.release(ctx, src)
	p, q, err := s.newPart(ctx, l, snap, src, far)
	if err == nil {
		err = p.read(soft, ctx, src, q)
	}
	_, cost := spent(src)
	switch {
	case err == nil:
		return ending{batches: p.seq.Load(), rows: p.rowsSent.Load(), snapshot: p.readUnder(src, q), cost: cost}
	case errors.Is(err, errStopping):
		return ending{released: true, cost: cost}
	}
	return ending{err: err, cost: cost, replan: fault.ReasonOf(err) == fault.ReasonSourceChanged}
}

// readUnder answers the snapshot that q was read under.
func (p *part) readUnder(src source.Source, q source.Query) string {
	if r, ok := source.As[source.Renewer](src); ok && p.lease.plan.comparison == nil {
		return r.ReadUnder()
	}
	return q.Snapshot
}

// newPart prepares the reading of a part by the run's plan. A query whose columns are no longer the planned ones is
// SOURCE_CHANGED.
func (s *Service) newPart(ctx context.Context, l *lease, snap resource.Snapshot, src source.Source, far *progress) (*part, source.Query, error) {
	q := queryOf(l, snap)
	q.Snapshot, q.Range = l.plan.Snapshot, l.rows
	described, err := s.describe(ctx, src, q)
	if err != nil {
		return nil, q, err
	}
	if fingerprint(described) != l.plan.fingerprint {
		return nil, q, errColumns()
	}
	schema := without(described, l.plan.ignored)
	p := s.partOf(l, snap, far)
	p.described, p.schema = described, schema
	if err := p.of(snap, schema); err != nil {
		return nil, q, err
	}
	q.Model.KeyColumns = l.plan.keys
	if q.Model.Iterator = cutBy(snap, schema, l.plan.keys); p.timed && l.plan.lowEdge != "" {
		p.low, err = p.axis.Parse(l.plan.lowEdge)
	}
	return p, q, err
}

// partOf answers a part before it is known what columns its rows have.
func (s *Service) partOf(l *lease, snap resource.Snapshot, far *progress) *part {
	mirrors := snap.Sync.Mode == resource.Mirror
	sights := mirrors || snap.Sync.Mode == resource.Full && snap.DataModel.Kind == resource.Lookup
	return &part{
		Service: s, lease: l, far: far, engine: snap.Sync.MirrorEngine, feed: snap.Sync.FeedID(),
		publisher: s.bus.Publisher(bus.Rows, s.settings.Window), budget: semaphore.NewWeighted(s.settings.PartBudget),
		origin: record.Origin{
			Workspace: l.workspace, Sync: l.uid, SyncID: l.sync, SyncVersion: l.syncVersion, RunNo: l.runNo, Retried: l.retried,
			Full: snap.Sync.Mode.ReadsAll(), Mirror: mirrors, Sights: sights && l.replayOf.IsZero() && !l.plan.isPartial(), Dry: l.dry, SnapshotTime: l.plan.SnapshotTime, PayloadCap: l.plan.payloadCap, Last: true,
			Model: snap.DataModel.ID, Provider: snap.Connection.Provider(),
		},
	}
}

// of makes p ready for rows with the columns of schema.
func (p *part) of(snap resource.Snapshot, schema *arrow.Schema) (err error) {
	if p.hasher, err = row.NewHasher(schema, p.lease.plan.keys); err != nil {
		return err //nolint:wrapcheck // classified by row
	}
	p.axis, p.timed, err = axisOf(snap, schema)
	return err
}

// read passes every row of the part on. It returns once all batches are accounted for, or the first fault.
func (p *part) read(soft, ctx context.Context, src source.Source, q source.Query) error { //nolint:revive // soft comes first, as in Run
	sending, ctx := errgroup.WithContext(ctx)
	sending.SetLimit(p.settings.Window)
	reading, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer context.AfterFunc(soft, func() { stop(errStopping) })()
	killpoint.Reach("extractor.read.before")
	var err error
	for b, failed := range p.gather(project(p.rowsOf(reading, src, q), p.described, p.schema)) {
		if failed != nil {
			err = failed
			break
		}
		killpoint.Reach("extractor.read.after")
		if err = p.bus.Room(reading, bus.Rows); err != nil {
			break
		}
		n := min(b.bytes, p.settings.PartBudget)
		if err = p.budget.Acquire(ctx, n); err != nil {
			break
		}
		sending.Go(func() error {
			defer p.budget.Release(n)
			return p.send(ctx, b.record, b.since)
		})
	}
	if cause := context.Cause(reading); errors.Is(cause, errStopping) && err != nil {
		err = errStopping
	}
	if sent := sending.Wait(); sent != nil {
		return sent
	}
	return err
}

// seal hashes a batch and adds the system columns.
func (p *part) seal(rec arrow.RecordBatch) row.Batch {
	keys, hashes := p.hasher.Hash(rec)
	mem := memory.DefaultAllocator
	var times, below arrow.Array
	if p.timed {
		col := rec.Column(p.axis.Index)
		times, below = p.axis.Instants(mem, col), p.axis.Below(mem, col, p.low)
	} else {
		n := int(rec.NumRows())
		times = array.MakeArrayOfNull(mem, &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}, n)
		below = allFalse(mem, n)
	}
	defer times.Release()
	defer below.Release()
	return row.Seal(rec, keys, hashes, times, below)
}

func allFalse(mem memory.Allocator, n int) arrow.Array {
	b := array.NewBooleanBuilder(mem)
	defer b.Release()
	b.AppendValues(make([]bool, n), nil)
	return b.NewArray()
}

// gathered is rows joined to a batch, in Go's memory.
type gathered struct {
	record arrow.RecordBatch
	bytes  int64
	since  time.Time // when its first row was read
}
