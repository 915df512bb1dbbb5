//! The file that a ledger is read from.

use std::path::Path;

use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqliteConnection};

use super::ImportError;
use super::tables::{Cell, Column, Figures, Kind, Table, figures_sql};
use crate::db::transfer::open_file;

/// Rows that are in memory at a time. A row has some hundred bytes; a version of a policy can have a megabyte and more.
const PAGE_ROWS: usize = 200;
/// Most pieces of a table that are made for what comes. What is for other times waits in the partition for everything else, as
/// what arrives late does: each piece takes a dozen of the server's locks until the end.
const MOST_PIECES: i64 = 64;

/// The open file, which nobody else can open meanwhile.
#[derive(Debug)]
pub(super) struct Source {
    connection: SqliteConnection,
}

/// A table of it, read in the order of its key.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) columns: Vec<Column>,
    /// Which of them are its key.
    key: Vec<usize>,
    first: String,
    next: String,
    last: Option<Vec<Cell>>,
}

impl Source {
    /// Takes the file.
    pub(super) async fn open(path: &Path) -> Result<Self, ImportError> {
        Ok(Self { connection: open_file(path).await? })
    }

    /// Begins to read a table.
    pub(super) async fn reader(&mut self, table: Table) -> Result<Reader, ImportError> {
        let described: Vec<(String, String, i64)> =
            sqlx::query_as("SELECT name, type, pk FROM pragma_table_info(?) ORDER BY cid")
                .bind(table.name)
                .fetch_all(&mut self.connection)
                .await
                .map_err(ImportError::Read)?;
        let mut key = Vec::new();
        let mut columns = Vec::new();
        for (place, (name, declared, in_key)) in described.into_iter().enumerate() {
            let kind = match declared.as_str() {
                "INTEGER" => Kind::Integer,
                "TEXT" => Kind::Text,
                "BLOB" => Kind::Bytes,
                _ => return Err(ImportError::Columns { table: table.name }),
            };
            if in_key > 0 {
                key.push((in_key, place));
            }
            columns.push(Column { name, kind });
        }
        key.sort_unstable();
        let key: Vec<usize> = key.into_iter().map(|(_, place)| place).collect();
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        let keys: Vec<&str> = key.iter().filter_map(|place| names.get(*place).copied()).collect();
        if keys.is_empty() {
            return Err(ImportError::Columns { table: table.name });
        }
        let (list, order, marks) = (names.join(", "), keys.join(", "), vec!["?"; keys.len()].join(", "));
        let page = format!("ORDER BY {order} LIMIT {PAGE_ROWS}");
        let first = format!("SELECT {list} FROM {} {page}", table.name);
        let next = format!("SELECT {list} FROM {} WHERE ({order}) > ({marks}) {page}", table.name);
        Ok(Reader { columns, key, first, next, last: None })
    }

    /// The next rows; none at the end.
    pub(super) async fn page(&mut self, reader: &mut Reader) -> Result<Vec<Vec<Cell>>, ImportError> {
        let sql = if reader.last.is_none() { &reader.first } else { &reader.next };
        let mut query = sqlx::query(AssertSqlSafe(sql.clone()));
        for value in reader.last.iter().flatten() {
            query = match value {
                Cell::Integer(value) => query.bind(*value),
                Cell::Text(value) => query.bind(value.clone()),
                Cell::Bytes(value) => query.bind(value.clone()),
            };
        }
        let rows = query.fetch_all(&mut self.connection).await.map_err(ImportError::Read)?;
        let cells = |row: &SqliteRow| cells(row, &reader.columns);
        let rows = rows.iter().map(cells).collect::<Result<Vec<_>, _>>().map_err(ImportError::Read)?;
        if let Some(last) = rows.last() {
            reader.last = Some(reader.key.iter().filter_map(|place| last.get(*place).cloned()).collect());
        }
        Ok(rows)
    }

    /// How many rows a table has.
    pub(super) async fn count(&mut self, table: Table) -> Result<u64, ImportError> {
        let sql = format!("SELECT count(*) FROM {}", table.name);
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_one(&mut self.connection)
            .await
            .map_err(ImportError::Read)?;
        Ok(u64::try_from(count).unwrap_or_default())
    }

    /// What a table sums up to.
    pub(super) async fn figures(&mut self, table: Table, columns: &[Column]) -> Result<Figures, ImportError> {
        let sql = figures_sql(table, columns);
        let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut self.connection).await;
        let row = row.map_err(ImportError::Read)?;
        let figures = (0..row.len()).map(|place| row.try_get::<i64, _>(place)).collect::<Result<_, _>>();
        figures.map_err(ImportError::Read)
    }

    /// The starts of the newest steps of this length for which a table has rows, and of those before each: ids are made before
    /// an event ends. Those after `latest` are of clocks that are ahead.
    pub(super) async fn steps(
        &mut self,
        table: Table,
        step: i64,
        latest: i64,
    ) -> Result<Vec<i64>, ImportError> {
        let Some(column) = table.divided_by else { return Ok(Vec::new()) };
        let sql = format!(
            "WITH filled AS (SELECT DISTINCT {column} - {column} % ?1 AS first FROM {} WHERE {column} BETWEEN 0 AND ?2)
             SELECT first FROM filled UNION SELECT first - ?1 FROM filled WHERE first >= ?1 ORDER BY 1 DESC LIMIT ?3",
            table.name
        );
        sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(step)
            .bind(latest)
            .bind(MOST_PIECES)
            .fetch_all(&mut self.connection)
            .await
            .map_err(ImportError::Read)
    }

    /// Gives the file back.
    pub(super) async fn close(self) {
        drop(self.connection.close().await); // it was only read
    }
}

fn cells(row: &SqliteRow, columns: &[Column]) -> Result<Vec<Cell>, sqlx::Error> {
    let cell = |(place, column): (usize, &Column)| {
        Ok(match column.kind {
            Kind::Integer => Cell::Integer(row.try_get(place)?),
            Kind::Text => Cell::Text(row.try_get(place)?),
            Kind::Bytes => Cell::Bytes(row.try_get(place)?),
        })
    };
    columns.iter().enumerate().map(cell).collect()
}
