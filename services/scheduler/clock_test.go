package scheduler_test

import (
	"database/sql/driver"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"
	"modernc.org/sqlite"

	configv1 "millrace.dev/gen/millrace/config/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/testenv"
)

// wallClock is the control database's clock, which a test may set.
type wallClock struct {
	sql string
	set func(ahead time.Duration)
}

// sqliteAhead is how far SQLite's clock is ahead of the machine's, in all databases of the process.
var sqliteAhead atomic.Int64

// replaceSQLiteClock makes SQLite ask sqliteAhead. The driver takes functions only before its first connection.
func replaceSQLiteClock() {
	sqlite.MustRegisterScalarFunction("julianday", 1, func(_ *sqlite.FunctionContext, _ []driver.Value) (driver.Value, error) {
		now := time.Now().Add(time.Duration(sqliteAhead.Load()))
		return float64(now.UnixMilli())/86400000 + 2440587.5, nil
	})
}

// onClocks runs a test on SQLite and on PostgreSQL, each with a clock of its own: what the databases say of the time is
// replaced, everything else is real.
func onClocks(t *testing.T, test func(t *testing.T, c wallClock)) {
	t.Run("sqlite", func(t *testing.T) {
		t.Cleanup(func() { sqliteAhead.Store(0) })
		test(t, wallClock{"sqlite:" + filepath.Join(t.TempDir(), "control.db"), func(d time.Duration) { sqliteAhead.Store(int64(d)) }})
	})
	t.Run("postgres", func(t *testing.T) {
		address := testenv.Postgres(t)
		c, err := pgx.Connect(t.Context(), address)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, c.Close(t.Context())) })
		set := func(d time.Duration) {
			_, err := c.Exec(t.Context(), fmt.Sprintf(`CREATE OR REPLACE FUNCTION wall.clock_timestamp() RETURNS timestamptz LANGUAGE sql
				AS $$ SELECT pg_catalog.clock_timestamp() + interval '%d milliseconds' $$`, d.Milliseconds()))
			require.NoError(t, err)
		}
		_, err = c.Exec(t.Context(), "CREATE SCHEMA wall")
		require.NoError(t, err)
		set(0)
		u, err := url.Parse(address)
		require.NoError(t, err)
		q := u.Query()
		q.Set("search_path", "wall,public,pg_catalog")
		u.RawQuery = q.Encode()
		test(t, wallClock{u.String(), set})
	})
}

// beats prolongs a lease and says whether it still holds.
func (m *mesh) beats(l *schedulerv1.PartLease) bool {
	m.t.Helper()
	_, err := m.work.HeartbeatPart(m.t.Context(), &schedulerv1.HeartbeatPartRequest{Run: l.GetRun(), Part: l.GetPart(), Epoch: l.GetEpoch()})
	return err == nil
}

// TestF32TheWallClockJumps sets the control database's clock while a part is leased: by an hour forward, by an hour back,
// to 2038, and by a few seconds as a time server does. A worker that gives signs of life keeps its lease; one that is silent
// loses it in time; no tick is taken twice or never.
func TestF32TheWallClockJumps(t *testing.T) {
	to2038 := time.Until(time.Date(2038, 1, 19, 3, 14, 8, 0, time.UTC))
	for name, jumps := range map[string][]time.Duration{
		"an hour forward":      {time.Hour},
		"an hour back":         {-time.Hour},
		"to 2038 and back":     {to2038, 0},
		"a step during leases": {1500 * time.Millisecond, -time.Second, 0},
	} {
		t.Run(name, func(t *testing.T) {
			onClocks(t, func(t *testing.T, c wallClock) {
				set := quick()
				set.Lease = 4 * time.Second
				m := start(t, c.sql, set)
				m.trigger(&schedulerv1.TriggerRunRequest{})
				m.another(set) // both see the jump
				m.plan("20", "10", "20")
				l := m.lease()
				for _, ahead := range jumps {
					require.True(t, m.beats(l))
					c.set(ahead)
					m.never("the worker was silent for a moment only", func() bool {
						return m.part(l.GetRun(), l.GetPart()).GetState() != schedulerv1.PartState_PART_STATE_LEASED
					})
					require.True(t, m.beats(l))
				}
				require.Equal(t, l.GetEpoch(), m.part(l.GetRun(), l.GetPart()).GetEpoch())
				// From here on the worker is silent. The part comes again, once, and the run goes on to its end.
				other := m.lease()
				require.NotEqual(t, l.GetPart(), other.GetPart())
				m.whole(other, 1)
				again := m.lease()
				require.Equal(t, l.GetPart(), again.GetPart())
				m.whole(again, 1)
				r := m.reaches(l.GetRun(), schedulerv1.RunState_RUN_STATE_SUCCEEDED)
				require.EqualValues(t, 2, m.part(r.GetId(), l.GetPart()).GetEpoch(), "lost once, leased once more")
			})
		})
	}
}

// TestF32TicksAreTakenOnceWhenTheWallClockJumps has an hourly sync whose last tick was taken.
func TestF32TicksAreTakenOnceWhenTheWallClockJumps(t *testing.T) {
	onClocks(t, func(t *testing.T, c wallClock) {
		m := start(t, c.sql, quick())
		m.scheduleIt("orders", func(y *configv1.ScheduledSync) {
			y.Schedule, y.ActiveSince = every("1h", time.Now().Add(-90*time.Minute)), timestamppb.New(time.Now().Add(-45*time.Minute))
		})
		taken := func(n int) {
			t.Helper()
			m.until("a tick is taken", func() bool { return len(m.list("reason=scheduled")) == n })
			m.succeeds(m.list("")[0].GetId(), fmt.Sprint(n))
			m.never("it is taken once", func() bool { return len(m.list("")) > n })
		}
		taken(1)
		c.set(-time.Hour)
		m.never("that tick was taken", func() bool { return len(m.list("")) > 1 })
		c.set(time.Hour)
		taken(2)
		c.set(0)
		m.never("so was that one", func() bool { return len(m.list("")) > 2 })
		c.set(time.Until(time.Date(2038, 1, 19, 3, 14, 8, 0, time.UTC)))
		taken(3)
		jumps := func() int { return strings.Count(m.logs.String(), "clock has jumped") }
		seen := jumps()
		c.set(0)
		m.until("the keeper has seen it", func() bool { return jumps() > seen })
		m.never("ticks that were missed meanwhile are none", func() bool { return len(m.list("")) > 3 })
		c.set(time.Hour)
		taken(4)
	})
}
