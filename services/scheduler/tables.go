package scheduler

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"time"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/run"
	"millrace.dev/pkg/sqldb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrationFiles answers the migrations of the service's tables.
func migrationFiles() (fs.FS, error) {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fault.New(fault.Internal, fault.ReasonInternal, "find the migrations: %w", err)
	}
	return sub, nil
}

// lane is one of a sync's two lanes.
type lane string

const (
	live    lane = "live"
	history lane = "history"
)

// reason is why a run was created.
type reason string

const (
	scheduled reason = "scheduled"
	manual    reason = "manual"
	viaAPI    reason = "api"
	retrying  reason = "retry"
	backfill  reason = "backfill"
	replaying reason = "replay"
)

// byHand says whether a person or program asked for the run.
func (r reason) byHand() bool { return r == manual || r == viaAPI || r == retrying }

// issue is what went wrong, in words for programs and for people.
type issue struct{ Reason, Message string }

// plan is what a plan fixed. The plan itself is kept as the API writes it.
type plan struct {
	Text          string // without its parts
	Watermark     string
	LowEdge       string
	Snapshot      string
	EstimatedRows int64
	NullIterator  int64
	Facts         planFacts // kept with the run's
	Cost          cost      // that its making adds to the run's
}

// slice is what a part reads.
type slice struct {
	Text  string // as the API writes it
	Label string // for people
}

// runRow is a run as stored.
type runRow struct {
	ID          id.Run
	Workspace   id.Workspace
	SyncID      string
	SyncUID     string
	SyncVersion int64
	RunNo       int64
	Lane        lane
	Reason      reason
	State       run.State
	Open        bool
	Closing     run.State // set: to be closed so once its parts are fenced
	FaultsSync  bool
	Full        bool
	Incremental bool
	Checkpoint  string
	Retried     []retriedRun
	Traceparent string
	CreateTime  time.Time
	StartTime   time.Time
	PlanTime    time.Time
	EndTime     time.Time
	Plan        plan
	Totals      totals // of a closed run
	Issue       issue
	Connection  string // workspace/id of the connection that it reads; empty: not known
	Facts       runFacts
}

// retriedRun is a run that another retries.
type retriedRun struct {
	Run   string `json:"run"`
	RunNo int64  `json:"run_no"`
}

// totals is a run's account with how many parts it has.
type totals struct {
	run.Account
	Parts  int64
	Source run.Source
}

const runColumns = `id, workspace, sync_id, sync_uid, sync_version, run_no, lane, reason, state, is_open, closing, faults_sync,
	full_read, incremental, checkpoint, retried, traceparent, create_time, start_time, plan_time, end_time, plan, watermark, low_edge,
	snapshot, estimated_rows, null_iterator, account, error_reason, error_message, connection, facts`

func scanRun(row sqldb.Row) (runRow, error) {
	var (
		r                             runRow
		runID, retried, account, more string
		open, faults, full, increm    int64
		created, started, planned, e  int64
	)
	err := row.Scan(&runID, &r.Workspace, &r.SyncID, &r.SyncUID, &r.SyncVersion, &r.RunNo, &r.Lane, &r.Reason, &r.State, &open,
		&r.Closing, &faults, &full, &increm, &r.Checkpoint, &retried, &r.Traceparent, &created, &started, &planned, &e,
		&r.Plan.Text, &r.Plan.Watermark, &r.Plan.LowEdge, &r.Plan.Snapshot, &r.Plan.EstimatedRows, &r.Plan.NullIterator,
		&account, &r.Issue.Reason, &r.Issue.Message, &r.Connection, &more)
	if err != nil {
		return runRow{}, err
	}
	r.Open, r.FaultsSync, r.Full, r.Incremental = open == 1, faults == 1, full == 1, increm == 1
	r.CreateTime, r.StartTime, r.PlanTime, r.EndTime = sqldb.Time(created), sqldb.Time(started), sqldb.Time(planned), sqldb.Time(e)
	if r.ID, err = id.ParseRun(runID); err != nil {
		return runRow{}, damaged("run", err)
	}
	if err := decode(retried, &r.Retried); err != nil {
		return runRow{}, damaged("run", err)
	}
	if err := decode(account, &r.Totals); err != nil {
		return runRow{}, damaged("run", err)
	}
	if err := decode(more, &r.Facts); err != nil {
		return runRow{}, damaged("run", err)
	}
	return r, nil
}

