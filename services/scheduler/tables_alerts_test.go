package scheduler

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/sqldb"
	"millrace.dev/pkg/testenv"
	"millrace.dev/services/scheduler/alerts"
)

func TestATargetThatTakesNothingKeepsNothingFromOthers(t *testing.T) {
	for _, url := range []string{"sqlite:" + filepath.Join(t.TempDir(), "c.db"), testenv.Postgres(t)} {
		db, err := sqldb.Open(t.Context(), url)
		require.NoError(t, err)
		files, err := migrationFiles()
		require.NoError(t, err)
		require.NoError(t, db.Migrate(t.Context(), files, Name))
		at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		put := func(name, alert string, n int, wait time.Time) {
			require.NoError(t, putMessage(t.Context(), db, messageRow{
				ID: name, Workspace: "default", Alert: alert, Target: alerts.Target{Kind: alerts.ByWebhook}, NotBefore: wait, Time: at.Add(time.Duration(n) * time.Second),
			}))
		}
		put("dead-0", "dead", 0, at.Add(time.Minute))
		for i := range 5 {
			put(fmt.Sprintf("dead-%d", i+1), "dead", i+1, time.Time{})
			put(fmt.Sprintf("slow-%d", i), "slow", i, time.Time{})
		}
		put("quick-0", "quick", 9, time.Time{})
		got, err := messages(t.Context(), db, at, 3, 3)
		require.NoError(t, err)
		var ids []string
		for _, m := range got {
			ids = append(ids, m.ID)
		}
		require.Equal(t, []string{"slow-0", "quick-0", "slow-1"}, ids)
		mine, err := takeChange(t.Context(), db, alerts.Change{ID: "u-2"})
		require.NoError(t, err)
		require.False(t, mine)
		require.NoError(t, putChange(t.Context(), db, alerts.Change{ID: "u-1", Time: at}))
		require.NoError(t, putChange(t.Context(), db, alerts.Change{ID: "u-2", Time: at}))
		for _, step := range []struct {
			id   string
			mine bool
		}{{"u-2", false}, {"u-1", true}, {"u-2", true}, {"u-2", false}} {
			mine, err := takeChange(t.Context(), db, alerts.Change{ID: step.id})
			require.NoError(t, err)
			require.Equal(t, step.mine, mine, "what follows another waits for it")
		}
		require.NoError(t, db.Close())
	}
}
