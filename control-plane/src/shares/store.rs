//! All SQL of live proxies.

use std::sync::Arc;

use mindweave_policy::{DemandReport, LimitDemand, SHARE_LEASE, ShareAnswer, ShareBook, StaleReport};
use serde::Serialize;

use crate::db::{Connection, Db, Doing, Engine, StoreError, sql};

/// Longer than this, and nobody was looking after the proxies: several times as long as a control plane pauses.
const OUTAGE_MICROS: i64 = 5_000_000;

/// What a round found.
#[derive(Debug)]
pub(super) struct Found {
    /// Everybody who is alive.
    pub(super) live: Vec<Arc<str>>,
    /// To the reports, in their order.
    pub(super) answers: Vec<Result<ShareAnswer, StaleReport>>,
}

/// A proxy as it is stored: its journal, when it last reported, the report's number, among how many it divides evenly, and the
/// limits that it named.
type Row = (String, Option<i64>, Option<i64>, Option<i64>, Option<String>);

/// A report as it is written down.
#[derive(Serialize)]
struct Page<'a> {
    journal: &'a str,
    number: u64,
    live_proxies: u32,
    limits: String,
}

/// Notes who is connected and who reports, forgets whose lease is over, and answers the reports. One round runs at a time, over all
/// control planes.
pub(super) async fn turn(
    db: &Db,
    connected: &[Arc<str>],
    reports: Vec<DemandReport>,
) -> Result<Found, StoreError> {
    let mut tx = db.begin_apart().await?;
    let now = keep(&mut tx).await?;
    let reporting = reports.iter().filter(|report| !report.leaving).map(|report| &report.journal);
    let mut seen: Vec<&Arc<str>> = connected.iter().chain(reporting).collect();
    seen.sort_unstable();
    seen.dedup();
    note_seen(&mut tx, &seen, now).await?;
    let lease = i64::try_from(SHARE_LEASE.as_micros()).unwrap_or(i64::MAX);
    sql::query("DELETE FROM live_proxies WHERE seen_at < ?")
        .bind(now.saturating_sub(lease))
        .execute(&mut *tx)
        .await
        .doing("forgetting proxies that are gone")?;
    let mut book = read(&mut tx, now.saturating_sub(lease)).await?;
    let mut journals: Vec<Arc<str>> = Vec::with_capacity(reports.len());
    let mut answers = Vec::with_capacity(reports.len());
    for report in reports {
        journals.push(Arc::clone(&report.journal));
        answers.push(book.answer(report));
    }
    journals.sort_unstable();
    journals.dedup();
    write(&mut tx, &book, &journals, now).await?;
    tx.commit().await.doing("committing the portions of limits")?;
    Ok(Found { live: book.live().map(Arc::clone).collect(), answers })
}

/// Takes the turn, after everybody who was before. Returns the time. What passed while nobody looked is taken off everybody's
/// silence, and a clock that was put back is followed.
async fn keep(tx: &mut Connection) -> Result<i64, StoreError> {
    let sql = match tx.engine() {
        Engine::Sqlite => {
            "UPDATE live_proxies_kept SET before_at = kept_at, kept_at = CAST(unixepoch('subsec') * 1000000 AS INTEGER)
             RETURNING before_at, kept_at"
        }
        Engine::Postgres => {
            "UPDATE live_proxies_kept
             SET before_at = kept_at, kept_at = CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)
             RETURNING before_at, kept_at"
        }
    };
    const DOING: &str = "taking the turn to divide limits";
    if tx.engine() == Engine::Postgres {
        // A control plane that is frozen in its turn must not keep the others from theirs for as long as from the ledger.
        let soon = "SET LOCAL idle_in_transaction_session_timeout = '2s'";
        sql::query(soon).execute(&mut *tx).await.doing(DOING)?;
    }
    let (before, now): (i64, i64) = sql::query_as(sql).fetch_one(&mut *tx).await.doing(DOING)?;
    let passed = now.saturating_sub(before);
    if passed < 0 {
        let sql = "UPDATE live_proxies SET seen_at = seen_at + ?, reported_at = reported_at + ?";
        sql::query(sql).bind(passed).bind(passed).execute(tx).await.doing(DOING)?;
    } else if passed > OUTAGE_MICROS {
        let sql = "UPDATE live_proxies SET seen_at = seen_at + ?";
        sql::query(sql).bind(passed).execute(tx).await.doing(DOING)?;
    }
    Ok(now)
}

