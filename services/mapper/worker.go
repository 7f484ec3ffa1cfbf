package mapper

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"go.opentelemetry.io/otel/trace"

	"millrace.dev/pkg/bus"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/killpoint"
	"millrace.dev/pkg/mapping"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/row"
	"millrace.dev/pkg/telemetry"
	"millrace.dev/pkg/wire"
)

// worker handles the deliveries of ROWS.
type worker struct{ *Service }

var _ bus.Handler = (*worker)(nil)

// Handle maps one batch and publishes what it became. Nil means that all of it is durable on RECORDS.
func (w *worker) Handle(ctx context.Context, d bus.Delivery) (err error) {
	ctx, span := w.tracer.Start(telemetry.Extract(ctx, d.Header), telemetry.SpanMap, trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithAttributes(telemetry.Handles(string(bus.Rows), d.ID, len(d.Body), d.Attempt)...))
	defer func() { telemetry.End(span, err) }()
	o, rows, err := wire.DecodeRows(d.Body, w.settings.MaxBatch)
	if err != nil {
		return err //nolint:wrapcheck // classified by wire
	}
	span.SetAttributes(telemetry.Batch(o.Batch)...)
	span.SetAttributes(telemetry.Workspace(o.Workspace), telemetry.Sync(o.Sync), telemetry.SyncID(o.SyncID), telemetry.RunNo(o.RunNo),
		telemetry.Version(o.SyncVersion), telemetry.Rows(rows.Record.NumRows()), telemetry.Bytes(int64(len(d.Body))))
	program, err := w.program(ctx, o, rows)
	if err != nil {
		return err
	}
	killpoint.Reach("mapper.apply.before")
	start := time.Now()
	batch, tally := program.ApplyUntil(rows, w.settings.until(o.SnapshotTime))
	took := time.Since(start)
	if o.PayloadCap <= 0 {
		o.PayloadCap = w.bus.PayloadCap()
	}
	fragments, err := cut(o, rows, batch)
	if err != nil {
		return fmt.Errorf("cut batch %s: %w", o.Batch, err)
	}
	span.SetAttributes(telemetry.Count("rejected", int64(len(batch.Rejects))), telemetry.Count("fragments", int64(len(fragments))))
	killpoint.Reach("mapper.publish.before")
	if err := w.publish(ctx, fragments); err != nil {
		return err
	}
	killpoint.Reach("mapper.publish.after")
	w.metrics.mapped(batch, tally, took)
	w.metrics.batches.WithLabelValues("mapped").Inc()
	w.metrics.fragments.Add(float64(len(fragments)))
	return nil
}

// program answers the compiled mapping of the sync's version for the schema that a batch has.
func (w *worker) program(ctx context.Context, o record.Origin, rows row.Batch) (*mapping.Program, error) {
	full := rows.Record.Schema()
	own := arrow.NewSchema(full.Fields()[:rows.Columns()], nil)
	key := programKey{o.Sync, o.SyncVersion, fingerprint(own)}
	if p, ok := w.programs.get(key); ok {
		return p, nil
	}
	s, err := w.peers.snapshot(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("get version %d of sync %s: %w", o.SyncVersion, o.SyncID, err)
	}
	p, err := w.settings.limits().Compile(s.Mapping, s.DataModel, own)
	if err != nil {
		return nil, fmt.Errorf("compile the mapping of sync %s: %w", o.SyncID, err)
	}
	w.metrics.compiled.Inc()
	w.programs.put(key, p)
	return p, nil
}

// publish makes all fragments durable, or answers why one is not.
func (w *worker) publish(ctx context.Context, fragments []fragment) (err error) {
	ctx, span := w.tracer.Start(ctx, telemetry.SpanPublish, trace.WithSpanKind(trace.SpanKindProducer))
	defer func() { telemetry.End(span, err) }()
	start := time.Now()
	header := telemetry.Inject(ctx)
	var all outcomes
	bytes := 0
	for _, f := range fragments {
		bytes += len(f.body)
		all.Add(1)
		m := bus.Message{ID: f.batch.String(), Body: f.body, Header: header}
		if err := w.publisher.Publish(ctx, m, all.done); err != nil {
			all.done(err)
			break
		}
	}
	span.SetAttributes(telemetry.Batch(fragments[0].batch.Whole())...)
	span.SetAttributes(telemetry.Sends(string(bus.Records), len(fragments), bytes)...)
	if err := all.wait(); err != nil {
		return fmt.Errorf("publish batch %s: %w", fragments[0].batch.Whole(), err)
	}
	w.metrics.publish.Observe(time.Since(start).Seconds())
	return nil
}

// outcomes waits for publishes that are in flight together.
type outcomes struct {
	sync.WaitGroup
	mu   sync.Mutex
	errs []error
}

func (o *outcomes) done(err error) {
	if err != nil {
		o.mu.Lock()
		o.errs = append(o.errs, err)
		o.mu.Unlock()
	}
	o.Done()
}

func (o *outcomes) wait() error {
	o.Wait()
	return errors.Join(o.errs...)
}

// Quarantined reports a batch that was given up. It is known by its message id, since its body may be what is wrong.
func (w *worker) Quarantined(ctx context.Context, d bus.Delivery, cause error) error {
	w.metrics.batches.WithLabelValues("quarantined").Inc()
	b, err := id.ParseBatch(d.ID)
	if err != nil {
		w.log.ErrorContext(ctx, "a message without a batch's id is in quarantine", "message_id", d.ID, "error", err)
		return nil
	}
	if err := w.peers.quarantined(ctx, b, cause); err != nil {
		return fmt.Errorf("report that batch %s was given up: %w", b, err)
	}
	return nil
}
