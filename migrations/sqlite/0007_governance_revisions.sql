-- Which part of what is in force a change was about: a new key must not make ingest read all budgets, or a snapshot all
-- policies. New columns with constant defaults, and indexes of few rows (of flagged events, and of keys): locks nothing for
-- longer than a moment.

-- Raised by triggers, so that no change can forget to.
ALTER TABLE installation ADD COLUMN governance_revision INTEGER NOT NULL DEFAULT 0; -- of anything that governs
ALTER TABLE installation ADD COLUMN budgets_revision INTEGER NOT NULL DEFAULT 0;    -- of what counters depend on

CREATE TRIGGER policies_inserted AFTER INSERT ON policies BEGIN
    UPDATE installation SET governance_revision = governance_revision + 1;
END;
CREATE TRIGGER policies_updated AFTER UPDATE ON policies BEGIN
    UPDATE installation SET governance_revision = governance_revision + 1;
END;

CREATE TRIGGER limits_inserted AFTER INSERT ON limits BEGIN
    UPDATE installation SET governance_revision = governance_revision + 1;
END;
CREATE TRIGGER limits_updated AFTER UPDATE ON limits BEGIN
    UPDATE installation SET governance_revision = governance_revision + 1;
END;

CREATE TRIGGER quotas_inserted AFTER INSERT ON quotas BEGIN
    UPDATE installation SET governance_revision = governance_revision + 1, budgets_revision = budgets_revision + 1;
END;
CREATE TRIGGER quotas_updated AFTER UPDATE ON quotas BEGIN
    UPDATE installation SET governance_revision = governance_revision + 1, budgets_revision = budgets_revision + 1;
END;

-- Their names stand in messages, and in their zones windows begin.
CREATE TRIGGER orgs_inserted AFTER INSERT ON orgs BEGIN
    UPDATE installation SET governance_revision = governance_revision + 1, budgets_revision = budgets_revision + 1;
END;
CREATE TRIGGER orgs_updated AFTER UPDATE ON orgs BEGIN
    UPDATE installation SET governance_revision = governance_revision + 1, budgets_revision = budgets_revision + 1;
END;

-- The decision log of one key and of one user, as 0006 for projects.
CREATE INDEX usage_events_flagged_by_key ON usage_events (key_id, ended_at) WHERE flagged = 1;
CREATE INDEX usage_events_flagged_by_user ON usage_events (user_id, ended_at) WHERE flagged = 1;

-- Whether anybody carries a team or a user, which is asked under the write lock.
CREATE INDEX keys_by_team ON keys (team_id) WHERE team_id IS NOT NULL;
CREATE INDEX keys_by_user ON keys (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX client_credentials_by_team ON client_credentials (team_id) WHERE team_id IS NOT NULL;
CREATE INDEX client_credentials_by_user ON client_credentials (user_id) WHERE user_id IS NOT NULL;
