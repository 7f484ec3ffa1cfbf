-- How many identities the hash list of a scope has.
ALTER TABLE millrace_store.scopes ADD COLUMN blocked bigint NOT NULL DEFAULT 0;

-- The hash lists of erased people, in the order in which they grow.
CREATE TABLE millrace_store.blocked (
    scope integer NOT NULL,
    n     bigint  NOT NULL,
    hash  uuid    NOT NULL,
    tag   integer NOT NULL,
    PRIMARY KEY (scope, hash)
);

CREATE UNIQUE INDEX blocked_by_number ON millrace_store.blocked (scope, n);

-- Erasures, with what became of them (see profile.AppendErasure).
CREATE TABLE millrace_store.erasures (
    id       uuid    PRIMARY KEY,
    revision bigint  NOT NULL,
    done     boolean NOT NULL,
    body     bytea   NOT NULL
);

CREATE INDEX erasures_unfinished ON millrace_store.erasures (id) WHERE NOT done;

-- What the keys of a workspace's hash lists are kept as, sealed.
CREATE TABLE millrace_store.salts (
    workspace text  PRIMARY KEY,
    salt      bytea NOT NULL
);
