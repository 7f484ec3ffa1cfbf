// Package schedule says when a sync is due. It is pure: it asks no clock and knows no run.
//
// Ticks that were missed collapse into one: Due answers the latest of them. Its caller gives the instant after which
// ticks count, the last tick taken or the activation, whichever is later; what lies before it is not missed.
package schedule

import (
	"errors"
	"strings"
	"time"
	_ "time/tzdata" // zones are the same on every machine

	"github.com/robfig/cron/v3"
)

// Schedule is when a sync is due. The zero value is on demand: never by itself.
type Schedule struct {
	times times
	after []string
}

// times is a series of instants.
type times interface {
	// next answers the first instant after t.
	next(t time.Time) (time.Time, bool)
	// last answers the latest instant that is not after t.
	last(t time.Time) (time.Time, bool)
}

// Every is due at start + n × every, n = 0, 1, …: a duration such as 15m or 2h, or hourly, daily, weekly, monthly.
// Days and weeks have 24 and 168 hours; months keep the start's day and time of day in UTC and clamp the day to the
// month's end. A zero start is the Unix epoch. The error says what to write instead.
func Every(every string, start time.Time) (Schedule, error) {
	if start.IsZero() {
		start = time.Unix(0, 0)
	}
	if every == "monthly" {
		return Schedule{times: months{start.UTC()}}, nil
	}
	step, err := parseStep(every)
	if err != nil {
		return Schedule{}, err
	}
	return Schedule{times: steps{start: start.UTC(), step: step}}, nil
}

// Cron is due at the minutes that a five-field expression (or @hourly, @daily, @weekly, @monthly, @yearly) names, in
// the wall time of an IANA zone; empty: UTC. Each time of day is due once a day: one that the zone skips when clocks go
// forward at the moment that they have, one that comes twice when they go back the first time. An expression for every hour
// is due each hour that passes. The error says what to write instead.
func Cron(expression, zone string) (Schedule, error) {
	if strings.Contains(expression, "TZ=") {
		return Schedule{}, errors.New("a zone within the expression is not read; set time_zone")
	}
	if strings.HasPrefix(strings.TrimSpace(expression), "@every") {
		return Schedule{}, errors.New("@every has no anchor; write the schedule as {every: …, start: …}")
	}
	if zone == "Local" {
		return Schedule{}, errors.New("time_zone Local differs by machine; name an IANA zone such as Europe/Berlin")
	}
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return Schedule{}, errors.New("no such time_zone; name an IANA zone such as Europe/Berlin")
	}
	parsed, err := cron.ParseStandard(expression)
	if err != nil {
		return Schedule{}, errors.New("not a cron expression; write five fields (minute hour day-of-month month day-of-week) such as `15 6 * * 1-5`")
	}
	return Schedule{times: crontab{s: parsed, loc: loc, daily: isDaily(expression)}}, nil
}

// Once is due at one instant.
func Once(at time.Time) Schedule { return Schedule{times: once(at)} }

// After is due when each of these syncs has succeeded since the sync's own last run; see DueAfter.
func After(syncs ...string) Schedule { return Schedule{after: syncs} }

// Syncs answers the syncs that an After schedule waits for; nil for any other.
func (s Schedule) Syncs() []string { return s.after }

// Due answers the latest instant after `after` and not after `now` at which s is due.
func (s Schedule) Due(after, now time.Time) (time.Time, bool) {
	if s.times == nil || !now.After(after) {
		return time.Time{}, false
	}
	t, ok := s.times.last(now)
	return t, ok && t.After(after)
}

// Next answers the first instant after `after` at which s is due.
func (s Schedule) Next(after time.Time) (time.Time, bool) {
	if s.times == nil {
		return time.Time{}, false
	}
	return s.times.next(after)
}

// DueAfter answers when the last of the successes came, if all of them came after `since`. A zero success is none yet.
func DueAfter(since time.Time, successes ...time.Time) (time.Time, bool) {
	var due time.Time
	for _, t := range successes {
		if !t.After(since) {
			return time.Time{}, false
		}
		if t.After(due) {
			due = t
		}
	}
	return due, len(successes) > 0
}

// once is one instant.
type once time.Time

func (o once) next(t time.Time) (time.Time, bool) { return time.Time(o), time.Time(o).After(t) }

func (o once) last(t time.Time) (time.Time, bool) { return time.Time(o), !time.Time(o).After(t) }

