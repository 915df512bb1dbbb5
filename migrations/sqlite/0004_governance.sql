-- What admins put in force: policies with their versions, rate limits, budgets; roles of keys; the zone of an organisation's
-- days. New tables and columns with constant defaults: locks nothing for longer than a moment.

-- IANA name of the zone in which budgets' days, weeks and months begin, and that policies see.
ALTER TABLE orgs ADD COLUMN time_zone TEXT NOT NULL DEFAULT 'UTC';

-- JSON arrays of texts, for policies.
ALTER TABLE keys ADD COLUMN roles TEXT NOT NULL DEFAULT '[]';
ALTER TABLE client_credentials ADD COLUMN roles TEXT NOT NULL DEFAULT '[]';

-- Rows stay after deletion, here and below: the decision log names them.
CREATE TABLE policies (
    id         TEXT    NOT NULL PRIMARY KEY,
    org_id     TEXT    NOT NULL REFERENCES orgs (id),
    name       TEXT    NOT NULL,
    mode       TEXT    NOT NULL CONSTRAINT policies_mode CHECK (mode IN ('enforce', 'shadow', 'off')),
    scope      TEXT    NOT NULL, -- JSON object of one entry
    on_error   TEXT    NOT NULL CONSTRAINT policies_on_error CHECK (on_error IN ('deny', 'allow')),
    version    INTEGER NOT NULL, -- the one in force
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER
) STRICT;

CREATE UNIQUE INDEX policies_name_unique ON policies (org_id, name) WHERE deleted_at IS NULL;

-- Versions are never changed: restoring an old one makes a new one with its content.
CREATE TABLE policy_versions (
    policy_id     TEXT    NOT NULL REFERENCES policies (id),
    version       INTEGER NOT NULL CHECK (version > 0),
    rego          TEXT    NOT NULL,
    data          TEXT    NOT NULL, -- JSON object
    bundled       TEXT,             -- the bundled policy that the text is, if it is one
    restored_from INTEGER,          -- the version whose content this one has again
    package       TEXT    NOT NULL,
    reads         TEXT    NOT NULL, -- JSON array: the input paths that the text reads
    warnings      TEXT    NOT NULL, -- JSON array: what the compiler noted
    created_at    INTEGER NOT NULL,
    PRIMARY KEY (policy_id, version)
) STRICT;

CREATE TABLE limits (
    id         TEXT    NOT NULL PRIMARY KEY,
    org_id     TEXT    NOT NULL REFERENCES orgs (id),
    name       TEXT    NOT NULL,
    spec       TEXT    NOT NULL, -- JSON of LimitSpec
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER
) STRICT;

CREATE UNIQUE INDEX limits_name_unique ON limits (org_id, name) WHERE deleted_at IS NULL;

CREATE TABLE quotas (
    id         TEXT    NOT NULL PRIMARY KEY,
    org_id     TEXT    NOT NULL REFERENCES orgs (id),
    name       TEXT    NOT NULL,
    spec       TEXT    NOT NULL, -- JSON of QuotaSpec
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER
) STRICT;

CREATE UNIQUE INDEX quotas_name_unique ON quotas (org_id, name) WHERE deleted_at IS NULL;
