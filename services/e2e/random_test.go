package e2e_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/testenv"
)

// victim is something of the mesh that is killed and started again.
type victim struct {
	name string
	down func()
	up   func()
}

// startVictims starts five processes over a nats-server and a PostgreSQL of their own, and answers all seven as victims.
func startVictims(t *testing.T) (five, []victim) {
	t.Helper()
	broker, db := testenv.NATSServer(t), testenv.PostgresServer(t)
	f := startFiveOn(t, broker, db.Database("control"), db.Database("store"), "--extractor-batch-rows", "4096", "--extractor-part-rows", "25000")
	var all []victim
	for _, c := range f.children {
		all = append(all, victim{c.name, func() { c.kill(t) }, func() { c.start(t) }})
	}
	return f, append(all, victim{"nats", broker.Kill, broker.Start}, victim{"postgres", db.Kill, db.Start})
}

// killsFor answers how long TestRandomKills kills, and the seed it goes by.
func killsFor(t *testing.T) (time.Duration, uint64) {
	t.Helper()
	long, seed := 30*time.Second, uint64(time.Now().UnixNano())
	if text := os.Getenv("MILLRACE_KILLS_FOR"); text != "" {
		var err error
		long, err = time.ParseDuration(text)
		require.NoError(t, err)
	}
	if text := os.Getenv("MILLRACE_KILLS_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	return long, seed
}

// TestRandomKills kills a random process, nats-server and PostgreSQL among them, every half to three seconds while runs go
// on, one after the other, over a table that changes in between. Each run counts what it counts in an undisturbed mesh that
// plays the same history, and the store holds the same.
func TestRandomKills(t *testing.T) {
	long, seed := killsFor(t)
	t.Logf("seed %d: MILLRACE_KILLS_SEED=%d plays the same kills", seed, seed)
	f, victims := startVictims(t)
	w := newWarehouse(t, customersAtFirst)
	f.apply(t, "", w.documents("customers", asIs))

	seen := &witness{}
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	var killing sync.WaitGroup
	killing.Go(func() { killAtRandom(ctx, t, rand.New(rand.NewPCG(seed, 0)), f.children, victims, seen) })

	var runs []*schedulerv1.Run
	for i := 0; i == 0 || ctx.Err() == nil; i++ {
		if i > 0 {
			w.change(t, i)
		}
		runs = append(runs, f.under(t, long+patience, fmt.Sprintf("run-%d", i), seen))
	}
	killing.Wait()
	for _, c := range f.children {
		c.revive(t)
		c.ready(t)
	}

	calm, m := oneChild(t)
	calm.start(t)
	calm.ready(t)
	twin := newWarehouse(t, customersAtFirst)
	m.apply(t, "", twin.documents("customers", asIs))
	var wanted []*schedulerv1.Run
	var read, lost, doubled int64
	for i, got := range runs {
		if i > 0 {
			twin.change(t, i)
		}
		want := m.run(t, "customers")
		wanted = append(wanted, want)
		read += want.GetCounts().GetRead()
		more, less := differences(want.GetCounts(), got.GetCounts())
		doubled, lost = doubled+more, lost+less
	}
	want, got := m.digest(t), f.digest(t)
	doubled, lost = doubled+max(0, got.GetProfiles()-want.GetProfiles()), lost+max(0, want.GetProfiles()-got.GetProfiles())
	fmt.Fprintf(os.Stdout, "random kills: seed %d, %s, %s; %d runs, %d rows, lost %d, doubled %d; recovery %s\n",
		seed, long, seen.kills(), len(runs), read, lost, doubled, seen.recovery())

	require.Zero(t, lost)
	require.Zero(t, doubled)
	require.Equal(t, want.String(), got.String())
	for i, r := range runs {
		requireState(t, r, schedulerv1.RunState_RUN_STATE_SUCCEEDED)
		require.EqualValues(t, i+1, r.GetRunNo())
		require.Equal(t, wanted[i].GetCounts().String(), r.GetCounts().String())
		require.Equal(t, wanted[i].GetCertificate().GetRowsDigest(), r.GetCertificate().GetRowsDigest())
	}
	require.Equal(t, m.run(t, "customers").GetCounts().String(), f.run(t, "customers").GetCounts().String(), "both go on from the same checkpoint")
}

// differences answers how many effects there are too many, and too few.
func differences(want, got *schedulerv1.Counts) (more, less int64) {
	for _, d := range []int64{
		got.GetRead() - want.GetRead(), got.GetCreated() - want.GetCreated(), got.GetUpdated() - want.GetUpdated(), got.GetUnchanged() - want.GetUnchanged(),
	} {
		more, less = more+max(0, d), less+max(0, -d)
	}
	return more, less
}

// customersAtFirst is how many customers there are at first.
const customersAtFirst = 200_000

// change changes a fifth of the customers and adds a few, the i-th time.
func (w warehouse) change(t *testing.T, i int) {
	t.Helper()
	at := fmt.Sprintf("TIMESTAMP '2025-01-01' + INTERVAL (%d) DAY + INTERVAL (id %% 600) SECOND", i)
	statements := []string{
		fmt.Sprintf("UPDATE customers SET visits = visits + 1, updated_at = %s WHERE id %% 5 = %d", at, i%5),
		fmt.Sprintf(`INSERT INTO customers SELECT id, 'Late' || id || '@example.com', 'Late', 'free', 1, %s, 1 FROM range(%d, %d) t(id)`,
			at, 1_000_000*i, 1_000_000*i+5_000),
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for { // a worker whose lease is lost may still read
		db, err := sql.Open("duckdb", w.path)
		if err == nil {
			_, err = db.ExecContext(ctx, "BEGIN; "+strings.Join(statements, "; ")+"; COMMIT")
			err = errors.Join(err, db.Close())
		}
		if err == nil {
			return
		}
		require.NoError(t, ctx.Err(), "the warehouse stays locked: %v", err)
		pause(ctx, 100*time.Millisecond)
	}
}

// under starts a run and answers it at its end, whatever is killed meanwhile.
func (f five) under(t *testing.T, most time.Duration, key string, seen *witness) *schedulerv1.Run {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), most)
	defer cancel()
	for {
		res, err := f.scheduler.TriggerRun(ctx, &schedulerv1.TriggerRunRequest{
			Workspace: f.workspace, Sync: "customers", Reason: schedulerv1.RunReason_RUN_REASON_MANUAL, IdempotencyKey: key,
		})
		if err == nil {
			return f.until(ctx, t, res.GetRun().GetId(), func(r *schedulerv1.Run) bool {
				seen.look(r)
				return over(r)
			})
		}
		require.NoError(t, ctx.Err(), "no run can be started: %v", err)
		pause(ctx, 100*time.Millisecond)
	}
}

