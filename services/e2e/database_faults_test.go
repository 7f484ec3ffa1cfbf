package e2e_test

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/testenv"
)

// base is a PostgreSQL of a test's own under a mesh's control tables, its store, or both. It answers a little late, so
// that a run lasts long enough to be met by faults.
type base struct {
	*testenv.PostgreSQL
	*relay
}

// lag is how late PostgreSQL answers.
const lag = 3 * time.Millisecond

func newBase(t *testing.T) base {
	t.Helper()
	p := testenv.PostgresServer(t)
	u, err := url.Parse(p.URL)
	require.NoError(t, err)
	b := base{p, newRelay(t, u.Host)}
	b.slow(lag)
	execAt(t, b.URL, "CREATE ROLE app LOGIN")
	return b
}

// through answers a URL of the server as it is reached through the relay, as the user `app`.
func (b base) through(t *testing.T, at string) string {
	t.Helper()
	u, err := url.Parse(at)
	require.NoError(t, err)
	u.Host, u.User = b.addr, url.User("app")
	return u.String()
}

// database makes a database that belongs to the user `app`, and answers its URL for administrators.
func (b base) database(t *testing.T, name string) string {
	t.Helper()
	at := b.Database(name)
	execAt(t, b.URL, "ALTER DATABASE "+name+" OWNER TO app")
	return at
}

// again starts the server again after a fault that ended it.
func (b base) again(t *testing.T, between func()) {
	t.Helper()
	b.Kill()
	between()
	b.Start()
}

// TestF29PostgresDiesOrLacksTheLastCommits kills PostgreSQL, loses its answers, and restores it from an older copy.
func TestF29PostgresDiesOrLacksTheLastCommits(t *testing.T) {
	t.Parallel()
	w := newWarehouse(t, marketRows)
	documents := w.documents("customers", asIs)

	t.Run("under control tables and store", func(t *testing.T) {
		b := newBase(t)
		m := startOne(t, databases{sql: b.through(t, b.database(t, "control")), store: b.through(t, b.database(t, "store"))})
		want := calm(t, m, documents)
		t.Run("killed twice", func(t *testing.T) {
			m := m.in("killed")
			m.apply(t, "", documents)
			id := m.trigger(t, "customers")
			for i := range int64(2) {
				m.halfway(t, id, (i+1)*marketRows/5)
				b.again(t, func() {})
			}
			requireLike(t, m, want, m.end(t, id))
		})
		t.Run("answers of commits are lost", func(t *testing.T) {
			m := m.in("unknown")
			m.apply(t, "", documents)
			id := m.trigger(t, "customers")
			m.halfway(t, id, 1)
			b.cut(20_000, 12)
			r := m.end(t, id)
			require.Less(t, b.cutting(), 12, "answers were lost")
			b.open()
			requireLike(t, m, want, r)
		})
	})
	t.Run("control tables from an older copy", func(t *testing.T) {
		b := newBase(t)
		m := startOne(t, databases{sql: b.through(t, b.database(t, "control"))}).in("older")
		b.older(t, m, documents)
	})
	t.Run("store from an older copy", func(t *testing.T) {
		b := newBase(t)
		m := startOne(t, databases{store: b.through(t, b.database(t, "store"))}).in("older")
		old := b.older(t, m, documents)
		whole := m.digest(t)

		// What a closed run has brought is not read again by itself: a run over everything brings it back.
		b.again(t, func() { b.Restore(old) })
		eventually(t, "the store is back", func() bool { return m.profiles(t) >= 0 })
		require.Less(t, m.profiles(t), int64(marketRows))
		m.run(t, "customers", full)
		require.Equal(t, whole.GetDigest(), m.digest(t).GetDigest())
	})
}

// older plays a run in whose middle the database is restored from a copy of its first fifth, and answers the copy. What
// the open run had brought is read again.
func (b base) older(t *testing.T, m mesh, documents string) string {
	t.Helper()
	m.apply(t, "", documents)
	id := m.trigger(t, "customers")
	m.halfway(t, id, marketRows/5)
	var old string
	b.again(t, func() { old = b.Copy() })
	m.halfway(t, id, 3*marketRows/5)
	b.again(t, func() { b.Restore(old) })
	r := m.end(t, id)
	requireState(t, r, schedulerv1.RunState_RUN_STATE_SUCCEEDED)
	require.EqualValues(t, marketRows, r.GetCounts().GetRead())
	require.EqualValues(t, marketRows, m.digest(t).GetProfiles())
	return old
}

// profiles answers how many profiles there are, -1 where the store does not answer.
func (m mesh) profiles(t *testing.T) int64 {
	t.Helper()
	res, err := m.ingestion.GetStoreDigest(t.Context(), digestRequest(m.workspace))
	if err != nil {
		return -1
	}
	return res.GetProfiles()
}

