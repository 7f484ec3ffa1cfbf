// Package run has the rules of runs and parts: which state follows which event, what the reports on a part add up to,
// when a run may close, and when a warehouse that does not answer is let alone. It is pure.
package run

import (
	"slices"

	"millrace.dev/pkg/fault"
)

// State is the state of a run, in the word of the documentation.
type State string

// The states. A run is open until it reaches one of the last five.
const (
	Queued             State = "queued"
	Planning           State = "planning"
	Running            State = "running"
	Held               State = "held" // waits for its owner to approve or to drop it
	Succeeded          State = "succeeded"
	PartiallySucceeded State = "partially_succeeded" // some rows were rejected or refused
	Failed             State = "failed"
	Cancelled          State = "cancelled"
	Rehearsed          State = "rehearsed" // a dry run: everything was judged, nothing written
)

// States lists every state of a run, open ones first.
func States() []State {
	return []State{Queued, Planning, Running, Held, Succeeded, PartiallySucceeded, Failed, Cancelled, Rehearsed}
}

// Closed says whether no event leads out of s.
func (s State) Closed() bool {
	return slices.Contains([]State{Succeeded, PartiallySucceeded, Failed, Cancelled, Rehearsed}, s)
}

// Done says whether the run reached its aim: its account is balanced, and what it is of is written.
func (s State) Done() bool { return s == Succeeded || s == PartiallySucceeded }

// Event is what happens to a run.
type Event string

// The events of runs.
const (
	PlanLeased     Event = "plan_leased"     // part 0 was given to a worker
	Planned        Event = "planned"         // a plan is stored, or was adopted from the run that this one retries
	PlanWithdrawn  Event = "plan_withdrawn"  // the plan no longer holds
	Balanced       Event = "balanced"        // every part is complete and its account closes
	BalancedPartly Event = "balanced_partly" // so, with rows rejected or refused
	GivenUp        Event = "given_up"        // a permanent error, or too many tries
	CancelAsked    Event = "cancel_asked"
	Drifted        Event = "drifted"       // the plan met columns that its owner must look at
	Breached       Event = "breached"      // a guard or a limit, or a complete read that found nothing
	Approved       Event = "approved"      // it goes on past what it is held for
	PlanApproved   Event = "plan_approved" // it plans anew with the columns as they are
	TriedOut       Event = "tried_out"     // of a dry run: every part is complete and its account closes
)

// Events lists every event of a run.
func Events() []Event {
	return []Event{PlanLeased, Planned, PlanWithdrawn, Balanced, BalancedPartly, GivenUp, CancelAsked, Drifted, Breached, Approved, PlanApproved, TriedOut}
}

// Next answers the state that follows. RUN_STATE where the event can not happen to a run in state s.
func Next(s State, e Event) (State, error) {
	if to, ok := next(s, e); ok {
		return to, nil
	}
	return s, fault.New(fault.Precondition, fault.ReasonRunState, "a run that is %s can not become anything by %s", s, e)
}

func next(s State, e Event) (State, bool) {
	switch s {
	case Queued:
		switch e {
		case PlanLeased:
			return Planning, true
		case Planned: // adopted
			return Running, true
		}
	case Planning:
		switch e {
		case PlanLeased: // again, after a lost lease
			return Planning, true
		case Planned:
			return Running, true
		case Drifted:
			return Held, true
		}
	case Held:
		switch e {
		case Approved:
			return Running, true
		case PlanApproved:
			return Planning, true
		}
	case Running:
		switch e {
		case Breached:
			return Held, true
		case PlanWithdrawn:
			return Planning, true
		case Balanced:
			return Succeeded, true
		case BalancedPartly:
			return PartiallySucceeded, true
		case TriedOut:
			return Rehearsed, true
		}
	}
	if s.Closed() {
		return s, false
	}
	switch e {
	case GivenUp:
		return Failed, true
	case CancelAsked:
		return Cancelled, true
	}
	return s, false
}

// PartState is the state of a part.
type PartState string

// The states of a part.
const (
	Waiting    PartState = "waiting"
	Leased     PartState = "leased"
	Extracted  PartState = "extracted" // read to its end and published; not every batch is accounted for yet
	Complete   PartState = "complete"
	PartFailed PartState = "failed"
	Replaced   PartState = "replaced" // by a new plan; fenced for good
)

// PartStates lists every state of a part.
func PartStates() []PartState {
	return []PartState{Waiting, Leased, Extracted, Complete, PartFailed, Replaced}
}

// PartEvent is what happens to a part.
type PartEvent string

// The events of parts.
const (
	Lease       PartEvent = "lease"        // a worker takes it, under the next epoch
	LeaseLost   PartEvent = "lease_lost"   // silence; no try
	Released    PartEvent = "released"     // given back by a worker that stops; no try
	Throttled   PartEvent = "throttled"    // the warehouse asks to wait; no try
	TryFailed   PartEvent = "try_failed"   // an attempt or a batch of it failed; another try is left
	PlanStored  PartEvent = "plan_stored"  // part 0 did its work
	ReadToEnd   PartEvent = "read_to_end"  // every batch is published
	AccountFull PartEvent = "account_full" // every batch is ingested and the account closes
	BatchesLost PartEvent = "batches_lost" // published batches were not accounted for in time, or the store has lost them; no try
	PartGivenUp PartEvent = "part_given_up"
	Replan      PartEvent = "replan" // part 0 plans again
	Replace     PartEvent = "replace"
	Rewind      PartEvent = "rewind" // the dry pass is over; the part is read again to be written
)

// PartEvents lists every event of a part.
func PartEvents() []PartEvent {
	return []PartEvent{Lease, LeaseLost, Released, Throttled, TryFailed, PlanStored, ReadToEnd, AccountFull, BatchesLost, PartGivenUp, Replan, Replace, Rewind}
}

// NextPart answers the state that follows. RUN_STATE where the event can not happen to a part in state s.
func NextPart(s PartState, e PartEvent) (PartState, error) {
	if to, ok := nextPart(s, e); ok {
		return to, nil
	}
	return s, fault.New(fault.Precondition, fault.ReasonRunState, "a part that is %s can not become anything by %s", s, e)
}

func nextPart(s PartState, e PartEvent) (PartState, bool) {
	switch s {
	case Waiting:
		switch e {
		case Lease:
			return Leased, true
		case AccountFull: // the fence found every batch of the last lease applied
			return Complete, true
		}
	case Leased:
		switch e {
		case LeaseLost, Released, Throttled, TryFailed:
			return Waiting, true
		case PlanStored:
			return Complete, true
		case ReadToEnd:
			return Extracted, true
		}
	case Extracted:
		switch e {
		case TryFailed, BatchesLost:
			return Waiting, true
		case AccountFull:
			return Complete, true
		}
	case Complete:
		switch e {
		case Replan, Rewind, BatchesLost: // BatchesLost: the store was restored from an older copy
			return Waiting, true
		}
	}
	if s == PartFailed || s == Replaced {
		return s, false
	}
	switch {
	case e == Replace:
		return Replaced, true
	case e == PartGivenUp && s != Complete:
		return PartFailed, true
	}
	return s, false
}

// MaxTries is how often a part may fail by itself before its run fails. Leases lost to a dead worker, lost messages,
// released parts and a warehouse that asks to wait are no tries.
const MaxTries = 5
