package sqldb_test

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/sqldb"
	"millrace.dev/pkg/testenv"
)

func migrations() fstest.MapFS {
	return fstest.MapFS{
		"0001_things.sql": {Data: []byte("-- things; with a comment\nCREATE TABLE things (id TEXT PRIMARY KEY, n BIGINT NOT NULL);\nCREATE INDEX things_n ON things (n);\n")},
		"0002_more.sql":   {Data: []byte("ALTER TABLE things ADD COLUMN note TEXT NOT NULL DEFAULT ''")},
	}
}

// suite is what both databases do alike.
func suite(t *testing.T, url string) {
	ctx := context.Background()
	db, err := sqldb.Open(ctx, url)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()

	t.Run("migrations run once, from several processes at a time", func(t *testing.T) {
		var wg sync.WaitGroup
		errs := make([]error, 4)
		for i := range errs {
			wg.Go(func() { errs[i] = db.Migrate(ctx, migrations(), "things") })
		}
		wg.Wait()
		for _, err := range errs {
			require.NoError(t, err)
		}
	})
	t.Run("tables ahead of the program are refused", func(t *testing.T) {
		old := migrations()
		delete(old, "0002_more.sql")
		require.Equal(t, fault.Precondition, fault.ClassOf(db.Migrate(ctx, old, "things")))
	})
	t.Run("a broken unique key is a conflict", func(t *testing.T) {
		n, err := db.Exec(ctx, "INSERT INTO things (id, n) VALUES (?, ?)", "a", 1)
		require.NoError(t, err)
		require.EqualValues(t, 1, n)
		_, err = db.Exec(ctx, "INSERT INTO things (id, n) VALUES (?, ?)", "a", 1)
		require.Equal(t, fault.ReasonAlreadyExists, fault.ReasonOf(err))
	})
	t.Run("a transaction that fails leaves nothing", func(t *testing.T) {
		err := db.Tx(ctx, func(tx *sqldb.Tx) error {
			if _, err := tx.Exec(ctx, "INSERT INTO things (id, n) VALUES (?, ?)", "b", 1); err != nil {
				return err
			}
			return fault.New(fault.Invalid, fault.ReasonInvalidArgument, "no")
		})
		require.Equal(t, fault.Invalid, fault.ClassOf(err))
		require.Equal(t, fault.NotFound, fault.ClassOf(db.QueryRow(ctx, "SELECT n FROM things WHERE id = ?", "b").Scan(new(int64))))
	})
	t.Run("concurrent read-modify-writes lose nothing", func(t *testing.T) {
		const writers, each = 4, 10
		_, err := db.Exec(ctx, "UPDATE things SET n = 0 WHERE id = ?", "a")
		require.NoError(t, err)
		var wg sync.WaitGroup
		errs := make([]error, writers)
		for w := range writers {
			wg.Go(func() {
				for range each {
					if errs[w] == nil {
						errs[w] = db.Tx(ctx, func(tx *sqldb.Tx) error {
							var n int64
							if err := tx.QueryRow(ctx, "SELECT n FROM things WHERE id = ?", "a").Scan(&n); err != nil {
								return err
							}
							_, err := tx.Exec(ctx, "UPDATE things SET n = ? WHERE id = ?", n+1, "a")
							return err
						})
					}
				}
			})
		}
		wg.Wait()
		for _, err := range errs {
			require.NoError(t, err)
		}
		var n int64
		require.NoError(t, db.QueryRow(ctx, "SELECT n FROM things WHERE id = ?", "a").Scan(&n))
		require.EqualValues(t, writers*each, n)
	})
	t.Run("the clock is the database's and near ours", func(t *testing.T) {
		at, err := db.Now(ctx)
		require.NoError(t, err)
		require.WithinDuration(t, time.Now(), at, time.Minute)
		require.Equal(t, at, sqldb.Time(sqldb.Micros(at)))
	})
}

func TestSQLite(t *testing.T) {
	suite(t, "sqlite:"+filepath.Join(t.TempDir(), "sub", "control.db"))
}

func TestPostgreSQL(t *testing.T) {
	suite(t, testenv.Postgres(t))
}

func TestAnAddressOfNoKnownFormIsRefused(t *testing.T) {
	_, err := sqldb.Open(context.Background(), "mysql://x")
	require.Equal(t, fault.Invalid, fault.ClassOf(err))
}
