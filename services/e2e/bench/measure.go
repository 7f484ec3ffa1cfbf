//go:build cgo && duckdb_arrow

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
)

// scene is one size of a workload at work: a folder that is gone with it, and Millrace over it.
type scene struct {
	*system
	id     string // such as U-2M
	source string // path of the DuckDB file
	n      int64  // rows that the source is made with
}

// in plays a workload at one size. Its files, the source's too, are deleted at the end; the log stays beside them.
func (b bench) in(ctx context.Context, letter string, n int64, flags []string, play func(*scene) ([]figures, error)) (_ []figures, err error) {
	id := letter + "-" + sizeText(n)
	dir := filepath.Join(b.dir, id)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make %s: %w", dir, err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s, err := start(ctx, b.options.bin, filepath.Join(dir, "data"), dir+".log", flags...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	return play(&scene{system: s, id: id, source: filepath.Join(dir, "source.duckdb"), n: n})
}

// account is what a run must have counted.
type account struct{ read, created, updated, unchanged, deleted int64 }

// measured runs a sync, measures it, and believes the figures once the run's account is `want` and `verify` has compared
// the store with the source.
func (s *scene) measured(ctx context.Context, id, sync string, want account, verify func() (verified, error)) (figures, error) {
	before, err := s.meters(ctx)
	if err != nil {
		return figures{}, err
	}
	if err := s.forgetPeak(); err != nil {
		return figures{}, err
	}
	run, took, err := s.sync(ctx, sync)
	if err != nil {
		return figures{}, err
	}
	after, err := s.meters(ctx)
	if err != nil {
		return figures{}, err
	}
	f := figures{ID: id, Rows: want.read, Seconds: took.Seconds(), RowsPerSecond: float64(want.read) / took.Seconds()}
	f.CPU = (after.cpu - before.cpu) / float64(want.read) * 1e6
	f.Written = (after.written - before.written) / (1 << 20)
	f.Stages = shares(before.busy, after.busy)
	if f.PeakRSS, err = s.peakRSS(); err != nil {
		return figures{}, err
	}
	if f.Disk, err = s.disk(); err != nil {
		return figures{}, err
	}
	say(fmt.Sprintf("%s: %.1f s, %.0f rows/s, %.2f CPU s/M, %d MiB; verifying.", id, f.Seconds, f.RowsPerSecond, f.CPU, f.PeakRSS))
	if err := balanced(run, want); err != nil {
		return figures{}, err
	}
	if f.Verified, err = verify(); err != nil {
		return figures{}, fmt.Errorf("%s: the result is wrong: %w", id, err)
	}
	f.Verified.Rows, f.Verified.Balanced = run.GetCounts().GetRead(), true
	return f, nil
}

// balanced answers how a run's account differs from what it must be.
func balanced(run *schedulerv1.Run, want account) error {
	c, cert := run.GetCounts(), run.GetCertificate()
	got := account{c.GetRead(), c.GetCreated(), c.GetUpdated(), c.GetUnchanged(), c.GetDeleted()}
	if got != want {
		return fmt.Errorf("the run counts %+v and should count %+v", got, want) //nolint:err113 // for people
	}
	if !cert.GetBalanced() || cert.GetRowsDigest() != cert.GetAccountedDigest() {
		return fmt.Errorf("the run's certificate does not balance: %v", cert) //nolint:err113 // for people
	}
	return nil
}

// meters is how far the meters of the process have gone.
type meters struct {
	cpu, written float64
	busy         map[string]float64
}

func (s *system) meters(ctx context.Context) (meters, error) {
	cpu, err := s.cpu()
	if err != nil {
		return meters{}, err
	}
	busy, written, err := s.metrics(ctx)
	return meters{cpu, written, busy}, err
}

// shares answers how the time that stages were at work in between divides among them.
func shares(before, after map[string]float64) map[string]float64 {
	var sum float64
	for k, v := range after {
		sum += v - before[k]
	}
	out := map[string]float64{}
	for k, v := range after {
		if share := (v - before[k]) / sum; sum > 0 && share >= 0.005 {
			out[k] = share
		}
	}
	return out
}
