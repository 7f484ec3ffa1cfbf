-- Snapshots that runs of a sync have kept in a warehouse, where the sync was deleted or keeps none there any more: they are
-- to be dropped.
CREATE TABLE scheduler_leftovers (
    sync_uid TEXT NOT NULL,
    -- a version of the sync that tells how to get there
    sync_version BIGINT NOT NULL,
    workspace TEXT NOT NULL,
    sync_id TEXT NOT NULL,
    -- runs up to this one left it
    last_run_no BIGINT NOT NULL,
    -- waiting, or given_up
    state TEXT NOT NULL,
    tries BIGINT NOT NULL,
    -- when it may be tried next
    not_before BIGINT NOT NULL,
    -- what the last try came to, and what to drop by hand
    error_reason TEXT NOT NULL,
    error_message TEXT NOT NULL,
    by_hand TEXT NOT NULL,
    create_time BIGINT NOT NULL,
    PRIMARY KEY (sync_uid, sync_version)
);
