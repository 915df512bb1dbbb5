-- People whose identity was replaced by a pseudonym. New tables and a column with a constant default: locks nothing in use.

-- `digest` is the salted SHA-256 of who it was: events that arrive later are known by it. `user_id` and `email` stand here only until what
-- was there is replaced: `events_until` and `audit_until` are how far that has come, by the time of events and the number of entries.
CREATE TABLE erasures (
    id             TEXT    NOT NULL PRIMARY KEY,
    org_id         TEXT    NOT NULL REFERENCES orgs (id),
    digest         BLOB    NOT NULL CHECK (length(digest) = 32),
    user_id        TEXT,
    email          TEXT,
    pseudonym      TEXT    NOT NULL CONSTRAINT erasures_pseudonym_unique UNIQUE,
    events         INTEGER NOT NULL DEFAULT 0,
    events_until   INTEGER,
    audit_until    INTEGER NOT NULL DEFAULT 0,
    created_at     INTEGER NOT NULL,
    finished_at    INTEGER,
    CONSTRAINT erasures_once UNIQUE (org_id, digest)
) STRICT;

CREATE TABLE erasure_salt (
    only_row INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    salt     BLOB    NOT NULL CHECK (length(salt) = 32)
) STRICT;

ALTER TABLE installation ADD COLUMN erasures_revision INTEGER NOT NULL DEFAULT 0;
