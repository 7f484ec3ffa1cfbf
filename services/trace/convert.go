package trace

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	tracev1 "millrace.dev/gen/millrace/trace/v1"
	"millrace.dev/pkg/fault"
)

func ofTime(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

func toTime(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func nanos(n int64) *timestamppb.Timestamp { return timestamppb.New(time.Unix(0, n)) }

func lasting(n int64) *durationpb.Duration { return durationpb.New(time.Duration(n)) }

func ofConfig(c *tracev1.TraceConfig) config {
	return config{
		ID: c.GetId(), Syncs: c.GetSyncs(), Feeds: c.GetFeeds(), From: ofTime(c.GetFrom()), Until: ofTime(c.GetUntil()), Stages: c.GetStages(),
		Sampling: map[tracev1.Sampling]string{
			tracev1.Sampling_SAMPLING_UNSPECIFIED: sampleAll, tracev1.Sampling_SAMPLING_ALL: sampleAll,
			tracev1.Sampling_SAMPLING_ERRORS: sampleErrors, tracev1.Sampling_SAMPLING_ONE_IN: sampleOneIn,
		}[c.GetSampling()],
		OneIn: c.GetOneIn(),
	}
}

func toConfig(c config) *tracev1.TraceConfig {
	return &tracev1.TraceConfig{
		Id: c.ID, Syncs: c.Syncs, Feeds: c.Feeds, From: toTime(c.From), Until: toTime(c.Until), Stages: c.Stages,
		Sampling: map[string]tracev1.Sampling{
			sampleAll: tracev1.Sampling_SAMPLING_ALL, sampleErrors: tracev1.Sampling_SAMPLING_ERRORS, sampleOneIn: tracev1.Sampling_SAMPLING_ONE_IN,
		}[c.Sampling],
		OneIn: c.OneIn, CreateTime: toTime(c.CreateTime),
	}
}

func toState(failed bool) tracev1.TraceState {
	if failed {
		return tracev1.TraceState_TRACE_STATE_ERROR
	}
	return tracev1.TraceState_TRACE_STATE_OK
}

func toTrace(t summary) *tracev1.Trace {
	out := &tracev1.Trace{
		TraceId: t.TraceID, State: toState(t.State == stateError), Reason: t.Reason, Sync: t.SyncID, SyncUid: t.SyncUID, Feed: t.Feed,
		Kind: map[string]tracev1.TraceKind{
			kindBatch: tracev1.TraceKind_TRACE_KIND_BATCH, kindRun: tracev1.TraceKind_TRACE_KIND_RUN, kindOther: tracev1.TraceKind_TRACE_KIND_OTHER,
		}[t.Kind],
		Run: t.Run, Part: uint32(t.Part), Batch: t.Batch, RunTraceId: t.RunTrace, StartTime: nanos(t.Start), Duration: lasting(t.End - t.Start),
		SlowestStage: t.Slowest, Services: t.Services, Spans: int32(t.Spans), DroppedSpans: int32(t.Dropped),
		Complete: t.Complete, Rejects: t.Rejects,
	}
	for _, s := range t.Stages {
		out.Stages = append(out.Stages, &tracev1.Stage{Name: s.Name, Work: lasting(s.Work), Queue: lasting(s.Queue)})
	}
	return out
}

func toSpan(s *span) (*tracev1.Span, error) {
	attributes, err := structpb.NewStruct(s.Attributes)
	if err != nil {
		return nil, fault.New(fault.Internal, fault.ReasonInternal, "answer a span: %w", err)
	}
	out := &tracev1.Span{
		SpanId: s.SpanID, ParentSpanId: s.ParentID, Service: s.Service, Name: s.Name, Kind: toKind(s.Kind), Stage: s.stage(),
		StartTime: nanos(s.Start), Duration: lasting(s.End - s.Start), State: toState(s.Failed), Reason: s.Reason, Attributes: attributes,
	}
	for _, l := range s.Links {
		out.Links = append(out.Links, &tracev1.SpanLink{TraceId: l.TraceID, SpanId: l.SpanID})
	}
	return out, nil
}

// toKind answers a kind; both number them alike.
func toKind(k kind) tracev1.SpanKind {
	if _, ok := tracev1.SpanKind_name[int32(k)]; ok {
		return tracev1.SpanKind(k)
	}
	return tracev1.SpanKind_SPAN_KIND_UNSPECIFIED
}
