//! How much may be in force. Everything of it is in the memory of every proxy, and some of it is asked for every request.

use sqlx::SqliteConnection;

use crate::db::{Doing, StoreError};
use crate::http::problem::{Code, Problem};

/// What is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bounded {
    /// Each is compiled at every start, some ten milliseconds, and may have two megabytes.
    Policies,
    /// Those of one subject are asked one by one.
    Limits,
    /// As limits; ingest walks over those of the events' subjects besides.
    Quotas,
}

impl Bounded {
    fn most(self) -> i64 {
        match self {
            Self::Policies => 1_000,
            Self::Limits | Self::Quotas => 10_000,
        }
    }

    fn count_sql(self) -> &'static str {
        match self {
            Self::Policies => "SELECT count(*) FROM policies WHERE deleted_at IS NULL",
            Self::Limits => "SELECT count(*) FROM limits WHERE deleted_at IS NULL",
            Self::Quotas => "SELECT count(*) FROM quotas WHERE deleted_at IS NULL",
        }
    }

    fn plural(self) -> &'static str {
        match self {
            Self::Policies => "policies",
            Self::Limits => "rate limits",
            Self::Quotas => "budgets",
        }
    }
}

/// Refuses one more than there may be, in the transaction that would make it.
pub(super) async fn check_room(tx: &mut SqliteConnection, bounded: Bounded) -> Result<(), Problem> {
    let count: Result<i64, StoreError> =
        sqlx::query_scalar(bounded.count_sql()).fetch_one(tx).await.doing("counting what is in force");
    let most = bounded.most();
    if count? < most {
        return Ok(());
    }
    let what = bounded.plural();
    Err(Problem::new(
        Code::TooMany,
        format!("there are {most} {what}, and there may be no more; delete some"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Ledger;

    #[tokio::test]
    async fn the_last_place_is_given_away_and_no_further_one() {
        let ledger = Ledger::new().await;
        let mut tx = ledger.db.begin_write().await.unwrap();
        sqlx::query("INSERT INTO orgs (id, name, created_at) VALUES ('org_1', 'x', 0)")
            .execute(&mut *tx)
            .await
            .unwrap();
        let fill =
            "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 9999)
             INSERT INTO quotas (id, org_id, name, spec, created_at, updated_at)
             SELECT 'quo_' || n, 'org_1', n, '{}', 0, 0 FROM numbers";
        sqlx::query(fill).execute(&mut *tx).await.unwrap();
        check_room(&mut tx, Bounded::Quotas).await.unwrap();
        let last = "INSERT INTO quotas (id, org_id, name, spec, created_at, updated_at) VALUES ('q', 'org_1', 'q', '{}', 0, 0)";
        sqlx::query(last).execute(&mut *tx).await.unwrap();
        check_room(&mut tx, Bounded::Quotas).await.unwrap_err();
        check_room(&mut tx, Bounded::Limits).await.unwrap();
        sqlx::query("UPDATE quotas SET deleted_at = 1 WHERE id = 'q'").execute(&mut *tx).await.unwrap();
        check_room(&mut tx, Bounded::Quotas).await.unwrap();
    }
}
