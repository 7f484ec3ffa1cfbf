package trace

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const traceA = "4bf92f3577b34da6a3ce929d0e0e4736"

const ms = int64(time.Millisecond)

// journey is a batch's trace in milliseconds: read, published, mapped, published, ingested.
func journey() []span {
	named := map[string]any{
		"millrace.workspace": "w", "millrace.sync_id": "customers", "millrace.sync": "uid", "millrace.feed": "web",
		"millrace.run": "r", "millrace.batch": "r/1/1/0/0", "millrace.part": int64(1),
	}
	s := func(id, parent, service, name string, k kind, start, end int64) span {
		return span{TraceID: traceA, SpanID: id, ParentID: parent, Service: service, Name: name, Kind: k, Start: start * ms, End: end * ms, Attributes: map[string]any{}}
	}
	read := s("1", "", "extractor", "read batch", 1, 100, 110)
	read.Attributes, read.Links = named, []link{{"00f067aa0ba902b700f067aa0ba902b7", "b7ad6b7169203331"}}
	return []span{
		read,
		s("2", "1", "extractor", "publish", producer, 110, 120),
		s("3", "1", "extractor", "report", 1, 120, 150),
		s("4", "2", "mapper", "map", consumer, 125, 140),
		s("5", "4", "mapper", "publish", producer, 130, 138),
		s("6", "5", "ingestion", "ingest", consumer, 160, 200),
		s("7", "6", "ingestion", "commit", 1, 165, 190),
		s("8", "7", "scheduler", "millrace.scheduler.v1.AccountService/ReportBatches", server, 191, 195),
	}
}

func TestWhatFollowsFromTheSpansOfABatch(t *testing.T) {
	spans := journey()
	slices.Reverse(spans)
	got := summarise(spans)
	require.Equal(t, summary{
		TraceID: traceA, Workspace: "w", Kind: kindBatch, State: stateOK, SyncID: "customers", SyncUID: "uid", Feed: "web", Run: "r", Part: 1,
		Batch: "r/1/1/0", RunTrace: "00f067aa0ba902b700f067aa0ba902b7", Start: 100 * ms, End: 200 * ms,
		Stages: []stageTime{
			{Name: stageExtract, Work: 50 * ms}, // what overlaps counts once
			{Name: stageMap, Work: 15 * ms, Queue: 5 * ms},
			{Name: stageIngest, Work: 40 * ms, Queue: 22 * ms},
		},
		Slowest: stageIngest, Services: []string{"extractor", "mapper", "ingestion", "scheduler"}, Spans: 8, Bytes: got.Bytes, Complete: true,
	}, got)
	require.Positive(t, got.Bytes)
}

func TestRejectsOfABatchCountOnce(t *testing.T) {
	spans := journey()
	spans[3].Attributes["millrace.rejected"] = int64(12)
	again := spans[3]
	again.SpanID = "9"
	spans[6].Attributes["millrace.refused"] = int64(3)
	second := spans[6]
	second.SpanID, second.Attributes = "a", map[string]any{"millrace.refused": int64(4)}
	require.EqualValues(t, 12+3+4, summarise(append(spans, again, second)).Rejects, "a second delivery rejects the same; commits of two fragments refuse rows of their own")
}

func TestATraceIsCompleteWhenNoStageIsAwaited(t *testing.T) {
	spans := journey()
	require.False(t, summarise(spans[:5]).Complete, "not ingested")
	require.False(t, summarise(spans[1:]).Complete, "its root has not come")
	other := summarise([]span{{TraceID: traceA, SpanID: "1", Service: "shop", Name: "checkout", Start: 1, End: 2}})
	require.True(t, other.Complete)
	require.Equal(t, kindOther, other.Kind)
	require.Equal(t, "default", other.Workspace)
	require.Empty(t, other.Slowest)
}

func TestTheFirstSpanThatFailedGivesTheReason(t *testing.T) {
	spans := journey()
	spans[5].Failed, spans[5].Reason = true, "store_unavailable"
	spans[3].Failed, spans[3].Reason = true, "mapping_invalid"
	got := summarise(spans)
	require.Equal(t, stateError, got.State)
	require.Equal(t, "mapping_invalid", got.Reason)
}

