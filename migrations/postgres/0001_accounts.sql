-- Who pays and who may call: organisations, projects, their secrets and their keys. New tables: locks nothing in use.
--
-- Every text sorts by its bytes (COLLATE "C"), as it does in SQLite: lists have one order on both engines, and an index does
-- not break when the machine's locales change under it.

-- Programs that know the schema at least through `usable_from` may use this database, also next to newer ones. A migration
-- that takes away what older programs need raises it.
CREATE TABLE schema_compatibility (
    only_row    BIGINT NOT NULL PRIMARY KEY CHECK (only_row = 1),
    usable_from BIGINT NOT NULL
);

INSERT INTO schema_compatibility (only_row, usable_from) VALUES (1, 6);

CREATE TABLE orgs (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name       TEXT COLLATE "C" NOT NULL,
    created_at BIGINT           NOT NULL,
    -- IANA name of the zone in which budgets' days, weeks and months begin, and that policies see.
    time_zone  TEXT COLLATE "C" NOT NULL DEFAULT 'UTC'
);

-- Names are labels for people: they need not be unique, ids are.
CREATE TABLE projects (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    org_id     TEXT COLLATE "C" NOT NULL REFERENCES orgs (id),
    name       TEXT COLLATE "C" NOT NULL,
    created_at BIGINT           NOT NULL
);

-- One row: the installation itself. `snapshot_revision` rises in the same transaction as every change that proxies must see.
CREATE TABLE installation (
    only_row            BIGINT           NOT NULL PRIMARY KEY CHECK (only_row = 1),
    default_project_id  TEXT COLLATE "C" NOT NULL REFERENCES projects (id),
    snapshot_revision   BIGINT           NOT NULL,
    -- Raised by triggers, so that no change can forget to.
    governance_revision BIGINT           NOT NULL DEFAULT 0, -- of anything that governs
    budgets_revision    BIGINT           NOT NULL DEFAULT 0  -- of what counters depend on
);

-- The Claude key that a project's virtual keys are exchanged for. `hint` is its last four characters.
CREATE TABLE upstream_credentials (
    project_id TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES projects (id),
    sealed     BYTEA            NOT NULL,
    hint       TEXT COLLATE "C" NOT NULL,
    updated_at BIGINT           NOT NULL
);

-- MindWeave keys (`mw_...`). Rows stay after revocation: events name them.
CREATE TABLE keys (
    id          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    project_id  TEXT COLLATE "C" NOT NULL REFERENCES projects (id),
    name        TEXT COLLATE "C" NOT NULL,
    fingerprint BYTEA            NOT NULL CONSTRAINT keys_fingerprint_unique UNIQUE CHECK (length(fingerprint) = 32),
    hint        TEXT COLLATE "C" NOT NULL,
    team_id     TEXT COLLATE "C",
    user_id     TEXT COLLATE "C",
    labels      TEXT COLLATE "C" NOT NULL, -- JSON object of strings
    created_at  BIGINT           NOT NULL,
    expires_at  BIGINT,
    revoked_at  BIGINT,
    roles       TEXT COLLATE "C" NOT NULL DEFAULT '[]' -- JSON array of texts, for policies
);

CREATE INDEX keys_by_project ON keys (project_id, id);
-- Whether anybody carries a team or a user, which is asked under the write lock.
CREATE INDEX keys_by_team ON keys (team_id) WHERE team_id IS NOT NULL;
CREATE INDEX keys_by_user ON keys (user_id) WHERE user_id IS NOT NULL;

-- Clients' own Claude credentials that are attributed to a project. Only the fingerprint is known here.
CREATE TABLE client_credentials (
    id          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    project_id  TEXT COLLATE "C" NOT NULL REFERENCES projects (id),
    name        TEXT COLLATE "C" NOT NULL,
    fingerprint BYTEA            NOT NULL CONSTRAINT client_credentials_fingerprint_unique UNIQUE CHECK (length(fingerprint) = 32),
    hint        TEXT COLLATE "C" NOT NULL,
    team_id     TEXT COLLATE "C",
    user_id     TEXT COLLATE "C",
    labels      TEXT COLLATE "C" NOT NULL, -- JSON object of strings
    created_at  BIGINT           NOT NULL,
    roles       TEXT COLLATE "C" NOT NULL DEFAULT '[]' -- JSON array of texts, for policies
);

CREATE INDEX client_credentials_by_project ON client_credentials (project_id, id);
CREATE INDEX client_credentials_by_team ON client_credentials (team_id) WHERE team_id IS NOT NULL;
CREATE INDEX client_credentials_by_user ON client_credentials (user_id) WHERE user_id IS NOT NULL;
