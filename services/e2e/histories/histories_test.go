// Package histories_test plays random histories of tables against the whole mesh while faults are made: services lose
// calls, the broker loses, repeats and delays messages, workers outlive their leases, commits fail, sources break. The
// oracle is a fold of the source table that the test keeps: nothing may be lost, nothing doubled, every count be right.
//
// A seed is a history: at least 1,000 rows, 3 runs and 5 faults. MILLRACE_SEEDS says how many are played, MILLRACE_SEED
// plays one again and shows the mesh's log, MILLRACE_FIRST_SEED is the first.
package histories_test

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/app"
	"millrace.dev/pkg/testenv"
)

// together is how many seeds are played at once: most of their time they wait for something to recover.
const together = "8"

// shortForm is how many seeds each store has in `go test`.
const shortForm = 12

func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", together); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	os.Exit(m.Run())
}

// TestHistoriesPebble plays histories over SQLite and Pebble.
func TestHistoriesPebble(t *testing.T) { all(t, app.Settings{}) }

// TestHistoriesPostgres plays the same histories over PostgreSQL, control tables and store.
func TestHistoriesPostgres(t *testing.T) {
	all(t, app.Settings{SQL: testenv.Postgres(t), Store: testenv.Postgres(t)})
}

// number answers what an environment variable says.
func number(t *testing.T, name string, otherwise int) int {
	v := os.Getenv(name)
	if v == "" {
		return otherwise
	}
	n, err := strconv.Atoi(v)
	require.NoError(t, err, name)
	return n
}

// all plays the seeds over one mesh.
func all(t *testing.T, set app.Settings) {
	level := slog.LevelError
	first, n := number(t, "MILLRACE_FIRST_SEED", 1), number(t, "MILLRACE_SEEDS", 2*shortForm)/2
	if one := number(t, "MILLRACE_SEED", 0); one > 0 {
		first, n, level = one, 1, slog.LevelDebug
	}
	m := startMesh(t, set, level)
	pool, err := pgxpool.New(t.Context(), testenv.Postgres(t))
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	dir := folder(t)
	t.Run("seeds", func(t *testing.T) {
		for seed := first; seed < first+n; seed++ {
			t.Run(strconv.Itoa(seed), func(t *testing.T) {
				t.Parallel()
				t.Cleanup(func() {
					if t.Failed() {
						t.Logf("play it again: MILLRACE_SEED=%d go test ./services/e2e/histories -run %s", seed, t.Name()[:len(t.Name())-len("/seeds/"+strconv.Itoa(seed))])
					}
				})
				play(t, m, pool, dir, seed)
			})
		}
	})
	m.report(t)
}
