-- The rows that are kept of the rejects of a fragment, sealed. What was kept of each reject before is dropped.
CREATE TABLE millrace_store.kept_rows (
    run      uuid   NOT NULL,
    part     bigint NOT NULL,
    epoch    bigint NOT NULL,
    seq      bigint NOT NULL,
    fragment bigint NOT NULL,
    sealed   bytea  NOT NULL,
    PRIMARY KEY (run, part, epoch, seq, fragment)
);

ALTER TABLE millrace_store.rejects DROP COLUMN source;

CREATE INDEX rejects_by_time ON millrace_store.rejects (create_time);