// TestF30PostgresRefuses makes PostgreSQL refuse in the middle of runs: no space, no writes, no connections, deadlocks,
// serialization failures. Runs wait and end whole.
func TestF30PostgresRefuses(t *testing.T) {
	t.Parallel()
	w := newWarehouse(t, marketRows)
	documents := w.documents("customers", asIs)
	b := newBase(t)
	b.SmallDisk("small", 160)
	control, store := b.database(t, "control"), b.database(t, "store")
	execAt(t, b.URL, "ALTER DATABASE store SET TABLESPACE small")
	m := startOne(t, databases{sql: b.through(t, control), store: b.through(t, store), lease: 15 * time.Second})
	want := calm(t, m, documents)
	hangUp := func(t *testing.T) {
		execAt(t, b.URL, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
	}
	// refusing plays a run that meets what PostgreSQL refuses until its log shows that, and then ends whole.
	refusing := func(name string, refuse, mend func(t *testing.T)) {
		t.Run(name, func(t *testing.T) {
			m := m.in(strings.ReplaceAll(name, " ", "-"))
			m.apply(t, "", documents)
			id := m.trigger(t, "customers")
			m.halfway(t, id, marketRows/10)
			refuse(t)
			mend(t)
			requireLike(t, m, want, m.end(t, id))
			require.Zero(t, tries(m.allParts(t, id)), "the warehouse is not at fault")
		})
	}
	all := func(t *testing.T, to string) {
		for _, name := range []string{"control", "store"} {
			execAt(t, b.URL, "ALTER DATABASE "+name+" "+to)
		}
		hangUp(t)
	}
	nothing := func(*testing.T) {}
	refusing("disk full", func(t *testing.T) {
		b.fill(t)
		b.refuses(t, "No space left on device", nothing)
	}, func(t *testing.T) { execAt(t, b.URL, "DROP TABLE ballast") })
	refusing("read-only", func(t *testing.T) {
		b.refuses(t, "in a read-only transaction", func(t *testing.T) { all(t, "SET default_transaction_read_only = on") })
	}, func(t *testing.T) { all(t, "RESET default_transaction_read_only") })
	refusing("no connections left", func(t *testing.T) {
		b.refuses(t, "too many connections", func(t *testing.T) { all(t, "CONNECTION LIMIT 0") })
	}, func(t *testing.T) { all(t, "CONNECTION LIMIT -1") })
	refusing("deadlock in the control tables", func(t *testing.T) {
		b.deadlock(t, control, "scheduler_batches", "scheduler_parts")
	}, nothing)
	refusing("deadlock in the store", func(t *testing.T) {
		b.deadlock(t, store, "millrace_store.row_index", "millrace_store.identities")
	}, nothing)
	refusing("serialization failure", func(t *testing.T) { b.overtake(t, control) }, nothing)
}

// refuses does something and waits until the server's log has one more line that says so.
func (b base) refuses(t *testing.T, says string, do func(t *testing.T)) {
	t.Helper()
	before := strings.Count(b.Log(), says)
	do(t)
	eventually(t, says, func() bool { return strings.Count(b.Log(), says) > before })
}

// fill leaves no space on the small disk.
func (b base) fill(t *testing.T) {
	t.Helper()
	withConn(t, b.URL, func(ctx context.Context, c *pgx.Conn) {
		_, err := c.Exec(ctx, "CREATE TABLE ballast (x TEXT) TABLESPACE small")
		require.NoError(t, err)
		_, err = c.Exec(ctx, "ALTER TABLE ballast ALTER x SET STORAGE PLAIN")
		require.NoError(t, err)
		for _, rows := range []int{1000, 100, 10, 1} { // of 8 kB each
			for full := false; !full; {
				_, err = c.Exec(ctx, "INSERT INTO ballast SELECT repeat('x', 8000) FROM generate_series(1, $1)", rows)
				if full = err != nil; full {
					require.ErrorContains(t, err, "No space left on device")
				}
			}
		}
	})
}

// held waits until somebody waits for a lock of c.
func held(ctx context.Context, t *testing.T, c *pgx.Conn) {
	t.Helper()
	eventually(t, "somebody waits", func() bool {
		var n int64
		require.NoError(t, c.QueryRow(ctx, "SELECT count(*) FROM pg_locks WHERE NOT granted").Scan(&n))
		return n > 0
	})
}

// deadlock locks two tables against the order of a service until the server finds a deadlock. It waits longer than the
// service, which is the one to lose.
func (b base) deadlock(t *testing.T, at, first, then string) {
	t.Helper()
	const says = "deadlock detected"
	before := strings.Count(b.Log(), says)
	withConn(t, at, func(ctx context.Context, c *pgx.Conn) {
		for strings.Count(b.Log(), says) == before {
			_, err := c.Exec(ctx, "SET deadlock_timeout = '1min'; BEGIN; LOCK TABLE "+then+" IN EXCLUSIVE MODE")
			require.NoError(t, err)
			held(ctx, t, c)
			_, err = c.Exec(ctx, "LOCK TABLE "+first+" IN EXCLUSIVE MODE; COMMIT")
			require.NoError(t, err)
		}
	})
}

// overtake changes the parts of runs while the scheduler waits to, whose transaction can then not be put in an order.
func (b base) overtake(t *testing.T, at string) {
	t.Helper()
	const says = "could not serialize access"
	before := strings.Count(b.Log(), says)
	withConn(t, at, func(ctx context.Context, c *pgx.Conn) {
		for strings.Count(b.Log(), says) == before {
			_, err := c.Exec(ctx, "BEGIN; UPDATE scheduler_parts SET progress_time = progress_time WHERE state IN ('leased', 'extracted')")
			require.NoError(t, err)
			held(ctx, t, c)
			_, err = c.Exec(ctx, "COMMIT")
			require.NoError(t, err)
		}
	})
}
