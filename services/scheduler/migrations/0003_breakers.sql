-- Warehouses that did not answer of late. One that answers has no row.
CREATE TABLE scheduler_breakers (
    -- workspace/id
    connection TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    -- attempts in a row that did not reach it
    failures BIGINT NOT NULL,
    openings BIGINT NOT NULL,
    -- the end of its cool-off
    until BIGINT NOT NULL,
    -- the lease that probes it, while it is half open
    probe_run TEXT NOT NULL,
    probe_part BIGINT NOT NULL,
    probe_epoch BIGINT NOT NULL
);
