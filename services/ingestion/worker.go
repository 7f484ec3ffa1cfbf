package ingestion

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/trace"

	"millrace.dev/pkg/bus"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/killpoint"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/telemetry"
	"millrace.dev/pkg/wire"
)

// worker handles the deliveries of RECORDS. While one of them waits for its commit, others are looked up and decided.
type worker struct{ *Service }

var _ bus.Handler = (*worker)(nil)

// Handle brings one batch in and reports what it became. Nil means that both are durable, or that the batch is fenced
// and will never have an effect.
func (w *worker) Handle(ctx context.Context, d bus.Delivery) (err error) {
	ctx, span := w.tracer.Start(telemetry.Extract(ctx, d.Header), telemetry.SpanIngest, trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithAttributes(telemetry.Handles(string(bus.Records), d.ID, len(d.Body), d.Attempt)...))
	defer func() { telemetry.End(span, err) }()
	o, b, err := wire.DecodeRecords(d.Body, w.settings.MaxBatch)
	if err != nil {
		return err //nolint:wrapcheck // classified by wire
	}
	span.SetAttributes(telemetry.Batch(o.Batch)...)
	span.SetAttributes(telemetry.Workspace(o.Workspace), telemetry.Sync(o.Sync), telemetry.SyncID(o.SyncID), telemetry.RunNo(o.RunNo),
		telemetry.Version(o.SyncVersion), telemetry.Rows(b.Rows()), telemetry.Bytes(int64(len(d.Body))))
	scope, rules, err := w.terms(ctx, o)
	if err != nil {
		return err
	}
	if err := w.sweep(ctx, o, scope, rules.Table.Current); err != nil {
		return err
	}
	out, err := w.become(ctx, o, b, scope, rules)
	if err != nil {
		return err
	}
	if out.Fenced {
		w.metrics.batches.WithLabelValues("fenced").Inc()
		return nil
	}
	killpoint.Reach("ingestion.report.before")
	err = w.report(ctx, out.Result, out.remarks)
	killpoint.Reach("ingestion.report.after")
	return err
}

// terms answers the data set that a batch belongs to and the rules that it goes by.
func (s *Service) terms(ctx context.Context, o record.Origin) (profile.Scope, profile.Rules, error) {
	snapshot, err := s.peers.snapshot(ctx, o)
	if err != nil {
		return profile.Scope{}, profile.Rules{}, fmt.Errorf("get version %d of sync %s: %w", o.SyncVersion, o.SyncID, err)
	}
	return s.termsOf(ctx, o, snapshot)
}

func (s *Service) termsOf(ctx context.Context, o record.Origin, snapshot resource.Snapshot) (profile.Scope, profile.Rules, error) {
	scope := profile.Scope{Workspace: o.Workspace.Or(), Environment: snapshot.Feed.Environment}
	if scope.Environment == "" {
		scope.Environment = resource.Prod
	}
	rules := s.rules
	rules.OnDelete = snapshot.Sync.OnDelete
	if rules.Protection = snapshot.Feed.Protection; rules.Protection == "" {
		rules.Protection = resource.CreateAndUpdate
	}
	return s.ofKind(ctx, o, snapshot.DataModel, snapshot.Sync.Mode, scope, rules)
}

// brought is what became of a batch, with remarks where nothing was written.
type brought struct {
	store.Outcome
	remarks remarks
}

// become brings a batch in, or says what would become of it where its pass is dry.
func (w *worker) become(ctx context.Context, o record.Origin, b record.Batch, scope profile.Scope, rules profile.Rules) (out brought, err error) {
	if o.Dry {
		return w.rehearse(ctx, o, b, scope, rules)
	}
	if rules.Typing, err = w.typing(ctx, b, scope, false); err != nil {
		return out, err
	}
	return w.bring(ctx, o, b, scope, rules)
}

