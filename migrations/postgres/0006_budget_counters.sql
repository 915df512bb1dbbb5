-- Budgets counted in the ledger. New tables: locks nothing in use.

-- What was used of a budget, by one subject in one window; moved in the transaction that books the events. `moved` orders
-- the changes, so that whoever has seen them up to one can ask for those behind it.
CREATE TABLE budget_counters (
    quota_id     TEXT COLLATE "C" NOT NULL,
    window_start BIGINT           NOT NULL,
    subject      TEXT COLLATE "C" NOT NULL,
    used         BIGINT           NOT NULL, -- requests, tokens or nano-USD
    moved        BIGINT           NOT NULL,
    PRIMARY KEY (quota_id, window_start, subject)
);

CREATE INDEX budget_counters_by_move ON budget_counters (moved);

-- How the counters of a budget were counted. When that changes, they are counted again, from the sums.
CREATE TABLE budget_countings (
    quota_id     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    definition   TEXT COLLATE "C" NOT NULL, -- JSON: everything of the budget that decides which events count how much, and where
    first_window BIGINT           NOT NULL  -- earlier windows are not counted
);

-- The last `moved` that was given out.
CREATE TABLE budget_moves (
    only_row BIGINT NOT NULL PRIMARY KEY CHECK (only_row = 1),
    moved    BIGINT NOT NULL
);

INSERT INTO budget_moves (only_row, moved) VALUES (1, 0);
