-- Which proxies are alive, and what each of them lately said of the limits that are divided among them, for all control planes
-- of this database. New tables: lock nothing in use.

-- Rewritten about every second while several proxies are connected, and never read by a request.
CREATE TABLE live_proxies (
    journal      TEXT    NOT NULL PRIMARY KEY,
    seen_at      INTEGER NOT NULL, -- connected then, or reported; set on by the time in which no control plane was at work
    reported_at  INTEGER,          -- the last report, as are those below
    number       INTEGER,          -- rises from report to report
    live_proxies INTEGER,          -- among how many it divides what is not in `limits`
    limits       TEXT              -- JSON array: each limit with its demand and the portion that it may go by
) STRICT;

-- When a control plane last looked after them: what lies between is nobody's silence.
CREATE TABLE live_proxies_kept (
    only_row  INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    kept_at   INTEGER NOT NULL,
    before_at INTEGER NOT NULL -- the time before that
) STRICT;

INSERT INTO live_proxies_kept (only_row, kept_at, before_at) VALUES (1, 0, 0);
