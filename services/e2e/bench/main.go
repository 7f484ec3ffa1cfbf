//go:build cgo && duckdb_arrow

// Command bench measures Millrace: first what this machine can do at all (the ceilings), then the workloads of the same
// run, then the ceilings again. A workload whose result is wrong has no speed: counts, digest and a sample of profiles
// are compared with the source before a figure is printed.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
)

// options say what to run.
type options struct {
	full bool
	out  string
	only string
	bin  string
	seed int64
}

func main() {
	var o options
	flag.BoolVar(&o.full, "full", false, "every size of the tables, not the quick ones")
	flag.StringVar(&o.out, "out", "bench.json", "file that the figures are written to")
	flag.StringVar(&o.only, "only", "", "workloads to run, as letters: UEPL (default: all)")
	flag.StringVar(&o.bin, "bin", "bin/millrace", "the program to measure")
	flag.Int64Var(&o.seed, "seed", 1, "seed of the generators")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench: "+err.Error())
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp("", "millrace-bench-")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	rep := report{Commit: commit(ctx), Cores: runtime.NumCPU(), Seed: o.seed}
	say("Measuring the ceilings of this machine.")
	before, err := ceilings(ctx, dir, o.seed)
	if err != nil {
		return fmt.Errorf("ceilings: %w", err)
	}
	for _, w := range workloads(o.full) {
		if o.only != "" && !strings.Contains(o.only, w.letter) {
			continue
		}
		say("Workload " + w.title + ".")
		figures, err := w.run(ctx, bench{dir: dir, options: o}, w)
		if err != nil {
			return fmt.Errorf("workload %s: %w", w.title, err)
		}
		rep.Workloads = append(rep.Workloads, figures...)
	}
	say("Measuring the ceilings again.")
	after, err := ceilings(ctx, dir, o.seed)
	if err != nil {
		return fmt.Errorf("ceilings: %w", err)
	}
	rep.Ceilings = fasterOf(before, after)
	if err := rep.write(o.out); err != nil {
		return err
	}
	rep.print(os.Stdout)
	return nil
}

// say tells a person how far the bench is.
func say(text string) { fmt.Fprintln(os.Stderr, text) }
