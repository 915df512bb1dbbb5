-- Sums by minute, hour and day, which answer every analytical query. New tables: locks nothing in use.

-- What the sums are kept apart by. An empty text stands for "none": NULLs would not be unique.
CREATE TABLE usage_dims (
    dim_id     INTEGER NOT NULL PRIMARY KEY,
    org_id     TEXT    NOT NULL,
    project_id TEXT    NOT NULL,
    team_id    TEXT    NOT NULL,
    user_id    TEXT    NOT NULL,
    key_id     TEXT    NOT NULL,
    model      TEXT    NOT NULL,
    event_type TEXT    NOT NULL,
    UNIQUE (project_id, key_id, user_id, model, team_id, event_type, org_id)
) STRICT;

CREATE TABLE usage_minute (
    bucket                INTEGER NOT NULL, -- its start, UTC
    dim_id                INTEGER NOT NULL,
    requests              INTEGER NOT NULL,
    errors                INTEGER NOT NULL,
    input_tokens          INTEGER NOT NULL,
    output_tokens         INTEGER NOT NULL,
    cache_read_tokens     INTEGER NOT NULL,
    cache_write_5m_tokens INTEGER NOT NULL,
    cache_write_1h_tokens INTEGER NOT NULL,
    thinking_tokens       INTEGER NOT NULL,
    web_search_requests   INTEGER NOT NULL,
    cost_nano_usd         INTEGER NOT NULL,
    unknown_cost_events   INTEGER NOT NULL,
    estimated_events      INTEGER NOT NULL,
    latency_ms_sum        INTEGER NOT NULL,
    latency_ms_max        INTEGER NOT NULL,
    PRIMARY KEY (bucket, dim_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE usage_hour (
    bucket                INTEGER NOT NULL, -- its start, UTC
    dim_id                INTEGER NOT NULL,
    requests              INTEGER NOT NULL,
    errors                INTEGER NOT NULL,
    input_tokens          INTEGER NOT NULL,
    output_tokens         INTEGER NOT NULL,
    cache_read_tokens     INTEGER NOT NULL,
    cache_write_5m_tokens INTEGER NOT NULL,
    cache_write_1h_tokens INTEGER NOT NULL,
    thinking_tokens       INTEGER NOT NULL,
    web_search_requests   INTEGER NOT NULL,
    cost_nano_usd         INTEGER NOT NULL,
    unknown_cost_events   INTEGER NOT NULL,
    estimated_events      INTEGER NOT NULL,
    latency_ms_sum        INTEGER NOT NULL,
    latency_ms_max        INTEGER NOT NULL,
    PRIMARY KEY (bucket, dim_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE usage_day (
    bucket                INTEGER NOT NULL, -- its start, UTC
    dim_id                INTEGER NOT NULL,
    requests              INTEGER NOT NULL,
    errors                INTEGER NOT NULL,
    input_tokens          INTEGER NOT NULL,
    output_tokens         INTEGER NOT NULL,
    cache_read_tokens     INTEGER NOT NULL,
    cache_write_5m_tokens INTEGER NOT NULL,
    cache_write_1h_tokens INTEGER NOT NULL,
    thinking_tokens       INTEGER NOT NULL,
    web_search_requests   INTEGER NOT NULL,
    cost_nano_usd         INTEGER NOT NULL,
    unknown_cost_events   INTEGER NOT NULL,
    estimated_events      INTEGER NOT NULL,
    latency_ms_sum        INTEGER NOT NULL,
    latency_ms_max        INTEGER NOT NULL,
    PRIMARY KEY (bucket, dim_id)
) STRICT, WITHOUT ROWID;

-- Per level: buckets before `complete_until` are closed (a later event is added to them directly); buckets before `kept_from`
-- were dropped by retention and must not come back.
CREATE TABLE rollup_state (
    level          TEXT    NOT NULL PRIMARY KEY,
    complete_until INTEGER NOT NULL,
    kept_from      INTEGER NOT NULL
) STRICT;

INSERT INTO rollup_state (level, complete_until, kept_from) VALUES ('minute', 0, 0), ('hour', 0, 0), ('day', 0, 0);
