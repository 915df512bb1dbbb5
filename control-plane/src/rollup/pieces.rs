//! The pieces of the big tables on a server: made ahead of their time, compressed when they are quiet, dropped as a whole.
//!
//! Native partitions have to be made. What arrives for a time that has none, because it is late or somebody's clock is ahead,
//! lands in the partition for everything else, and moves when its own is made. Hypertables make theirs themselves, and can
//! be compressed; events that arrive late for a compressed piece are added to it as to any other.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::sleep;

use super::level::{Level, State, states_read};
use crate::db::{Connection, Db, Doing, Engine, StoreError, sql};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Pieces made ahead of the current one.
const AHEAD: i64 = 2;
/// How long a change of a table's pieces waits for whoever reads the table. Everybody else waits behind it meanwhile, ingest
/// too.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '2s'";
/// How often it is tried in a row.
const LOCK_TRIES: u32 = 5;
/// The pause between two of them, in which the others get their turn.
const LOCK_PAUSE: Duration = Duration::from_secs(3);

/// A table in pieces: its name, the column it is divided by, and how old its pieces are when they are compressed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Divided {
    pub(super) table: &'static str,
    column: &'static str,
    compress_after: Duration,
}

pub(super) const EVENTS: Divided =
    Divided { table: "usage_events", column: "id_at", compress_after: DAY.saturating_mul(2) };
pub(super) const MINUTES: Divided =
    Divided { table: "usage_minute", column: "bucket", compress_after: DAY.saturating_mul(3) };
pub(super) const HOURS: Divided =
    Divided { table: "usage_hour", column: "bucket", compress_after: DAY.saturating_mul(60) };

/// Makes the pieces of the coming days, and those of the past for which something has arrived since.
pub(crate) async fn pieces_make(db: &Db, now: Timestamp) -> Result<(), StoreError> {
    if !is_native(db).await? {
        return Ok(());
    }
    for divided in [EVENTS, MINUTES, HOURS] {
        for moment in wanted(db, divided, now.as_microsecond()).await? {
            with_lock(db, async |tx| {
                let moved: Option<i64> = sql::query_scalar("SELECT usage_partition_make(?, ?)")
                    .bind(divided.table)
                    .bind(moment)
                    .fetch_one(tx)
                    .await
                    .doing("making a partition")?;
                if let Some(moved) = moved {
                    tracing::info!(table = divided.table, from = moment, moved, "a partition was made");
                }
                Ok(())
            })
            .await?;
        }
    }
    Ok(())
}

/// The starts of the pieces that should be there and are not.
async fn wanted(db: &Db, divided: Divided, now: i64) -> Result<Vec<i64>, StoreError> {
    let Divided { table, column, .. } = divided;
    let sql = format!(
        "WITH division AS (SELECT step, CAST(? AS BIGINT) - CAST(? AS BIGINT) % step AS current FROM usage_divisions WHERE table_name = ?),
         wanted AS (
             SELECT generate_series(current, current + {AHEAD} * step, step) AS starts FROM division
             UNION
             SELECT {column} - {column} % step FROM {table}_default, division WHERE {column} >= 0 AND {column} < current
         )
         SELECT starts FROM wanted WHERE starts NOT IN (SELECT p.starts FROM usage_pieces(?) AS p WHERE p.starts IS NOT NULL)
         ORDER BY starts"
    );
    sql::query_scalar(sqlx::AssertSqlSafe(sql))
        .bind(now)
        .bind(now)
        .bind(table)
        .bind(table)
        .fetch_all(db.readers())
        .await
        .doing("looking for missing partitions")
}

