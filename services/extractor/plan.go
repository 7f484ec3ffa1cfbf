package extractor

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/zeebo/xxh3"
	"go.opentelemetry.io/otel/trace"

	"millrace.dev/pkg/drift"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/killpoint"
	"millrace.dev/pkg/mapping"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/telemetry"
	"millrace.dev/pkg/window"
)

// plan works on part 0: it looks at the query and fixes what the run reads.
func (s *Service) plan(ctx context.Context, l *lease) (e ending) {
	ctx, span := s.tracer.Start(l.parent(ctx), telemetry.SpanPlan, trace.WithAttributes(telemetry.Part(l.name())...), trace.WithAttributes(
		telemetry.Workspace(l.workspace), telemetry.Sync(l.uid), telemetry.SyncID(l.sync), telemetry.RunNo(l.runNo), telemetry.Version(l.syncVersion)))
	defer func() { telemetry.End(span, e.err) }()
	snap, err := s.peers.snapshot(ctx, l)
	if err != nil {
		return ending{err: err}
	}
	span.SetAttributes(telemetry.Feed(snap.Sync.FeedID()))
	if !l.replayOf.IsZero() {
		p, err := s.planReplay(ctx, l, snap)
		if err == nil {
			err = s.peers.planned(ctx, l, p)
		}
		return ending{err: err}
	}
	src, err := s.open(ctx, snap.Connection)
	if err != nil {
		return ending{err: err}
	}
	killpoint.Reach("extractor.plan.before")
	p, err := s.planOf(ctx, l, snap, src)
	p.estimated, p.cost = spent(src)
	if err == nil {
		killpoint.Reach("extractor.plan.made")
		err = s.peers.planned(ctx, l, p)
		killpoint.Reach("extractor.plan.after")
	}
	if err == nil && p.isPartial() {
		s.held.after(ctx, l, func(ctx context.Context) { s.dropBase(ctx, snap, p.comparison.since) })
	}
	if h, ok := source.As[source.Holder](src); err == nil && ok && h.Holds() {
		s.held.keep(ctx, l, src)
		return ending{}
	}
	s.release(ctx, src)
	return ending{err: err, cost: p.cost, replan: fault.ReasonOf(err) == fault.ReasonSourceChanged}
}

// spent answers what the queries of a source were estimated to cost, and what they cost, as far as it says it.
func spent(src source.Source) (estimated, cost source.Cost) {
	if m, ok := source.As[source.Meter](src); ok {
		return m.Estimated(), m.Cost()
	}
	return estimated, cost
}

// parent answers ctx with the run's span as parent.
func (l *lease) parent(ctx context.Context) context.Context {
	return telemetry.Extract(ctx, map[string]string{"traceparent": l.traceparent})
}

func (s *Service) planOf(ctx context.Context, l *lease, snap resource.Snapshot, src source.Source) (plan, error) {
	q := queryOf(l, snap)
	described, err := s.describe(ctx, src, q)
	if err != nil {
		return plan{}, err
	}
	j := judge(l, snap, described)
	if drift.Holds(j.verdicts) {
		return plan{verdicts: j.verdicts, hold: true}, nil
	}
	schema := j.schema
	if _, _, err := axisOf(snap, schema); err != nil {
		return plan{}, err
	}
	program, err := mapping.Compile(snap.Mapping, snap.DataModel, schema)
	if err != nil {
		return plan{}, err //nolint:wrapcheck // classified by mapping
	}
	planner, ok := source.As[source.Planner](src)
	if !ok {
		return plan{}, fault.New(fault.Precondition, fault.ReasonDriverMissing, "the driver of %s plans no runs", snap.Connection.Provider())
	}
	q.Model.KeyColumns = program.KeyColumns()
	q.Model.Iterator = cutBy(snap, schema, q.Model.KeyColumns)
	var found *comparison
	var got source.Plan
	if compares(snap) {
		got, found, err = s.compare(ctx, l, snap, src, q, schema)
	} else {
		got, err = planner.Plan(ctx, q, s.settings.MaxParts)
	}
	if err != nil {
		return plan{}, err //nolint:wrapcheck // classified by the driver
	}
	p := plan{
		Plan: got, comparison: found, fingerprint: fingerprint(described), payloadCap: s.bus.PayloadCap(),
		keys: q.Model.KeyColumns, program: program.Version(), complete: q.Full && !l.isBackfill(),
		model: modelOf(snap), columns: columnsOf(schema), ignored: drift.Leaves(j.verdicts), verdicts: j.verdicts,
	}
	if !q.Full {
		p.lowEdge = q.Low
	}
	if q.Model.Iterator.ReadNulls || q.Full {
		p.NullIterator = 0 // they are read, not skipped
	}
	return p, nil
}

