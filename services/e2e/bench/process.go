//go:build cgo && duckdb_arrow

package main

import (
	"bufio"
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// cpu answers the seconds that the process has computed.
func (s *system) cpu() (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("read the process's times: %w", err)
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	const user, system, ticks = 11, 12, 100
	var sum float64
	for _, at := range []int{user, system} {
		n, err := strconv.ParseFloat(f[at], 64)
		if err != nil {
			return 0, fmt.Errorf("read the process's times: %w", err)
		}
		sum += n / ticks
	}
	return sum, nil
}

// forgetPeak lets peakRSS count from now on.
func (s *system) forgetPeak() error {
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.cmd.Process.Pid), []byte("5"), 0); err != nil {
		return fmt.Errorf("reset the process's peak of memory: %w", err)
	}
	return nil
}

// peakRSS answers the most memory that the process has held since its start or forgetPeak, in MiB.
func (s *system) peakRSS() (int64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("read the process's memory: %w", err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read the process's memory: %w", err)
			}
			return n >> 10, nil
		}
	}
	return 0, fmt.Errorf("the system does not tell the process's memory") //nolint:err113 // for people
}

// disk answers the size of the data folder in MiB.
func (s *system) disk() (int64, error) {
	var sum int64
	err := filepath.WalkDir(s.data, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // files come and go under a live store
		}
		if info, err := d.Info(); err == nil {
			sum += info.Size()
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("measure the data folder: %w", err)
	}
	return sum >> 20, nil
}

// metrics answers, by stage, the seconds that it was at work so far (the sums of the histograms
// millrace_<service>_…_seconds), and the bytes that the embedded store was given.
func (s *system) metrics(ctx context.Context) (busy map[string]float64, written float64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.http+"/metrics", nil)
	if err != nil {
		return nil, 0, fmt.Errorf("read metrics: %w", err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, 0, fmt.Errorf("read metrics: %w", err)
	}
	defer res.Body.Close()
	busy = map[string]float64{}
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		line, ours := strings.CutPrefix(lines.Text(), "millrace_")
		at := strings.LastIndexByte(line, ' ')
		if !ours || at < 0 {
			continue
		}
		n, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			continue
		}
		stage, _, isTime := strings.Cut(line, "_seconds_sum")
		switch {
		case strings.HasPrefix(line, "ingestion_store_bytes_total "):
			written = n
		case isTime && !strings.HasPrefix(stage, "scheduler_"): // runs as a whole are no stage
			busy[stage] += n
		}
	}
	return busy, written, nil
}
