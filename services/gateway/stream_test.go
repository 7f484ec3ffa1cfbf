package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	configv1 "millrace.dev/gen/millrace/config/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
)

type stream = grpc.ServerStreamingServer[schedulerv1.WatchRunResponse]

func update(s schedulerv1.RunState) *schedulerv1.WatchRunResponse {
	return &schedulerv1.WatchRunResponse{Run: &schedulerv1.Run{Id: "r", State: s}}
}

func TestAStreamIsALineForEachMessage(t *testing.T) {
	w := start(t, Settings{}, &peer{watch: func(_ *schedulerv1.WatchRunRequest, s stream) error {
		if err := s.Send(update(schedulerv1.RunState_RUN_STATE_RUNNING)); err != nil {
			return err
		}
		return s.Send(update(schedulerv1.RunState_RUN_STATE_SUCCEEDED))
	}})
	r := w.ask("GET", "/runs/r:watch", "")
	require.Equal(t, http.StatusOK, r.status)
	require.Equal(t, "application/x-ndjson", r.header.Get("Content-Type"))
	lines := strings.Split(strings.TrimSpace(r.text), "\n")
	require.Len(t, lines, 2)
	require.Contains(t, lines[0], `{"result":{"id":"r"`)
	require.Contains(t, lines[0], `"state":"running"`)
	require.Contains(t, lines[1], `"state":"succeeded"`)
}

func TestAStreamThatFailsSaysSo(t *testing.T) {
	failure := fault.New(fault.Unavailable, fault.ReasonStoreUnavailable, "the store is away")
	w := start(t, Settings{}, &peer{watch: func(r *schedulerv1.WatchRunRequest, s stream) error {
		if r.GetId() == "late" {
			if err := s.Send(update(schedulerv1.RunState_RUN_STATE_RUNNING)); err != nil {
				return err
			}
		}
		return failure
	}})
	w.problem(w.ask("GET", "/runs/early:watch", ""), http.StatusServiceUnavailable, "store_unavailable")
	lines := strings.Split(strings.TrimSpace(w.ask("GET", "/runs/late:watch", "").text), "\n")
	require.Len(t, lines, 2)
	var last struct{ Error problem }
	require.NoError(t, json.Unmarshal([]byte(lines[1]), &last))
	require.Equal(t, "store_unavailable", last.Error.Reason)
	require.Equal(t, http.StatusServiceUnavailable, last.Error.Status)
	require.Equal(t, "the store is away", last.Error.Detail)
}

// answer is a reply that a goroutine waits for.
type answer struct {
	reply reply
	err   error
}

func (w *world) later(req *http.Request) <-chan answer {
	out := make(chan answer, 1)
	go func() {
		r, err := w.do(req)
		out <- answer{r, err}
	}()
	return out
}

func TestMoreRequestsThanItTakesAreToldToWait(t *testing.T) {
	inside, leave := make(chan struct{}), make(chan struct{})
	w := start(t, Settings{MaxRequests: 1, MaxStreams: 1}, &peer{
		getSync: func(context.Context, *configv1.GetSyncRequest) (*configv1.GetSyncResponse, error) {
			inside <- struct{}{}
			<-leave
			return &configv1.GetSyncResponse{}, nil
		},
		watch: func(_ *schedulerv1.WatchRunRequest, s stream) error {
			return s.Send(update(schedulerv1.RunState_RUN_STATE_SUCCEEDED))
		},
	})
	first := w.later(w.request("GET", "/v1/workspaces/w/syncs/x", ""))
	<-inside
	r := w.ask("GET", "/syncs/x", "")
	w.problem(r, http.StatusTooManyRequests, "limit_exceeded")
	require.Equal(t, "1", r.header.Get("Retry-After"))
	require.Equal(t, http.StatusOK, w.ask("GET", "/runs/r:watch", "").status, "streams have places of their own")
	close(leave)
	a := <-first
	require.NoError(t, a.err)
	require.Equal(t, http.StatusOK, a.reply.status)
}

func TestAStopLetsRequestsFinishAndEndsStreams(t *testing.T) {
	inside, leave := make(chan struct{}), make(chan struct{})
	w := start(t, Settings{}, &peer{
		getSync: func(context.Context, *configv1.GetSyncRequest) (*configv1.GetSyncResponse, error) {
			inside <- struct{}{}
			<-leave
			return &configv1.GetSyncResponse{Sync: &configv1.Sync{Lookback: "7m"}}, nil
		},
		watch: func(_ *schedulerv1.WatchRunRequest, s stream) error {
			if err := s.Send(update(schedulerv1.RunState_RUN_STATE_RUNNING)); err != nil {
				return err
			}
			<-s.Context().Done()
			return s.Context().Err()
		},
	})
	first := w.later(w.request("GET", "/v1/workspaces/w/syncs/x", ""))
	<-inside
	watched, err := w.client.Do(w.request("GET", "/v1/workspaces/w/runs/r:watch", ""))
	require.NoError(t, err)
	defer func() { require.NoError(t, watched.Body.Close()) }()
	lines := bufio.NewScanner(watched.Body)
	require.True(t, lines.Scan())

	stopped := make(chan error, 1)
	go func() { stopped <- w.process.Stop(t.Context()) }()
	require.True(t, lines.Scan(), "the stream ends with a line that says why")
	require.Contains(t, lines.Text(), `"reason":"service_unavailable"`)
	require.False(t, lines.Scan())
	r := w.ask("GET", "/syncs/y", "")
	w.problem(r, http.StatusServiceUnavailable, "service_unavailable")
	close(leave)
	a := <-first
	require.NoError(t, a.err)
	require.Contains(t, a.reply.text, `"lookback":"7m"`, "what is in hand is finished")
	require.NoError(t, <-stopped)
}

func TestTriggersHaveTheirReasonAndTheirKey(t *testing.T) {
	var got *schedulerv1.TriggerRunRequest
	w := start(t, Settings{}, &peer{trigger: func(_ context.Context, r *schedulerv1.TriggerRunRequest) (*schedulerv1.TriggerRunResponse, error) {
		got = r
		return &schedulerv1.TriggerRunResponse{Run: &schedulerv1.Run{Id: "r", State: schedulerv1.RunState_RUN_STATE_QUEUED}}, nil
	}})
	r := w.ask("PUT", "/syncs/x:trigger", "", "Idempotency-Key", "k")
	require.Equal(t, http.StatusOK, r.status, r.text)
	require.Contains(t, r.text, `{"id":"r"`, "the answer is the run")
	require.Contains(t, r.text, `"state":"queued"`)
	require.Equal(t, "x", got.GetSync())
	require.Equal(t, "w", got.GetWorkspace())
	require.Equal(t, schedulerv1.RunReason_RUN_REASON_API, got.GetReason())
	require.Equal(t, "k", got.GetIdempotencyKey())
	w.ask("POST", "/syncs/x:trigger", `{"reason":"manual","idempotency_key":"mine","full":true}`, "Idempotency-Key", "k")
	require.Equal(t, schedulerv1.RunReason_RUN_REASON_MANUAL, got.GetReason())
	require.Equal(t, "mine", got.GetIdempotencyKey())
	require.True(t, got.GetFull())
}
