package histories_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	configv1 "millrace.dev/gen/millrace/config/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
)

// patience bounds how long a run may take, whatever is done to it.
const patience = 2 * time.Minute

// player plays the history of one seed.
type player struct {
	t         *testing.T
	mesh      *mesh
	history   history
	workspace string
	table     *table
	source    source
	fold      *fold
	plot      *plot
	runs      int64
}

// play plays a seed in a workspace of its own: the table is written, read and disturbed as the seed says; each run's
// counts and, at the end, all that is stored must be what the fold says.
func play(t *testing.T, m *mesh, pool *pgxpool.Pool, dir string, seed int) {
	h := historyOf(seed)
	p := &player{t: t, mesh: m, history: h, workspace: fmt.Sprintf("seed-%d", seed), table: newTable(h)}
	p.fold = &fold{h: h, entries: map[int64]entry{}}
	p.source = file{filepath.Join(dir, p.table.name()+".duckdb")}
	if h.warehouse == "postgres" {
		p.source = database{pool, p.workspace, p.table.name()}
	}
	p.plot = newPlot(m.stage, p.source)
	m.stage.join(p.workspace, p.plot)
	defer m.stage.leave(p.workspace, p.plot)
	require.NoError(t, p.source.exec(t.Context(), append([]string{p.table.create()}, p.table.since(nil)...)))
	_, err := m.config.Apply(t.Context(), &configv1.ApplyRequest{
		Workspace: p.workspace,
		Documents: []*configv1.Document{{File: "seed.yaml", Content: h.documents(p.source.connection(), p.table.name())}},
	})
	require.NoError(t, err)
	for _, s := range h.steps {
		p.step(s)
	}
	for range 4 {
		if p.plot.injected() >= leastFaults {
			break
		}
		p.step(step{full: true}) // faults that have not come about yet do so where more is read
	}
	require.GreaterOrEqual(t, p.plot.injected(), leastFaults, "the seed has too few faults: %v are left", p.plot.pending)
	require.NoError(t, m.stage.broker.settle(t.Context(), p.plot))
	p.compare()
	require.NoError(t, p.source.drop(t.Context()))
}

// step plays one run with what happens before and during it.
func (p *player) step(s step) {
	t := p.t
	was := maps.Clone(p.table.rows)
	for _, c := range s.before {
		p.table.do(c)
	}
	if statements := p.table.since(was); len(statements) > 0 {
		require.NoError(t, p.source.exec(t.Context(), statements))
	}
	read := maps.Clone(p.table.rows)
	for _, c := range s.during {
		p.table.do(c)
	}
	during := p.table.since(read)
	if len(during) > 0 {
		p.mesh.stage.steady.RLock()
		defer p.mesh.stage.steady.RUnlock()
	}
	p.plot.begin(s.faults, during)
	p.runs++
	want := p.fold.run(p.runs, read, s.full)
	got := p.run(s.full)
	require.NoError(t, p.plot.err)
	p.plot.over()
	require.Empty(t, want.differs(countsOf(got.GetCounts())), "run %d (%s) counts otherwise than its rows say", p.runs, got.GetId())
	p.certified(got)
}

// run starts a run and waits for its end.
func (p *player) run(everything bool) *schedulerv1.Run {
	t := p.t
	req := &schedulerv1.TriggerRunRequest{
		Workspace: p.workspace, Sync: "s", Reason: schedulerv1.RunReason_RUN_REASON_MANUAL, Full: everything,
		IdempotencyKey: fmt.Sprint(p.runs),
	}
	res, err := p.mesh.scheduler.TriggerRun(t.Context(), req)
	for status.Code(err) == codes.Unavailable { // a call that it needed was lost
		res, err = p.mesh.scheduler.TriggerRun(t.Context(), req)
	}
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	last := res.GetRun()
	for {
		stream, err := p.mesh.scheduler.WatchRun(ctx, &schedulerv1.WatchRunRequest{Workspace: p.workspace, Id: last.GetId()}, grpc.WaitForReady(true))
		for err == nil {
			var r *schedulerv1.WatchRunResponse
			if r, err = stream.Recv(); err != nil {
				break
			}
			switch last = r.GetRun(); last.GetState() {
			case schedulerv1.RunState_RUN_STATE_QUEUED, schedulerv1.RunState_RUN_STATE_PLANNING, schedulerv1.RunState_RUN_STATE_RUNNING:
				continue
			}
			return last
		}
		require.Equal(t, codes.Unavailable, status.Code(err), "the run did not end: %v; last seen: %v", err, last) // else it is watched again
	}
}

// certified says that a run ended well and that its account closes.
func (p *player) certified(r *schedulerv1.Run) {
	t, c := p.t, r.GetCounts()
	want := schedulerv1.RunState_RUN_STATE_SUCCEEDED
	if c.GetRejected()+c.GetRefused() > 0 {
		want = schedulerv1.RunState_RUN_STATE_PARTIALLY_SUCCEEDED
	}
	require.Equal(t, want, r.GetState(), "run %s: %s", r.GetId(), r.GetError().GetMessage())
	require.True(t, r.GetCertificate().GetBalanced(), "the certificate of run %s does not balance: %v", r.GetId(), r)
	require.Equal(t, r.GetCertificate().GetRowsDigest(), r.GetCertificate().GetAccountedDigest())
	require.Equal(t, c.GetRead(), c.GetFiltered()+c.GetRejected()+c.GetMapped())
	require.Equal(t, c.GetMapped()+c.GetAbsent(), c.GetCreated()+c.GetUpdated()+c.GetUnchanged()+c.GetDeleted()+c.GetProtected()+c.GetRefused())
}

// folder answers a folder for the seeds' files.
func folder(t *testing.T) string {
	dir := filepath.Join(t.TempDir(), "warehouses")
	require.NoError(t, os.MkdirAll(dir, 0o700))
	return dir
}
