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

	sizes []int64
}

func main() {
	var o options
	flag.BoolVar(&o.full, "full", false, "every size of the tables, not the quick ones")
	flag.StringVar(&o.out, "out", "bench.json", "file that the figures are written to")
	flag.StringVar(&o.only, "only", "", "workloads to run, as letters: UEIMPLTC (default: all)")
	flag.Func("sizes", "rows of U, E, I, M and T instead of the table's, such as 200k,2M,10M", func(text string) (err error) {
		o.sizes, err = parseSizes(text)
		return err
	})
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

func run(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp("", "millrace-bench-")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer func() {
		if err == nil {
			err = os.RemoveAll(dir)
		}
	}()
	rep := report{Commit: commit(ctx), Cores: runtime.NumCPU(), Seed: o.seed}
	say("Measuring the ceilings of this machine.")
	before, err := ceilings(ctx, dir, o.seed)
	if err != nil {
		return fmt.Errorf("ceilings: %w", err)
	}
	for _, w := range workloads() {
		if o.only != "" && !strings.Contains(o.only, w.letter) {
			continue
		}
		for _, n := range w.sizes(o) {
			say(fmt.Sprintf("Workload %s at %s: %s.", w.letter, sizeText(n), w.title))
			figures, err := w.run(ctx, bench{dir: dir, options: o}, w, n)
			if err != nil {
				return fmt.Errorf("workload %s at %s: %w", w.letter, sizeText(n), err)
			}
			rep.Workloads = append(rep.Workloads, figures...)
		}
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
