-- Who may use the API: people, service accounts, teams, and which role each has where; how they prove who they are. New tables, and
-- new columns that are null or constant: locks nothing for longer than a moment.

CREATE TABLE users (
    id                 TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    email              TEXT COLLATE "C" NOT NULL,
    email_key          TEXT COLLATE "C" NOT NULL CONSTRAINT users_email_unique UNIQUE, -- the address as it is compared
    name               TEXT COLLATE "C" NOT NULL,
    password_hash      TEXT COLLATE "C", -- PHC string; none: signs in elsewhere
    email_verified_at  BIGINT,
    installation_admin BIGINT           NOT NULL DEFAULT 0,
    created_at         BIGINT           NOT NULL,
    updated_at         BIGINT           NOT NULL,
    last_login_at      BIGINT,
    disabled_at        BIGINT,
    erased_at          BIGINT
);

CREATE TABLE service_accounts (
    id          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    org_id      TEXT COLLATE "C" NOT NULL REFERENCES orgs (id),
    name        TEXT COLLATE "C" NOT NULL,
    created_at  BIGINT           NOT NULL,
    updated_at  BIGINT           NOT NULL,
    disabled_at BIGINT,
    deleted_at  BIGINT
);

CREATE INDEX service_accounts_by_org ON service_accounts (org_id, id);

CREATE TABLE teams (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    org_id     TEXT COLLATE "C" NOT NULL REFERENCES orgs (id),
    name       TEXT COLLATE "C" NOT NULL,
    created_at BIGINT           NOT NULL,
    updated_at BIGINT           NOT NULL,
    deleted_at BIGINT
);

CREATE UNIQUE INDEX teams_name_unique ON teams (org_id, name) WHERE deleted_at IS NULL;
CREATE INDEX teams_by_org ON teams (org_id, id);

ALTER TABLE orgs ADD COLUMN updated_at BIGINT  NOT NULL DEFAULT 0;
ALTER TABLE orgs ADD COLUMN deleted_at BIGINT;
ALTER TABLE projects ADD COLUMN team_id TEXT COLLATE "C";
ALTER TABLE projects ADD COLUMN settings TEXT COLLATE "C" NOT NULL DEFAULT '{}'; -- JSON of ProjectSettings
ALTER TABLE projects ADD COLUMN updated_at BIGINT  NOT NULL DEFAULT 0;
ALTER TABLE projects ADD COLUMN deleted_at BIGINT;

CREATE INDEX projects_by_org ON projects (org_id, id);
CREATE INDEX projects_by_team ON projects (team_id) WHERE team_id IS NOT NULL;

-- A key that was disabled can be enabled again. After a rotation, the secret before stays good for a while.
ALTER TABLE keys ADD COLUMN disabled_at BIGINT;
ALTER TABLE keys ADD COLUMN rotated_at BIGINT;
ALTER TABLE keys ADD COLUMN previous_fingerprint BYTEA;
ALTER TABLE keys ADD COLUMN previous_hint TEXT COLLATE "C";
ALTER TABLE keys ADD COLUMN previous_expires_at BIGINT;

CREATE UNIQUE INDEX keys_previous_fingerprint_unique ON keys (previous_fingerprint) WHERE previous_fingerprint IS NOT NULL;

-- When a key was used last, to the minute. Written once a minute from the sums, never by a request.
CREATE TABLE key_uses (
    key_id       TEXT COLLATE "C" NOT NULL PRIMARY KEY, -- what events say; not every producer of events asks whether there is such a key
    last_used_at BIGINT  NOT NULL
);

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
    id           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    principal_id TEXT COLLATE "C" NOT NULL,                 -- a user or a service account
    org_id       TEXT COLLATE "C" NOT NULL REFERENCES orgs (id),
    place        TEXT COLLATE "C" NOT NULL CONSTRAINT role_bindings_place CHECK (place IN ('org', 'team', 'project')),
    place_id     TEXT COLLATE "C" NOT NULL,
    role         TEXT COLLATE "C" NOT NULL CONSTRAINT role_bindings_role CHECK (role IN ('owner', 'admin', 'developer', 'billing', 'auditor')),
    source       TEXT COLLATE "C" NOT NULL DEFAULT 'manual',
    created_at   BIGINT           NOT NULL,
    updated_at   BIGINT           NOT NULL,
    CONSTRAINT role_bindings_once UNIQUE (principal_id, place, place_id, source)
);

CREATE INDEX role_bindings_by_org ON role_bindings (org_id, id);
CREATE INDEX role_bindings_by_place ON role_bindings (place_id, id);

CREATE TABLE invitations (
    id          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    org_id      TEXT COLLATE "C" NOT NULL REFERENCES orgs (id),
    email       TEXT COLLATE "C" NOT NULL,
    email_key   TEXT COLLATE "C" NOT NULL,
    place       TEXT COLLATE "C" NOT NULL CONSTRAINT invitations_place CHECK (place IN ('org', 'team', 'project')),
    place_id    TEXT COLLATE "C" NOT NULL,
    role        TEXT COLLATE "C" NOT NULL,
    fingerprint BYTEA            NOT NULL CONSTRAINT invitations_fingerprint_unique UNIQUE CHECK (length(fingerprint) = 32),
    mailed      BIGINT           NOT NULL, -- whether the token went to the address only; otherwise the inviter saw it
    invited_by  TEXT COLLATE "C" NOT NULL,
    created_at  BIGINT           NOT NULL,
    sent_at     BIGINT           NOT NULL, -- when its token was made: sending it again makes another
    expires_at  BIGINT           NOT NULL,
    accepted_at BIGINT,
    accepted_by TEXT COLLATE "C",
    revoked_at  BIGINT
);

CREATE INDEX invitations_by_org ON invitations (org_id, id);
CREATE INDEX invitations_by_email ON invitations (email_key);