func (r runRow) values() []any {
	return []any{
		r.ID.String(), string(r.Workspace), r.SyncID, r.SyncUID, r.SyncVersion, r.RunNo, string(r.Lane), string(r.Reason), string(r.State),
		bit(r.Open), string(r.Closing), bit(r.FaultsSync), bit(r.Full), bit(r.Incremental), r.Checkpoint, encode(r.Retried), r.Traceparent,
		sqldb.Micros(r.CreateTime), sqldb.Micros(r.StartTime), sqldb.Micros(r.PlanTime), sqldb.Micros(r.EndTime),
		r.Plan.Text, r.Plan.Watermark, r.Plan.LowEdge, r.Plan.Snapshot, r.Plan.EstimatedRows, r.Plan.NullIterator,
		encode(r.Totals), r.Issue.Reason, r.Issue.Message, r.Connection, encode(r.Facts),
	}
}

func insertRun(ctx context.Context, q sqldb.Querier, r runRow) error {
	_, err := q.Exec(ctx, "INSERT INTO scheduler_runs ("+runColumns+") VALUES ("+marks(32)+")", r.values()...)
	return err
}

// updateRun writes what changes in the life of a run.
func updateRun(ctx context.Context, q sqldb.Querier, r runRow) error {
	_, err := q.Exec(ctx, `UPDATE scheduler_runs SET lane = ?, state = ?, is_open = ?, closing = ?, faults_sync = ?, start_time = ?, plan_time = ?,
		end_time = ?, plan = ?, watermark = ?, low_edge = ?, snapshot = ?, estimated_rows = ?, null_iterator = ?, account = ?,
		error_reason = ?, error_message = ?, connection = ?, facts = ? WHERE id = ?`,
		string(r.Lane), string(r.State), bit(r.Open), string(r.Closing), bit(r.FaultsSync), sqldb.Micros(r.StartTime), sqldb.Micros(r.PlanTime),
		sqldb.Micros(r.EndTime), r.Plan.Text, r.Plan.Watermark, r.Plan.LowEdge, r.Plan.Snapshot, r.Plan.EstimatedRows, r.Plan.NullIterator,
		encode(r.Totals), r.Issue.Reason, r.Issue.Message, r.Connection, encode(r.Facts), r.ID.String())
	return err
}

// getRun answers a run by its id, in whatever workspace.
func getRun(ctx context.Context, q sqldb.Querier, runID id.Run) (runRow, error) {
	r, err := scanRun(q.QueryRow(ctx, "SELECT "+runColumns+" FROM scheduler_runs WHERE id = ?", runID.String()))
	if fault.ReasonOf(err) == fault.ReasonNotFound {
		return runRow{}, fault.New(fault.NotFound, fault.ReasonNotFound, "no run %s; list the sync's runs to find its id", runID)
	}
	return r, err
}

// openRun answers the open run of a lane, and whether there is one.
func openRun(ctx context.Context, q sqldb.Querier, syncUID string, l lane) (runRow, bool, error) {
	return found(scanRun(q.QueryRow(ctx, "SELECT "+runColumns+" FROM scheduler_runs WHERE sync_uid = ? AND lane = ? AND is_open = 1", syncUID, string(l))))
}

// runs answers runs by a condition.
func runs(ctx context.Context, q sqldb.Querier, where string, args ...any) ([]runRow, error) {
	var out []runRow
	err := q.Query(ctx, func(row sqldb.Row) error {
		r, err := scanRun(row)
		out = append(out, r)
		return err
	}, "SELECT "+runColumns+" FROM scheduler_runs "+where, args...)
	return out, err
}

