package schedule_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"
	"pgregory.net/rapid"

	"millrace.dev/pkg/schedule"
)

// parse reads a schedule as the case files write it.
func parse(t *testing.T, line string) schedule.Schedule {
	t.Helper()
	kind, rest, _ := strings.Cut(line, " ")
	switch kind {
	case "every":
		every, start, has := strings.Cut(rest, " start ")
		var at time.Time
		if has {
			at = instant(t, start)
		}
		s, err := schedule.Every(every, at)
		require.NoError(t, err)
		return s
	case "cron":
		expression, zone, _ := strings.Cut(rest, " zone ")
		s, err := schedule.Cron(expression, zone)
		require.NoError(t, err)
		return s
	case "once":
		return schedule.Once(instant(t, rest))
	}
	require.Equal(t, "demand", kind)
	return schedule.Schedule{}
}

func instant(t *testing.T, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	require.NoError(t, err)
	return at
}

func text(at time.Time, ok bool) string {
	if !ok {
		return "none"
	}
	return at.Format(time.RFC3339)
}

func TestDue(t *testing.T) {
	a, err := txtar.ParseFile("testdata/due.txtar")
	require.NoError(t, err)
	for _, f := range a.Files {
		t.Run(f.Name, func(t *testing.T) {
			head, cases, _ := strings.Cut(string(f.Data), "\n")
			s := parse(t, head)
			require.NotEmpty(t, cases)
			for line := range strings.Lines(cases) {
				w := strings.Fields(line) // after A now B -> due C next D
				require.Len(t, w, 9, line)
				due, dueOK := s.Due(instant(t, w[1]), instant(t, w[3]))
				require.Equal(t, w[6], text(due, dueOK), line)
				next, nextOK := s.Next(instant(t, w[3]))
				require.Equal(t, w[8], text(next, nextOK), line)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	a, err := txtar.ParseFile("testdata/refused.txtar")
	require.NoError(t, err)
	try := map[string]func(string) error{
		"every": func(s string) error { _, err := schedule.Every(s, time.Time{}); return err },
		"cron":  func(s string) error { _, err := schedule.Cron(s, ""); return err },
		"zone":  func(s string) error { _, err := schedule.Cron("0 0 * * *", s); return err },
		"limit": func(s string) error { _, err := schedule.ParseLimit(s); return err },
	}
	for _, f := range a.Files {
		for line := range strings.Lines(string(f.Data)) {
			value, want, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			require.EqualError(t, try[f.Name](value), want, "%s %q", f.Name, value)
		}
	}
}

func TestLimits(t *testing.T) {
	for s, want := range map[string]schedule.Limit{
		"":       {},
		"5/h":    {N: 5, Per: time.Hour},
		"100/d":  {N: 100, Per: 24 * time.Hour},
		"10/15m": {N: 10, Per: 15 * time.Minute},
		"1/s":    {N: 1, Per: time.Second},
	} {
		got, err := schedule.ParseLimit(s)
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.Equal(t, s == "", got.IsZero())
	}
}

func TestAfterIsDueOnceEachHasSucceededSinceTheOwnLastRun(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2026, 1, 1, 0, minute, 0, 0, time.UTC) }
	due, ok := schedule.DueAfter(at(10), at(11), at(14), at(12))
	require.True(t, ok)
	require.Equal(t, at(14), due)
	_, ok = schedule.DueAfter(at(10), at(11), at(10))
	require.False(t, ok, "a success at or before the own last run counted for that run")
	_, ok = schedule.DueAfter(at(10), at(11), time.Time{})
	require.False(t, ok, "one has never succeeded")
	_, ok = schedule.DueAfter(at(10))
	require.False(t, ok)

	s := schedule.After("a", "b")
	require.Equal(t, []string{"a", "b"}, s.Syncs())
	_, ok = s.Due(at(0), at(30))
	require.False(t, ok, "the clock alone makes it never due")
}

// draw answers some schedule.
func draw(t *rapid.T) schedule.Schedule {
	start := time.Unix(rapid.Int64Range(0, 1<<31).Draw(t, "start"), 0)
	every := rapid.SampledFrom([]string{"7m", "hourly", "daily", "weekly", "monthly", "36h"}).Draw(t, "every")
	if cron := rapid.SampledFrom([]string{"", "*/7 3-5 * * *", "0 0 31 * *", "15 2 * * 0", "59 23 1 1 *"}).Draw(t, "cron"); cron != "" {
		s, err := schedule.Cron(cron, rapid.SampledFrom([]string{"", "Europe/Berlin", "America/St_Johns", "Pacific/Apia"}).Draw(t, "zone"))
		require.NoError(t, err)
		return s
	}
	s, err := schedule.Every(every, start)
	require.NoError(t, err)
	return s
}

func TestDueAndNextAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := draw(t)
		now := time.Unix(rapid.Int64Range(0, 1<<32).Draw(t, "now"), 0).UTC()
		after := now.Add(-time.Duration(rapid.Int64Range(0, int64(400*24*time.Hour)).Draw(t, "span")))
		due, ok := s.Due(after, now)
		first, has := s.Next(after)
		require.Equal(t, has && !first.After(now), ok, "due iff a tick lies in (after, now]")
		if !ok {
			return
		}
		require.True(t, due.After(after))
		require.False(t, due.After(now))
		if next, has := s.Next(due); has {
			require.True(t, next.After(now), "a later tick is missed too: the latest counts")
		}
		_, again := s.Due(due, now)
		require.False(t, again, "a tick is taken once")
	})
}

