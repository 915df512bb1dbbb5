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

CREATE INDEX audit_log_by_target ON audit_log (target_id, chain, sequence);
CREATE INDEX audit_log_by_actor ON audit_log (actor_id, chain, sequence);
CREATE INDEX audit_log_by_action ON audit_log (action, chain, sequence);
CREATE INDEX audit_log_by_project ON audit_log (project_id, chain, sequence) WHERE project_id IS NOT NULL;
CREATE INDEX audit_log_by_request ON audit_log (request_id, chain, sequence);
CREATE INDEX audit_log_by_time ON audit_log (chain, at);

-- What was written stays; only what identifies a person can be taken away. Stops slips, not whoever may change the schema: for
-- those there is the chain.
CREATE TRIGGER audit_log_only_grows BEFORE DELETE ON audit_log
BEGIN
    SELECT RAISE(ABORT, 'the audit log only grows');
END;

-- INSERT OR REPLACE deletes without asking the trigger above.
CREATE TRIGGER audit_log_is_written_once BEFORE INSERT ON audit_log
WHEN EXISTS (SELECT 1 FROM audit_log WHERE chain = new.chain AND sequence = new.sequence)
BEGIN
    SELECT RAISE(ABORT, 'the audit log only grows');
END;

CREATE TRIGGER audit_log_stays BEFORE UPDATE ON audit_log
WHEN NOT (
    new.chain = old.chain AND new.sequence = old.sequence AND new.at = old.at AND new.action = old.action
    AND new.actor_id = old.actor_id AND new.target_kind = old.target_kind AND new.target_id = old.target_id
    AND new.project_id IS old.project_id AND new.request_id = old.request_id AND new.body = old.body
    AND new.personal_hash = old.personal_hash AND new.previous_hash = old.previous_hash AND new.hash = old.hash
    AND (new.personal IS old.personal OR new.personal IS NULL)
    AND (new.personal_salt IS old.personal_salt OR new.personal_salt IS NULL)
)
BEGIN
    SELECT RAISE(ABORT, 'an entry of the audit log stays as it is');
END;

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
