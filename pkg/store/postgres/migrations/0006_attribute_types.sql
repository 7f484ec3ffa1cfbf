CREATE TABLE millrace_store.attribute_types (
    scope integer NOT NULL,
    name  text    NOT NULL,
    type  text    NOT NULL,
    PRIMARY KEY (scope, name)
);
