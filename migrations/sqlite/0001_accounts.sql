-- Who pays and who may call: organisations, projects, their secrets and their keys. New tables: locks nothing in use.

CREATE TABLE orgs (
    id         TEXT    NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- Names are labels for people: they need not be unique, ids are.
CREATE TABLE projects (
    id         TEXT    NOT NULL PRIMARY KEY,
    org_id     TEXT    NOT NULL REFERENCES orgs (id),
    name       TEXT    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- One row: the installation itself. `snapshot_revision` rises in the same transaction as every change that proxies must see.
CREATE TABLE installation (
    only_row           INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    default_project_id TEXT    NOT NULL REFERENCES projects (id),
    snapshot_revision  INTEGER NOT NULL
) STRICT;

-- The Claude key that a project's virtual keys are exchanged for. `hint` is its last four characters.
CREATE TABLE upstream_credentials (
    project_id TEXT    NOT NULL PRIMARY KEY REFERENCES projects (id),
    sealed     BLOB    NOT NULL,
    hint       TEXT    NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

-- MindWeave keys (`mw_...`). Rows stay after revocation: events name them.
CREATE TABLE keys (
    id          TEXT    NOT NULL PRIMARY KEY,
    project_id  TEXT    NOT NULL REFERENCES projects (id),
    name        TEXT    NOT NULL,
    fingerprint BLOB    NOT NULL CONSTRAINT keys_fingerprint_unique UNIQUE CHECK (length(fingerprint) = 32),
    hint        TEXT    NOT NULL,
    team_id     TEXT,
    user_id     TEXT,
    labels      TEXT    NOT NULL, -- JSON object of strings
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER,
    revoked_at  INTEGER
) STRICT;

CREATE INDEX keys_by_project ON keys (project_id, id);

-- Clients' own Claude credentials that are attributed to a project. Only the fingerprint is known here.
CREATE TABLE client_credentials (
    id          TEXT    NOT NULL PRIMARY KEY,
    project_id  TEXT    NOT NULL REFERENCES projects (id),
    name        TEXT    NOT NULL,
    fingerprint BLOB    NOT NULL CONSTRAINT client_credentials_fingerprint_unique UNIQUE CHECK (length(fingerprint) = 32),
    hint        TEXT    NOT NULL,
    team_id     TEXT,
    user_id     TEXT,
    labels      TEXT    NOT NULL, -- JSON object of strings
    created_at  INTEGER NOT NULL
) STRICT;

CREATE INDEX client_credentials_by_project ON client_credentials (project_id, id);
