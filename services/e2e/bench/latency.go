//go:build cgo && duckdb_arrow

package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	configv1 "millrace.dev/gen/millrace/config/v1"
	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
)

// runLatency measures small runs on an idle system: from the trigger to the moment at which the row's profile is
// readable; and previews.
func runLatency(ctx context.Context, b bench, w workload, n int64) ([]figures, error) {
	return b.in(ctx, w.letter, n, nil, func(s *scene) ([]figures, error) {
		if err := makeUsers(ctx, s.source, 1_000, b.options.seed); err != nil {
			return nil, err
		}
		if err := s.apply(ctx, duckdbConnection(s.source)+usersDocuments); err != nil {
			return nil, err
		}
		if _, _, err := s.sync(ctx, "users"); err != nil {
			return nil, err
		}
		return s.latency(ctx)
	})
}

// latency measures n small runs, and half as many previews.
func (s *scene) latency(ctx context.Context) ([]figures, error) {
	n := int(s.n)
	runs, previews := make([]float64, n), make([]float64, n/2)
	var err error
	for i := range runs {
		key := 10_000 + i
		if err := execute(ctx, s.source, fmt.Sprintf("INSERT INTO users SELECT * REPLACE (%d AS customer_id, 'new%d@example.com' AS email, TIMESTAMP '2024-02-01' + INTERVAL (%d) SECOND AS updated_at) FROM users WHERE customer_id = 1", key, key, i)); err != nil {
			return nil, err
		}
		if runs[i], err = s.readable(ctx, key); err != nil {
			return nil, err
		}
	}
	for i := range previews {
		began := time.Now()
		if _, err := s.config.PreviewSync(ctx, &configv1.PreviewSyncRequest{Id: "users", Limit: 10}); err != nil {
			return nil, fmt.Errorf("preview: %w", err)
		}
		previews[i] = milliseconds(time.Since(began))
	}
	ok := verified{Rows: s.n, Balanced: true}
	return []figures{
		{ID: "L-run", Rows: s.n, P50: quantile(runs, 0.5), P99: quantile(runs, 0.99), Verified: ok},
		{ID: "L-preview", Rows: s.n / 2, P50: quantile(previews, 0.5), P99: quantile(previews, 0.99), Verified: verified{Rows: s.n / 2, Balanced: true}},
	}, nil
}

// readable triggers a run and answers the milliseconds until the customer's profile can be read, once the run has ended.
func (s *system) readable(ctx context.Context, customer int) (float64, error) {
	began := time.Now()
	res, err := s.scheduler.TriggerRun(ctx, &schedulerv1.TriggerRunRequest{Sync: "users"})
	if err != nil {
		return 0, fmt.Errorf("trigger: %w", err)
	}
	for {
		_, err := s.ingestion.GetProfile(ctx, &ingestionv1.GetProfileRequest{Identity: &ingestionv1.Identity{Type: "customer_id", Value: fmt.Sprint(customer)}})
		if err == nil {
			break
		}
		if time.Since(began) > time.Minute {
			return 0, fmt.Errorf("the profile does not come: %w", err)
		}
		timer := time.NewTimer(time.Millisecond)
		select {
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-timer.C:
		}
	}
	took := milliseconds(time.Since(began))
	stream, err := s.scheduler.WatchRun(ctx, &schedulerv1.WatchRunRequest{Id: res.GetRun().GetId()})
	if err != nil {
		return 0, fmt.Errorf("watch: %w", err)
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			return 0, fmt.Errorf("watch: %w", err)
		}
		if m.GetRun().GetEndTime() != nil {
			return took, nil
		}
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func quantile(v []float64, q float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[min(len(v)-1, int(math.Ceil(q*float64(len(v))))-1)]
}