async fn note_seen(tx: &mut Connection, journals: &[&Arc<str>], now: i64) -> Result<(), StoreError> {
    if journals.is_empty() {
        return Ok(());
    }
    let sql = match tx.engine() {
        Engine::Sqlite => {
            "INSERT INTO live_proxies (journal, seen_at) SELECT value, ? FROM json_each(?) WHERE true
             ON CONFLICT (journal) DO UPDATE SET seen_at = excluded.seen_at"
        }
        Engine::Postgres => {
            "INSERT INTO live_proxies (journal, seen_at)
             SELECT value, CAST(? AS BIGINT) FROM json_array_elements_text(CAST(? AS JSON)) AS journals (value)
             ON CONFLICT (journal) DO UPDATE SET seen_at = excluded.seen_at"
        }
    };
    let journals = serde_json::to_string(journals).unwrap_or_default(); // texts always serialise
    sql::query(sql).bind(now).bind(journals).execute(tx).await.doing("noting live proxies").map(drop)
}

/// The proxies that are there. Those that have not reported since `doubted_before` may have given their portions up.
async fn read(tx: &mut Connection, doubted_before: i64) -> Result<ShareBook, StoreError> {
    let rows: Vec<Row> =
        sql::query_as("SELECT journal, reported_at, number, live_proxies, limits FROM live_proxies")
            .fetch_all(tx)
            .await
            .doing("reading live proxies")?;
    let (mut live, mut reports, mut doubted) = (Vec::new(), Vec::new(), Vec::new());
    for (journal, reported_at, number, live_proxies, limits) in rows {
        let journal: Arc<str> = journal.into();
        live.push(Arc::clone(&journal));
        // What another version wrote and this one cannot read is as if it had not been said.
        let limits = limits.and_then(|limits| serde_json::from_str::<Vec<LimitDemand>>(&limits).ok());
        let (Some(limits), Some(number)) = (limits, number.and_then(|number| u64::try_from(number).ok()))
        else {
            continue;
        };
        if reported_at.is_some_and(|reported_at| reported_at < doubted_before) {
            doubted.push(Arc::clone(&journal));
        }
        let live_proxies = live_proxies.and_then(|live| u32::try_from(live).ok()).unwrap_or(1);
        reports.push(DemandReport { journal, number, live_proxies, leaving: false, limits });
    }
    let mut book = ShareBook::new(reports, live);
    doubted.iter().for_each(|journal| book.doubt(journal));
    Ok(book)
}

/// Writes down what is to be remembered of these proxies.
async fn write(
    tx: &mut Connection,
    book: &ShareBook,
    journals: &[Arc<str>],
    now: i64,
) -> Result<(), StoreError> {
    let entries: Vec<DemandReport> = journals.iter().filter_map(|journal| book.entry(journal)).collect();
    for gone in journals.iter().filter(|journal| book.entry(journal).is_none()) {
        sql::query("DELETE FROM live_proxies WHERE journal = ?")
            .bind(&**gone)
            .execute(&mut *tx)
            .await
            .doing("forgetting a proxy that left")?;
    }
    if entries.is_empty() {
        return Ok(());
    }
    let pages = entries.iter().map(|DemandReport { journal, number, live_proxies, limits, .. }| Page {
        journal,
        number: *number,
        live_proxies: *live_proxies,
        limits: serde_json::to_string(limits).unwrap_or_default(), // texts and numbers always serialise
    });
    let pages = serde_json::to_string(&pages.collect::<Vec<_>>()).unwrap_or_default();
    let sql = match tx.engine() {
        Engine::Sqlite => {
            "UPDATE live_proxies SET reported_at = ?, number = page.value ->> 'number',
                 live_proxies = page.value ->> 'live_proxies', limits = page.value ->> 'limits'
             FROM json_each(?) AS page WHERE journal = page.value ->> 'journal'"
        }
        Engine::Postgres => {
            "UPDATE live_proxies SET reported_at = ?, number = page.number, live_proxies = page.live_proxies, limits = page.limits
             FROM json_to_recordset(CAST(? AS JSON)) AS page (journal TEXT, number BIGINT, live_proxies BIGINT, limits TEXT)
             WHERE live_proxies.journal = page.journal"
        }
    };
    sql::query(sql).bind(now).bind(pages).execute(tx).await.doing("noting reports of demand").map(drop)
}
