-- Who may use the API: people, service accounts, teams, and which role each has where; how they prove who they are. New tables, and
-- new columns that are null or constant: locks nothing for longer than a moment.

CREATE TABLE users (
    id                 TEXT    NOT NULL PRIMARY KEY,
    email              TEXT    NOT NULL,
    email_key          TEXT    NOT NULL CONSTRAINT users_email_unique UNIQUE, -- the address as it is compared
    name               TEXT    NOT NULL,
    password_hash      TEXT,                                                  -- PHC string; none: signs in elsewhere
    email_verified_at  INTEGER,
    installation_admin INTEGER NOT NULL DEFAULT 0,
    created_at         INTEGER NOT NULL,
    updated_at         INTEGER NOT NULL,
    last_login_at      INTEGER,
    disabled_at        INTEGER,
    erased_at          INTEGER
) STRICT;

CREATE TABLE service_accounts (
    id          TEXT    NOT NULL PRIMARY KEY,
    org_id      TEXT    NOT NULL REFERENCES orgs (id),
    name        TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    disabled_at INTEGER,
    deleted_at  INTEGER
) STRICT;

CREATE INDEX service_accounts_by_org ON service_accounts (org_id, id);

CREATE TABLE teams (
    id         TEXT    NOT NULL PRIMARY KEY,
    org_id     TEXT    NOT NULL REFERENCES orgs (id),
    name       TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER
) STRICT;

CREATE UNIQUE INDEX teams_name_unique ON teams (org_id, name) WHERE deleted_at IS NULL;
CREATE INDEX teams_by_org ON teams (org_id, id);

ALTER TABLE orgs ADD COLUMN updated_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE orgs ADD COLUMN deleted_at INTEGER;
ALTER TABLE projects ADD COLUMN team_id TEXT;
ALTER TABLE projects ADD COLUMN settings TEXT NOT NULL DEFAULT '{}'; -- JSON of ProjectSettings
ALTER TABLE projects ADD COLUMN updated_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE projects ADD COLUMN deleted_at INTEGER;

CREATE INDEX projects_by_org ON projects (org_id, id);
CREATE INDEX projects_by_team ON projects (team_id) WHERE team_id IS NOT NULL;

-- A key that was disabled can be enabled again. After a rotation, the secret before stays good for a while.
ALTER TABLE keys ADD COLUMN disabled_at INTEGER;
ALTER TABLE keys ADD COLUMN rotated_at INTEGER;
ALTER TABLE keys ADD COLUMN previous_fingerprint BLOB;
ALTER TABLE keys ADD COLUMN previous_hint TEXT;
ALTER TABLE keys ADD COLUMN previous_expires_at INTEGER;

CREATE UNIQUE INDEX keys_previous_fingerprint_unique ON keys (previous_fingerprint) WHERE previous_fingerprint IS NOT NULL;

-- When a key was used last, to the minute. Written once a minute from the sums, never by a request.
CREATE TABLE key_uses (
    key_id       TEXT    NOT NULL PRIMARY KEY, -- what events say; not every producer of events asks whether there is such a key
    last_used_at INTEGER NOT NULL
) STRICT;

INSERT INTO key_uses (key_id, last_used_at)
SELECT d.key_id, max(u.bucket)
FROM (
    SELECT bucket, dim_id FROM usage_day
    UNION ALL
    SELECT bucket, dim_id FROM usage_hour WHERE bucket >= (SELECT complete_until FROM rollup_state WHERE level = 'day')
    UNION ALL
    SELECT bucket, dim_id FROM usage_minute WHERE bucket >= (SELECT complete_until FROM rollup_state WHERE level = 'hour')
) u JOIN usage_dims d ON d.dim_id = u.dim_id
WHERE d.key_id <> '' GROUP BY d.key_id;

-- Which role a person or a service account has, and where. `source` says who gave it: 'manual', or the sign-on provider whose groups did.
CREATE TABLE role_bindings (
    id           TEXT    NOT NULL PRIMARY KEY,
    principal_id TEXT    NOT NULL,                 -- a user or a service account
    org_id       TEXT    NOT NULL REFERENCES orgs (id),
    place        TEXT    NOT NULL CONSTRAINT role_bindings_place CHECK (place IN ('org', 'team', 'project')),
    place_id     TEXT    NOT NULL,
    role         TEXT    NOT NULL CONSTRAINT role_bindings_role CHECK (role IN ('owner', 'admin', 'developer', 'billing', 'auditor')),
    source       TEXT    NOT NULL DEFAULT 'manual',
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    CONSTRAINT role_bindings_once UNIQUE (principal_id, place, place_id, source)
) STRICT;

CREATE INDEX role_bindings_by_org ON role_bindings (org_id, id);
CREATE INDEX role_bindings_by_place ON role_bindings (place_id, id);

CREATE TABLE invitations (
    id          TEXT    NOT NULL PRIMARY KEY,
    org_id      TEXT    NOT NULL REFERENCES orgs (id),
    email       TEXT    NOT NULL,
    email_key   TEXT    NOT NULL,
    place       TEXT    NOT NULL CONSTRAINT invitations_place CHECK (place IN ('org', 'team', 'project')),
    place_id    TEXT    NOT NULL,
    role        TEXT    NOT NULL,
    fingerprint BLOB    NOT NULL CONSTRAINT invitations_fingerprint_unique UNIQUE CHECK (length(fingerprint) = 32),
    mailed      INTEGER NOT NULL, -- whether the token went to the address only; otherwise the inviter saw it
    invited_by  TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    sent_at     INTEGER NOT NULL, -- when its token was made: sending it again makes another
    expires_at  INTEGER NOT NULL,
    accepted_at INTEGER,
    accepted_by TEXT,
    revoked_at  INTEGER
) STRICT;

CREATE INDEX invitations_by_org ON invitations (org_id, id);
CREATE INDEX invitations_by_email ON invitations (email_key);
