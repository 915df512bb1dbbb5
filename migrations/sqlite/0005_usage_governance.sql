-- Budgets counted in the ledger, refused requests and tool calls summed apart, and a decision log. New tables, columns with
-- constant defaults and an index that starts empty: locks nothing for longer than a moment.
--
-- What was refused before this migration stays among the requests of its sums: until now only what a proxy could not take at
-- all, because its journal was full or the request was too large for the API.

-- What was used of a budget, by one subject in one window; moved in the transaction that books the events. `moved` orders
-- the changes, so that whoever has seen them up to one can ask for those behind it.
CREATE TABLE budget_counters (
    quota_id     TEXT    NOT NULL,
    window_start INTEGER NOT NULL,
    subject      TEXT    NOT NULL,
    used         INTEGER NOT NULL, -- requests, tokens or nano-USD
    moved        INTEGER NOT NULL,
    PRIMARY KEY (quota_id, window_start, subject)
) STRICT, WITHOUT ROWID;

CREATE INDEX budget_counters_by_move ON budget_counters (moved);

-- How the counters of a budget were counted. When that changes, they are counted again, from the sums.
CREATE TABLE budget_countings (
    quota_id     TEXT    NOT NULL PRIMARY KEY,
    definition   TEXT    NOT NULL, -- JSON: everything of the budget that decides which events count how much, and where
    first_window INTEGER NOT NULL  -- earlier windows are not counted
) STRICT;

-- The last `moved` that was given out.
CREATE TABLE budget_moves (
    only_row INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    moved    INTEGER NOT NULL
) STRICT;

INSERT INTO budget_moves (only_row, moved) VALUES (1, 0);

-- Refused requests are among `requests`; calls of MCP tools are not.
ALTER TABLE usage_minute ADD COLUMN denied INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage_minute ADD COLUMN mcp_tool_calls INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage_hour ADD COLUMN denied INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage_hour ADD COLUMN mcp_tool_calls INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage_day ADD COLUMN denied INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage_day ADD COLUMN mcp_tool_calls INTEGER NOT NULL DEFAULT 0;

-- Until now every event was a request. `flagged`: it was refused, or a policy said something about it.
ALTER TABLE usage_events ADD COLUMN event_type TEXT NOT NULL DEFAULT 'api_call';
ALTER TABLE usage_events ADD COLUMN flagged INTEGER NOT NULL DEFAULT 0;

-- The decision log: few of the events, newest first.
CREATE INDEX usage_events_flagged ON usage_events (ended_at) WHERE flagged = 1;
