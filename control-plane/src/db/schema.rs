//! Which migrations a database has, and what this program makes of that.
//!
//! Migrations only go forward, and add within a release what the one before does not need to know: so programs of two
//! releases can share a database while one replaces the other. A program accepts migrations that it does not know if the
//! database says that it may (`schema_compatibility`), and refuses the database otherwise.

use sqlx::migrate::{AppliedMigration, Migrate, MigrateError, Migrator};
use sqlx::{PgConnection, SqliteConnection};

/// What a program does about migrations when it opens a database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MigrateMode {
    /// Brings the schema up to date.
    #[default]
    Auto,
    /// Refuses a database whose schema is not up to date.
    Check,
}

/// Why a program must not use a database as it is.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// Newer programs have changed it in a way that this one cannot live with.
    #[error(
        "its schema is at version {version}, for programs that know version {usable_from} or later; this one knows {known}: \
         use a newer MindWeave, or put a backup back that was made before the upgrade"
    )]
    Newer {
        /// The newest migration that it has.
        version: i64,
        /// What a program has to know at least.
        usable_from: i64,
        /// What this program knows.
        known: i64,
    },
    /// A migration that this program knows is not the one that the database has under its number.
    #[error("its migration {version} is not the one of this program: is it the database of something else?")]
    Foreign {
        /// Which one.
        version: i64,
    },
    /// There is something else in it.
    #[error(
        "it holds tables that are not MindWeave's, such as {table:?}: give MindWeave a database of its own"
    )]
    Occupied {
        /// One of the tables.
        table: String,
    },
    /// The schema is not up to date and must not be changed now.
    #[error(
        "its schema lacks {count} migrations, the first is {first}: run `mindweave migrate up`, or let `control_plane.migrate` be `auto`"
    )]
    Pending {
        /// How many.
        count: usize,
        /// The first of them.
        first: i64,
    },
    /// A migration failed. The database is as it was before it.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// What a database says of its schema.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    pub(super) applied: Vec<AppliedMigration>,
    /// What a program has to know at least, to use it.
    pub(super) usable_from: Option<i64>,
    /// A table or view that is there. Read before the migrations, each of which comes with its tables at once: one that is there
    /// without any migration is not ours.
    table: Option<String>,
}

/// What a program finds of its own list.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Known here and not there.
    pub(super) pending: Vec<i64>,
    /// There and not known here, and no obstacle.
    pub(super) newer: Vec<i64>,
}

/// The name of sqlx's table.
const TABLE: &str = "_sqlx_migrations";

/// A table or view beside sqlx's own.
const TABLE_OF_SQLITE: &str = r"SELECT name FROM sqlite_schema
    WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\_%' ESCAPE '\' AND name <> ? ORDER BY name LIMIT 1";
/// The same, in the schema where ours would be made. What an extension brought does not count.
const TABLE_OF_POSTGRES: &str = "SELECT CAST(relname AS TEXT) FROM pg_class AS class
    WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
        AND relkind IN ('r', 'p', 'v', 'm', 'f') AND relname <> $1
        AND NOT EXISTS (SELECT FROM pg_depend AS depends WHERE depends.classid = CAST('pg_class' AS REGCLASS)
            AND depends.objid = class.oid AND depends.deptype = 'e')
    ORDER BY relname LIMIT 1";

impl Recorded {
    /// Reads a file's. An empty file has none.
    pub(super) async fn of_sqlite(connection: &mut SqliteConnection) -> Result<Self, SchemaError> {
        const EXISTS: &str = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?";
        let has =
            async |connection: &mut SqliteConnection, table: &'static str| -> Result<bool, sqlx::Error> {
                let count: i64 = sqlx::query_scalar(EXISTS).bind(table).fetch_one(connection).await?;
                Ok(count > 0)
            };
        let table = sqlx::query_scalar(TABLE_OF_SQLITE).bind(TABLE).fetch_optional(&mut *connection).await?;
        if !has(connection, TABLE).await? {
            return Ok(Self { table, ..Self::default() });
        }
        let applied = connection.list_applied_migrations(TABLE).await?;
        let usable_from = match has(connection, "schema_compatibility").await? {
            true => sqlx::query_scalar(USABLE_FROM).fetch_optional(connection).await?,
            false => None,
        };
        Ok(Self { applied, usable_from, table })
    }

    /// Reads a server's. An empty database has none.
    pub(super) async fn of_postgres(connection: &mut PgConnection) -> Result<Self, SchemaError> {
        const EXISTS: &str = "SELECT to_regclass($1) IS NOT NULL";
        let has = async |connection: &mut PgConnection, table: &'static str| -> Result<bool, sqlx::Error> {
            sqlx::query_scalar(EXISTS).bind(table).fetch_one(connection).await
        };
        let table =
            sqlx::query_scalar(TABLE_OF_POSTGRES).bind(TABLE).fetch_optional(&mut *connection).await?;
        if !has(connection, TABLE).await? {
            return Ok(Self { table, ..Self::default() });
        }
        let applied = connection.list_applied_migrations(TABLE).await?;
        let usable_from = match has(connection, "schema_compatibility").await? {
            true => sqlx::query_scalar(USABLE_FROM).fetch_optional(connection).await?,
            false => None,
        };
        Ok(Self { applied, usable_from, table })
    }

    /// What is to be done.
    ///
    /// # Errors
    /// When this program must not touch the database.
    pub(super) fn plan(&self, list: &Migrator) -> Result<Plan, SchemaError> {
        if let (true, Some(table)) = (self.applied.is_empty(), &self.table) {
            return Err(SchemaError::Occupied { table: table.clone() });
        }
        let known = list.iter().map(|migration| migration.version).max().unwrap_or_default();
        let mut plan = Plan::default();
        for applied in &self.applied {
            match list.iter().find(|migration| migration.version == applied.version) {
                Some(migration) if migration.checksum == applied.checksum => {}
                None if applied.version > known => plan.newer.push(applied.version),
                Some(_) | None => return Err(SchemaError::Foreign { version: applied.version }),
            }
        }
        let missing = list.iter().map(|migration| migration.version);
        let has = |version: &i64| self.applied.iter().any(|applied| applied.version == *version);
        plan.pending = missing.filter(|version| !has(version)).collect();
        if let Some(version) = plan.newer.iter().max() {
            // Whoever made the newer ones made all of ours before. If not, nobody can tell what this is.
            if let Some(version) = plan.pending.first() {
                return Err(SchemaError::Foreign { version: *version });
            }
            let usable_from = self.usable_from.unwrap_or(*version);
            if usable_from > known {
                return Err(SchemaError::Newer { version: *version, usable_from, known });
            }
        }
        Ok(plan)
    }
}

const USABLE_FROM: &str = "SELECT usable_from FROM schema_compatibility";

impl Plan {
    /// Refuses if there is something to do.
    pub(super) fn up_to_date(&self) -> Result<(), SchemaError> {
        match self.pending.first() {
            Some(first) => Err(SchemaError::Pending { count: self.pending.len(), first: *first }),
            None => Ok(()),
        }
    }
}