func TestARunsTraceHasItsPlanning(t *testing.T) {
	got := summarise([]span{
		{TraceID: traceA, SpanID: "1", Service: "scheduler", Name: "run", Start: 0, End: 900 * ms, Attributes: map[string]any{"millrace.run": "r"}},
		{TraceID: traceA, SpanID: "2", ParentID: "1", Service: "extractor", Name: "plan", Start: 100 * ms, End: 300 * ms},
	})
	require.Equal(t, kindRun, got.Kind)
	require.Equal(t, []stageTime{{Name: stagePlan, Work: 200 * ms}}, got.Stages)
}

func TestAConfigurationWantsWhatAllItsConditionsHoldOf(t *testing.T) {
	batch := summary{TraceID: traceA, SyncID: "customers", Feed: "web", State: stateOK, Start: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC).UnixNano()}
	failed := batch
	failed.State = stateError
	day := func(d int) time.Time { return time.Date(2026, 1, d, 0, 0, 0, 0, time.UTC) }
	for name, c := range map[string]struct {
		config      config
		ok, failing bool
	}{
		"everything":              {config{}, true, true},
		"its sync":                {config{Syncs: []string{"orders", "customers"}}, true, true},
		"another sync":            {config{Syncs: []string{"orders"}}, false, false},
		"its feed":                {config{Syncs: []string{"orders"}, Feeds: []string{"web"}}, true, true},
		"errors":                  {config{Sampling: sampleErrors}, false, true},
		"errors of another sync":  {config{Syncs: []string{"orders"}, Sampling: sampleErrors}, false, false},
		"from its instant":        {config{From: day(2)}, true, true},
		"until its instant":       {config{Until: day(2)}, false, false},
		"a frame around it":       {config{From: day(1), Until: day(3)}, true, true},
		"one in two, by trace id": {config{Sampling: sampleOneIn, OneIn: 2}, true, true},
		"one in four":             {config{Sampling: sampleOneIn, OneIn: 4}, false, false},
	} {
		require.Equal(t, c.ok, c.config.wants(batch), name)
		require.Equal(t, c.failing, c.config.wants(failed), name)
	}
}

func TestOneInNKeepsAboutSoMany(t *testing.T) {
	const of = 20_000
	c, kept := config{Sampling: sampleOneIn, OneIn: 10}, 0
	for range of {
		if c.wants(summary{TraceID: newTrace()}) {
			kept++
		}
	}
	require.InDelta(t, of/10, kept, of/50)
}

func TestConfigurationsAddUp(t *testing.T) {
	batch := summary{TraceID: traceA, SyncID: "customers"}
	mine, theirs := config{Syncs: []string{"customers"}, Stages: []string{stageMap}}, config{Syncs: []string{"orders"}}
	require.Equal(t, verdict{keep: true}, judge(nil, batch), "without any")
	require.Equal(t, verdict{}, judge([]config{theirs}, batch))
	require.Equal(t, verdict{keep: true, stages: []string{stageMap}}, judge([]config{mine, theirs}, batch))
	require.Equal(t, verdict{keep: true, stages: []string{stageIngest, stageMap}}, judge([]config{mine, {Stages: []string{stageMap, stageIngest}}}, batch))
	require.Equal(t, verdict{keep: true}, judge([]config{mine, {}}, batch), "one wants all stages")
}

func TestSpansBeyondTheStagesWanted(t *testing.T) {
	require.Equal(t, []string{"1", "2", "3", "4", "5"}, beyond(journey(), []string{stageIngest}), "calls stay with the stage that made them")
	require.Empty(t, beyond([]span{{SpanID: "1", Service: "scheduler", Name: "run"}}, []string{stageMap}), "a run's own span")
	require.Empty(t, beyond([]span{{SpanID: "1", ParentID: "2"}, {SpanID: "2", ParentID: "1"}}, []string{stageMap}), "each other's parents")
}

func TestEveryRuleThatAConfigurationBreaksIsToldAtOnce(t *testing.T) {
	now := time.Now()
	vs := config{ID: "No", Syncs: []string{""}, Feeds: []string{"a b"}, From: now, Until: now, Stages: []string{"run"}, Sampling: sampleAll, OneIn: 1}.validate()
	var fields []string
	for _, v := range vs {
		fields = append(fields, v.Field)
	}
	require.Equal(t, []string{"config.id", "config.syncs[0]", "config.feeds[0]", "config.stages[0]", "config.until", "config.one_in"}, fields)
	require.Len(t, config{ID: "a", Sampling: sampleOneIn}.validate(), 1)
	require.Empty(t, config{ID: "a", Sampling: sampleOneIn, OneIn: 2, Stages: stages()}.validate())
}
