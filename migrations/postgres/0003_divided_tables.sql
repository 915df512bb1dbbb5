-- How the big tables are divided by time, so that old rows go by the table instead of one by one: as hypertables where the
-- extension timescaledb is created in this database by now, else as native partitions. Chosen here once. New tables and
-- functions: locks nothing in use.
--
-- All times are microseconds since 1970 UTC. A step has the same length and place for ever: steps begin at multiples of it.

CREATE TABLE usage_storage (
    only_row     BIGINT           NOT NULL PRIMARY KEY CHECK (only_row = 1),
    partitioning TEXT COLLATE "C" NOT NULL CONSTRAINT usage_storage_partitioning CHECK (partitioning IN ('native', 'timescaledb'))
);

INSERT INTO usage_storage (only_row, partitioning)
SELECT 1, CASE WHEN EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb') THEN 'timescaledb' ELSE 'native' END;

-- The tables that are divided, by which column, and how long a step is.
CREATE TABLE usage_divisions (
    table_name  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    time_column TEXT COLLATE "C" NOT NULL,
    step        BIGINT           NOT NULL CHECK (step > 0)
);

CREATE FUNCTION usage_now() RETURNS BIGINT LANGUAGE sql STABLE AS $$
    SELECT CAST(extract(epoch FROM now()) * 1000000 AS BIGINT)
$$;

-- Makes a table of these columns and constraints, divided by `time_column`, which makes a row unique together with `other_key`.
CREATE FUNCTION usage_divided_table_create(
    table_name TEXT, columns TEXT, time_column TEXT, other_key TEXT, step BIGINT) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO usage_divisions VALUES (table_name, time_column, step);
    IF (SELECT partitioning FROM usage_storage) = 'native' THEN
        EXECUTE format('CREATE TABLE %I (%s) PARTITION BY RANGE (%I)', table_name, columns, time_column);
        -- Takes what no partition is there for: late replays, clocks that are ahead. An insert never fails for its time.
        EXECUTE format('CREATE TABLE %I PARTITION OF %I DEFAULT', table_name || '_default', table_name);
    ELSE
        EXECUTE format('CREATE TABLE %I (%s)', table_name, columns);
        PERFORM create_hypertable(
            CAST(format('%I', table_name) AS regclass), by_range(time_column, step), create_default_indexes => false);
        PERFORM set_integer_now_func(CAST(format('%I', table_name) AS regclass), 'usage_now');
        -- The free edition of the extension has no compression: the tables then simply stay as they are.
        IF current_setting('timescaledb.license') = 'timescale' THEN
            -- Ordered by time, not set apart by anything: a late row, or one that is delivered again, is looked for in a batch or two.
            EXECUTE format(
                'ALTER TABLE %I SET (timescaledb.enable_columnstore, timescaledb.segmentby = %L, timescaledb.orderby = %L)',
                table_name, '', format('%I DESC, %I', time_column, other_key));
        END IF;
    END IF;
END
$$;

-- The pieces of a divided table. The partition for everything else has no start and no end; hypertables have none such.
CREATE FUNCTION usage_pieces(parent TEXT) RETURNS TABLE (piece TEXT, starts BIGINT, ends BIGINT, compressed BOOLEAN)
LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF (SELECT partitioning FROM usage_storage) = 'native' THEN
        RETURN QUERY
        SELECT CAST(child.oid::regclass AS TEXT),
               CAST(substring(pg_get_expr(child.relpartbound, child.oid) FROM 'FROM \(''(-?\d+)''\)') AS BIGINT),
               CAST(substring(pg_get_expr(child.relpartbound, child.oid) FROM 'TO \(''(-?\d+)''\)') AS BIGINT),
               false
        FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid
        WHERE inhparent = CAST(format('%I', parent) AS regclass) ORDER BY 2, 1;
    ELSE
        RETURN QUERY
        SELECT format('%I.%I', chunk_schema, chunk_name), range_start_integer, range_end_integer, is_compressed
        FROM timescaledb_information.chunks
        WHERE format('%I.%I', hypertable_schema, hypertable_name)::regclass = CAST(format('%I', parent) AS regclass)
        ORDER BY 2, 1;
    END IF;
END
$$;

-- Makes the native partition that holds `moment`, and moves into it what the partition for everything else has of its time.
-- Returns how many rows moved, NULL if the partition was there. Hypertables make theirs themselves.
--
-- Keeps everybody from the partition for everything else until the transaction ends. That one is nearly empty.
CREATE FUNCTION usage_partition_make(parent TEXT, moment BIGINT) RETURNS BIGINT LANGUAGE plpgsql AS $$
DECLARE
    division usage_divisions;
    first    BIGINT;
    child    TEXT;
    moved    BIGINT;
BEGIN
    SELECT * INTO STRICT division FROM usage_divisions WHERE table_name = parent;
    first := moment - ((moment % division.step) + division.step) % division.step;
    child := parent || '_' || to_char(to_timestamp(first / 1000000) AT TIME ZONE 'UTC', 'YYYYMMDD');
    IF (SELECT partitioning FROM usage_storage) <> 'native'
        OR EXISTS (SELECT FROM usage_pieces(parent) WHERE starts = first) THEN
        RETURN NULL;
    END IF;
    -- First, so that nothing comes between the move and the moment from which the new partition takes its rows itself.
    EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', parent || '_default');
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', child, parent);
    EXECUTE format(
        'WITH gone AS (DELETE FROM %1$I WHERE %2$I >= $1 AND %2$I < $2 RETURNING *) INSERT INTO %3$I SELECT * FROM gone',
        parent || '_default', division.time_column, child) USING first, first + division.step;
    GET DIAGNOSTICS moved = ROW_COUNT;
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        parent, child, first, first + division.step);
    RETURN moved;
END
$$;

-- Drops the pieces that end at or before this moment. Returns how many. Waits for everybody who reads the table.
CREATE FUNCTION usage_pieces_drop(parent TEXT, before BIGINT) RETURNS BIGINT LANGUAGE plpgsql AS $$
DECLARE
    old     RECORD;
    dropped BIGINT := 0;
BEGIN
    IF (SELECT partitioning FROM usage_storage) = 'native' THEN
        FOR old IN SELECT piece FROM usage_pieces(parent) WHERE ends <= before LOOP
            EXECUTE 'DROP TABLE ' || old.piece; -- quoted as a regclass is
            dropped := dropped + 1;
        END LOOP;
    ELSE
        SELECT count(*) INTO dropped FROM drop_chunks(CAST(format('%I', parent) AS regclass), older_than => before);
    END IF;
    RETURN dropped;
END
$$;
