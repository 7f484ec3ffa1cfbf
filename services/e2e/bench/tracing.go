//go:build cgo && duckdb_arrow

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// tracingPairs is how many times the load is measured with tracing and without. An odd number has a median of its own.
const tracingPairs = 7

// tracingCost is the share of workload U that tracing may cost.
const tracingCost = 1.03

// runTracing measures what tracing costs workload U: pairs of the same load, with the trace service and the export of spans
// and without, one after the other, each pair in the other order. The ratios are the medians of those within the pairs, so
// that a machine that slows down over time is in both sides of each.
func runTracing(ctx context.Context, b bench, w workload, n int64) ([]figures, error) {
	var on, off []figures
	for pair := range tracingPairs {
		for turn := range 2 {
			traced := (pair+turn)%2 == 0
			f, err := b.traced(ctx, w, n, traced)
			if err != nil {
				return nil, err
			}
			if traced {
				on = append(on, f)
			} else {
				off = append(off, f)
			}
		}
	}
	with, without := middle(on), middle(off)
	with.Goals = []goal{
		atMost("seconds with tracing over those without", ratio(on, off, func(f figures) float64 { return f.Seconds }), tracingCost),
		atMost("CPU seconds with tracing over those without", ratio(on, off, func(f figures) float64 { return f.CPU }), tracingCost),
	}
	return []figures{with, without}, nil
}

// traced measures one load with tracing or without, which is believed once the spans that were sent are as they should be.
func (b bench) traced(ctx context.Context, w workload, n int64, traced bool) (figures, error) {
	letter, flags := w.letter+"-on", []string(nil)
	if !traced {
		letter, flags = w.letter+"-off", []string{"--trace-addr", "none"}
	}
	all, err := b.in(ctx, letter, n, flags, func(s *scene) ([]figures, error) {
		f, err := s.loadUsers(ctx, b, usersDocuments, func() (verified, error) { return s.verifyLoad(ctx) })
		if err != nil {
			return nil, err
		}
		f.ID = s.id
		spans, err := s.spans(ctx)
		if err != nil {
			return nil, err
		}
		if traced != (spans > 0) {
			return nil, fmt.Errorf("%s: %.0f spans were sent", s.id, spans) //nolint:err113 // for people
		}
		return []figures{f}, nil
	})
	if err != nil {
		return figures{}, err
	}
	return all[0], nil
}

// middle answers the figures of the load that took the median of all times.
func middle(all []figures) figures {
	seconds := make([]float64, len(all))
	for i, f := range all {
		seconds[i] = f.Seconds
	}
	m := quantile(seconds, 0.5)
	for _, f := range all {
		if f.Seconds == m {
			return f
		}
	}
	return figures{}
}

// ratio answers the median of what a figure is in a pair with tracing over what it is without.
func ratio(on, off []figures, of func(figures) float64) float64 {
	each := make([]float64, len(on))
	for i := range on {
		each[i] = of(on[i]) / of(off[i])
	}
	return quantile(each, 0.5)
}

// spans answers how many spans the process has sent anywhere.
func (s *system) spans(ctx context.Context) (sent float64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.http+"/metrics", nil)
	if err != nil {
		return 0, fmt.Errorf("read metrics: %w", err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, fmt.Errorf("read metrics: %w", err)
	}
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), "} ")
		if !strings.HasPrefix(name, "millrace_telemetry_spans_total{") || !strings.Contains(name, `outcome="sent"`) {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, fmt.Errorf("read metrics: %w", err)
		}
		sent += n
	}
	return sent, lines.Err() //nolint:wrapcheck // of a response
}
