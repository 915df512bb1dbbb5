-- Which programs may use this database, so that an old and a new one can share it while one replaces the other. A new table:
-- locks nothing in use.

-- Programs that know the schema at least through `usable_from` may use this database, also next to newer ones. A migration
-- that takes away what older programs need raises it.
CREATE TABLE schema_compatibility (
    only_row    INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    usable_from INTEGER NOT NULL
) STRICT;

INSERT INTO schema_compatibility (only_row, usable_from) VALUES (1, 9);
