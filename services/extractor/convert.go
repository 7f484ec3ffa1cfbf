package extractor

import (
	"bytes"
	"encoding/json"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	configv1 "millrace.dev/gen/millrace/config/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/drift"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/source"
)

func toLease(l *schedulerv1.PartLease) (*lease, error) {
	run, err := id.ParseRun(l.GetRun())
	if err != nil {
		return nil, internal("read a lease", err)
	}
	uid, err := id.ParseSync(l.GetSyncUid())
	if err != nil {
		return nil, internal("read a lease", err)
	}
	out := &lease{
		workspace: id.Workspace(l.GetWorkspace()).Or(), run: run, runNo: l.GetRunNo(), sync: l.GetSync(), uid: uid, syncVersion: l.GetSyncVersion(),
		part: l.GetPart(), epoch: l.GetEpoch(), checkpoint: l.GetCheckpoint(), full: l.GetFull(), traceparent: l.GetTraceparent(),
		rows: toRange(l.GetRange()), life: leaseLife, dry: l.GetDry(), absent: toAbsent(l.GetAbsent()), base: toComparison(l.GetBase()),
	}
	if l.GetReplayOf() != "" {
		if out.replayOf, err = id.ParseRun(l.GetReplayOf()); err != nil {
			return nil, internal("read a lease", err)
		}
	}
	if l.GetFrom() != nil {
		out.from = l.GetFrom().AsTime()
	}
	if l.GetUntil() != nil {
		out.until = l.GetUntil().AsTime()
	}
	out.accepted = accepted{model: l.GetAccepted().GetModelFingerprint(), columns: toColumns(l.GetAccepted().GetColumns())}
	out.driftApproved = l.GetDriftApproved()
	if d := l.GetLife().AsDuration(); d > 0 {
		out.life = d
	}
	if l.GetPlan() != nil {
		out.plan = toPlan(l.GetPlan())
	}
	for _, r := range l.GetRetried() {
		old, err := id.ParseRun(r.GetRun())
		if err != nil {
			return nil, internal("read a lease", err)
		}
		out.retried = append(out.retried, record.RetriedRun{Run: old, RunNo: r.GetRunNo(), Adopted: r.GetAdopted()})
	}
	return out, nil
}

func toRange(r *schedulerv1.PartRange) source.Range {
	return source.Range{Low: r.GetLow(), High: r.GetHigh(), HighClosed: r.GetHighClosed(), Nulls: r.GetNulls(), Unit: r.GetUnit()}
}

func toPlan(p *schedulerv1.RunPlan) plan {
	return plan{
		Plan:        source.Plan{Snapshot: p.GetSnapshot(), SnapshotTime: p.GetSnapshotTime().AsTime(), Watermark: p.GetWatermark()},
		fingerprint: p.GetSchemaFingerprint(), lowEdge: p.GetLowEdge(), payloadCap: p.GetPayloadCap(), keys: p.GetKeyColumns(), program: p.GetProgramVersion(),
		ignored: p.GetIgnoredColumns(), comparison: toComparison(p.GetComparison()),
	}
}

func ofPlan(p plan) *schedulerv1.RunPlan {
	out := &schedulerv1.RunPlan{
		SchemaFingerprint: p.fingerprint, Snapshot: p.Snapshot, Watermark: p.Watermark,
		EstimatedRows: p.EstimatedRows, EstimatedBytes: p.EstimatedBytes, NullIterator: p.NullIterator,
		LowEdge: p.lowEdge, PayloadCap: p.payloadCap, KeyColumns: p.keys, ProgramVersion: p.program,
		FutureRows: p.FutureRows, CompleteRead: p.complete, Hold: p.hold,
		ModelFingerprint: p.model, Columns: ofPlanColumns(p.columns), IgnoredColumns: p.ignored,
		Comparison: ofComparison(p.comparison), EstimatedCost: ofCost(p.estimated), Cost: ofCost(p.cost),
	}
	if !p.SnapshotTime.IsZero() {
		out.SnapshotTime = timestamppb.New(p.SnapshotTime)
	}
	for _, v := range p.verdicts {
		out.Drift = append(out.Drift, &schedulerv1.ColumnChange{
			Column: v.Column, Change: string(v.Kind), Was: v.Was, Is: v.Is, Action: string(v.Action), Choices: v.Choices,
		})
	}
	if p.Counted {
		out.CountedRows = &p.EstimatedRows
	}
	for _, r := range p.Parts {
		out.Parts = append(out.Parts, &schedulerv1.PartRange{Low: r.Low, High: r.High, HighClosed: r.HighClosed, Nulls: r.Nulls, Unit: r.Unit})
	}
	return out
}

