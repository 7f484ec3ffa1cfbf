-- Rows of the batch that became rejects.
ALTER TABLE trace_traces ADD COLUMN rejects BIGINT NOT NULL DEFAULT 0;
