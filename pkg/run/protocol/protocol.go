// Package protocol is the protocol of a run (design.md section 3) as a model that is checked state by state: every order
// of the steps of scheduler, extractors, mapper, ingestion and broker over a tiny table that grows, with crashes, silence,
// lost, repeated and late messages, a wiped broker, zombies, expired snapshots, cancelled and retried runs.
//
// What the code decides, the code decides here too: the state tables, coverage and account of package run, the windows
// and ranges of package window, and profile.Decide. What the scheduler and the stores do in SQL is written down as steps
// (steps_*.go), in the same words and under the same conditions.
//
// A World has a table of steps and a budget of faults. Explore goes breadth first through the states that follow from
// the first one and checks what must hold in each (invariants.go); where something does not, it answers the shortest
// trace. A Rule that is broken on purpose must be found out: see Mutants.
package protocol

import (
	"fmt"

	"millrace.dev/pkg/run"
)

// Config bounds a World.
type Config struct {
	Faults int // that may happen, of any kind
	Runs   int // at most maxRuns
	Rows   int // versions of rows that the source comes to have, at most maxRows
	Broken Rule
}

// The bounds of every World.
const (
	maxRuns    = 3
	maxParts   = 5 // part 0, two of the first plan, two of the one after it
	maxRows    = 4
	maxKeys    = 3
	maxBatches = 24
	partRows   = 2 // of a part, one in each batch
	extractors = 2
)

// World is what states are looked at with: the tables and the results of the code that the model uses.
type World struct {
	Config
	source    table
	runStates []run.State
	runNext   map[run.Event][]uint8 // by state; refused: no state follows
	parts     []run.PartState
	partNext  map[run.PartEvent][]uint8
	plans     map[[3]uint8]plan
	judge     judge
	steps     []step
	err       error
}

// refused stands in the tables for an event that the code answers with an error.
const refused = 255

// New makes a World.
func New(c Config) (*World, error) {
	src, err := newTable()
	if err != nil {
		return nil, err
	}
	w := &World{
		Config: c, source: src, runStates: run.States(), parts: run.PartStates(),
		runNext: map[run.Event][]uint8{}, partNext: map[run.PartEvent][]uint8{}, plans: map[[3]uint8]plan{}, judge: newJudge(),
		steps: steps(),
	}
	for _, e := range run.Events() {
		for _, s := range w.runStates {
			w.runNext[e] = append(w.runNext[e], position(w.runStates, s, e, run.Next))
		}
	}
	for _, e := range run.PartEvents() {
		for _, s := range w.parts {
			w.partNext[e] = append(w.partNext[e], position(w.parts, s, e, run.NextPart))
		}
	}
	return w, nil
}

// note keeps the first error that the model meets; Explore answers it.
func (w *World) note(err error) {
	if w.err == nil {
		w.err = err
	}
}

// position answers where the state that follows stands among all.
func position[S, E comparable](all []S, s S, e E, next func(S, E) (S, error)) uint8 {
	to, err := next(s, e)
	if err != nil {
		return refused
	}
	for i, x := range all {
		if x == to {
			return uint8(i) //nolint:gosec // few states
		}
	}
	return refused
}

// Trace is the shortest way to a state in which something does not hold.
type Trace struct {
	Broken Invariant
	Steps  []string
}

// String tells a trace in words, a step a line.
func (t Trace) String() string {
	out := fmt.Sprintf("%q does not hold after %d steps:\n", t.Broken, len(t.Steps))
	for i, s := range t.Steps {
		out += fmt.Sprintf("%4d  %s\n", i+1, s)
	}
	return out
}
