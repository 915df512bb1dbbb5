-- Live streams that show what any control plane of the database books. New tables: locks nothing in use.
--
-- Unlogged: what is in them matters for minutes. After a crash of the server they are empty, and streams begin anew.

-- The control planes that somebody watches. While there is one, whoever books events notes which.
CREATE UNLOGGED TABLE live_followers (
    follower      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    follows_until BIGINT NOT NULL -- it says so again long before
);

-- What a transaction booked. The numbers are given out in another order than that in which the transactions end.
CREATE UNLOGGED TABLE usage_arrivals (
    arrival    BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    arrived_at BIGINT NOT NULL,
    events     BYTEA  NOT NULL -- per event 24 bytes: `event_id`, and `id_at`, most significant byte first
);
