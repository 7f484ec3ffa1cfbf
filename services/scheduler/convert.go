package scheduler

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	configv1 "millrace.dev/gen/millrace/config/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/record/recordpb"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/resource/resourcepb"
	"millrace.dev/pkg/run"
)

// enum answers the number of an enum value by its lower-case word.
func enum[E ~int32](values map[string]int32, prefix, word string) E {
	return E(values[prefix+strings.ToUpper(word)])
}

func toState(s run.State) schedulerv1.RunState {
	return enum[schedulerv1.RunState](schedulerv1.RunState_value, "RUN_STATE_", string(s))
}

func toLane(l lane) schedulerv1.Lane {
	return enum[schedulerv1.Lane](schedulerv1.Lane_value, "LANE_", string(l))
}

func toReason(r reason) schedulerv1.RunReason {
	return enum[schedulerv1.RunReason](schedulerv1.RunReason_value, "RUN_REASON_", string(r))
}

func toPartState(s run.PartState) schedulerv1.PartState {
	return enum[schedulerv1.PartState](schedulerv1.PartState_value, "PART_STATE_", string(s))
}

func toTime(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func ofTime(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

func toIssue(i issue) *schedulerv1.RunError {
	if i == (issue{}) {
		return nil
	}
	return &schedulerv1.RunError{Reason: i.Reason, Message: i.Message}
}

// ofIssue reads a worker's error; an empty reason counts as a defect.
func ofIssue(e *schedulerv1.RunError) issue {
	if e == nil {
		return issue{}
	}
	return issue{Reason: fault.ParseReason(e.GetReason()).Word(), Message: e.GetMessage()}
}

func ofFailure(c schedulerv1.FailureClass) failure {
	switch c {
	case schedulerv1.FailureClass_FAILURE_CLASS_THROTTLED:
		return throttled
	case schedulerv1.FailureClass_FAILURE_CLASS_UNAVAILABLE:
		return unreachable
	default:
		return other
	}
}

// toRun answers a run with its account so far.
func toRun(r runRow, t totals) *schedulerv1.Run {
	out := &schedulerv1.Run{
		Id: r.ID.String(), RunNo: r.RunNo, Sync: r.SyncID, Lane: toLane(r.Lane), Reason: toReason(r.Reason), State: toState(r.State),
		CreateTime: toTime(r.CreateTime), StartTime: toTime(r.StartTime), PlanTime: toTime(r.PlanTime), EndTime: toTime(r.EndTime),
		Window: &schedulerv1.Window{Low: r.Plan.LowEdge, High: r.Plan.Watermark, Lane: toLane(r.Lane)},
		Counts: recordpb.ToCounts(t.Counts), Parts: t.Parts, Batches: t.Batches, BytesRead: t.Bytes,
		Certificate: toCertificate(r, t), TraceId: traceID(r.Traceparent), Workspace: string(r.Workspace), SyncVersion: r.SyncVersion,
		EstimatedRows: r.Plan.EstimatedRows, IngestedRows: t.Ingested, Error: toIssue(r.Issue),
		FutureRows: r.Facts.Plan.Future, Hold: toHold(r.Facts.Hold), Drift: toChanges(r.Facts.Drift), SkippedTicks: r.Facts.Skipped,
		ReplayOf: r.Facts.ReplayOf, Notices: r.Facts.Notices, Dry: r.Open && r.Facts.Dry && !r.Facts.DryRun, DryRun: r.Facts.DryRun,
		RejectReasons: toReasons(r.Facts.Reasons), Samples: toSamples(r.Facts.Samples),
		EstimatedCost: toCost(r.Facts.Plan.Estimated), Cost: toCost(r.Facts.Cost),
	}
	if len(r.Retried) > 0 {
		out.RetryOf = r.Retried[0].Run
	}
	return out
}

func toCertificate(r runRow, t totals) *schedulerv1.Certificate {
	c := run.Certify(r.State, t.Account, t.Source)
	return &schedulerv1.Certificate{
		RowsDigest: c.RowsDigest, AccountedDigest: c.AccountedDigest, Snapshots: c.Snapshots, Balanced: c.Balanced, SourceRows: c.SourceRows,
	}
}

func toPart(p partRow) *schedulerv1.Part {
	return &schedulerv1.Part{
		Run: p.Run.String(), Part: p.Part, State: toPartState(p.State), Epoch: p.Epoch, Tries: int32(p.Tries), //nolint:gosec // at most MaxTries
		Worker: p.Worker, Range: p.Slice.Label, Counts: recordpb.ToCounts(p.Account.Counts), Error: toIssue(p.Issue),
		Snapshot: p.Facts.Snapshot,
	}
}

func toBatch(b batchRow) *schedulerv1.Batch {
	n := b.name()
	return &schedulerv1.Batch{
		Id:   fmt.Sprintf("%s/%d/%d/%d", n.Run, n.Part, n.Epoch, n.Seq),
		Rows: b.Batch.Rows, Bytes: b.Batch.Bytes, Ingested: b.Batch.Coverage.Whole(),
		Counts: recordpb.ToCounts(b.Batch.Ingested.Counts), TraceId: b.TraceID,
	}
}

// ofPlan reads a plan and what its parts read.
func ofPlan(p *schedulerv1.RunPlan) (plan, []slice, error) {
	if len(p.GetParts()) == 0 {
		return plan{}, nil, fault.Of(fault.ReasonInvalidArgument, []fault.Violation{{
			Field: "plan.parts", Message: "is empty", Fix: "plan one part at least, if only to find that there is no row",
		}})
	}
	bare, ok := proto.Clone(p).(*schedulerv1.RunPlan)
	if !ok {
		return plan{}, nil, fault.New(fault.Internal, fault.ReasonInternal, "a plan cannot be copied")
	}
	estimated, err := ofCost("plan.estimated_cost", p.GetEstimatedCost())
	if err != nil {
		return plan{}, nil, err
	}
	paid, err := ofCost("plan.cost", p.GetCost())
	if err != nil {
		return plan{}, nil, err
	}
	bare.Parts, bare.EstimatedCost, bare.Cost = nil, nil, nil
	text, err := protojson.Marshal(bare)
	if err != nil {
		return plan{}, nil, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "the plan cannot be kept: %w", err)
	}
	out := plan{
		Text: string(text), Watermark: p.GetWatermark(), LowEdge: p.GetLowEdge(), Snapshot: p.GetSnapshot(),
		EstimatedRows: p.GetEstimatedRows(), NullIterator: p.GetNullIterator(),
		Facts: planFacts{
			Counted: p.CountedRows, Future: p.GetFutureRows(), Complete: p.GetCompleteRead(), Keys: p.GetKeyColumns(), Accepted: ofAccepted(p), Drift: ofChanges(p.GetDrift()),
			Comparison: ofComparison(p.GetComparison()), Estimated: estimated,
		},
		Cost: paid,
	}
	slices := make([]slice, 0, len(p.GetParts()))
	for _, r := range p.GetParts() {
		text, err := protojson.Marshal(r)
		if err != nil {
			return plan{}, nil, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "a part's range cannot be kept: %w", err)
		}
		slices = append(slices, slice{Text: string(text), Label: label(r)})
	}
	return out, slices, nil
}