// bring looks, decides and commits, again while others change what was looked up.
func (w *worker) bring(ctx context.Context, o record.Origin, b record.Batch, scope profile.Scope, rules profile.Rules) (brought, error) {
	keys := profile.KeysOf(b, o, scope, rules)
	for range Tries {
		killpoint.Reach("ingestion.look.before")
		start := time.Now()
		state, err := w.store.Look(ctx, keys)
		if err != nil {
			return brought{}, fmt.Errorf("look batch %s up: %w", o.Batch, err)
		}
		w.metrics.look.Observe(time.Since(start).Seconds())
		killpoint.Reach("ingestion.look.after")
		switch {
		case state.Applied != nil:
			w.metrics.batches.WithLabelValues("repeated").Inc()
			return brought{Outcome: store.Outcome{Repeated: true, Result: *state.Applied}}, nil
		case state.Fenced:
			return brought{Outcome: store.Outcome{Fenced: true}}, nil
		}
		if err := store.Consult(ctx, w.store, keys, &state, rules); err != nil {
			return brought{}, fmt.Errorf("look batch %s up: %w", o.Batch, err)
		}
		if err := w.lists.mark(ctx, keys, &state); err != nil {
			return brought{}, err
		}
		effects := profile.Decide(b, keys, state, rules)
		effects.Stamp(time.Now())
		if effects.Rejects, err = w.withoutErased(ctx, o, scope, state.Blocked, b.Kept, effects.Rejects); err != nil {
			return brought{}, err
		}
		if effects.Kept, err = w.seal(o, b.Kept, effects.Rejects); err != nil {
			return brought{}, err
		}
		out, err := w.commit(ctx, effects)
		if err == nil || fault.ClassOf(err) != fault.Conflict {
			return brought{Outcome: out, remarks: remarks{Samples: collapsedIn(b, effects)}}, err
		}
		w.metrics.conflicts.Inc()
	}
	return brought{}, fault.New(fault.Unavailable, fault.ReasonCommitConflict,
		"batch %s met other commits %d times in a row; it is tried again", o.Batch, Tries)
}

// commit makes effects durable.
func (w *worker) commit(ctx context.Context, e profile.Effects) (out store.Outcome, err error) {
	ctx, span := w.tracer.Start(ctx, telemetry.SpanCommit, trace.WithAttributes(telemetry.Batch(e.Result.Batch)...),
		trace.WithAttributes(telemetry.Database(w.system, "commit")...))
	defer func() { telemetry.End(span, err) }()
	start := time.Now()
	out, err = w.store.Commit(ctx, e)
	if err != nil {
		return out, fmt.Errorf("commit batch %s: %w", e.Result.Batch, err)
	}
	w.metrics.commit.Observe(time.Since(start).Seconds())
	switch {
	case out.Fenced:
	case out.Repeated:
		w.metrics.batches.WithLabelValues("repeated").Inc()
	default:
		w.metrics.applied(out.Result.Counts)
		w.metrics.rejects.count(e.Keys.Origin, e.Rejects)
		c := out.Result.Counts
		span.SetAttributes(telemetry.Count("created", c.Created), telemetry.Count("updated", c.Updated), telemetry.Count("refused", c.Refused))
	}
	return out, nil
}

// report tells the account. A run that is fenced does not want to know.
func (w *worker) report(ctx context.Context, r profile.Result, x remarks) (err error) {
	ctx, span := w.tracer.Start(ctx, telemetry.SpanReport, trace.WithAttributes(telemetry.Batch(r.Batch)...))
	defer func() { telemetry.End(span, err) }()
	return w.told(ctx, "report batch", r.Batch, w.peers.report(ctx, r, x))
}

// told judges the answer to a report. A run that the account does not have can not be told anything, ever: that is said
// in the log, and the batch is done with.
func (w *worker) told(ctx context.Context, doing string, b id.Batch, err error) error {
	switch {
	case err == nil:
		return nil
	case fault.ClassOf(err) == fault.NotFound:
		w.log.WarnContext(ctx, "the scheduler does not know the run of a batch", "doing", doing, "batch", b.String())
		return nil
	}
	return fmt.Errorf("%s %s: %w", doing, b, err)
}

// Quarantined reports a batch that was given up. It is known by its message id, since its body may be what is wrong.
func (w *worker) Quarantined(ctx context.Context, d bus.Delivery, cause error) error {
	w.metrics.batches.WithLabelValues("quarantined").Inc()
	b, err := id.ParseBatch(d.ID)
	if err != nil {
		w.log.ErrorContext(ctx, "a message without a batch's id is in quarantine", "message_id", d.ID, "error", err)
		return nil
	}
	return w.told(ctx, "report the end of batch", b, w.peers.quarantined(ctx, b, cause))
}