// syncRow is what goes on from run to run of a sync.
type syncRow struct {
	UID         string
	LastRunNo   int64
	Checkpoint  string
	LiveStart   string
	TickTime    time.Time
	RunTime     time.Time
	SuccessTime time.Time
	Facts       syncFacts
}

const syncColumns = "sync_uid, last_run_no, checkpoint, live_start, tick_time, run_time, success_time, facts"

func scanSync(row sqldb.Row) (syncRow, error) {
	var (
		s                  syncRow
		tick, ran, success int64
		more               string
	)
	if err := row.Scan(&s.UID, &s.LastRunNo, &s.Checkpoint, &s.LiveStart, &tick, &ran, &success, &more); err != nil {
		return s, err
	}
	s.TickTime, s.RunTime, s.SuccessTime = sqldb.Time(tick), sqldb.Time(ran), sqldb.Time(success)
	if err := decode(more, &s.Facts); err != nil {
		return s, damaged("sync", err)
	}
	return s, nil
}

// getSync answers what is known of a sync; the zero row with its uid where it had no run yet.
func getSync(ctx context.Context, q sqldb.Querier, uid string) (syncRow, error) {
	s, ok, err := found(scanSync(q.QueryRow(ctx, "SELECT "+syncColumns+" FROM scheduler_syncs WHERE sync_uid = ?", uid)))
	if !ok {
		s = syncRow{UID: uid}
	}
	return s, err
}

func putSync(ctx context.Context, q sqldb.Querier, s syncRow) error {
	_, err := q.Exec(ctx, "INSERT INTO scheduler_syncs ("+syncColumns+") VALUES ("+marks(8)+`)
		ON CONFLICT (sync_uid) DO UPDATE SET last_run_no = excluded.last_run_no, checkpoint = excluded.checkpoint,
		live_start = excluded.live_start, tick_time = excluded.tick_time, run_time = excluded.run_time, success_time = excluded.success_time,
		facts = excluded.facts`,
		s.UID, s.LastRunNo, s.Checkpoint, s.LiveStart, sqldb.Micros(s.TickTime), sqldb.Micros(s.RunTime), sqldb.Micros(s.SuccessTime), encode(s.Facts))
	return err
}

// found tells a row that is not there from an error.
func found[T any](v T, err error) (T, bool, error) {
	if fault.ReasonOf(err) == fault.ReasonNotFound {
		var zero T
		return zero, false, nil
	}
	return v, err == nil, err
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// marks answers n placeholders.
func marks(n int) string {
	out := make([]byte, 0, 3*n)
	for i := range n {
		if i > 0 {
			out = append(out, ", "...)
		}
		out = append(out, '?')
	}
	return string(out)
}

// encode answers a value of ours as JSON. Structs of numbers and texts always encode.
func encode(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(text)
}

func decode(text string, into any) error {
	if err := json.Unmarshal([]byte(text), into); err != nil {
		return fmt.Errorf("decode %T: %w", into, err)
	}
	return nil
}

func damaged(what string, err error) error {
	return fault.New(fault.Internal, fault.ReasonInternal, "a stored %s cannot be read: %w", what, err)
}

// total answers the account of a run: the sum over parts that no new plan replaced.
func total(r runRow, parts []partRow) totals {
	t := totals{Source: run.Source{Snapshot: r.Plan.Snapshot, Counted: r.Facts.Plan.Counted}}
	for _, p := range parts {
		if !p.counts() {
			continue
		}
		if p.State == run.Complete {
			t.Source = t.Source.Under(p.Facts.Snapshot)
		}
		t.Parts++
		t.Account = t.Add(p.Account)
	}
	t.Counts = withNulls(t.Counts, r.Plan.NullIterator)
	return t
}

// withNulls counts rows without iterator once: the plan's probe finds them whether or not they are read.
func withNulls(c record.Counts, probed int64) record.Counts {
	c.NullIterator = max(c.NullIterator, probed)
	return c
}
