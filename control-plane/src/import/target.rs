//! The empty database that a ledger is written into, in one transaction.

use mindweave_policy::Secret;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

use super::ImportError;
use super::rows::Form;
use super::tables::{Column, Figures, Kind, TABLES, Table, figures_sql};
use crate::db::transfer::{Server, open_server};
use crate::db::{COPY_END, COPY_HEAD, COPY_PIECE_BYTES, LEDGER_LOCK, answered};

/// The server's types, as its catalogue names them.
const TYPES: [(&str, Kind); 3] = [("bigint", Kind::Integer), ("text", Kind::Text), ("bytea", Kind::Bytes)];

/// An open transaction on the server, which keeps every control plane from its database. Dropping it rolls it back.
#[derive(Debug)]
pub(super) struct Target {
    connection: PgConnection,
    /// Database and server, without credentials.
    pub(super) shown: String,
}

impl Target {
    /// Takes the database.
    pub(super) async fn open(url: &Secret) -> Result<Self, ImportError> {
        let Server { connection, shown } = open_server(url).await?;
        let mut target = Self { connection, shown };
        target.execute("BEGIN").await?;
        let lock = sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LEDGER_LOCK);
        lock.execute(&mut target.connection).await.map_err(ImportError::Write)?;
        target.must_be_empty().await?;
        Ok(target)
    }

    async fn must_be_empty(&mut self) -> Result<(), ImportError> {
        // Who has an installation has started a control plane on it: that is what people are told, whatever else is there.
        let installation = TABLES.into_iter().filter(|table| table.name == "installation");
        for table in installation.chain(TABLES.into_iter().filter(|table| !table.seeded)) {
            let sql = format!("SELECT EXISTS (SELECT FROM {})", table.name);
            let filled: bool = sqlx::query_scalar(AssertSqlSafe(sql))
                .fetch_one(&mut self.connection)
                .await
                .map_err(ImportError::Write)?;
            if filled {
                return Err(ImportError::NotEmpty { database: self.shown.clone(), table: table.name });
            }
        }
        for table in TABLES.into_iter().filter(|table| table.seeded) {
            self.execute(format!("DELETE FROM {}", table.name)).await?;
        }
        Ok(())
    }

    /// How long the pieces of a table are that have to be made; nothing if it has none, or makes them itself.
    pub(super) async fn step(&mut self, table: Table) -> Result<Option<i64>, ImportError> {
        sqlx::query_scalar(
            "SELECT step FROM usage_divisions WHERE table_name = $1
                 AND (SELECT partitioning FROM usage_storage) = 'native'",
        )
        .bind(table.name)
        .fetch_optional(&mut self.connection)
        .await
        .map_err(ImportError::Write)
    }

    /// Makes the piece of a table that holds this moment.
    pub(super) async fn make_piece(&mut self, table: Table, moment: i64) -> Result<(), ImportError> {
        let make = sqlx::query("SELECT usage_partition_make($1, $2)").bind(table.name).bind(moment);
        make.execute(&mut self.connection).await.map(drop).map_err(ImportError::Write)
    }

    /// Looks whether a table has exactly the columns that will come.
    pub(super) async fn must_have(&mut self, table: Table, form: &Form) -> Result<(), ImportError> {
        let mut described: Vec<(String, String)> = sqlx::query_as(
            "SELECT CAST(column_name AS TEXT), CAST(data_type AS TEXT) FROM information_schema.columns
              WHERE table_schema = current_schema() AND table_name = $1 ORDER BY column_name",
        )
        .bind(table.name)
        .fetch_all(&mut self.connection)
        .await
        .map_err(ImportError::Write)?;
        let kind = |name: &str| TYPES.into_iter().find(|(known, _)| *known == name).map(|(_, kind)| kind);
        let mut coming: Vec<_> =
            form.columns().iter().map(|column| (column.name.clone(), Some(column.kind))).collect();
        coming.sort_by(|(one, _), (other, _)| one.cmp(other));
        described.sort();
        let there: Vec<_> = described.into_iter().map(|(name, data)| (name, kind(&data))).collect();
        if there == coming { Ok(()) } else { Err(ImportError::Columns { table: table.name }) }
    }

    /// Sends rows in the form of COPY, as `next` has them, until it has none.
    pub(super) async fn copy<F>(&mut self, table: Table, names: &str, mut next: F) -> Result<(), ImportError>
    where
        F: AsyncFnMut(&mut Vec<u8>) -> Result<bool, ImportError>,
    {
        let sql = format!("COPY {} ({names}) FROM STDIN (FORMAT binary)", table.name);
        let mut copy = self.connection.copy_in_raw(&sql).await.map_err(|cause| failed(table, cause))?;
        let mut rows = COPY_HEAD.to_vec();
        while next(&mut rows).await? {
            if rows.len() >= COPY_PIECE_BYTES {
                answered(send(&mut copy, &rows)).await.map_err(|cause| failed(table, cause))?;
                rows.clear();
            }
        }
        rows.extend_from_slice(&COPY_END);
        answered(send(&mut copy, &rows)).await.map_err(|cause| failed(table, cause))?;
        copy.finish().await.map(drop).map_err(|cause| failed(table, cause))
    }

    /// What a table sums up to.
    pub(super) async fn figures(&mut self, table: Table, columns: &[Column]) -> Result<Figures, ImportError> {
        let sql = figures_sql(table, columns);
        let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut self.connection).await;
        let row: PgRow = row.map_err(ImportError::Write)?;
        let figures = (0..row.len()).map(|place| row.try_get::<i64, _>(place)).collect::<Result<_, _>>();
        figures.map_err(ImportError::Write)
    }

    /// Sets what gives out a table's numbers behind the last one that is there, and lets the server learn what is in it.
    pub(super) async fn finish_table(&mut self, table: Table, form: &Form) -> Result<(), ImportError> {
        for column in form.columns().iter().filter(|column| column.kind == Kind::Integer) {
            let sequence: Option<String> = sqlx::query_scalar("SELECT pg_get_serial_sequence($1, $2)")
                .bind(table.name)
                .bind(&column.name)
                .fetch_one(&mut self.connection)
                .await
                .map_err(ImportError::Write)?;
            if let Some(sequence) = sequence {
                let sql = format!(
                    "SELECT setval(CAST($1 AS regclass), max({name})) FROM {table} HAVING max({name}) IS NOT NULL",
                    name = column.name,
                    table = table.name,
                );
                let set = sqlx::query(AssertSqlSafe(sql)).bind(sequence);
                set.execute(&mut self.connection).await.map_err(ImportError::Write)?;
            }
        }
        self.execute(format!("ANALYZE {}", table.name)).await
    }

    /// Makes everything last.
    pub(super) async fn commit(mut self) -> Result<(), ImportError> {
        self.execute("COMMIT").await?;
        drop(self.connection.close().await); // what was committed stays, whatever becomes of the session
        Ok(())
    }

    async fn execute(&mut self, sql: impl Into<String>) -> Result<(), ImportError> {
        let statement = sqlx::raw_sql(AssertSqlSafe(sql.into()));
        statement.execute(&mut self.connection).await.map(drop).map_err(ImportError::Write)
    }
}

async fn send(
    copy: &mut sqlx::postgres::PgCopyIn<&mut PgConnection>,
    rows: &[u8],
) -> Result<(), sqlx::Error> {
    copy.send(rows).await.map(drop)
}

fn failed(table: Table, cause: sqlx::Error) -> ImportError {
    ImportError::Copy { table: table.name, cause }
}
