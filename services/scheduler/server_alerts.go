package scheduler

import (
	"context"
	"sync"
	"time"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/resource"
	"millrace.dev/services/scheduler/alerts"
)

// Test-fires of one alert that are taken in a minute: each sends to everybody whom it names.
const (
	alertTests     = 10
	alertTestsEach = time.Minute
)

// TestAlert sends a test to every target of an alert.
func (s *server) TestAlert(ctx context.Context, req *schedulerv1.TestAlertRequest) (*schedulerv1.TestAlertResponse, error) {
	a, err := s.alert(ctx, id.Workspace(req.GetWorkspace()).Or(), req.GetId())
	if err != nil {
		return nil, err
	}
	fits, wait, err := s.limits.Take(ctx, "alert-test/"+a.UID, alertTests, alertTestsEach)
	if err != nil {
		return nil, err
	}
	if !fits {
		return nil, fault.New(fault.Throttled, fault.ReasonLimitExceeded, "alert %s takes %d tests a minute; the next one fits in %s", a.ID, alertTests, wait.Round(time.Second)).WithRetry(wait)
	}
	now, err := s.db.Now(ctx)
	if err != nil {
		return nil, err
	}
	out := &schedulerv1.TestAlertResponse{Ok: true, Results: s.testFire(ctx, a, now)}
	for _, r := range out.GetResults() {
		out.Ok = out.Ok && r.GetOk()
	}
	return out, nil
}

// alert answers an alert of a workspace.
func (s *server) alert(ctx context.Context, w id.Workspace, name string) (resource.Alert, error) {
	all, err := s.peers.alerts(ctx, w)
	if err != nil {
		return resource.Alert{}, err
	}
	for _, a := range all[w] {
		if a.ID == name {
			return a, nil
		}
	}
	return resource.Alert{}, fault.New(fault.NotFound, fault.ReasonNotFound, "there is no Alert %s; list what there is, or create it", name)
}

// testFire sends a test to all targets at once, and answers what became of each in their order.
func (s *server) testFire(ctx context.Context, a resource.Alert, now time.Time) []*schedulerv1.AlertResult {
	m := alerts.TestMessage(a, now)
	m.URL = s.tellers.page(m)
	targets := alerts.Targets(a)
	out := make([]*schedulerv1.AlertResult, len(targets))
	var wg sync.WaitGroup
	for i, to := range targets {
		wg.Go(func() {
			out[i] = &schedulerv1.AlertResult{Target: to.Kind, Address: alerts.Shown(a, to), Ok: true, Message: "took the message"}
			outcome := alertSent
			if err := s.tellers.send(ctx, a, to, alerts.MessageID("test-"+id.NewRun().String(), a.UID, to), m); err != nil {
				outcome, out[i].Ok, out[i].Message = alertFailed, false, fault.As(err).Message
			}
			s.metrics.alerts.WithLabelValues(m.Event, to.Kind, outcome).Inc()
		})
	}
	wg.Wait()
	return out
}
