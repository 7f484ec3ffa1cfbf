-- Resources of every kind. body is the resource as the API has it, in JSON, secrets sealed.
CREATE TABLE config_resources (
  workspace TEXT NOT NULL,
  kind TEXT NOT NULL,
  id TEXT NOT NULL,
  display_name TEXT NOT NULL,
  revision BIGINT NOT NULL,
  create_time BIGINT NOT NULL,
  update_time BIGINT NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (workspace, kind, id)
);
CREATE INDEX config_resources_display_name ON config_resources (workspace, kind, display_name);

-- Labels again, by which lists are filtered.
CREATE TABLE config_labels (
  workspace TEXT NOT NULL,
  kind TEXT NOT NULL,
  id TEXT NOT NULL,
  label TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (workspace, kind, id, label)
);

-- Who refers to whom.
CREATE TABLE config_refs (
  workspace TEXT NOT NULL,
  kind TEXT NOT NULL,
  id TEXT NOT NULL,
  to_kind TEXT NOT NULL,
  to_id TEXT NOT NULL,
  PRIMARY KEY (workspace, kind, id, to_kind, to_id)
);
CREATE INDEX config_refs_to ON config_refs (workspace, to_kind, to_id);

-- What changes of a sync without its owner: the version of its newest snapshot, and its status. active_since is when it
-- last became active.
CREATE TABLE config_syncs (
  uid TEXT PRIMARY KEY,
  workspace TEXT NOT NULL,
  id TEXT NOT NULL,
  version BIGINT NOT NULL,
  status TEXT NOT NULL,
  status_reason TEXT NOT NULL,
  next_step TEXT NOT NULL,
  active_since BIGINT NOT NULL,
  UNIQUE (workspace, id)
);

-- Snapshots never change and outlive their sync: runs that are open read them.
CREATE TABLE config_snapshots (
  uid TEXT NOT NULL,
  version BIGINT NOT NULL,
  workspace TEXT NOT NULL,
  id TEXT NOT NULL,
  create_time BIGINT NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (uid, version)
);
