//! Raw events of projects that keep them for less than the installation does. Sums are not touched.

use std::time::Duration;

use jiff::Timestamp;

use super::{DAY, ROWS_PER_TRANSACTION, Retention, cutoff};
use crate::db::{Db, Doing, Engine, StoreError, sql};
use crate::projects::retentions_read;
use crate::rollup::level::Level;

/// One step in a file, by the index on projects and times.
const SQLITE_STEP: &str = "DELETE FROM usage_events WHERE landed IN
     (SELECT landed FROM usage_events WHERE project_id = ? AND ended_at < ? LIMIT ?)";
/// One step on a server. An event is unique by its id and the time of that, by which the table is divided: each row is looked for in
/// one partition only.
const POSTGRES_STEP: &str = "DELETE FROM usage_events WHERE (event_id, id_at) IN
     (SELECT event_id, id_at FROM usage_events WHERE project_id = ? AND ended_at < ? LIMIT ?)";
/// Compressed pieces are opened batch by batch to delete from them, and the server's bound on that is for accidents.
const UNBOUNDED_OPENING: &str = "SET LOCAL timescaledb.max_tuples_decompressed_per_dml_transaction = 0";

/// Deletes what has passed its project's time, in small steps.
///
/// # Errors
/// The first failure; the other projects are gone through all the same.
pub(super) async fn drop_events(db: &Db, retention: &Retention, now: Timestamp) -> Result<(), StoreError> {
    let mut done = Ok(());
    for (project_id, days) in retentions_read(db).await? {
        let kept = DAY.saturating_mul(days);
        if kept < retention.raw {
            done = done.and(drop_of(db, &project_id, kept, now).await);
        }
    }
    done
}

async fn drop_of(db: &Db, project_id: &str, kept: Duration, now: Timestamp) -> Result<(), StoreError> {
    let before = cutoff(now, kept);
    if db.engine() == Engine::Sqlite {
        return in_steps(db, SQLITE_STEP, None, project_id, before).await;
    }
    let partitioning: String = sql::query_scalar("SELECT partitioning FROM usage_storage")
        .fetch_one(db.readers())
        .await
        .doing("reading how tables are divided")?;
    if partitioning == "native" {
        return in_steps(db, POSTGRES_STEP, None, project_id, before).await;
    }
    // By whole days: what is compressed would be opened and closed again for every hour that passes.
    in_steps(db, POSTGRES_STEP, Some(UNBOUNDED_OPENING), project_id, Level::Day.floor(before)).await
}

async fn in_steps(
    db: &Db,
    step: &'static str,
    setting: Option<&'static str>,
    project_id: &str,
    before: i64,
) -> Result<(), StoreError> {
    loop {
        let mut tx = db.begin_write().await?;
        if let Some(setting) = setting {
            sql::query(setting).execute(&mut *tx).await.doing("preparing a deletion")?;
        }
        let deleted = sql::query(step)
            .bind(project_id)
            .bind(before)
            .bind(ROWS_PER_TRANSACTION)
            .execute(&mut *tx)
            .await
            .doing("deleting what has passed its project's time")?;
        tx.commit().await.doing("committing a deletion")?;
        if deleted.rows_affected() == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use mindweave_eventlog::Sequence;
    use mindweave_metering::ProjectId;

    use crate::db::sql;
    use crate::rollup::{Retention, retention_run, rollup_run};
    use crate::testing::{DAY, HOUR, Ledger, NOON, at, event, install, on_every_kind_of_ledger, record};

    /// Events of every sixth hour of ten days, in turn of a project that keeps three days and of one that says nothing.
    async fn only_the_events_of_the_project_that_keeps_less_go_and_no_sum_changes(ledger: Ledger) {
        install(&ledger.db).await;
        let mut tx = ledger.db.begin_write().await.unwrap();
        for (id, settings) in [
            ("prj_short", r#"{"retention":{"raw_days":3}}"#),
            ("prj_gone", r#"{"retention":{"raw_days":1}}"#),
        ] {
            sql::query("INSERT INTO projects (id, org_id, name, created_at, settings, deleted_at) VALUES (?, 'org_1', 'p', 0, ?, ?)")
                .bind(id)
                .bind(settings)
                .bind((id == "prj_gone").then_some(1_i64))
                .execute(&mut *tx)
                .await
                .unwrap();
        }
        tx.commit().await.unwrap();
        let projects = ["prj_short", "prj_1", "prj_gone"];
        let events: Vec<_> = (0..120_u64)
            .map(|number| {
                let mut event = event(number, NOON - i64::try_from(number / 3).unwrap() * 6 * HOUR - 1, 1);
                event.project_id = ProjectId::new(projects[usize::try_from(number % 3).unwrap()]);
                event
            })
            .collect();
        let records: Vec<_> = (1..).zip(&events).map(|(sequence, event)| record(sequence, event)).collect();
        let (mut claim, _) = ledger.ingest.claim("journal").await.unwrap();
        ledger.ingest.apply(&mut claim, &records, Sequence::new(120)).await.unwrap();
        rollup_run(&ledger.db, at(NOON)).await.unwrap();
        let long = std::time::Duration::from_secs(3_650 * 86_400);
        let retention = Retention { raw: long, minute: long, hour: long };
        for _ in 0..2 {
            retention_run(&ledger.db, &retention, at(NOON)).await.unwrap();
            let left = ledger.number("SELECT count(*) FROM usage_events WHERE project_id = 'prj_1'").await;
            assert_eq!(left, 40);
            for (project, days) in [("prj_short", 3), ("prj_gone", 1)] {
                let count = |before: i64| {
                    let db = ledger.db.clone();
                    async move {
                        let sql = "SELECT count(*) FROM usage_events WHERE project_id = ? AND ended_at < ?";
                        let count = sql::query_scalar::<i64>(sql).bind(project).bind(before);
                        count.fetch_one(db.readers()).await.unwrap()
                    }
                };
                let kept = i64::from(days) * DAY;
                // Hypertables are gone through by whole days.
                assert_eq!(count(NOON - kept - DAY / 2).await, 0, "{project}");
                let left = count(NOON).await;
                assert!((i64::from(days) * 4..=i64::from(days) * 4 + 2).contains(&left), "{project}: {left}");
            }
            for table in ["usage_minute", "usage_hour"] {
                let sql = format!("SELECT CAST(coalesce(sum(requests), 0) AS BIGINT) FROM {table}");
                let sum: i64 =
                    sql::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(ledger.db.readers()).await.unwrap();
                assert!(sum >= 117, "{table}: {sum}"); // the current hour is open
            }
        }
    }

    on_every_kind_of_ledger!(only_the_events_of_the_project_that_keeps_less_go_and_no_sum_changes);
}
