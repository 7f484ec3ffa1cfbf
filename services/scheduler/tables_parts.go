package scheduler

import (
	"context"
	"time"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/run"
	"millrace.dev/pkg/sqldb"
)

// partRow is a part as stored.
type partRow struct {
	Run         id.Run
	Part        uint32
	State       run.PartState
	Epoch       uint32 // of the last lease; 0: none yet
	Fence       uint32 // batches below have no effect any more
	Tries       int64
	FailedEpoch uint32 // the last epoch whose failure counted as a try
	Worker      string
	LeaseTime   time.Time // until when the lease holds
	NotBefore   time.Time
	Slice       slice
	Origin      string // the run whose account this part's is, where it was adopted
	ReadEpoch   uint32 // the epoch that read it to its end, with how many batches and rows
	ReadBatches uint32
	ReadRows    int64
	Settled     uint32      // batches of its epoch for which nothing more is to come
	Account     run.Account // of its epoch, so far
	Progress    time.Time   // of the last report on it
	Issue       issue
	Facts       partFacts
}

// fenced says whether nothing of p's last lease can have an effect any more.
func (p partRow) fenced() bool { return p.Epoch == 0 || p.Fence > p.Epoch }

const partColumns = `run_id, part, state, epoch, fence, tries, failed_epoch, worker, lease_time, not_before, slice, label, origin,
	read_epoch, read_batches, read_rows, settled, account, progress_time, error_reason, error_message, facts`

// openPart is a part with what decides whether reports on it count.
type openPart struct {
	partRow
	RunOpen    bool
	RunClosing run.State
	RunState   run.State
}

// getOpenPart answers a part with the state of its run. NotFound where there is none.
func getOpenPart(ctx context.Context, q sqldb.Querier, name id.Part) (openPart, error) {
	var (
		out  openPart
		open int64
		err  error
	)
	out.partRow, err = scanPart(q.QueryRow(ctx, "SELECT "+partColumns+`, (SELECT is_open FROM scheduler_runs WHERE id = run_id),
		(SELECT closing FROM scheduler_runs WHERE id = run_id), (SELECT state FROM scheduler_runs WHERE id = run_id)
		FROM scheduler_parts WHERE run_id = ? AND part = ?`,
		name.Run.String(), int64(name.Part)), &open, &out.RunClosing, &out.RunState)
	out.RunOpen = open == 1
	return out, err
}

// scanPart reads partColumns and what the query adds to them.
func scanPart(row sqldb.Row, more ...any) (partRow, error) {
	var (
		p                          partRow
		runID, account, facts      string
		leased, notBefore, touched int64
	)
	err := row.Scan(append([]any{
		&runID, &p.Part, &p.State, &p.Epoch, &p.Fence, &p.Tries, &p.FailedEpoch, &p.Worker, &leased, &notBefore,
		&p.Slice.Text, &p.Slice.Label, &p.Origin, &p.ReadEpoch, &p.ReadBatches, &p.ReadRows, &p.Settled, &account, &touched,
		&p.Issue.Reason, &p.Issue.Message, &facts,
	}, more...)...)
	if err != nil {
		return partRow{}, err
	}
	p.LeaseTime, p.NotBefore, p.Progress = sqldb.Time(leased), sqldb.Time(notBefore), sqldb.Time(touched)
	if p.Run, err = id.ParseRun(runID); err != nil {
		return partRow{}, damaged("part", err)
	}
	if err := decode(account, &p.Account); err != nil {
		return partRow{}, damaged("part", err)
	}
	if err := decode(facts, &p.Facts); err != nil {
		return partRow{}, damaged("part", err)
	}
	return p, nil
}

func insertPart(ctx context.Context, q sqldb.Querier, p partRow) error {
	_, err := q.Exec(ctx, "INSERT INTO scheduler_parts ("+partColumns+") VALUES ("+marks(22)+")",
		p.Run.String(), int64(p.Part), string(p.State), int64(p.Epoch), int64(p.Fence), p.Tries, int64(p.FailedEpoch), p.Worker,
		sqldb.Micros(p.LeaseTime), sqldb.Micros(p.NotBefore), p.Slice.Text, p.Slice.Label, p.Origin, int64(p.ReadEpoch), int64(p.ReadBatches),
		p.ReadRows, int64(p.Settled), encode(p.Account), sqldb.Micros(p.Progress), p.Issue.Reason, p.Issue.Message, encode(p.Facts))
	return err
}

// updatePart writes what changes in the life of a part.
func updatePart(ctx context.Context, q sqldb.Querier, p partRow) error {
	_, err := q.Exec(ctx, `UPDATE scheduler_parts SET state = ?, epoch = ?, fence = ?, tries = ?, failed_epoch = ?, worker = ?, lease_time = ?,
		not_before = ?, read_epoch = ?, read_batches = ?, read_rows = ?, settled = ?, account = ?, progress_time = ?, error_reason = ?,
		error_message = ?, facts = ? WHERE run_id = ? AND part = ?`,
		string(p.State), int64(p.Epoch), int64(p.Fence), p.Tries, int64(p.FailedEpoch), p.Worker, sqldb.Micros(p.LeaseTime),
		sqldb.Micros(p.NotBefore), int64(p.ReadEpoch), int64(p.ReadBatches), p.ReadRows, int64(p.Settled), encode(p.Account),
		sqldb.Micros(p.Progress), p.Issue.Reason, p.Issue.Message, encode(p.Facts), p.Run.String(), int64(p.Part))
	return err
}

