-- Spans as they were received, less what is not on the allow-list. attributes and links are JSON; instants are nanoseconds.
CREATE TABLE trace_spans (
  trace_id TEXT NOT NULL,
  span_id TEXT NOT NULL,
  parent_id TEXT NOT NULL,
  service TEXT NOT NULL,
  name TEXT NOT NULL,
  kind BIGINT NOT NULL,
  start_ns BIGINT NOT NULL,
  end_ns BIGINT NOT NULL,
  failed BIGINT NOT NULL,
  reason TEXT NOT NULL,
  attributes TEXT NOT NULL,
  links TEXT NOT NULL,
  PRIMARY KEY (trace_id, span_id)
);

-- What follows from a trace's spans, by which traces are listed. settled is 1 once the configurations have judged it,
-- complete is 1 once no further stage is awaited. stages and services are JSON.
CREATE TABLE trace_traces (
  trace_id TEXT PRIMARY KEY,
  workspace TEXT NOT NULL,
  kind TEXT NOT NULL,
  state TEXT NOT NULL,
  reason TEXT NOT NULL,
  sync_id TEXT NOT NULL,
  sync_uid TEXT NOT NULL,
  feed TEXT NOT NULL,
  run TEXT NOT NULL,
  part BIGINT NOT NULL,
  batch TEXT NOT NULL,
  run_trace TEXT NOT NULL,
  start_ns BIGINT NOT NULL,
  end_ns BIGINT NOT NULL,
  duration_ns BIGINT NOT NULL,
  slowest_stage TEXT NOT NULL,
  stages TEXT NOT NULL,
  services TEXT NOT NULL,
  spans BIGINT NOT NULL,
  dropped BIGINT NOT NULL,
  bytes BIGINT NOT NULL,
  complete BIGINT NOT NULL,
  settled BIGINT NOT NULL,
  write_time BIGINT NOT NULL
);
CREATE INDEX trace_traces_start ON trace_traces (workspace, start_ns, trace_id);
CREATE INDEX trace_traces_duration ON trace_traces (workspace, duration_ns, trace_id);
CREATE INDEX trace_traces_run ON trace_traces (run);
CREATE INDEX trace_traces_end ON trace_traces (end_ns);
CREATE INDEX trace_traces_settled ON trace_traces (settled, write_time);

-- body is the configuration in JSON.
CREATE TABLE trace_configs (
  workspace TEXT NOT NULL,
  id TEXT NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (workspace, id)
);
