-- The attempts whose cost is in that of their run: what is told again is not added again.
CREATE TABLE scheduler_costs (
    run_id TEXT NOT NULL,
    part BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    PRIMARY KEY (run_id, part, epoch)
);
