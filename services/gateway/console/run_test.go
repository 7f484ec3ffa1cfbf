package console

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
)

// ofRun answers what a page of a run asks for.
func ofRun(run *schedulerv1.Run) answers {
	return answers{
		"GetRun": says(&schedulerv1.GetRunResponse{Run: run}),
		"ListParts": says(&schedulerv1.ListPartsResponse{NextPageToken: "more", Parts: []*schedulerv1.Part{
			{State: schedulerv1.PartState_PART_STATE_COMPLETE},
			{Part: 1, Epoch: 2, State: schedulerv1.PartState_PART_STATE_COMPLETE, Range: "[a, m)", Counts: &schedulerv1.Counts{Read: 700}},
			{Part: 2, Epoch: 1, State: schedulerv1.PartState_PART_STATE_LEASED, Range: "[m, z]", Tries: 1, Worker: "extractor-1", Error: &schedulerv1.RunError{Message: "the warehouse hung up"}},
		}}),
		"ListBatches": says(&schedulerv1.ListBatchesResponse{NextPageToken: "t2", Batches: []*schedulerv1.Batch{
			{Id: "run-7/1/2/0", Rows: 700, Bytes: 4096, Ingested: true, TraceId: "4bf92f3577b34da6a3ce929d0e0e4736", Counts: &schedulerv1.Counts{Created: 700}},
		}}),
	}
}

func heldRun() *schedulerv1.Run {
	run := doneRun()
	run.State, run.EndTime, run.Certificate, run.SkippedTicks = schedulerv1.RunState_RUN_STATE_HELD, nil, nil, 4
	run.Hold = &schedulerv1.Hold{
		Reason: "guard_breached", Message: "would delete 900 of 1,000 rows", Approve: "deletes them", Drop: "ends the run as cancelled",
		CreateTime: timestamppb.New(time.Date(2026, 3, 1, 12, 5, 0, 0, time.UTC)),
		Samples:    []*schedulerv1.EffectSample{{Effect: "deleted", KeyValues: []string{"<img src=x>", "42"}}},
		Columns:    []*schedulerv1.ColumnChange{{Column: "email", Change: "dropped", Was: "TEXT", Action: "held", Choices: "approve: values stay"}},
	}
	return run
}

func TestARunIsShownWithItsAccountAndCertificate(t *testing.T) {
	w := get(t, open(t, ofRun(doneRun())), "/w/default/runs/run-7")
	require.Equal(t, http.StatusOK, w.Code, w.Body.String())
	text := w.Body.String()
	require.Contains(t, text, `Run 7 of <a id="sync" href="/w/default/syncs/customers"><bdi>customers</bdi></a> <span class="state warn">partially succeeded</span>`)
	require.Contains(t, text, `href="/w/default/runs/run-7/rejects">Rejects (160)</a>`)
	require.Contains(t, text, `href="/w/default/traces?run=run-7">Traces</a>`)
	require.Equal(t, 2, strings.Count(text, `<span class="state good">adds up</span>`))
	require.Contains(t, text, "Every row that was read is accounted for")
	require.Contains(t, text, "aa11")
	require.Contains(t, text, "counted by the warehouse in the snapshot")
	require.Contains(t, text, "<bdi>2026-02-28</bdi> to <bdi>2026-03-01</bdi>")
	require.Contains(t, text, "2.0 KiB; batches: 3; parts: 2")
	require.Contains(t, text, `href="/w/default/traces/4bf92f3577b34da6a3ce929d0e0e4736" aria-label="Trace of batch 1/2/0"`)
	require.Contains(t, text, "the warehouse hung up")
	require.Contains(t, text, `href="/w/default/runs/run-7?batches=t2">More batches</a>`)
	require.Contains(t, text, `href="/w/default/runs/run-7?parts=more">More parts</a>`)
	require.Contains(t, text, `value="run" title=`, "what is over can be run again")
	require.NotContains(t, text, "data-live=", "what is over does not change")
	require.NotContains(t, text, `value="cancel"`)
}

func TestAnOpenRunShowsHowItGetsOn(t *testing.T) {
	run := doneRun()
	run.State, run.EndTime, run.Certificate, run.IngestedRows, run.EstimatedRows = schedulerv1.RunState_RUN_STATE_RUNNING, nil, nil, 700, 1400
	run.WaitingFor = []string{"part 2: batches 4 to 7 are not ingested"}
	text := get(t, open(t, ofRun(run)), "/w/default/runs/run-7?parts=p2").Body.String()
	require.Contains(t, text, `data-live="/w/default/live/runs/run-7?parts=p2" data-live-end="reload"`)
	require.Contains(t, text, `<progress max="100" value="50"`)
	require.Contains(t, text, "of 1\u202f400 rows, 50 %")
	require.Contains(t, text, `<li class="now" aria-current="step">Extract <small>1 of 2 parts</small>`)
	require.Contains(t, text, "batches 4 to 7 are not ingested")
	require.Contains(t, text, `value="cancel"`)
	require.Contains(t, text, `<span class="state good">adds up so far</span>`)
	run.EstimatedRows = 0
	text = get(t, open(t, ofRun(run)), "/w/default/runs/run-7").Body.String()
	require.Contains(t, text, "the source gives no estimate")
	require.NotContains(t, text, `max="100" value`)
}