// steps is start + n × step.
type steps struct {
	start time.Time
	step  time.Duration
}

// maxSpan is as far from its start as a series goes; it keeps durations from overflowing.
const maxSpan = 200 * 365 * 24 * time.Hour

func (s steps) next(t time.Time) (time.Time, bool) {
	if t.Before(s.start) {
		return s.start, true
	}
	at, ok := s.last(t)
	return at.Add(s.step), ok
}

func (s steps) last(t time.Time) (time.Time, bool) {
	if t.Before(s.start) || t.Sub(s.start) > maxSpan {
		return time.Time{}, false
	}
	return s.start.Add(t.Sub(s.start) / s.step * s.step), true
}

// months is start + n months, its day clamped to the month's end.
type months struct{ start time.Time }

func (m months) at(n int) time.Time {
	y, mon, d := m.start.Date()
	first := time.Date(y, mon+time.Month(n), 1, m.start.Hour(), m.start.Minute(), m.start.Second(), m.start.Nanosecond(), time.UTC)
	end := first.AddDate(0, 1, -1).Day()
	return first.AddDate(0, 0, min(d, end)-1)
}

// index answers how many calendar months t lies after the start.
func (m months) index(t time.Time) int {
	t = t.UTC()
	return (t.Year()-m.start.Year())*12 + int(t.Month()-m.start.Month())
}

func (m months) next(t time.Time) (time.Time, bool) {
	n := max(m.index(t), 0)
	for !m.at(n).After(t) {
		n++
	}
	return m.at(n), true
}

func (m months) last(t time.Time) (time.Time, bool) {
	n := m.index(t)
	if n >= 0 && m.at(n).After(t) {
		n--
	}
	if n < 0 {
		return time.Time{}, false
	}
	return m.at(n), true
}

// crontab is the minutes of a cron expression in a zone.
type crontab struct {
	s   cron.Schedule
	loc *time.Location
	// daily says that the expression names times of day. Each is due once, on days when clocks change too: one that the
	// clocks leave out when they have gone forward, one that they show twice the first time. An expression for every hour
	// is due each hour that passes.
	daily bool
}

// isDaily says whether an expression names hours.
func isDaily(expression string) bool {
	fields := strings.Fields(expression)
	if len(fields) == 1 {
		return fields[0] != "@hourly"
	}
	return len(fields) > 1 && !strings.HasPrefix(fields[0], "@") && fields[1] != "*"
}

func (c crontab) next(t time.Time) (time.Time, bool) {
	if !c.daily {
		n := c.s.Next(t.In(c.loc))
		return n.UTC(), !n.IsZero()
	}
	for wall := c.s.Next(clock(t.In(c.loc), time.UTC)); !wall.IsZero(); wall = c.s.Next(wall) {
		if n := c.moment(wall); n.After(t) {
			return n.UTC(), true
		}
	}
	return time.Time{}, false
}

// clock answers what t's clock shows as the clock of another zone.
func clock(t time.Time, loc *time.Location) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), loc)
}

// moment answers when clocks show `wall`: of two moments the first; where they leave it out, when they have gone forward.
func (c crontab) moment(wall time.Time) time.Time {
	t := clock(wall, c.loc)
	start, end := t.ZoneBounds()
	switch shown := clock(t, time.UTC); {
	case shown.After(wall):
		return start
	case shown.Before(wall):
		return end
	case start.IsZero():
		return t
	}
	_, before := start.Add(-time.Second).Zone()
	if first := wall.Add(-time.Duration(before) * time.Second); first.Before(start) {
		return first
	}
	return t
}

// reach is how far back the last instant of an expression is sought: as far as the library seeks the next one.
const reach = 5 * 366 * 24 * time.Hour

// last halves the span in which the latest instant lies until at most a minute is left.
func (c crontab) last(t time.Time) (time.Time, bool) {
	lo, hi := t.Add(-reach), t
	due := func(from time.Time) (time.Time, bool) {
		n, ok := c.next(from)
		return n, ok && !n.After(t)
	}
	if _, ok := due(lo); !ok {
		return time.Time{}, false
	}
	for hi.Sub(lo) > time.Second {
		mid := lo.Add(hi.Sub(lo) / 2)
		if _, ok := due(mid); ok {
			lo = mid
		} else {
			hi = mid
		}
	}
	return due(lo)
}
