-- Keys of rows that the parts of a mirror run have read: those of a batch that begin with the same byte, one behind the
-- other, without that byte.
CREATE TABLE millrace_store.sights (
    sync     integer  NOT NULL,
    run_no   bigint   NOT NULL,
    first    smallint NOT NULL,
    part     bigint   NOT NULL,
    epoch    bigint   NOT NULL,
    seq      bigint   NOT NULL,
    fragment bigint   NOT NULL,
    keys     bytea    NOT NULL,
    PRIMARY KEY (sync, run_no, first, part, epoch, seq, fragment)
);

ALTER TABLE millrace_store.sights ALTER COLUMN keys SET STORAGE EXTERNAL;

-- How often something was taken away that commits may have looked up: identities and profiles.
ALTER TABLE millrace_store.scopes ADD COLUMN taken bigint NOT NULL DEFAULT 0;
