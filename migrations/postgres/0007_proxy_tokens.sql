-- Tokens with which proxies call their control plane, beside the one of its configuration: each for some of what a proxy does,
-- until some time, perhaps from a certificate of some name only. A new table: locks nothing in use.

CREATE TABLE proxy_tokens (
    id               TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name             TEXT COLLATE "C" NOT NULL,
    fingerprint      BYTEA            NOT NULL
        CONSTRAINT proxy_tokens_fingerprint_unique UNIQUE CHECK (length(fingerprint) = 32),
    hint             TEXT COLLATE "C" NOT NULL,
    scopes           TEXT COLLATE "C" NOT NULL, -- JSON array of strings
    certificate_name TEXT COLLATE "C",
    created_at       BIGINT           NOT NULL,
    expires_at       BIGINT,
    revoked_at       BIGINT,
    last_used_at     BIGINT
);

-- Twice a second every control plane reads those that can still be used. Revoked ones stay, for whoever asks later.
CREATE INDEX proxy_tokens_live ON proxy_tokens (id) WHERE revoked_at IS NULL;
