//go:build cgo && duckdb_arrow

package extractor_test

import (
	"context"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/app"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/testenv"
	"millrace.dev/services/extractor"
)

// database makes an empty PostgreSQL database the connection of the sync, and answers how to run SQL in it.
func (m *mesh) database(t *testing.T) func(sql string) {
	at := testenv.Postgres(t)
	m.warehouse(people)
	u, err := url.Parse(at)
	require.NoError(t, err)
	port, err := strconv.Atoi(u.Port())
	require.NoError(t, err)
	m.snapshot.Connection = resource.Connection{Meta: resource.Meta{ID: "app"}, Postgres: &resource.Postgres{
		Host: u.Hostname(), Port: port, Database: u.Path[1:], User: u.User.Username(), SSLMode: "disable",
	}}
	return func(sql string) {
		c, err := pgx.Connect(t.Context(), at)
		require.NoError(t, err)
		require.NoError(t, c.PgConn().Exec(t.Context(), sql).Close())
		require.NoError(t, c.Close(context.WithoutCancel(t.Context())))
	}
}

func TestPartsOfPostgresReadTheSnapshotThatIsHeldUntilTheRunIsOver(t *testing.T) {
	m := newMesh(t, func(_ *app.Env, s *extractor.Settings) { s.HoldPoll = 20 * time.Millisecond })
	run := m.database(t)
	run(`CREATE TABLE people AS SELECT i::bigint AS customer_id, timestamp '2026-01-01' + i * interval '1 second' AS updated_at FROM generate_series(1, 1000) AS g(i)`)
	m.state.Store(int32(schedulerv1.RunState_RUN_STATE_RUNNING))
	parts := m.planned()
	run(`DELETE FROM people WHERE customer_id <= 100`)
	done := m.work(parts[0])
	require.Nil(t, done.GetError())
	require.EqualValues(t, 1000, done.GetRows(), "as it was when the run was planned")

	asked := m.asked.Load()
	m.state.Store(int32(schedulerv1.RunState_RUN_STATE_SUCCEEDED))
	require.Eventually(t, func() bool { return m.asked.Load() > asked }, 20*time.Second, 10*time.Millisecond)
	require.Eventually(t, func() bool {
		parts[0].Epoch++
		done := m.work(parts[0])
		return done.GetError() == nil && done.GetRows() == 900
	}, 20*time.Second, 50*time.Millisecond, "the snapshot is let go, and the part goes on under a new one")
}
