-- Notes of dry runs, apart from everything else. `turn` counts the batches that were noted.
CREATE TABLE millrace_store.scratch_runs (
    run  uuid   PRIMARY KEY,
    turn bigint NOT NULL
);

CREATE TABLE millrace_store.scratch (
    run   uuid  NOT NULL,
    key   bytea NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (run, key)
);
