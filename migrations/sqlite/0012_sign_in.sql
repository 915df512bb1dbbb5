-- How people and programs prove who they are. New tables: locks nothing in use. What is presented is stored as its SHA-256
-- (`fingerprint`), and what must be read again is sealed.

-- One sign-in on one device. Its refresh tokens are a family: using one twice revokes it.
CREATE TABLE sessions (
    id               TEXT    NOT NULL PRIMARY KEY,
    user_id          TEXT    NOT NULL REFERENCES users (id),
    method           TEXT    NOT NULL, -- 'password', 'passkey', or the sign-on provider
    second_factor_at INTEGER,          -- when a second factor was shown
    address          TEXT,
    user_agent       TEXT,
    created_at       INTEGER NOT NULL,
    last_used_at     INTEGER NOT NULL,
    expires_at       INTEGER NOT NULL,
    revoked_at       INTEGER,
    revoked_reason   TEXT
) STRICT;

CREATE INDEX sessions_by_user ON sessions (user_id, id);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

CREATE TABLE session_tokens (
    fingerprint BLOB    NOT NULL PRIMARY KEY CHECK (length(fingerprint) = 32),
    session_id  TEXT    NOT NULL REFERENCES sessions (id),
    kind        TEXT    NOT NULL CONSTRAINT session_tokens_kind CHECK (kind IN ('access', 'refresh')),
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    used_at     INTEGER -- of a refresh token: when it was exchanged
) STRICT;

CREATE INDEX session_tokens_by_session ON session_tokens (session_id);
CREATE INDEX session_tokens_by_expiry ON session_tokens (expires_at);

-- Personal access tokens, and those of service accounts.
CREATE TABLE api_tokens (
    id           TEXT    NOT NULL PRIMARY KEY,
    principal_id TEXT    NOT NULL, -- a user or a service account
    name         TEXT    NOT NULL,
    fingerprint  BLOB    NOT NULL CONSTRAINT api_tokens_fingerprint_unique UNIQUE CHECK (length(fingerprint) = 32),
    hint         TEXT    NOT NULL,
    scopes       TEXT    NOT NULL, -- JSON array of texts
    created_by   TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    last_used_at INTEGER,
    revoked_at   INTEGER
) STRICT;

CREATE INDEX api_tokens_by_principal ON api_tokens (principal_id, id);

-- What may be used once, and soon: links in e-mails, challenges, the state of a sign-on.
CREATE TABLE one_time_tokens (
    fingerprint BLOB    NOT NULL PRIMARY KEY CHECK (length(fingerprint) = 32),
    purpose     TEXT    NOT NULL,
    user_id     TEXT,
    data        TEXT    NOT NULL, -- JSON
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    used_at     INTEGER
) STRICT;

CREATE INDEX one_time_tokens_by_user ON one_time_tokens (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX one_time_tokens_by_expiry ON one_time_tokens (expires_at);

CREATE TABLE totp_secrets (
    user_id      TEXT    NOT NULL PRIMARY KEY REFERENCES users (id),
    sealed       BLOB    NOT NULL,
    created_at   INTEGER NOT NULL,
    confirmed_at INTEGER,
    last_step    INTEGER NOT NULL DEFAULT 0 -- the time step of the last code that was taken: none is taken twice
) STRICT;

CREATE TABLE recovery_codes (
    user_id     TEXT    NOT NULL REFERENCES users (id),
    fingerprint BLOB    NOT NULL CHECK (length(fingerprint) = 32),
    used_at     INTEGER,
    PRIMARY KEY (user_id, fingerprint)
) STRICT;

CREATE TABLE passkeys (
    id            TEXT    NOT NULL PRIMARY KEY,
    user_id       TEXT    NOT NULL REFERENCES users (id),
    credential_id BLOB    NOT NULL CONSTRAINT passkeys_credential_unique UNIQUE,
    name          TEXT    NOT NULL,
    credential    TEXT    NOT NULL, -- JSON: public key and what the authenticator said of itself
    created_at    INTEGER NOT NULL,
    last_used_at  INTEGER
) STRICT;

CREATE INDEX passkeys_by_user ON passkeys (user_id, id);

-- Sign-on providers (OpenID Connect).
CREATE TABLE oidc_providers (
    id            TEXT    NOT NULL PRIMARY KEY, -- the name in `/auth/oauth/{provider}`
    org_id        TEXT    NOT NULL REFERENCES orgs (id),
    name          TEXT    NOT NULL,
    issuer        TEXT    NOT NULL,
    client_id     TEXT    NOT NULL,
    sealed        BLOB,                         -- the client secret, where the provider gave one
    settings      TEXT    NOT NULL,             -- JSON: scopes, claims, group-to-role mapping, domains
    enabled       INTEGER NOT NULL DEFAULT 1,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL
) STRICT;

CREATE INDEX oidc_providers_by_org ON oidc_providers (org_id, id);

-- Who somebody is at a sign-on provider.
CREATE TABLE external_identities (
    issuer        TEXT    NOT NULL,
    subject       TEXT    NOT NULL,
    user_id       TEXT    NOT NULL REFERENCES users (id),
    provider_id   TEXT    NOT NULL,
    created_at    INTEGER NOT NULL,
    last_login_at INTEGER NOT NULL,
    PRIMARY KEY (issuer, subject)
) STRICT;

CREATE INDEX external_identities_by_user ON external_identities (user_id);

-- Failed attempts by identity and by address, for all control planes together.
CREATE TABLE attempts (
    bucket       TEXT    NOT NULL PRIMARY KEY,
    count        INTEGER NOT NULL,
    window_start INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL
) STRICT;

CREATE INDEX attempts_by_time ON attempts (updated_at);
