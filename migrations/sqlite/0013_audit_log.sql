-- Every change, who made it and from where, each entry chained to the one before it; and answers kept for requests that are sent
-- again. New tables: locks nothing in use.

-- A chain for each organisation, and one, 'installation', for what belongs to none. `hash` covers `previous_hash`, `body` and
-- `personal_hash`; `personal` (whose salted SHA-256 the latter is) can be taken away without breaking the chain.
CREATE TABLE audit_log (
    chain         TEXT    NOT NULL,
    sequence      INTEGER NOT NULL,
    at            INTEGER NOT NULL,
    action        TEXT    NOT NULL,
    actor_id      TEXT    NOT NULL,
    target_kind   TEXT    NOT NULL,
    target_id     TEXT    NOT NULL,
    project_id    TEXT,
    request_id    TEXT    NOT NULL,
    body          TEXT    NOT NULL, -- JSON, as it was hashed
    personal      TEXT,             -- JSON; null once it was erased
    personal_salt BLOB,
    personal_hash BLOB    NOT NULL CHECK (length(personal_hash) = 32),
    previous_hash BLOB    NOT NULL CHECK (length(previous_hash) = 32),
    hash          BLOB    NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (chain, sequence)
) STRICT;

CREATE INDEX audit_log_by_target ON audit_log (chain, target_id, sequence);
CREATE INDEX audit_log_by_actor ON audit_log (actor_id, at);

CREATE TABLE audit_heads (
    chain    TEXT    NOT NULL PRIMARY KEY,
    sequence INTEGER NOT NULL,
    hash     BLOB    NOT NULL CHECK (length(hash) = 32),
    told     INTEGER NOT NULL DEFAULT 0 -- the last entry that other systems were told of
) STRICT;

-- What was answered to a request with an `Idempotency-Key`. Answers may hold new secrets, so they are sealed.
CREATE TABLE idempotent_requests (
    caller       TEXT    NOT NULL,
    key          TEXT    NOT NULL,
    request_hash BLOB    NOT NULL CHECK (length(request_hash) = 32),
    status       INTEGER, -- null while the first one runs
    sealed       BLOB,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    PRIMARY KEY (caller, key)
) STRICT;

CREATE INDEX idempotent_requests_by_expiry ON idempotent_requests (expires_at);
