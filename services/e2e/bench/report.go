//go:build cgo && duckdb_arrow

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"text/tabwriter"
)

// report is bench.json.
type report struct {
	Commit    string    `json:"commit"`
	Cores     int       `json:"cores"`
	Seed      int64     `json:"seed"`
	Ceilings  []ceiling `json:"ceilings"`
	Workloads []figures `json:"workloads"`
}

// ceiling is what one stage alone reaches on this machine.
type ceiling struct {
	ID            string  `json:"id"`
	RowsPerSecond float64 `json:"rows_per_second"`
}

// figures is what one workload reached.
type figures struct {
	ID            string             `json:"id"`
	Rows          int64              `json:"rows"`
	RowsPerSecond float64            `json:"rows_per_second,omitempty"`
	Seconds       float64            `json:"seconds,omitempty"`
	CPU           float64            `json:"cpu_seconds_per_million,omitempty"` // of all processes of Millrace
	PeakRSS       int64              `json:"peak_rss_mib,omitempty"`
	Disk          int64              `json:"disk_mib,omitempty"`
	Written       float64            `json:"store_written_mib,omitempty"` // by batches into an embedded store, before compaction
	Stages        map[string]float64 `json:"stages,omitempty"`            // share of the time that stages were at work
	P50           float64            `json:"p50_ms,omitempty"`
	P95           float64            `json:"p95_ms,omitempty"`
	P99           float64            `json:"p99_ms,omitempty"`
	Max           float64            `json:"max_ms,omitempty"`
	Goals         []goal             `json:"goals,omitempty"`
	Verified      verified           `json:"verified"`
}

// goal is a figure that is to stay within a bound.
type goal struct {
	What   string  `json:"what"`
	Value  float64 `json:"value"`
	AtMost float64 `json:"at_most"`
	Met    bool    `json:"met"`
}

// atMost answers a goal.
func atMost(what string, value, bound float64) goal { return goal{what, value, bound, value <= bound} }

func (g goal) String() string {
	verdict := "missed"
	if g.Met {
		verdict = "met"
	}
	return fmt.Sprintf("%s %.4g, at most %.4g: %s", g.What, g.Value, g.AtMost, verdict)
}

// verified is what was compared with the source before the speed was believed.
type verified struct {
	Rows     int64 `json:"rows"`              // counted by the run, equal to the source's
	Stored   int64 `json:"stored,omitempty"`  // profiles or events in the store
	Balanced bool  `json:"balanced"`          // certificate: what was read is what is accounted for
	Sampled  int   `json:"sampled,omitempty"` // profiles or events compared value by value

	digest string // of the store
}

func (r report) write(path string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	if err := os.WriteFile(path, append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

func (r report) print(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "ceiling\trows/s\t")
	for _, c := range r.Ceilings {
		fmt.Fprintf(t, "%s\t%.0f\t\n", c.ID, c.RowsPerSecond)
	}
	fmt.Fprintln(t, "\t\t")
	fmt.Fprintln(t, "workload\trows\tseconds\trows/s\tCPU s/M\tpeak RSS MiB\tdisk MiB\twritten MiB\tp50 ms\tp95 ms\tp99 ms\tmax ms\t")
	for _, f := range r.Workloads {
		fmt.Fprintf(t, "%s\t%d\t%.1f\t%.0f\t%.2f\t%d\t%d\t%.1f\t%.0f\t%.0f\t%.0f\t%.0f\t\n", f.ID, f.Rows, f.Seconds, f.RowsPerSecond, f.CPU, f.PeakRSS, f.Disk, f.Written, f.P50, f.P95, f.P99, f.Max)
	}
	_ = t.Flush() // to a terminal
	for _, f := range r.Workloads {
		for _, g := range f.Goals {
			fmt.Fprintf(w, "%s %s\n", f.ID, g)
		}
	}
	for _, f := range r.Workloads {
		if len(f.Stages) == 0 {
			continue
		}
		parts := []string{}
		for _, name := range slices.Sorted(maps.Keys(f.Stages)) {
			parts = append(parts, fmt.Sprintf("%s %.0f %%", name, 100*f.Stages[name]))
		}
		fmt.Fprintf(w, "%s stages: %s\n", f.ID, strings.Join(parts, ", "))
	}
}

// fasterOf answers the better of two measurements of each ceiling.
func fasterOf(a, b []ceiling) []ceiling {
	out := slices.Clone(a)
	for i := range out {
		out[i].RowsPerSecond = max(a[i].RowsPerSecond, b[i].RowsPerSecond)
	}
	return out
}

// commit answers the commit that is measured, with "+" where the tree differs from it.
func commit(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty=+").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
