package scheduler

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/sqldb"
)

func openCombiner(t testing.TB) *combiner {
	t.Helper()
	db, err := sqldb.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "c.db"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	_, err = db.Exec(t.Context(), "CREATE TABLE x (n BIGINT PRIMARY KEY)")
	require.NoError(t, err)
	return &combiner{db: db}
}

func insert(n int) step {
	return func(ctx context.Context, tx *sqldb.Tx, _ time.Time) error {
		_, err := tx.Exec(ctx, "INSERT INTO x (n) VALUES (?)", n)
		return err
	}
}

func TestManyWritesAreAllDurableAndEachIsAnswered(t *testing.T) {
	c := openCombiner(t)
	var (
		wg            sync.WaitGroup
		wrong, wanted atomic.Int64
	)
	for i := range 400 {
		wg.Go(func() {
			var err error
			switch i % 10 {
			case 3: // refused before anything was written
				err = c.do(t.Context(), func(context.Context, *sqldb.Tx, time.Time) error { return errFencedForTest() })
				if fault.ReasonOf(err) != fault.ReasonFenced {
					wrong.Add(1)
				}
				return
			case 7: // cannot be written: the key is there
				err = c.do(t.Context(), func(ctx context.Context, tx *sqldb.Tx, now time.Time) error {
					if err := insert(1000+i)(ctx, tx, now); err != nil {
						return err
					}
					return insert(1000+i)(ctx, tx, now)
				})
				if fault.ReasonOf(err) != fault.ReasonAlreadyExists {
					wrong.Add(1)
				}
				return
			}
			wanted.Add(1)
			if err = c.do(t.Context(), insert(i)); err != nil {
				wrong.Add(1)
			}
		})
	}
	wg.Wait()
	require.Zero(t, wrong.Load())
	var n int64
	require.NoError(t, c.db.QueryRow(t.Context(), "SELECT COUNT(*) FROM x").Scan(&n))
	require.Equal(t, wanted.Load(), n, "one that fails takes nobody with it and leaves nothing behind")
}

func errFencedForTest() error {
	return refuse(fault.New(fault.Conflict, fault.ReasonFenced, "over"))
}

func TestACallerThatGivesUpHoldsNobodyUp(t *testing.T) {
	c := openCombiner(t)
	entered, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = c.do(t.Context(), func(ctx context.Context, tx *sqldb.Tx, now time.Time) error {
			close(entered)
			<-release
			return insert(1)(ctx, tx, now)
		})
	})
	<-entered
	gone, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the caller went away"))
	results := make(chan error, 3)
	for i := range 3 {
		wg.Go(func() {
			ctx := t.Context()
			if i == 1 {
				ctx = gone
			}
			err := c.do(ctx, insert(10+i))
			if i == 1 && err == nil {
				err = fmt.Errorf("written all the same")
			}
			results <- err
		})
	}
	close(release)
	wg.Wait()
	failed := 0
	for range 3 {
		if err := <-results; err != nil {
			failed++
		}
	}
	require.LessOrEqual(t, failed, 1)
	require.False(t, c.busy)
	require.NoError(t, c.do(t.Context(), insert(99)), "the combiner goes on")
}

func BenchmarkWrites(b *testing.B) {
	c := openCombiner(b)
	var n atomic.Int64
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := c.do(b.Context(), insert(int(n.Add(1)))); err != nil {
				b.Error(err)
			}
		}
	})
}
