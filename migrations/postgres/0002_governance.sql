-- What admins put in force: policies with their versions, rate limits, budgets. New tables, and triggers that later changes pay
-- for: locks nothing in use.

-- Rows stay after deletion, here and below: the decision log names them.
CREATE TABLE policies (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    org_id     TEXT COLLATE "C" NOT NULL REFERENCES orgs (id),
    name       TEXT COLLATE "C" NOT NULL,
    mode       TEXT COLLATE "C" NOT NULL CONSTRAINT policies_mode CHECK (mode IN ('enforce', 'shadow', 'off')),
    scope      TEXT COLLATE "C" NOT NULL, -- JSON object of one entry
    on_error   TEXT COLLATE "C" NOT NULL CONSTRAINT policies_on_error CHECK (on_error IN ('deny', 'allow')),
    version    BIGINT           NOT NULL, -- the one in force
    created_at BIGINT           NOT NULL,
    updated_at BIGINT           NOT NULL,
    deleted_at BIGINT
);

CREATE UNIQUE INDEX policies_name_unique ON policies (org_id, name) WHERE deleted_at IS NULL;

-- Versions are never changed: restoring an old one makes a new one with its content.
CREATE TABLE policy_versions (
    policy_id     TEXT COLLATE "C" NOT NULL REFERENCES policies (id),
    version       BIGINT           NOT NULL CHECK (version > 0),
    rego          TEXT COLLATE "C" NOT NULL,
    data          TEXT COLLATE "C" NOT NULL, -- JSON object
    bundled       TEXT COLLATE "C",          -- the bundled policy that the text is, if it is one
    restored_from BIGINT,                    -- the version whose content this one has again
    package       TEXT COLLATE "C" NOT NULL,
    reads         TEXT COLLATE "C" NOT NULL, -- JSON array: the input paths that the text reads
    warnings      TEXT COLLATE "C" NOT NULL, -- JSON array: what the compiler noted
    created_at    BIGINT           NOT NULL,
    PRIMARY KEY (policy_id, version)
);

CREATE TABLE limits (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    org_id     TEXT COLLATE "C" NOT NULL REFERENCES orgs (id),
    name       TEXT COLLATE "C" NOT NULL,
    spec       TEXT COLLATE "C" NOT NULL, -- JSON of LimitSpec
    created_at BIGINT           NOT NULL,
    updated_at BIGINT           NOT NULL,
    deleted_at BIGINT
);

CREATE UNIQUE INDEX limits_name_unique ON limits (org_id, name) WHERE deleted_at IS NULL;

CREATE TABLE quotas (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    org_id     TEXT COLLATE "C" NOT NULL REFERENCES orgs (id),
    name       TEXT COLLATE "C" NOT NULL,
    spec       TEXT COLLATE "C" NOT NULL, -- JSON of QuotaSpec
    created_at BIGINT           NOT NULL,
    updated_at BIGINT           NOT NULL,
    deleted_at BIGINT
);

CREATE UNIQUE INDEX quotas_name_unique ON quotas (org_id, name) WHERE deleted_at IS NULL;

-- Which part of what is in force a change was about: a new key must not make ingest read all budgets, or a snapshot all policies.
CREATE FUNCTION governance_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE installation SET governance_revision = governance_revision + 1;
    RETURN NULL;
END
$$;

CREATE FUNCTION budgets_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE installation SET governance_revision = governance_revision + 1, budgets_revision = budgets_revision + 1;
    RETURN NULL;
END
$$;

CREATE TRIGGER policies_inserted AFTER INSERT ON policies FOR EACH ROW EXECUTE FUNCTION governance_changed();
CREATE TRIGGER policies_updated AFTER UPDATE ON policies FOR EACH ROW EXECUTE FUNCTION governance_changed();
CREATE TRIGGER limits_inserted AFTER INSERT ON limits FOR EACH ROW EXECUTE FUNCTION governance_changed();
CREATE TRIGGER limits_updated AFTER UPDATE ON limits FOR EACH ROW EXECUTE FUNCTION governance_changed();
CREATE TRIGGER quotas_inserted AFTER INSERT ON quotas FOR EACH ROW EXECUTE FUNCTION budgets_changed();
CREATE TRIGGER quotas_updated AFTER UPDATE ON quotas FOR EACH ROW EXECUTE FUNCTION budgets_changed();
-- Their names stand in messages, and in their zones windows begin.
CREATE TRIGGER orgs_inserted AFTER INSERT ON orgs FOR EACH ROW EXECUTE FUNCTION budgets_changed();
CREATE TRIGGER orgs_updated AFTER UPDATE ON orgs FOR EACH ROW EXECUTE FUNCTION budgets_changed();