// killAtRandom kills until ctx ends. What is down is started again at once.
func killAtRandom(ctx context.Context, t *testing.T, random *rand.Rand, children []*child, victims []victim, seen *witness) {
	for {
		pause(ctx, 500*time.Millisecond+time.Duration(random.Int64N(int64(2500*time.Millisecond))))
		if ctx.Err() != nil {
			return
		}
		v := victims[random.IntN(len(victims))]
		v.down()
		seen.killed(v.name)
		v.up()
		for _, c := range children {
			c.revive(t)
		}
	}
}

// revive starts the process again where it has ended by itself: one that finds no database when it starts does.
func (c *child) revive(t *testing.T) {
	t.Helper()
	select {
	case <-c.done:
		c.start(t)
	default:
	}
}

// witness sees kills and progress. Safe for concurrent use.
type witness struct {
	mu    sync.Mutex
	last  string // what was last seen of the open run
	open  []time.Time
	count map[string]int
	took  []time.Duration // from each kill to the next progress
}

func (w *witness) killed(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.count == nil {
		w.count = map[string]int{}
	}
	w.count[name]++
	w.open = append(w.open, time.Now())
}

// look takes a run as it was seen, and says whether it has moved: rows were ingested, or its state is another.
func (w *witness) look(r *schedulerv1.Run) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := fmt.Sprint(r.GetId(), r.GetState(), r.GetIngestedRows())
	if now == w.last {
		return false
	}
	w.last = now
	for _, at := range w.open {
		w.took = append(w.took, time.Since(at))
	}
	w.open = nil
	return true
}

// kills tells how many of each there were.
func (w *witness) kills() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	total, parts := 0, []string{}
	for _, name := range slices.Sorted(maps.Keys(w.count)) {
		total += w.count[name]
		parts = append(parts, fmt.Sprintf("%s %d", name, w.count[name]))
	}
	return fmt.Sprintf("%d kills (%s)", total, strings.Join(parts, ", "))
}

// recovery tells how long it took from a kill to the next progress.
func (w *witness) recovery() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.took) == 0 {
		return "not seen"
	}
	slices.Sort(w.took)
	at := func(percent int) time.Duration { return w.took[(len(w.took)-1)*percent/100].Round(time.Millisecond) }
	return fmt.Sprintf("p50 %s, p99 %s, max %s", at(50), at(99), at(100))
}

// TestRecoveryOfASingleKill kills each process once in the middle of a run, and nothing else until the run has ended. The run
// moves on each time that it stands still, how soon is printed (the aim: 30 s), and counts as an undisturbed one.
func TestRecoveryOfASingleKill(t *testing.T) {
	const n = 150_000
	f, victims := startVictims(t)
	w := newWarehouse(t, n)
	documents := w.documents("customers", asIs)
	calm := f.in("calm")
	calm.apply(t, "", documents)
	want := calm.run(t, "customers")
	for i, v := range victims {
		t.Run(v.name, func(t *testing.T) {
			m := f.in("killed-" + strconv.Itoa(i))
			m.apply(t, "", documents)
			id := m.trigger(t, "customers")
			seen := &witness{}
			ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
			defer cancel()
			m.until(ctx, t, id, func(r *schedulerv1.Run) bool {
				seen.look(r)
				require.False(t, over(r), "the run ended before %s could be killed", v.name)
				return r.GetIngestedRows() > 0
			})
			v.down()
			at := time.Now()
			seen.killed(v.name)
			v.up()
			var first, longest time.Duration
			var r *schedulerv1.Run
			for since := at; r == nil || !over(r); since = time.Now() {
				within, done := context.WithDeadline(ctx, since.Add(patience))
				r = m.until(within, t, id, seen.look)
				done()
				longest = max(longest, time.Since(since))
				if first == 0 {
					first = longest
				}
			}
			fmt.Fprintf(os.Stdout, "single kill of %s: progress again after %s, longest standstill %s, run ended after %s\n",
				v.name, first.Round(time.Millisecond), longest.Round(time.Millisecond), time.Since(at).Round(time.Millisecond))
			requireState(t, r, schedulerv1.RunState_RUN_STATE_SUCCEEDED)
			require.Equal(t, want.GetCounts().String(), r.GetCounts().String())
			require.Equal(t, want.GetCertificate().GetRowsDigest(), r.GetCertificate().GetRowsDigest())
		})
	}
}
