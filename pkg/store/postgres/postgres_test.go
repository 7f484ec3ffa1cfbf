package postgres_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/store/postgres"
	"millrace.dev/pkg/store/storetest"
	"millrace.dev/pkg/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, testenv.Leaks()...) }

func open(t testing.TB, url string) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(t.Context(), url, postgres.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func TestProcessesThatStartTogetherMakeOneSchema(t *testing.T) {
	url := testenv.Postgres(t)
	var g errgroup.Group
	for range 8 {
		g.Go(func() error {
			s, err := postgres.Open(t.Context(), url, postgres.Options{MaxConns: 2})
			if err != nil {
				return err
			}
			return s.Close()
		})
	}
	require.NoError(t, g.Wait())
}

func TestASchemaOfANewerProgramIsLeftAlone(t *testing.T) {
	url := testenv.Postgres(t)
	require.NoError(t, open(t, url).Close())
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), `INSERT INTO millrace_store.migrations (version) VALUES (1000)`)
	require.NoError(t, err)
	require.NoError(t, conn.Close(t.Context()))
	_, err = postgres.Open(t.Context(), url, postgres.Options{})
	require.Equal(t, fault.Precondition, fault.ClassOf(err))
}

func TestAServerThatIsNotThereIsUnavailable(t *testing.T) {
	_, err := postgres.Open(t.Context(), "postgres://nobody:secret@127.0.0.1:1/none", postgres.Options{})
	require.Equal(t, fault.Unavailable, fault.ClassOf(err))
	require.Equal(t, fault.ReasonStoreUnavailable, fault.ReasonOf(err))
	require.NotContains(t, err.Error(), "secret")

	_, err = postgres.Open(t.Context(), "postgres://nobody:secret@127.0.0.1:port/none", postgres.Options{})
	require.Equal(t, fault.Invalid, fault.ClassOf(err))
	require.NotContains(t, err.Error(), "secret")
}

// A fence and a commit of the same part that meet: either the fence's answer has the batch, or the commit is fenced.
func TestNoCommitSlipsBehindAFence(t *testing.T) {
	s := open(t, testenv.Postgres(t))
	batch := users(0)
	for range 10 {
		o := origin()
		scope := profile.Scope{Workspace: id.Workspace(o.Sync.String()), Environment: resource.Prod}
		keys := profile.KeysOf(batch, o, scope, profile.Rules{})
		st, err := s.Look(t.Context(), keys)
		require.NoError(t, err)
		e := profile.Decide(batch, keys, st, profile.Rules{})

		var fenced bool
		var applied []profile.Result
		var g errgroup.Group
		g.Go(func() error {
			out, err := s.Commit(t.Context(), e)
			fenced = out.Fenced
			return err
		})
		g.Go(func() (err error) {
			applied, err = s.Fence(t.Context(), id.Part{Run: o.Batch.Run, Part: o.Batch.Part}, o.Batch.Epoch+1)
			return err
		})
		require.NoError(t, g.Wait())
		if fenced {
			require.Empty(t, applied)
		} else {
			require.Equal(t, []profile.Result{e.Result}, applied)
		}
	}
}

func origin() record.Origin {
	return record.Origin{
		Workspace: "default", Sync: id.NewSync(), SyncID: "users", RunNo: 1,
		Batch: id.Batch{Run: id.NewRun(), Part: 1, Epoch: 1}, Rows: batchRows, Last: true, SnapshotTime: time.Unix(1_700_000_000, 0),
	}
}

func TestConformance(t *testing.T) {
	url := testenv.Postgres(t)
	storetest.Run(t, func(t *testing.T) func() store.Store {
		empty(t, url)
		return func() store.Store {
			s, err := postgres.Open(t.Context(), url, postgres.Options{})
			require.NoError(t, err)
			return s
		}
	}, storetest.Exceptions{})
}

// empty takes away all that a store keeps.
func empty(t *testing.T, url string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), `DROP SCHEMA IF EXISTS millrace_store CASCADE`)
	require.NoError(t, err)
	require.NoError(t, conn.Close(t.Context()))
}