// ofCost answers nil where nothing is known.
func ofCost(c source.Cost) *schedulerv1.Cost {
	if c.IsZero() {
		return nil
	}
	return &schedulerv1.Cost{BytesScanned: c.BytesScanned, BytesBilled: c.BytesBilled}
}

func toComparison(c *schedulerv1.Comparison) *comparison {
	if c.GetState() == "" {
		return nil
	}
	return &comparison{
		state: source.State(c.GetState()), since: source.State(c.GetSince()), rows: c.GetRows(), gone: c.GetGone(), terms: c.GetTerms(),
		columns: toColumns(c.GetColumns()), lost: c.GetLost(), added: c.GetAdded(), notice: c.GetNotice(),
	}
}

func ofComparison(c *comparison) *schedulerv1.Comparison {
	if c == nil {
		return nil
	}
	return &schedulerv1.Comparison{
		State: string(c.state), Since: string(c.since), Rows: c.rows, Gone: c.gone, Terms: c.terms, Columns: ofPlanColumns(c.columns), Lost: c.lost, Added: c.added, Notice: c.notice,
	}
}

func toColumns(in []*schedulerv1.PlanColumn) []drift.Column {
	out := make([]drift.Column, 0, len(in))
	for _, c := range in {
		out = append(out, drift.Column{Name: c.GetName(), Type: c.GetType(), Arrow: c.GetArrowType()})
	}
	return out
}

func ofPlanColumns(in []drift.Column) []*schedulerv1.PlanColumn {
	out := make([]*schedulerv1.PlanColumn, 0, len(in))
	for _, c := range in {
		out = append(out, &schedulerv1.PlanColumn{Name: c.Name, Type: c.Type, ArrowType: c.Arrow})
	}
	return out
}

func ofColumns(s *arrow.Schema) []*configv1.Column {
	out := make([]*configv1.Column, 0, s.NumFields())
	for _, f := range s.Fields() {
		own, ok := f.Metadata.GetValue(source.MetaType)
		if !ok {
			own = f.Type.String()
		}
		out = append(out, &configv1.Column{Name: f.Name, Type: own, Nullable: f.Nullable})
	}
	return out
}

func ofTable(t source.Table) *configv1.Table {
	out := &configv1.Table{Name: t.Name}
	for _, c := range t.Columns {
		out.Columns = append(out.Columns, &configv1.Column{Name: c.Name, Type: c.Type, Nullable: c.Nullable})
	}
	return out
}

func ofSteps(steps []source.CheckStep) []*configv1.CheckStep {
	out := make([]*configv1.CheckStep, 0, len(steps))
	for _, s := range steps {
		out = append(out, &configv1.CheckStep{Name: s.Name, Ok: s.OK, Message: s.Message, Warning: s.Warning})
	}
	return out
}

// stream answers batches as an Arrow IPC stream, uncompressed.
func stream(s *arrow.Schema, batches ...arrow.RecordBatch) ([]byte, error) {
	var b bytes.Buffer
	w := ipc.NewWriter(&b, ipc.WithSchema(s))
	for _, r := range batches {
		if err := w.Write(r); err != nil {
			return nil, internal("encode rows", err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, internal("encode rows", err)
	}
	return b.Bytes(), nil
}

// ofRow answers row i of a batch, and the size of its JSON.
func ofRow(rec arrow.RecordBatch, i int) (*structpb.Struct, int, error) {
	text := record.AppendRow(nil, rec, int(rec.NumCols()), i)
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, 0, internal("show a row", err)
	}
	out, err := structpb.NewStruct(m)
	if err != nil {
		return nil, 0, internal("show a row", err)
	}
	return out, len(text), nil
}
