package extractor

import (
	"context"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"go.opentelemetry.io/otel/trace"

	"millrace.dev/pkg/bus"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/killpoint"
	"millrace.dev/pkg/row"
	"millrace.dev/pkg/telemetry"
	"millrace.dev/pkg/wire"
)

// send brings rows to the broker and into the account, as one batch, or as more where they are larger than the payload
// cap. It returns once all of that is durable.
func (p *part) send(ctx context.Context, rec arrow.RecordBatch, since time.Time) error {
	defer rec.Release()
	pieces, err := p.encode(ctx, rec)
	if err != nil {
		return err
	}
	killpoint.Reach("extractor.encode.after")
	for _, x := range pieces {
		if err := p.pass(ctx, x, since); err != nil {
			return err
		}
	}
	return nil
}

// piece is a batch as it goes over the wire.
type piece struct {
	batch  id.Batch
	rows   int64
	digest row.Hash
	body   []byte
	nulls  map[string]int64 // of columns that have any, in a dry pass
}

// encode hashes rows and answers them as batches within the payload cap.
func (p *part) encode(ctx context.Context, rec arrow.RecordBatch) ([]piece, error) {
	if err := p.encoders.Acquire(ctx, 1); err != nil {
		return nil, fault.As(context.Cause(ctx))
	}
	defer p.encoders.Release(1)
	killpoint.Reach("extractor.encode.before")
	sealed := p.seal(rec)
	defer sealed.Record.Release()
	return p.cut(sealed, p.next(), nil)
}

// next answers a seq that no other batch of this epoch has.
func (p *part) next() uint32 { return p.seq.Add(1) - 1 }

// enough is how many rows tell what others will take.
const enough = 256

// cut appends b, named by seq, to out; where it is larger than the payload cap, its halves in its place.
func (p *part) cut(b row.Batch, seq uint32, out []piece) ([]piece, error) {
	n := b.Record.NumRows()
	o := p.origin
	o.Batch = id.Batch{Run: p.lease.run, Part: p.lease.part, Epoch: p.lease.epoch, Seq: seq}
	o.Rows = n
	body, err := wire.EncodeRows(o, b)
	if err != nil {
		return nil, err //nolint:wrapcheck // classified by wire
	}
	size := int64(len(body))
	if n >= enough {
		p.rowBytes.Store(1 + size/n)
	}
	switch {
	case size <= o.PayloadCap:
		return append(out, piece{batch: o.Batch, rows: n, digest: row.Digest(b.Hashes()), body: body, nulls: p.nulls(b)}), nil
	case n <= 1:
		return nil, fault.New(fault.Invalid, fault.ReasonLimitExceeded, "a row takes %d bytes, more than the %d that a message can carry; leave its largest column out, or cut it in the query", size, o.PayloadCap)
	}
	left, right := b.Record.NewSlice(0, n/2), b.Record.NewSlice(n/2, n)
	defer left.Release()
	defer right.Release()
	if out, err = p.cut(row.Batch{Record: left}, seq, out); err != nil {
		return nil, err
	}
	return p.cut(row.Batch{Record: right}, p.next(), out)
}

// nulls counts the NULLs of each selected column that has any, for the guard of a dry pass.
func (p *part) nulls(b row.Batch) map[string]int64 {
	if !p.lease.dry {
		return nil
	}
	out := map[string]int64{}
	for i := range b.Columns() {
		if n := b.Record.Column(i).NullN(); n > 0 {
			out[b.Record.ColumnName(i)] = int64(n)
		}
	}
	return out
}

// pass publishes one batch under a trace of its own and accounts for it.
func (p *part) pass(ctx context.Context, x piece, since time.Time) error {
	ctx, span := p.tracer.Start(ctx, telemetry.SpanRead, trace.WithNewRoot(), trace.WithTimestamp(since),
		trace.WithLinks(telemetry.Link(ctx, map[string]string{"traceparent": p.lease.traceparent})),
		trace.WithAttributes(telemetry.Batch(x.batch)...), trace.WithAttributes(
			telemetry.Workspace(p.lease.workspace), telemetry.Sync(p.lease.uid), telemetry.SyncID(p.lease.sync), telemetry.Feed(p.feed),
			telemetry.RunNo(p.lease.runNo), telemetry.Version(p.lease.syncVersion), telemetry.Rows(x.rows), telemetry.Bytes(int64(len(x.body)))),
		trace.WithAttributes(telemetry.Database(p.system(), "read")...))
	telemetry.End(span, nil)
	if err := p.publish(ctx, x); err != nil {
		return err
	}
	size := int64(len(x.body))
	killpoint.Reach("extractor.report.before")
	if err := p.report(ctx, x, size); err != nil {
		return err
	}
	killpoint.Reach("extractor.report.after")
	p.metrics.batches.Inc()
	p.metrics.rows.Add(float64(x.rows))
	p.metrics.bytes.Add(float64(size))
	p.far.rows.Add(x.rows)
	p.far.bytes.Add(size)
	p.rowsSent.Add(x.rows)
	return nil
}

// system answers what the part's rows are read from: the warehouse, or the platform for rows that it kept or lacks.
func (p *part) system() string {
	if !p.lease.replayOf.IsZero() || p.lease.absent != nil {
		return "millrace"
	}
	return p.origin.Provider
}

// publish returns once the broker has the batch durably.
func (p *part) publish(ctx context.Context, x piece) (err error) {
	ctx, span := p.tracer.Start(ctx, telemetry.SpanPublish, trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(telemetry.Batch(x.batch)...),
		trace.WithAttributes(telemetry.Sends(string(bus.Rows), 1, len(x.body))...))
	defer func() { telemetry.End(span, err) }()
	start, done := time.Now(), make(chan error, 1)
	killpoint.Reach("extractor.publish.before")
	m := bus.Message{ID: x.batch.String(), Body: x.body, Header: telemetry.Inject(ctx)}
	if err := p.publisher.Publish(ctx, m, func(err error) { done <- err }); err != nil {
		return err //nolint:wrapcheck // classified by bus
	}
	err = <-done // comes when ctx ends, too
	killpoint.Reach("extractor.publish.after")
	p.metrics.publish.Observe(time.Since(start).Seconds())
	return err
}

// report accounts for a batch that the broker has.
func (p *part) report(ctx context.Context, x piece, size int64) (err error) {
	ctx, span := p.tracer.Start(ctx, telemetry.SpanReport, trace.WithAttributes(telemetry.Batch(x.batch)...))
	defer func() { telemetry.End(span, err) }()
	return p.peers.published(ctx, x, size, telemetry.TraceID(ctx))
}
