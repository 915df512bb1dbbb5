-- Which proxies are alive, and what each of them lately said of the limits that are divided among them, for all control planes
-- of this database. New tables: lock nothing in use.

-- Rewritten about every second while several proxies are connected, and never read by a request. With room in its pages, so that
-- the rows are rewritten in place.
CREATE TABLE live_proxies (
    journal      TEXT   NOT NULL PRIMARY KEY,
    seen_at      BIGINT NOT NULL, -- connected then, or reported; set on by the time in which no control plane was at work
    reported_at  BIGINT,          -- the last report, as are those below
    number       BIGINT,          -- rises from report to report
    live_proxies BIGINT,          -- among how many it divides what is not in `limits`
    limits       TEXT             -- JSON array: each limit with its demand and the portion that it may go by
) WITH (fillfactor = 50);

-- When a control plane last looked after them: what lies between is nobody's silence.
CREATE TABLE live_proxies_kept (
    only_row  BIGINT NOT NULL PRIMARY KEY CHECK (only_row = 1),
    kept_at   BIGINT NOT NULL,
    before_at BIGINT NOT NULL -- the time before that
) WITH (fillfactor = 50);

INSERT INTO live_proxies_kept (only_row, kept_at, before_at) VALUES (1, 0, 0);
