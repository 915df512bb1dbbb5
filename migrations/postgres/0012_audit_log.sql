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

CREATE INDEX audit_log_by_target ON audit_log (target_id, chain, sequence);
CREATE INDEX audit_log_by_actor ON audit_log (actor_id, chain, sequence);
CREATE INDEX audit_log_by_action ON audit_log (action, chain, sequence);
CREATE INDEX audit_log_by_project ON audit_log (project_id, chain, sequence) WHERE project_id IS NOT NULL;
CREATE INDEX audit_log_by_request ON audit_log (request_id, chain, sequence);
CREATE INDEX audit_log_by_time ON audit_log (chain, at);

-- What was written stays; only what identifies a person can be taken away. Stops slips, not whoever may change the schema: for
-- those there is the chain.
CREATE FUNCTION mindweave_audit_log_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'the audit log only grows';
    END IF;
    IF (new.personal IS NULL OR new.personal IS NOT DISTINCT FROM old.personal)
        AND (new.personal_salt IS NULL OR new.personal_salt IS NOT DISTINCT FROM old.personal_salt)
        AND (new.chain, new.sequence, new.at, new.action, new.actor_id, new.target_kind, new.target_id, new.request_id)
            = (old.chain, old.sequence, old.at, old.action, old.actor_id, old.target_kind, old.target_id, old.request_id)
        AND (new.body, new.personal_hash, new.previous_hash, new.hash)
            = (old.body, old.personal_hash, old.previous_hash, old.hash)
        AND new.project_id IS NOT DISTINCT FROM old.project_id
    THEN
        RETURN new;
    END IF;
    RAISE EXCEPTION 'an entry of the audit log stays as it is';
END
$$;

CREATE TRIGGER audit_log_stays BEFORE UPDATE OR DELETE ON audit_log
    FOR EACH ROW EXECUTE FUNCTION mindweave_audit_log_stays();

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
