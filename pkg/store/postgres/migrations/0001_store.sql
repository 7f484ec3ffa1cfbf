CREATE TABLE millrace_store.scopes (
    id          serial PRIMARY KEY,
    workspace   text NOT NULL,
    environment text NOT NULL,
    UNIQUE (workspace, environment)
);

CREATE TABLE millrace_store.syncs (
    id  serial PRIMARY KEY,
    uid uuid NOT NULL UNIQUE
);

-- What each row of a sync became. `entry` is packed (see entry.go); `rev` counts its writes.
CREATE TABLE millrace_store.row_index (
    sync  integer NOT NULL,
    key   uuid    NOT NULL,
    rev   integer NOT NULL,
    entry bytea   NOT NULL,
    PRIMARY KEY (sync, key)
);

-- `key` is a hash of scope, type and value.
CREATE TABLE millrace_store.identities (
    key     uuid    PRIMARY KEY,
    profile bigint  NOT NULL,
    scope   integer NOT NULL,
    type    text    NOT NULL,
    value   bytea   NOT NULL
);

-- `doc` is contributions one behind the other; `folded` is how long it was when it was last folded.
CREATE TABLE millrace_store.profiles (
    scope   integer NOT NULL,
    folded  integer NOT NULL DEFAULT 0,
    profile bigint  NOT NULL,
    doc     bytea   NOT NULL,
    PRIMARY KEY (scope, profile)
);

CREATE TABLE millrace_store.events (
    scope   integer NOT NULL,
    sync    integer NOT NULL,
    profile bigint  NOT NULL,
    time    bigint  NOT NULL,
    id      uuid    NOT NULL,
    run_no  bigint  NOT NULL,
    doc     bytea   NOT NULL,
    PRIMARY KEY (scope, profile, time, id)
);

CREATE INDEX events_by_sync ON millrace_store.events (sync, scope, time, id, profile);

-- The fragments that were applied, with what they became. `counts` has the fields of record.Counts in their order.
CREATE TABLE millrace_store.batches (
    run         uuid     NOT NULL,
    part        bigint   NOT NULL,
    epoch       bigint   NOT NULL,
    seq         bigint   NOT NULL,
    fragment    bigint   NOT NULL,
    first_row   bigint   NOT NULL,
    row_count   bigint   NOT NULL,
    last        boolean  NOT NULL,
    counts      bigint[] NOT NULL,
    digest      uuid     NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (run, part, epoch, seq, fragment)
);

CREATE TABLE millrace_store.fences (
    run   uuid   NOT NULL,
    part  bigint NOT NULL,
    epoch bigint NOT NULL,
    PRIMARY KEY (run, part)
);

-- `n` is the reject's place among those of its fragment.
CREATE TABLE millrace_store.rejects (
    run         uuid   NOT NULL,
    part        bigint NOT NULL,
    epoch       bigint NOT NULL,
    seq         bigint NOT NULL,
    fragment    bigint NOT NULL,
    row         bigint NOT NULL,
    n           bigint NOT NULL,
    key         uuid   NOT NULL,
    hash        uuid   NOT NULL,
    key_values  bytea  NOT NULL,
    column_name text   NOT NULL,
    stage       text   NOT NULL,
    rule        text   NOT NULL,
    reason      text   NOT NULL,
    source      bytea  NOT NULL,
    workspace   text   NOT NULL,
    sync        uuid   NOT NULL,
    sync_id     text   NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (run, part, epoch, seq, fragment, row, n)
);
