package e2e_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestF50FewFilesAreSaidAndSurvived gives the one process 256 files and calls it from 400 connections while a run is
// under way.
func TestF50FewFilesAreSaidAndSurvived(t *testing.T) {
	want := calmRun(t, faultRows)
	c, m := oneChild(t)
	c.under = []string{"prlimit", "--nofile=256:256"}
	c.args = append(c.args, "--extractor-batch-rows", "200")
	c.start(t)
	c.ready(t)
	m.apply(t, "", newWarehouse(t, faultRows).documents("customers", asIs))
	id := m.trigger(t, "customers")
	for range 400 {
		conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(t.Context(), "tcp", c.addr)
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() }) // turned away, or held
	}
	c.says(t, "connections are turned away", 0)
	want.requireSame(t, m, m.end(t, id))
	require.NotContains(t, c.text(t), "too many open files")
	require.LessOrEqual(t, filesOpen(t, c), 256)
}

// slopeFor answers how long it is watched whether anything grows: MILLRACE_SLOPE_FOR, else 20 s.
func slopeFor(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("MILLRACE_SLOPE_FOR")
	if text == "" {
		return 20 * time.Second
	}
	d, err := time.ParseDuration(text)
	require.NoError(t, err, "MILLRACE_SLOPE_FOR")
	return d
}

// TestF50NothingGrowsRunByRun makes one run after the other, and holds that goroutines, open files and memory of the one
// process are no more in the last third of the time than in the second.
func TestF50NothingGrowsRunByRun(t *testing.T) {
	const n = 2_000
	c, m := oneChild(t)
	web := freeAddress(t)
	for i, a := range c.args {
		if a == "none" && c.args[i-1] == "--http" {
			c.args[i] = web
		}
	}
	c.start(t)
	c.ready(t)
	m.apply(t, "", newWarehouse(t, n).documents("customers", asIs))
	ctx, cancel := context.WithTimeout(t.Context(), slopeFor(t))
	defer cancel()
	began := time.Now()
	var thirds [3][]sample
	runs := 0
	for ; ctx.Err() == nil || runs < 9; runs++ {
		r := m.run(t, "customers", full)
		require.EqualValues(t, n, r.GetCounts().GetRead())
		third := min(2, int(3*time.Since(began)/slopeFor(t)))
		thirds[third] = append(thirds[third], sampleOf(t, c, web))
	}
	for _, third := range thirds {
		require.NotEmpty(t, third, "runs are too long for the time; set MILLRACE_SLOPE_FOR")
	}
	before, after := median(thirds[1]), median(thirds[2])
	t.Logf("%d runs: second third %+v, last third %+v", runs, before, after)
	require.LessOrEqual(t, after.goroutines, before.goroutines+20, "goroutines grow")
	require.LessOrEqual(t, after.files, before.files+10, "open files grow")
	require.LessOrEqual(t, after.memory, before.memory+before.memory/4+(32<<20), "memory grows")
}

// sample is what a process has at one time.
type sample struct{ goroutines, files, memory int }

func sampleOf(t *testing.T, c *child, web string) sample {
	t.Helper()
	goroutines := scrape(t, web)["go_goroutines"]
	require.NotNil(t, goroutines)
	return sample{
		goroutines: int(goroutines.GetMetric()[0].GetGauge().GetValue()),
		files:      filesOpen(t, c), memory: resident(t, c),
	}
}

// filesOpen answers how many files a process has open.
func filesOpen(t *testing.T, c *child) int {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(c.cmd.Process.Pid), "fd"))
	require.NoError(t, err)
	return len(entries)
}

// resident answers the bytes of memory that a process has.
func resident(t *testing.T, c *child) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", c.cmd.Process.Pid))
	require.NoError(t, err)
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	require.NoError(t, err)
	return pages * os.Getpagesize()
}

// median answers the middle of each figure.
func median(all []sample) sample {
	of := func(f func(sample) int) int {
		var vs []int
		for _, s := range all {
			vs = append(vs, f(s))
		}
		slices.Sort(vs)
		return vs[len(vs)/2]
	}
	return sample{
		goroutines: of(func(s sample) int { return s.goroutines }),
		files:      of(func(s sample) int { return s.files }),
		memory:     of(func(s sample) int { return s.memory }),
	}
}