func TestAHeldRunShowsWhatEachChoiceDoes(t *testing.T) {
	text := get(t, open(t, ofRun(heldRun())), "/w/default/runs/run-7").Body.String()
	require.Contains(t, text, "Held: guard breached")
	require.Contains(t, text, "Would delete 900 of 1,000 rows")
	require.Contains(t, text, ">Approve</button>")
	require.Contains(t, text, "Deletes them.")
	require.Contains(t, text, ">Drop</button>")
	require.Contains(t, text, "Ends the run as cancelled.")
	require.Contains(t, text, "&lt;img src=x&gt;")
	require.NotContains(t, text, "<img src=x>")
	require.Contains(t, text, "approve: values stay")
	require.Contains(t, text, "4 ticks of the schedule were skipped")
	require.NotContains(t, text, `value="cancel"`, "dropping is the way out")
}

func TestADryRunShowsWhatItWouldDo(t *testing.T) {
	run := doneRun()
	run.State, run.DryRun = schedulerv1.RunState_RUN_STATE_REHEARSED, true
	run.Samples = []*schedulerv1.EffectSample{{Effect: "created", KeyValues: []string{"u1"}}}
	run.RejectReasons = []*schedulerv1.RejectReason{{Stage: "map", Column: "age", Reason: "is no number", Rejects: 150}}
	text := get(t, open(t, ofRun(run)), "/w/default/runs/run-7").Body.String()
	require.Contains(t, text, "This is a dry run")
	require.Contains(t, text, "What would become of the rows")
	require.Contains(t, text, "is no number")
	require.Contains(t, text, "u1")
	require.NotContains(t, text, "/rejects", "a dry run keeps none")
}

func TestActsLeadToTheRunThatGoesOn(t *testing.T) {
	failed := doneRun()
	failed.State = schedulerv1.RunState_RUN_STATE_FAILED
	cancelled := doneRun()
	cancelled.State = schedulerv1.RunState_RUN_STATE_CANCELLED
	stamp := stampOf(heldRun().GetHold())
	for name, tc := range map[string]struct {
		form   []string
		method string
		answer proto.Message
		to     string
	}{
		"cancel":  {nil, "CancelRun", &schedulerv1.CancelRunResponse{Run: cancelled}, "/w/default/runs/run-7?done=cancelled"},
		"retry":   {nil, "RetryRun", &schedulerv1.RetryRunResponse{Run: &schedulerv1.Run{Id: "run-9"}}, "/w/default/runs/run-9?done=retried"},
		"approve": {[]string{"hold", stamp}, "ApproveRun", &schedulerv1.ApproveRunResponse{Run: heldRun()}, "/w/default/runs/run-7?done=approved"},
		"drop":    {[]string{"hold", stamp}, "DropRun", &schedulerv1.DropRunResponse{Run: cancelled}, "/w/default/runs/run-7?done=dropped"},
		"run":     {[]string{"sync", "customers", "key", "k1"}, "TriggerRun", &schedulerv1.TriggerRunResponse{Run: &schedulerv1.Run{Id: "run-9"}}, "/w/default/runs/run-9?done=started"},
	} {
		t.Run(name, func(t *testing.T) {
			a := ofRun(heldRun())
			asked := 0
			a[tc.method] = func(in any) (proto.Message, error) {
				asked++
				if start, ok := in.(*schedulerv1.TriggerRunRequest); ok {
					require.Equal(t, "k1", start.GetIdempotencyKey())
					require.Equal(t, "customers", start.GetSync())
				}
				return tc.answer, nil
			}
			w := sendForm(t, open(t, a), "/w/default/runs/run-7", append([]string{"act", name}, tc.form...)...)
			require.Equal(t, http.StatusSeeOther, w.Code, w.Body.String())
			require.Equal(t, tc.to, w.Header().Get("Location"))
			require.Equal(t, 1, asked)
			where, err := url.Parse(tc.to)
			require.NoError(t, err)
			require.Contains(t, done, where.Query().Get("done"), "the page says what was done")
		})
	}
}

func TestAnAnswerToAnotherHoldIsStale(t *testing.T) {
	a := ofRun(heldRun())
	a["ApproveRun"] = func(any) (proto.Message, error) { t.Error("nothing is approved unseen"); return nil, nil }
	w := sendForm(t, open(t, a), "/w/default/runs/run-7", "act", "approve", "hold", "2026-01-01T00:00:00Z")
	require.Equal(t, http.StatusConflict, w.Code)
	require.Contains(t, w.Body.String(), "It has changed meanwhile")
	require.Contains(t, w.Body.String(), "Would delete 900 of 1,000 rows", "the page shows what it is held for now")
}