func toComparison(c *comparison) *schedulerv1.Comparison {
	if c == nil {
		return nil
	}
	out := &schedulerv1.Comparison{State: c.State, Since: c.Since, Rows: c.Rows, Gone: c.Gone, Terms: c.Terms, Added: c.Added}
	for _, x := range c.Columns {
		out.Columns = append(out.Columns, &schedulerv1.PlanColumn{Name: x.Name, Type: x.Type, ArrowType: x.Arrow})
	}
	return out
}

func ofComparison(c *schedulerv1.Comparison) *comparison {
	if c.GetState() == "" {
		return nil
	}
	out := &comparison{State: c.GetState(), Since: c.GetSince(), Rows: c.GetRows(), Gone: c.GetGone(), Terms: c.GetTerms(), Lost: c.GetLost(), Added: c.GetAdded(), Notice: c.GetNotice()}
	for _, x := range c.GetColumns() {
		out.Columns = append(out.Columns, planColumn{Name: x.GetName(), Type: x.GetType(), Arrow: x.GetArrowType()})
	}
	return out
}

// ofCost reads a worker's figures.
func ofCost(field string, c *schedulerv1.Cost) (cost, error) {
	if c.GetBytesScanned() < 0 || c.GetBytesBilled() < 0 {
		return cost{}, fault.Of(fault.ReasonInvalidArgument, []fault.Violation{{Field: field, Message: "is negative", Fix: "leave out what is not known"}})
	}
	if c == nil {
		return cost{}, nil
	}
	return cost{Scanned: c.BytesScanned, Billed: c.BytesBilled}, nil
}