// queryOf answers what the run's parts read, without range and snapshot.
func queryOf(l *lease, snap resource.Snapshot) source.Query {
	q := source.Query{
		Model: snap.DataModel,
		Label: fmt.Sprintf("millrace:%s/%s/%s", l.workspace, l.sync, l.run),
		From:  snap.Sync.From, Until: snap.Sync.Until, Lookback: snap.Sync.Lookback, Delay: snap.Sync.Delay,
		Full: snap.Sync.Mode.ReadsAll(), MaxBytesScanned: snap.Sync.Budget.BytesScanned,
	}
	switch {
	case l.isBackfill():
		q.From, q.Until, q.Lookback = l.from, l.until, 0
	case !l.full:
		q.Low = l.checkpoint
	}
	return q
}

// describe answers the query's schema, within the bound of columns.
func (s *Service) describe(ctx context.Context, src source.Source, q source.Query) (*arrow.Schema, error) {
	schema, err := src.Describe(ctx, q)
	switch {
	case err != nil:
		return nil, err //nolint:wrapcheck // classified by the driver
	case schema.NumFields() == 0:
		return nil, fault.New(fault.Invalid, fault.ReasonQueryInvalid, "the query selects no column")
	case schema.NumFields() > s.settings.MaxColumns:
		return nil, fault.New(fault.Invalid, fault.ReasonQueryInvalid, "the query selects %d columns, more than %d; select fewer, or raise the extractor's setting max_columns", schema.NumFields(), s.settings.MaxColumns)
	}
	return schema, nil
}

// axisOf answers the axis of the sync's iterator, and false where it has none. Incremental needs one; full takes one that
// fits.
func axisOf(snap resource.Snapshot, schema *arrow.Schema) (window.Axis, bool, error) {
	full := snap.Sync.Mode.ReadsAll()
	if snap.DataModel.Iterator.Column == "" {
		if full {
			return window.Axis{}, false, nil
		}
		return window.Axis{}, false, fault.New(fault.Precondition, fault.ReasonIteratorInvalid, "the data model %s has no iterator, which mode incremental needs; declare one, or use mode full", snap.DataModel.ID)
	}
	a, err := window.NewAxis(snap.DataModel.Iterator, schema)
	if err != nil && full {
		return window.Axis{}, false, nil
	}
	return a, err == nil, err //nolint:wrapcheck // classified by window
}

// cutBy answers the column that parts are cut by: the iterator; where a read of everything does without, its only key
// where that is ordered; none where parts are cut by a hash of the keys, or not at all.
func cutBy(snap resource.Snapshot, schema *arrow.Schema, keys []string) resource.Iterator {
	if _, ok, err := axisOf(snap, schema); ok && err == nil {
		return snap.DataModel.Iterator
	}
	if !snap.Sync.Mode.ReadsAll() || len(keys) != 1 {
		return resource.Iterator{}
	}
	for _, typ := range []resource.IteratorType{resource.IteratorInteger, resource.IteratorDecimal, resource.IteratorTimestamp, resource.IteratorDate} {
		it := resource.Iterator{Column: keys[0], Type: typ}
		if _, err := window.NewAxis(it, schema); err == nil {
			return it
		}
	}
	return resource.Iterator{}
}

// fingerprint answers a hash over names and types of the columns, in their order.
func fingerprint(s *arrow.Schema) string {
	var b strings.Builder
	for _, f := range s.Fields() {
		b.WriteString(f.Name + "\x00" + f.Type.String() + "\x00")
	}
	sum := xxh3.HashString128(b.String()).Bytes()
	return hex.EncodeToString(sum[:])
}
