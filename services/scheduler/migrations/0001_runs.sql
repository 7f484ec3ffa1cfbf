-- Instants are microseconds since the Unix epoch, 0 where there is none yet. Empty texts mean none.

-- What goes on from run to run of a sync.
CREATE TABLE scheduler_syncs (
    sync_uid TEXT PRIMARY KEY,
    last_run_no BIGINT NOT NULL,
    -- the watermark of the last accounted live run
    checkpoint TEXT NOT NULL,
    -- where the live lane starts while there is no checkpoint: the watermark of the first run, gone to the history lane
    live_start TEXT NOT NULL,
    -- the last tick of the schedule that was taken
    tick_time BIGINT NOT NULL,
    -- when the last run of the live lane was created, and when one last succeeded
    run_time BIGINT NOT NULL,
    success_time BIGINT NOT NULL
);

CREATE TABLE scheduler_runs (
    id TEXT PRIMARY KEY,
    workspace TEXT NOT NULL,
    sync_id TEXT NOT NULL,
    sync_uid TEXT NOT NULL,
    sync_version BIGINT NOT NULL,
    run_no BIGINT NOT NULL,
    lane TEXT NOT NULL,
    reason TEXT NOT NULL,
    state TEXT NOT NULL,
    is_open BIGINT NOT NULL,
    -- the state that it is to be closed in, once its parts are fenced
    closing TEXT NOT NULL,
    -- its failure is for the sync's owner to mend
    faults_sync BIGINT NOT NULL,
    full_read BIGINT NOT NULL,
    incremental BIGINT NOT NULL,
    -- what it is planned from
    checkpoint TEXT NOT NULL,
    -- the runs that it retries, newest first, as JSON
    retried TEXT NOT NULL,
    traceparent TEXT NOT NULL,
    create_time BIGINT NOT NULL,
    start_time BIGINT NOT NULL,
    plan_time BIGINT NOT NULL,
    end_time BIGINT NOT NULL,
    -- the plan without its parts, as the API writes it
    plan TEXT NOT NULL,
    watermark TEXT NOT NULL,
    low_edge TEXT NOT NULL,
    snapshot TEXT NOT NULL,
    estimated_rows BIGINT NOT NULL,
    null_iterator BIGINT NOT NULL,
    -- of a closed run, as JSON
    account TEXT NOT NULL,
    error_reason TEXT NOT NULL,
    error_message TEXT NOT NULL
);

CREATE UNIQUE INDEX scheduler_runs_open ON scheduler_runs (sync_uid, lane) WHERE is_open = 1;
CREATE UNIQUE INDEX scheduler_runs_no ON scheduler_runs (sync_uid, run_no);
CREATE INDEX scheduler_runs_sync ON scheduler_runs (workspace, sync_id, id);
CREATE INDEX scheduler_runs_all ON scheduler_runs (workspace, id);
CREATE INDEX scheduler_runs_work ON scheduler_runs (is_open, id);

CREATE TABLE scheduler_parts (
    run_id TEXT NOT NULL,
    part BIGINT NOT NULL,
    state TEXT NOT NULL,
    -- of the last lease; 0 where there was none
    epoch BIGINT NOT NULL,
    -- batches below have no effect any more; ingestion has answered so
    fence BIGINT NOT NULL,
    tries BIGINT NOT NULL,
    -- the last epoch whose failure counted as a try
    failed_epoch BIGINT NOT NULL,
    worker TEXT NOT NULL,
    lease_time BIGINT NOT NULL,
    not_before BIGINT NOT NULL,
    slice TEXT NOT NULL,
    label TEXT NOT NULL,
    -- the run whose account this part's is, where it was adopted
    origin TEXT NOT NULL,
    -- the epoch that read it to its end, with how many batches and rows
    read_epoch BIGINT NOT NULL,
    read_batches BIGINT NOT NULL,
    read_rows BIGINT NOT NULL,
    -- of its epoch, so far: batches for which nothing more is to come, and the account as JSON
    settled BIGINT NOT NULL,
    account TEXT NOT NULL,
    progress_time BIGINT NOT NULL,
    error_reason TEXT NOT NULL,
    error_message TEXT NOT NULL,
    PRIMARY KEY (run_id, part)
);

CREATE TABLE scheduler_batches (
    run_id TEXT NOT NULL,
    part BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    -- the batch as accounted, as JSON
    batch TEXT NOT NULL,
    trace_id TEXT NOT NULL,
    -- why it was given up
    quarantined TEXT NOT NULL,
    PRIMARY KEY (run_id, part, epoch, seq)
);

-- Idempotency keys of triggers.
CREATE TABLE scheduler_triggers (
    sync_uid TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    run_id TEXT NOT NULL,
    create_time BIGINT NOT NULL,
    PRIMARY KEY (sync_uid, idempotency_key)
);

CREATE INDEX scheduler_triggers_time ON scheduler_triggers (create_time);

-- Sync statuses that config is still to be told.
CREATE TABLE scheduler_statuses (
    sync_uid TEXT PRIMARY KEY,
    workspace TEXT NOT NULL,
    sync_id TEXT NOT NULL,
    status TEXT NOT NULL,
    reason TEXT NOT NULL,
    next_step TEXT NOT NULL,
    create_time BIGINT NOT NULL
);