func FuzzEvery(f *testing.F) {
	for _, s := range []string{"15m", "hourly", "monthly", "1d2h", "0s", "9223372036854775807s", "1", ""} {
		f.Add(s, int64(0), int64(1_800_000_000))
	}
	f.Fuzz(func(t *testing.T, every string, start, now int64) {
		s, err := schedule.Every(every, time.Unix(start%(1<<33), 0))
		if err != nil {
			return
		}
		at := time.Unix(now%(1<<33), 0)
		if due, ok := s.Due(at.Add(-time.Hour), at); ok && (due.After(at) || !due.After(at.Add(-time.Hour))) {
			t.Fatalf("%q is due at %s, outside the hour before %s", every, due, at)
		}
		if next, ok := s.Next(at); ok && !next.After(at) {
			t.Fatalf("%q: %s is not after %s", every, next, at)
		}
	})
}

func FuzzCron(f *testing.F) {
	for _, s := range []string{"* * * * *", "0 0 29 2 *", "@daily", "TZ=", "*/0 * * * *", "1-0 * * * *", "@", "? ? ? ? ?"} {
		f.Add(s, "Europe/Berlin", int64(1_800_000_000))
	}
	f.Fuzz(func(t *testing.T, expression, zone string, now int64) {
		s, err := schedule.Cron(expression, zone)
		if err != nil {
			return
		}
		at := time.Unix(now%(1<<33), 0)
		if due, ok := s.Due(at.Add(-time.Hour), at); ok && (due.After(at) || !due.After(at.Add(-time.Hour))) {
			t.Fatalf("%q is due at %s, outside the hour before %s", expression, due, at)
		}
	})
}

func FuzzLimit(f *testing.F) {
	for _, s := range []string{"5/h", "1/1d", "/", "", "5/", "99999999999/h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := schedule.ParseLimit(s)
		if err == nil && s != "" && (l.N < 1 || l.Per <= 0) {
			t.Fatalf("%q reads as %v", s, l)
		}
	})
}

// Every day has each of its times of day once, whatever its clocks do.
func TestEachTimeOfDayIsDueOnceADay(t *testing.T) {
	zones := []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Africa/Cairo", "Asia/Kathmandu", "Pacific/Chatham"}
	rapid.Check(t, func(t *rapid.T) {
		zone := rapid.SampledFrom(zones).Draw(t, "zone")
		loc, err := time.LoadLocation(zone)
		require.NoError(t, err)
		minute, hour := rapid.IntRange(0, 59).Draw(t, "minute"), rapid.IntRange(0, 23).Draw(t, "hour")
		s, err := schedule.Cron(fmt.Sprintf("%d %d * * *", minute, hour), zone)
		require.NoError(t, err)
		at := time.Date(rapid.IntRange(2020, 2030).Draw(t, "year"), 1, 1, 0, 0, 0, 0, loc).Add(-time.Nanosecond)
		day := time.Date(at.Year(), at.Month(), at.Day(), 12, 0, 0, 0, time.UTC)
		for range 366 {
			next, ok := s.Next(at)
			require.True(t, ok)
			require.True(t, next.After(at))
			day = day.AddDate(0, 0, 1)
			local := next.In(loc)
			require.Equal(t, day.Format(time.DateOnly), local.Format(time.DateOnly), "%d:%d in %s", hour, minute, zone)
			at = next
		}
	})
}
