package protocol

import "fmt"

// step is one kind of step of the protocol. do tells every state that it may lead to.
type step struct {
	name string
	do   func(w *World, s *state, to next)
}

// next takes a state that may follow, who and what the step was about, and what does not hold in it.
type next func(t state, about about, broken Invariant)

// about says what a step was about, for a trace. Fields that do not matter are none.
type about struct {
	who        string
	batch      hand
	run, part  uint8
	epoch, row uint8
}

func (a about) String() string {
	out := ""
	if a.who != "" {
		out = " " + a.who
	}
	switch {
	case a.batch.run > 0:
		out += fmt.Sprintf(" batch %d of part %d, epoch %d, run %d", a.batch.seq, a.batch.part, a.batch.epoch, a.batch.run)
	case a.epoch > 0:
		out += fmt.Sprintf(" part %d, epoch %d, run %d", a.part, a.epoch, a.run)
	case a.run > 0:
		out += fmt.Sprintf(" run %d", a.run)
	}
	if a.row > 0 {
		v := versions()[a.row-1]
		out += fmt.Sprintf(" (row %c at %d)", 'a'+v.key, v.at)
	}
	return out
}

// steps is every step of the protocol, and every fault.
func steps() []step {
	return []step{
		// The source.
		{"a transaction commits", commitSource},
		// The scheduler.
		{"the scheduler creates", createRun},
		{"the owner retries", retryRun},
		{"the scheduler leases", lease},
		{"the scheduler takes a lease back after silence:", takeBack},
		{"the scheduler misses batches and puts back", findLost},
		{"ingestion fences durably", fenceStore},
		{"the scheduler folds the fence's answer into", foldFence},
		{"the scheduler closes", closeRun},
		// An extractor.
		{"an extractor fixes snapshot and watermark of", fixSnapshot},
		{"an extractor stores the plan of", storePlan},
		{"an extractor publishes to ROWS", publish},
		{"an extractor reports as published", reportPublished},
		{"an extractor completes", completePart},
		{"an extractor finds the snapshot gone of", findGone},
		// Mapper and ingestion.
		{"the mapper publishes to RECORDS", mapBatch},
		{"the mapper acks on ROWS", ackRows},
		{"ingestion takes", takeRecord},
		{"ingestion commits", commit},
		{"ingestion reports", report},
		{"ingestion acks on RECORDS", ackRecord},
		// Faults, each of which costs one of the budget.
		{"FAULT: an extractor dies with", killExtractor},
		{"FAULT: the mapper dies with", killMapper},
		{"FAULT: ingestion dies with", killIngestion},
		{"FAULT: the broker loses from ROWS", loseRows},
		{"FAULT: the broker loses from RECORDS", loseRecords},
		{"FAULT: the broker's disk is wiped", wipe},
		{"FAULT: the broker stores again on ROWS", repeatRows},
		{"FAULT: the broker stores again on RECORDS", repeatRecords},
		{"FAULT: the source's snapshot expires for", expire},
		{"FAULT: a batch or an attempt fails of", failTry},
		{"FAULT: a permanent error gives up", giveUp},
		{"FAULT: the owner cancels", cancel},
	}
}

// follow tells every state that follows from s, in the order of the table.
func (w *World) follow(s *state, to func(step int, t *state, about about, broken Invariant)) {
	for i := range w.steps {
		w.steps[i].do(w, s, func(t state, about about, broken Invariant) {
			t.settle(w)
			if broken == "" {
				broken = w.always(&t)
			}
			to(i, &t, about, broken)
		})
	}
}

// begin is the first state.
func (w *World) begin() state {
	s := state{faults: uint8(w.Faults)} //nolint:gosec // small
	for i, v := range versions() {
		if v.first {
			s.source |= 1 << i
		}
	}
	return s
}

// commitSource makes a version visible. Versions of one key come in order.
func commitSource(w *World, s *state, to next) {
	for i := range w.Rows {
		if s.source&(1<<i) == 0 {
			t := *s
			t.source |= 1 << i
			to(t, about{row: uint8(i + 1)}, "") //nolint:gosec // small
		}
	}
}
