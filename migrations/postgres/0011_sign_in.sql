-- How people and programs prove who they are. New tables: locks nothing in use. What is presented is stored as its SHA-256
-- (`fingerprint`), and what must be read again is sealed.

-- One sign-in on one device. Its refresh tokens are a family: using one twice revokes it.
CREATE TABLE sessions (
    id               TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    user_id          TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    method           TEXT COLLATE "C" NOT NULL, -- 'password', 'passkey', or the sign-on provider
    second_factor_at BIGINT, -- when a second factor was shown
    address          TEXT COLLATE "C",
    user_agent       TEXT COLLATE "C",
    created_at       BIGINT           NOT NULL,
    last_used_at     BIGINT           NOT NULL,
    expires_at       BIGINT           NOT NULL,
    revoked_at       BIGINT,
    revoked_reason   TEXT COLLATE "C"
);

CREATE INDEX sessions_by_user ON sessions (user_id, id);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

CREATE TABLE session_tokens (
    fingerprint BYTEA            NOT NULL PRIMARY KEY CHECK (length(fingerprint) = 32),
    session_id  TEXT COLLATE "C" NOT NULL REFERENCES sessions (id),
    kind        TEXT COLLATE "C" NOT NULL CONSTRAINT session_tokens_kind CHECK (kind IN ('access', 'refresh')),
    created_at  BIGINT           NOT NULL,
    expires_at  BIGINT           NOT NULL,
    used_at     BIGINT -- of a refresh token: when it was exchanged
);

CREATE INDEX session_tokens_by_session ON session_tokens (session_id);
CREATE INDEX session_tokens_by_expiry ON session_tokens (expires_at);

-- Personal access tokens, and those of service accounts.
CREATE TABLE api_tokens (
    id           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    principal_id TEXT COLLATE "C" NOT NULL, -- a user or a service account
    name         TEXT COLLATE "C" NOT NULL,
    fingerprint  BYTEA            NOT NULL CONSTRAINT api_tokens_fingerprint_unique UNIQUE CHECK (length(fingerprint) = 32),
    hint         TEXT COLLATE "C" NOT NULL,
    scopes       TEXT COLLATE "C" NOT NULL, -- JSON array of texts
    created_by   TEXT COLLATE "C" NOT NULL,
    created_at   BIGINT           NOT NULL,
    expires_at   BIGINT,
    last_used_at BIGINT,
    revoked_at   BIGINT
);

CREATE INDEX api_tokens_by_principal ON api_tokens (principal_id, id);

-- What may be used once, and soon: links in e-mails, challenges, the state of a sign-on.
CREATE TABLE one_time_tokens (
    fingerprint BYTEA            NOT NULL PRIMARY KEY CHECK (length(fingerprint) = 32),
    purpose     TEXT COLLATE "C" NOT NULL,
    user_id     TEXT COLLATE "C",
    data        TEXT COLLATE "C" NOT NULL, -- JSON
    created_at  BIGINT           NOT NULL,
    expires_at  BIGINT           NOT NULL,
    used_at     BIGINT
);

CREATE INDEX one_time_tokens_by_user ON one_time_tokens (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX one_time_tokens_by_expiry ON one_time_tokens (expires_at);

CREATE TABLE totp_secrets (
    user_id      TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES users (id),
    sealed       BYTEA            NOT NULL,
    created_at   BIGINT           NOT NULL,
    confirmed_at BIGINT,
    last_step    BIGINT           NOT NULL DEFAULT 0 -- the time step of the last code that was taken: none is taken twice
);

CREATE TABLE recovery_codes (
    user_id     TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    fingerprint BYTEA            NOT NULL CHECK (length(fingerprint) = 32),
    used_at     BIGINT,
    PRIMARY KEY (user_id, fingerprint)
);

CREATE TABLE passkeys (
    id            TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    user_id       TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    credential_id BYTEA            NOT NULL CONSTRAINT passkeys_credential_unique UNIQUE,
    name          TEXT COLLATE "C" NOT NULL,
    credential    TEXT COLLATE "C" NOT NULL, -- JSON: public key and what the authenticator said of itself
    created_at    BIGINT           NOT NULL,
    last_used_at  BIGINT
);

CREATE INDEX passkeys_by_user ON passkeys (user_id, id);

-- Sign-on providers (OpenID Connect).
CREATE TABLE oidc_providers (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY, -- the name in `/auth/oauth/{provider}`
    org_id     TEXT COLLATE "C" NOT NULL REFERENCES orgs (id),
    name       TEXT COLLATE "C" NOT NULL,
    issuer     TEXT COLLATE "C" NOT NULL,
    client_id  TEXT COLLATE "C" NOT NULL,
    sealed     BYTEA, -- the client secret, where the provider gave one
    settings   TEXT COLLATE "C" NOT NULL,             -- JSON: scopes, claims, group-to-role mapping, domains
    enabled    BIGINT           NOT NULL DEFAULT 1,
    created_at BIGINT           NOT NULL,
    updated_at BIGINT           NOT NULL
);

CREATE INDEX oidc_providers_by_org ON oidc_providers (org_id, id);

-- Who somebody is at a sign-on provider.
CREATE TABLE external_identities (
    issuer        TEXT COLLATE "C" NOT NULL,
    subject       TEXT COLLATE "C" NOT NULL,
    user_id       TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    provider_id   TEXT COLLATE "C" NOT NULL,
    created_at    BIGINT           NOT NULL,
    last_login_at BIGINT           NOT NULL,
    PRIMARY KEY (issuer, subject)
);

CREATE INDEX external_identities_by_user ON external_identities (user_id);

-- Failed attempts by identity and by address, for all control planes together.
CREATE TABLE attempts (
    bucket       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    count        BIGINT           NOT NULL,
    window_start BIGINT           NOT NULL,
    updated_at   BIGINT           NOT NULL
);

CREATE INDEX attempts_by_time ON attempts (updated_at);