func TestWhatIsRefusedIsToldAboveTheRun(t *testing.T) {
	a := ofRun(doneRun())
	a["RetryRun"] = func(any) (proto.Message, error) {
		return nil, fault.New(fault.Precondition, fault.ReasonRunState, "a later run of the lane has succeeded")
	}
	w := sendForm(t, open(t, a), "/w/default/runs/run-7", "act", "retry")
	require.Equal(t, http.StatusConflict, w.Code)
	require.Contains(t, w.Body.String(), "A later run of the lane has succeeded")
	require.Contains(t, w.Body.String(), "Run 7 of")
	w = sendForm(t, open(t, a), "/w/default/runs/run-7", "act", "explode")
	require.Equal(t, http.StatusBadRequest, w.Code)
}

func TestARunThatIsNotThereIsNotFound(t *testing.T) {
	w := get(t, open(t, answers{"GetRun": func(any) (proto.Message, error) {
		return nil, fault.New(fault.NotFound, fault.ReasonNotFound, "no run x")
	}}), "/w/default/runs/x")
	require.Equal(t, http.StatusNotFound, w.Code)
}

func TestALiveRunIsSentUntilItIsOver(t *testing.T) {
	running := doneRun()
	running.State, running.EndTime, running.IngestedRows, running.Certificate = schedulerv1.RunState_RUN_STATE_RUNNING, nil, 600, nil
	later := proto.CloneOf(running)
	later.IngestedRows = 900
	c := openStreaming(t, streaming{ofRun(running), map[string]messages{"WatchRun": {all: []proto.Message{
		&schedulerv1.WatchRunResponse{Run: running}, &schedulerv1.WatchRunResponse{Run: later}, &schedulerv1.WatchRunResponse{Run: heldRun()}, &schedulerv1.WatchRunResponse{Run: doneRun()},
	}}}})
	w := get(t, c, "/w/default/live/runs/run-7")
	require.Equal(t, "text/event-stream", w.Header().Get("Content-Type"))
	events := w.Body.String()
	require.Equal(t, 4, strings.Count(events, "event: now\n"))
	require.Equal(t, 3, strings.Count(events, "event: acts\n"), "buttons are sent where they change: running, held, over")
	require.Equal(t, 3, strings.Count(events, "event: hold\n"))
	require.Contains(t, events, "Held: guard breached")
	require.Contains(t, events, "event: parts\n")
	require.True(t, strings.HasSuffix(events, "event: end\ndata:\n\n"), "the browser does not ask again")
}

func TestALiveRunThatIsCutOffIsAskedForAgain(t *testing.T) {
	running := doneRun()
	running.State, running.EndTime = schedulerv1.RunState_RUN_STATE_RUNNING, nil
	for name, broken := range map[string]error{"the stream ends": nil, "the scheduler stops": fault.New(fault.Unavailable, fault.ReasonServiceUnavailable, "stopping")} {
		t.Run(name, func(t *testing.T) {
			c := openStreaming(t, streaming{ofRun(running), map[string]messages{"WatchRun": {all: []proto.Message{&schedulerv1.WatchRunResponse{Run: running}}, err: broken}}})
			events := get(t, c, "/w/default/live/runs/run-7").Body.String()
			require.Contains(t, events, "event: now\n")
			require.NotContains(t, events, "event: end\n")
		})
	}
}

func TestStagesFollowTheParts(t *testing.T) {
	part := func(n uint32, s schedulerv1.PartState) *schedulerv1.Part { return &schedulerv1.Part{Part: n, State: s} }
	for _, tc := range []struct {
		run   *schedulerv1.Run
		parts []*schedulerv1.Part
		want  string
	}{
		{&schedulerv1.Run{State: schedulerv1.RunState_RUN_STATE_QUEUED}, nil, "now next next next next"},
		{&schedulerv1.Run{State: schedulerv1.RunState_RUN_STATE_PLANNING}, []*schedulerv1.Part{part(0, schedulerv1.PartState_PART_STATE_LEASED)}, "done now next next next"},
		{
			&schedulerv1.Run{State: schedulerv1.RunState_RUN_STATE_RUNNING, IngestedRows: 1},
			[]*schedulerv1.Part{part(0, schedulerv1.PartState_PART_STATE_COMPLETE), part(1, schedulerv1.PartState_PART_STATE_EXTRACTED), part(2, schedulerv1.PartState_PART_STATE_WAITING)},
			"done done now now next",
		},
		{
			&schedulerv1.Run{State: schedulerv1.RunState_RUN_STATE_RUNNING, IngestedRows: 9},
			[]*schedulerv1.Part{part(1, schedulerv1.PartState_PART_STATE_COMPLETE), part(2, schedulerv1.PartState_PART_STATE_REPLACED)},
			"done done done done now",
		},
	} {
		var got []string
		for _, s := range stepsOf(tc.run, tc.parts) {
			got = append(got, s.At)
		}
		require.Equal(t, tc.want, strings.Join(got, " "))
	}
}
