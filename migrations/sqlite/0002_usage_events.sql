-- The ledger's raw rows and what makes their ingest exactly once. New tables: locks nothing in use.

-- `landed` is the order of arrival; `event` is the whole event as JSON, the other columns are what queries filter by.
CREATE TABLE usage_events (
    landed     INTEGER NOT NULL PRIMARY KEY,
    event_id   BLOB    NOT NULL CONSTRAINT usage_events_event_id_unique UNIQUE CHECK (length(event_id) = 16),
    ended_at   INTEGER NOT NULL,
    project_id TEXT    NOT NULL,
    key_id     TEXT,
    user_id    TEXT,
    model      TEXT,    -- the model that served, or else the one asked for
    outcome    TEXT    NOT NULL,
    request_id TEXT,
    event      TEXT    NOT NULL
) STRICT;

CREATE INDEX usage_events_by_time ON usage_events (ended_at);
CREATE INDEX usage_events_by_project ON usage_events (project_id, ended_at);
CREATE INDEX usage_events_by_request ON usage_events (request_id) WHERE request_id IS NOT NULL;

-- How far each source (a proxy's journal) is in the ledger. `epoch` rises when a consumer takes over, which fences the one before.
CREATE TABLE consumer_offsets (
    source     TEXT    NOT NULL PRIMARY KEY,
    position   INTEGER, -- the last sequence that is in the ledger
    epoch      INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

-- Batch items that were booked, so that downloading a batch's results again costs nothing again.
CREATE TABLE booked_batch_items (
    batch_id  TEXT    NOT NULL,
    custom_id TEXT    NOT NULL,
    booked_at INTEGER NOT NULL,
    PRIMARY KEY (batch_id, custom_id)
) STRICT, WITHOUT ROWID;
