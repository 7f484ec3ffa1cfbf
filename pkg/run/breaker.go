package run

import "time"

// BreakerState is the state of a warehouse's breaker.
type BreakerState string

// The states of a breaker.
const (
	BreakerClosed   BreakerState = "closed"    // the warehouse is read from
	BreakerOpen     BreakerState = "open"      // it is let alone until the cool-off is over
	BreakerHalfOpen BreakerState = "half_open" // one part probes it
)

// BreakerStates lists every state of a breaker.
func BreakerStates() []BreakerState {
	return []BreakerState{BreakerClosed, BreakerOpen, BreakerHalfOpen}
}

// BreakerEvent is what happens to a warehouse as attempts at parts see it.
type BreakerEvent string

// The events of breakers.
const (
	Answered       BreakerEvent = "answered"        // the warehouse answered, if only with a refusal
	Unreached      BreakerEvent = "unreached"       // an attempt did not reach it
	ProbeLeased    BreakerEvent = "probe_leased"    // a part is leased to see whether it answers
	ProbeUnreached BreakerEvent = "probe_unreached" // the probe did not reach it
	ProbeAsked     BreakerEvent = "probe_asked"     // its owner asks for a run: the cool-off is over
)

// BreakerEvents lists every event of a breaker.
func BreakerEvents() []BreakerEvent {
	return []BreakerEvent{Answered, Unreached, ProbeLeased, ProbeUnreached, ProbeAsked}
}

// Breaker lets a warehouse alone that does not answer, so that one which is down costs tries of one part at a time. The
// zero value is a closed one.
type Breaker struct {
	State    BreakerState // empty: closed
	Failures int64        // in a row, while it is closed
	Openings int64        // in a row, without an answer between
	Until    time.Time    // end of the cool-off of an open one
}

// BreakerRule says when a breaker opens and for how long.
type BreakerRule struct {
	After   int64         // failures in a row that open it
	CoolOff time.Duration // of the first opening; doubled for each further one
	Most    time.Duration // that a cool-off lasts
}

// Next answers the breaker after an event at `now`. Every event may happen in every state: what was leased before the
// breaker opened goes on, and may fail or be answered.
func (b Breaker) Next(e BreakerEvent, now time.Time, rule BreakerRule) Breaker {
	switch b.state() {
	case BreakerClosed:
		if e != Unreached && e != ProbeUnreached {
			return b.answered(e)
		}
		if b.Failures++; b.Failures >= rule.After {
			return b.opened(now, rule)
		}
		b.State = BreakerClosed
	case BreakerOpen:
		switch e {
		case Answered:
			return Breaker{}
		case ProbeLeased:
			b.State = BreakerHalfOpen
		case ProbeAsked:
			b.Until = now
		case Unreached, ProbeUnreached: // known
		}
	case BreakerHalfOpen:
		switch e {
		case Answered:
			return Breaker{}
		case ProbeUnreached:
			return b.opened(now, rule)
		case Unreached, ProbeLeased, ProbeAsked: // one more probe stands for one that was lost
		}
	}
	return b
}

func (b Breaker) state() BreakerState {
	if b.State == "" {
		return BreakerClosed
	}
	return b.State
}

// answered forgets the failures of a closed breaker when the warehouse answers.
func (b Breaker) answered(e BreakerEvent) Breaker {
	if e == Answered {
		return Breaker{}
	}
	return b
}

func (b Breaker) opened(now time.Time, rule BreakerRule) Breaker {
	b.Openings++
	return Breaker{State: BreakerOpen, Openings: b.Openings, Until: now.Add(rule.coolOff(b.Openings))}
}

func (r BreakerRule) coolOff(openings int64) time.Duration {
	d := r.CoolOff
	for i := int64(1); i < openings && d < r.Most; i++ {
		d *= 2
	}
	return min(d, r.Most)
}

// IsOpen says whether the warehouse is not read from but for a probe.
func (b Breaker) IsOpen() bool { return b.state() != BreakerClosed }

// IsZero says whether nothing is to be remembered of it.
func (b Breaker) IsZero() bool { return b.state() == BreakerClosed && b.Failures == 0 }
