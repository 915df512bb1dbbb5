-- Every change, who made it and from where, each entry chained to the one before it; and answers kept for requests that are sent
-- again. New tables: locks nothing in use.

-- A chain for each organisation, and one, 'installation', for what belongs to none. `hash` covers `previous_hash`, `body` and
-- `personal_hash`; `personal` (whose salted SHA-256 the latter is) can be taken away without breaking the chain.
CREATE TABLE audit_log (
    chain         TEXT COLLATE "C" NOT NULL,
    sequence      BIGINT           NOT NULL,
    at            BIGINT           NOT NULL,
    action        TEXT COLLATE "C" NOT NULL,
    actor_id      TEXT COLLATE "C" NOT NULL,
    target_kind   TEXT COLLATE "C" NOT NULL,
    target_id     TEXT COLLATE "C" NOT NULL,
    project_id    TEXT COLLATE "C",
    request_id    TEXT COLLATE "C" NOT NULL,
    body          TEXT COLLATE "C" NOT NULL, -- JSON, as it was hashed
    personal      TEXT COLLATE "C", -- JSON; null once it was erased
    personal_salt BYTEA,
    personal_hash BYTEA            NOT NULL CHECK (length(personal_hash) = 32),
    previous_hash BYTEA            NOT NULL CHECK (length(previous_hash) = 32),
    hash          BYTEA            NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (chain, sequence)
);

CREATE INDEX audit_log_by_target ON audit_log (chain, target_id, sequence);
CREATE INDEX audit_log_by_actor ON audit_log (actor_id, at);

CREATE TABLE audit_heads (
    chain    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    sequence BIGINT           NOT NULL,
    hash     BYTEA            NOT NULL CHECK (length(hash) = 32),
    told     BIGINT           NOT NULL DEFAULT 0 -- the last entry that other systems were told of
);

-- What was answered to a request with an `Idempotency-Key`. Answers may hold new secrets, so they are sealed.
CREATE TABLE idempotent_requests (
    caller       TEXT COLLATE "C" NOT NULL,
    key          TEXT COLLATE "C" NOT NULL,
    request_hash BYTEA            NOT NULL CHECK (length(request_hash) = 32),
    status       BIGINT, -- null while the first one runs
    sealed       BYTEA,
    created_at   BIGINT           NOT NULL,
    expires_at   BIGINT           NOT NULL,
    PRIMARY KEY (caller, key)
);

CREATE INDEX idempotent_requests_by_expiry ON idempotent_requests (expires_at);
