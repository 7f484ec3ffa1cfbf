-- Changes of what is wrong with syncs, of which alerts are still to be made; written by what changed it.
CREATE TABLE scheduler_changes (
    id TEXT PRIMARY KEY,
    create_time BIGINT NOT NULL,
    -- the change, as JSON
    change TEXT NOT NULL
);

CREATE INDEX scheduler_changes_time ON scheduler_changes (create_time, id);

-- Messages that are still to be sent, in the order of their creation.
CREATE TABLE scheduler_messages (
    -- by which a receiver knows a repeat
    id TEXT PRIMARY KEY,
    workspace TEXT NOT NULL,
    alert TEXT NOT NULL,
    -- webhook or email, and of email the address
    target TEXT NOT NULL,
    address TEXT NOT NULL,
    body TEXT NOT NULL,
    tries BIGINT NOT NULL,
    -- the next try; while a process sends it: when another may take it for lost
    not_before BIGINT NOT NULL,
    create_time BIGINT NOT NULL
);

CREATE INDEX scheduler_messages_time ON scheduler_messages (create_time, id);