// toCost answers nil where nothing is known.
func toCost(c cost) *schedulerv1.Cost {
	if c == (cost{}) {
		return nil
	}
	return &schedulerv1.Cost{BytesScanned: c.Scanned, BytesBilled: c.Billed}
}

// label says what a part reads, for people.
func label(r *schedulerv1.PartRange) string {
	switch {
	case r.GetUnit() != "":
		return r.GetUnit()
	case r.GetNulls():
		return "iterator is NULL"
	case r.GetLow() == "" && r.GetHigh() == "":
		return "everything"
	}
	low, high, end := "(", ")", r.GetHigh()
	if r.GetLow() != "" {
		low = "[" + r.GetLow()
	}
	if r.GetHighClosed() {
		high = "]"
	}
	return low + ", " + end + high
}

// toLease answers a part for a worker.
func toLease(g grant) (*schedulerv1.PartLease, error) {
	r, p := g.Run, g.Part
	out := &schedulerv1.PartLease{
		Workspace: string(r.Workspace), Run: r.ID.String(), RunNo: r.RunNo, Sync: r.SyncID, SyncUid: r.SyncUID, SyncVersion: r.SyncVersion,
		Part: p.Part, Epoch: p.Epoch, Lane: toLane(r.Lane), Traceparent: r.Traceparent, Full: r.Full, Retried: toRetried(g.Retried),
		Life: durationpb.New(g.Life), ReplayOf: r.Facts.ReplayOf,
	}
	out.From, out.Until = toTime(r.Facts.From), toTime(r.Facts.Until)
	if r.Incremental && !r.Full {
		out.Checkpoint = r.Checkpoint
	}
	if p.Part == 0 {
		out.Base = toComparison(g.Base)
		out.Accepted, out.DriftApproved = toAccepted(g.Accepted), r.approved(fault.ReasonSchemaDrift)
		return out, nil
	}
	out.Dry = r.Facts.Dry || p.Facts.Rehearsal
	if p.Facts.Absent {
		out.Absent = &schedulerv1.AbsentKeys{Rows: g.Read.Rows, AtMost: p.Facts.AtMost}
		for _, x := range g.Read.Parts {
			out.Absent.Parts = append(out.Absent.Parts, &schedulerv1.ReadPart{RunNo: x.RunNo, Part: x.Part, Epoch: x.Epoch})
		}
	}
	out.Plan, out.Range = &schedulerv1.RunPlan{}, &schedulerv1.PartRange{}
	if err := protojson.Unmarshal([]byte(r.Plan.Text), out.Plan); err != nil {
		return nil, damaged("plan", err)
	}
	if err := protojson.Unmarshal([]byte(p.Slice.Text), out.Range); err != nil {
		return nil, damaged("part", err)
	}
	return out, nil
}

func toRetried(in []record.RetriedRun) []*schedulerv1.RetriedRun {
	out := make([]*schedulerv1.RetriedRun, 0, len(in))
	for _, r := range in {
		out = append(out, &schedulerv1.RetriedRun{Run: r.Run.String(), RunNo: r.RunNo, Adopted: r.Adopted})
	}
	return out
}

func ofScheduled(y *configv1.ScheduledSync) scheduledSync {
	goal, err := resource.ParseDuration(y.GetFreshness())
	if err != nil {
		goal = 0 // empty: none
	}
	return scheduledSync{
		Freshness: goal,
		Workspace: id.Workspace(y.GetWorkspace()).Or(), ID: y.GetId(), UID: y.GetUid(), Version: y.GetVersion(),
		Incremental: resourcepb.OfMode(y.GetMode()) == resource.Incremental, Schedule: resourcepb.OfSchedule(y.GetSchedule()),
		State: resourcepb.OfState(y.GetState()), Status: resourcepb.OfStatus(y.GetStatus()), ActiveSince: ofTime(y.GetActiveSince()), Connection: y.GetConnection(),
	}
}

// ofRunID reads the id of a run in a request.
func ofRunID(field, text string) (id.Run, error) {
	r, err := id.ParseRun(text)
	if err != nil {
		return r, fault.Of(fault.ReasonInvalidArgument, []fault.Violation{{Field: field, Message: "is no run's id", Fix: "pass the id of a run, such as runs list prints it"}})
	}
	return r, nil
}
