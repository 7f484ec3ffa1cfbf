-- What else is known of a run, a part and a sync, as JSON.
ALTER TABLE scheduler_runs ADD COLUMN facts TEXT NOT NULL DEFAULT '{}';
ALTER TABLE scheduler_parts ADD COLUMN facts TEXT NOT NULL DEFAULT '{}';
ALTER TABLE scheduler_syncs ADD COLUMN facts TEXT NOT NULL DEFAULT '{}';

-- The connection that a run reads: workspace/id. Empty: not known.
ALTER TABLE scheduler_runs ADD COLUMN connection TEXT NOT NULL DEFAULT '';
