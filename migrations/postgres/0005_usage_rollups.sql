-- Sums by minute, hour and day, which answer every analytical query. New tables: locks nothing in use.

-- What the sums are kept apart by. An empty text stands for "none": NULLs would not be unique.
CREATE TABLE usage_dims (
    dim_id     BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org_id     TEXT COLLATE "C" NOT NULL,
    project_id TEXT COLLATE "C" NOT NULL,
    team_id    TEXT COLLATE "C" NOT NULL,
    user_id    TEXT COLLATE "C" NOT NULL,
    key_id     TEXT COLLATE "C" NOT NULL,
    model      TEXT COLLATE "C" NOT NULL,
    event_type TEXT COLLATE "C" NOT NULL,
    UNIQUE (project_id, key_id, user_id, model, team_id, event_type, org_id)
);

-- Refused requests are among `requests`; calls of MCP tools are not.
SELECT usage_divided_table_create('usage_minute', $columns$
    bucket                BIGINT NOT NULL, -- its start, UTC
    dim_id                BIGINT NOT NULL,
    requests              BIGINT NOT NULL,
    errors                BIGINT NOT NULL,
    input_tokens          BIGINT NOT NULL,
    output_tokens         BIGINT NOT NULL,
    cache_read_tokens     BIGINT NOT NULL,
    cache_write_5m_tokens BIGINT NOT NULL,
    cache_write_1h_tokens BIGINT NOT NULL,
    thinking_tokens       BIGINT NOT NULL,
    web_search_requests   BIGINT NOT NULL,
    cost_nano_usd         BIGINT NOT NULL,
    unknown_cost_events   BIGINT NOT NULL,
    estimated_events      BIGINT NOT NULL,
    latency_ms_sum        BIGINT NOT NULL,
    latency_ms_max        BIGINT NOT NULL,
    denied                BIGINT NOT NULL DEFAULT 0,
    mcp_tool_calls        BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (bucket, dim_id)
$columns$, 'bucket', 'dim_id', 86400000000);

SELECT usage_divided_table_create('usage_hour', $columns$
    bucket                BIGINT NOT NULL, -- its start, UTC
    dim_id                BIGINT NOT NULL,
    requests              BIGINT NOT NULL,
    errors                BIGINT NOT NULL,
    input_tokens          BIGINT NOT NULL,
    output_tokens         BIGINT NOT NULL,
    cache_read_tokens     BIGINT NOT NULL,
    cache_write_5m_tokens BIGINT NOT NULL,
    cache_write_1h_tokens BIGINT NOT NULL,
    thinking_tokens       BIGINT NOT NULL,
    web_search_requests   BIGINT NOT NULL,
    cost_nano_usd         BIGINT NOT NULL,
    unknown_cost_events   BIGINT NOT NULL,
    estimated_events      BIGINT NOT NULL,
    latency_ms_sum        BIGINT NOT NULL,
    latency_ms_max        BIGINT NOT NULL,
    denied                BIGINT NOT NULL DEFAULT 0,
    mcp_tool_calls        BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (bucket, dim_id)
$columns$, 'bucket', 'dim_id', 2592000000000);

-- Kept for ever, a few rows a day: not divided.
CREATE TABLE usage_day (
    bucket                BIGINT NOT NULL, -- its start, UTC
    dim_id                BIGINT NOT NULL,
    requests              BIGINT NOT NULL,
    errors                BIGINT NOT NULL,
    input_tokens          BIGINT NOT NULL,
    output_tokens         BIGINT NOT NULL,
    cache_read_tokens     BIGINT NOT NULL,
    cache_write_5m_tokens BIGINT NOT NULL,
    cache_write_1h_tokens BIGINT NOT NULL,
    thinking_tokens       BIGINT NOT NULL,
    web_search_requests   BIGINT NOT NULL,
    cost_nano_usd         BIGINT NOT NULL,
    unknown_cost_events   BIGINT NOT NULL,
    estimated_events      BIGINT NOT NULL,
    latency_ms_sum        BIGINT NOT NULL,
    latency_ms_max        BIGINT NOT NULL,
    denied                BIGINT NOT NULL DEFAULT 0,
    mcp_tool_calls        BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (bucket, dim_id)
);

-- Per level: buckets before `complete_until` are closed (a later event is added to them directly); buckets before `kept_from`
-- were dropped by retention and must not come back.
CREATE TABLE rollup_state (
    level          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    complete_until BIGINT           NOT NULL,
    kept_from      BIGINT           NOT NULL
);

INSERT INTO rollup_state (level, complete_until, kept_from) VALUES ('minute', 0, 0), ('hour', 0, 0), ('day', 0, 0);
