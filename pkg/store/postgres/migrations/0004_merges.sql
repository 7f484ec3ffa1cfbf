-- `survivor` is the profile that this one is merged into: nothing goes to it any more.
ALTER TABLE millrace_store.profiles ADD COLUMN survivor bigint;

-- The log of merges. `entry` is packed (see profile.AppendMerge).
CREATE TABLE millrace_store.merges (
    scope integer NOT NULL,
    id    uuid    NOT NULL,
    entry bytea   NOT NULL,
    PRIMARY KEY (scope, id)
);

-- Which profiles an entry of the log is about.
CREATE TABLE millrace_store.merges_of (
    scope   integer NOT NULL,
    profile bigint  NOT NULL,
    merge   uuid    NOT NULL,
    PRIMARY KEY (scope, profile, merge)
);
