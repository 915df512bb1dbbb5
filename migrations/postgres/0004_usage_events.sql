-- The ledger's raw rows and what makes their ingest exactly once. New tables: locks nothing in use.

-- The order of arrival, as far as it matters: numbers are given out in it, transactions may end in another.
CREATE SEQUENCE usage_events_landed;

-- `event` is the whole event as JSON, the other columns are what queries filter by. `id_at` is the time that the id was made
-- at, which is a part of the id, or else `ended_at`: a function of the event, so that the two together are as unique as the id
-- alone. A divided table must have its time in every unique key.
SELECT usage_divided_table_create('usage_events', $columns$
    landed     BIGINT           NOT NULL DEFAULT nextval('usage_events_landed'),
    event_id   BYTEA            NOT NULL CONSTRAINT usage_events_event_id_length CHECK (length(event_id) = 16),
    id_at      BIGINT           NOT NULL,
    ended_at   BIGINT           NOT NULL,
    project_id TEXT COLLATE "C" NOT NULL,
    key_id     TEXT COLLATE "C",
    user_id    TEXT COLLATE "C",
    model      TEXT COLLATE "C",          -- the model that served, or else the one asked for
    outcome    TEXT COLLATE "C" NOT NULL,
    request_id TEXT COLLATE "C",
    event      TEXT COLLATE "C" NOT NULL,
    event_type TEXT COLLATE "C" NOT NULL DEFAULT 'api_call',
    flagged    BIGINT           NOT NULL DEFAULT 0, -- 1: it was refused, or a policy said something about it
    CONSTRAINT usage_events_event_id_unique UNIQUE (event_id, id_at)
$columns$, 'id_at', 'event_id', 86400000000);

ALTER SEQUENCE usage_events_landed OWNED BY usage_events.landed;

-- Lists run by time and, where that is equal, by arrival.
CREATE INDEX usage_events_by_time ON usage_events (ended_at, landed);
CREATE INDEX usage_events_by_project ON usage_events (project_id, ended_at, landed);
CREATE INDEX usage_events_by_request ON usage_events (request_id) WHERE request_id IS NOT NULL;

-- The decision log: few of the events, newest first.
CREATE INDEX usage_events_flagged ON usage_events (ended_at, landed) WHERE flagged = 1;
CREATE INDEX usage_events_flagged_by_project ON usage_events (project_id, ended_at, landed) WHERE flagged = 1;
CREATE INDEX usage_events_flagged_by_key ON usage_events (key_id, ended_at, landed) WHERE flagged = 1;
CREATE INDEX usage_events_flagged_by_user ON usage_events (user_id, ended_at, landed) WHERE flagged = 1;

-- How far each source (a proxy's journal, a partition of a topic) is in the ledger. `epoch` rises when a consumer takes over,
-- which fences the one before.
CREATE TABLE consumer_offsets (
    source     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    position   BIGINT, -- the last sequence that is in the ledger
    epoch      BIGINT           NOT NULL,
    updated_at BIGINT           NOT NULL
) WITH (fillfactor = 50); -- updated by every batch: new versions of a row find room on its page

-- Batch items that were booked, so that downloading a batch's results again costs nothing again.
CREATE TABLE booked_batch_items (
    batch_id  TEXT COLLATE "C" NOT NULL,
    custom_id TEXT COLLATE "C" NOT NULL,
    booked_at BIGINT           NOT NULL,
    PRIMARY KEY (batch_id, custom_id)
);