func getPart(ctx context.Context, q sqldb.Querier, runID id.Run, part uint32) (partRow, error) {
	p, err := scanPart(q.QueryRow(ctx, "SELECT "+partColumns+" FROM scheduler_parts WHERE run_id = ? AND part = ?", runID.String(), int64(part)))
	if fault.ReasonOf(err) == fault.ReasonNotFound {
		return partRow{}, fault.New(fault.NotFound, fault.ReasonNotFound, "run %s has no part %d", runID, part)
	}
	return p, err
}

// partsOf answers all parts of a run in their order.
func partsOf(ctx context.Context, q sqldb.Querier, runID id.Run) ([]partRow, error) {
	return parts(ctx, q, "WHERE run_id = ? ORDER BY part", runID.String())
}

// parts answers parts by a condition.
func parts(ctx context.Context, q sqldb.Querier, where string, args ...any) ([]partRow, error) {
	var out []partRow
	err := q.Query(ctx, func(row sqldb.Row) error {
		p, err := scanPart(row)
		out = append(out, p)
		return err
	}, "SELECT "+partColumns+" FROM scheduler_parts "+where, args...)
	return out, err
}

// batchRow is a batch as stored.
type batchRow struct {
	Run         id.Run
	Part        uint32
	Epoch       uint32
	Batch       run.Batch
	TraceID     string
	Quarantined string // why it was given up
}

// name answers the batch's name without fragment.
func (b batchRow) name() id.Batch {
	return id.Batch{Run: b.Run, Part: b.Part, Epoch: b.Epoch, Seq: b.Batch.Seq}
}

const batchColumns = "run_id, part, epoch, seq, batch, trace_id, quarantined"

func scanBatch(row sqldb.Row) (batchRow, error) {
	var (
		b           batchRow
		runID, text string
		seq         uint32
	)
	if err := row.Scan(&runID, &b.Part, &b.Epoch, &seq, &text, &b.TraceID, &b.Quarantined); err != nil {
		return batchRow{}, err
	}
	var err error
	if b.Run, err = id.ParseRun(runID); err != nil {
		return batchRow{}, damaged("batch", err)
	}
	if err := decode(text, &b.Batch); err != nil {
		return batchRow{}, damaged("batch", err)
	}
	b.Batch.Seq = seq
	return b, nil
}

// getBatch answers what is known of a batch; nothing but its name where it was never heard of.
func getBatch(ctx context.Context, q sqldb.Querier, name id.Batch) (batchRow, error) {
	b, ok, err := found(scanBatch(q.QueryRow(ctx, "SELECT "+batchColumns+" FROM scheduler_batches WHERE run_id = ? AND part = ? AND epoch = ? AND seq = ?",
		name.Run.String(), int64(name.Part), int64(name.Epoch), int64(name.Seq))))
	if !ok {
		b = batchRow{Run: name.Run, Part: name.Part, Epoch: name.Epoch, Batch: run.Batch{Seq: name.Seq}}
	}
	return b, err
}

func putBatch(ctx context.Context, q sqldb.Querier, b batchRow) error {
	_, err := q.Exec(ctx, "INSERT INTO scheduler_batches ("+batchColumns+") VALUES ("+marks(7)+`)
		ON CONFLICT (run_id, part, epoch, seq) DO UPDATE SET batch = excluded.batch, trace_id = excluded.trace_id, quarantined = excluded.quarantined`,
		b.Run.String(), int64(b.Part), int64(b.Epoch), int64(b.Batch.Seq), encode(b.Batch), b.TraceID, b.Quarantined)
	return err
}

// batches answers batches by a condition.
func batches(ctx context.Context, q sqldb.Querier, where string, args ...any) ([]batchRow, error) {
	var out []batchRow
	err := q.Query(ctx, func(row sqldb.Row) error {
		b, err := scanBatch(row)
		out = append(out, b)
		return err
	}, "SELECT "+batchColumns+" FROM scheduler_batches "+where, args...)
	return out, err
}

// statusRow is a sync status that config is still to be told.
type statusRow struct {
	SyncUID   string
	Workspace id.Workspace
	SyncID    string
	Status    string
	Reason    string // for people
	NextStep  string
	Time      time.Time
}

func putStatus(ctx context.Context, q sqldb.Querier, s statusRow) error {
	_, err := q.Exec(ctx, `INSERT INTO scheduler_statuses (sync_uid, workspace, sync_id, status, reason, next_step, create_time) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (sync_uid) DO UPDATE SET status = excluded.status, reason = excluded.reason, next_step = excluded.next_step, create_time = excluded.create_time`,
		s.SyncUID, string(s.Workspace), s.SyncID, s.Status, s.Reason, s.NextStep, sqldb.Micros(s.Time))
	return err
}

// statuses answers what config is still to be told, oldest first.
func statuses(ctx context.Context, q sqldb.Querier) ([]statusRow, error) {
	var out []statusRow
	err := q.Query(ctx, func(row sqldb.Row) error {
		var (
			s  statusRow
			at int64
		)
		err := row.Scan(&s.SyncUID, &s.Workspace, &s.SyncID, &s.Status, &s.Reason, &s.NextStep, &at)
		s.Time = sqldb.Time(at)
		out = append(out, s)
		return err
	}, "SELECT sync_uid, workspace, sync_id, status, reason, next_step, create_time FROM scheduler_statuses ORDER BY create_time LIMIT 100")
	return out, err
}
