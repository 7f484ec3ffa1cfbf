package scheduler

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/resource"
)

// played answers the ticks that the scheduler takes from a schedule when it looks every few minutes, restarts included,
// from one instant to another.
func played(t *testing.T, s resource.Schedule, from, until time.Time) []string {
	t.Helper()
	y := scheduledSync{Workspace: "default", ID: "s", UID: "u", Schedule: s, State: resource.Active, Status: resource.Healthy, ActiveSince: from}
	known := map[string]syncRow{}
	var out []string
	for now := from; !now.After(until); now = now.Add(7 * time.Minute) {
		due, ok, err := dueAt(y, known, nil, now)
		require.NoError(t, err)
		if !ok {
			continue
		}
		row := known[y.UID]
		require.True(t, due.After(row.TickTime), "a tick that was taken is not due again")
		row.UID, row.TickTime = y.UID, taken(due)
		known[y.UID] = row
		out = append(out, due.UTC().Format("01-02 15:04"))
	}
	return out
}

// TestF33SchedulesOverChangingClocksAndOddDays plays a scheduler's clock over changes of summer time, ends of months and
// 29 February: each tick is taken once.
func TestF33SchedulesOverChangingClocksAndOddDays(t *testing.T) {
	at := func(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, time.UTC) }
	for name, c := range map[string]struct {
		s           resource.Schedule
		from, until time.Time
		want        []string
	}{
		"clocks go forward over the tick": {
			resource.Schedule{Cron: "30 2 * * *", TimeZone: "Europe/Berlin"}, at(2026, 3, 27), at(2026, 3, 31),
			[]string{"03-27 01:30", "03-28 01:30", "03-29 01:00", "03-30 00:30"},
		},
		"clocks go back over the tick": {
			resource.Schedule{Cron: "30 2 * * *", TimeZone: "Europe/Berlin"}, at(2026, 10, 24), at(2026, 10, 27),
			[]string{"10-24 00:30", "10-25 00:30", "10-26 01:30"},
		},
		"every hour while clocks go back": {
			resource.Schedule{Cron: "0 * * * *", TimeZone: "Europe/Berlin"}, at(2026, 10, 25), at(2026, 10, 25).Add(4*time.Hour + 10*time.Minute),
			[]string{"10-25 01:00", "10-25 02:00", "10-25 03:00", "10-25 04:00"},
		},
		"an interval while clocks go forward": {
			resource.Schedule{Every: "daily", Start: at(2026, 3, 1).Add(6 * time.Hour)}, at(2026, 3, 28), at(2026, 3, 31),
			[]string{"03-28 06:00", "03-29 06:00", "03-30 06:00"},
		},
		"ends of months": {
			resource.Schedule{Every: "monthly", Start: at(2026, 1, 31)}, at(2026, 1, 30), at(2026, 5, 31).Add(time.Hour),
			[]string{"01-31 00:00", "02-28 00:00", "03-31 00:00", "04-30 00:00", "05-31 00:00"},
		},
		"ends of months in a leap year": {
			resource.Schedule{Every: "monthly", Start: at(2027, 10, 30)}, at(2028, 1, 31), at(2028, 4, 1),
			[]string{"02-29 00:00", "03-30 00:00"},
		},
		"29 February by cron": {
			resource.Schedule{Cron: "0 12 29 2 *"}, at(2028, 2, 28), at(2028, 3, 3), []string{"02-29 12:00"},
		},
		"29 February once": {
			resource.Schedule{Once: at(2028, 2, 29)}, at(2028, 2, 1), at(2028, 4, 1), []string{"02-29 00:00"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := played(t, c.s, c.from, c.until)
			require.Equal(t, c.want, got)
		})
	}
}
