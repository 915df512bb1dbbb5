-- People whose identity was replaced by a pseudonym. New tables and a column with a constant default: locks nothing in use.

-- `digest` is the salted SHA-256 of who it was: events that arrive later are known by it. `user_id` and `email` stand here only until what
-- was there is replaced: `events_until` and `audit_until` are how far that has come, by the time of events and the number of entries.
CREATE TABLE erasures (
    id             TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    org_id         TEXT COLLATE "C" NOT NULL REFERENCES orgs (id),
    digest         BYTEA            NOT NULL CHECK (length(digest) = 32),
    user_id        TEXT COLLATE "C",
    email          TEXT COLLATE "C",
    pseudonym      TEXT COLLATE "C" NOT NULL CONSTRAINT erasures_pseudonym_unique UNIQUE,
    events         BIGINT           NOT NULL DEFAULT 0,
    events_until   BIGINT,
    audit_until    BIGINT            NOT NULL DEFAULT 0,
    created_at     BIGINT           NOT NULL,
    finished_at    BIGINT,
    CONSTRAINT erasures_once UNIQUE (org_id, digest)
);

CREATE TABLE erasure_salt (
    only_row BIGINT NOT NULL PRIMARY KEY CHECK (only_row = 1),
    salt     BYTEA  NOT NULL CHECK (length(salt) = 32)
);

ALTER TABLE installation ADD COLUMN erasures_revision BIGINT NOT NULL DEFAULT 0;
