-- A scope is about people and their events, or else about what `space` says: groups, lookup tables, histories.
ALTER TABLE millrace_store.scopes ADD COLUMN space text NOT NULL DEFAULT '';
ALTER TABLE millrace_store.scopes DROP CONSTRAINT scopes_workspace_environment_key;
ALTER TABLE millrace_store.scopes ADD CONSTRAINT scopes_name UNIQUE (workspace, environment, space);
