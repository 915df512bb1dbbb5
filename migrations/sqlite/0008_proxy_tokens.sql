-- Tokens with which proxies call their control plane, beside the one of its configuration: each for some of what a proxy does,
-- until some time, perhaps from a certificate of some name only. A new table: locks nothing in use.

CREATE TABLE proxy_tokens (
    id               TEXT    NOT NULL PRIMARY KEY,
    name             TEXT    NOT NULL,
    fingerprint      BLOB    NOT NULL CONSTRAINT proxy_tokens_fingerprint_unique UNIQUE CHECK (length(fingerprint) = 32),
    hint             TEXT    NOT NULL,
    scopes           TEXT    NOT NULL, -- JSON array of strings
    certificate_name TEXT,
    created_at       INTEGER NOT NULL,
    expires_at       INTEGER,
    revoked_at       INTEGER,
    last_used_at     INTEGER
) STRICT;

-- Twice a second every control plane reads those that can still be used. Revoked ones stay, for whoever asks later.
CREATE INDEX proxy_tokens_live ON proxy_tokens (id) WHERE revoked_at IS NULL;
