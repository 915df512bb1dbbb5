//! How much may be in force. Everything of it is in the memory of every proxy, and some of it is asked for every request.

use crate::db::{Connection, Doing, StoreError, sql};
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
pub(super) async fn check_room(tx: &mut Connection, bounded: Bounded) -> Result<(), Problem> {
    let count: Result<i64, StoreError> =
        sql::query_scalar(bounded.count_sql()).fetch_one(tx).await.doing("counting what is in force");
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

/// Most bytes of all policies' texts and data together. They travel to proxies in one line, in which each may take six bytes
/// and which may have half a gigabyte.
const MAX_POLICY_BYTES: usize = 64 << 20;

/// Refuses content that makes all policies too large together, in the transaction that would make it the policy's.
pub(super) async fn check_policy_bytes(
    tx: &mut Connection,
    policy_id: &str,
    (rego, data): (&str, &serde_json::Value),
) -> Result<(), Problem> {
    let others: Result<i64, StoreError> = sql::query_scalar(
        "SELECT coalesce(sum(octet_length(v.rego) + octet_length(v.data)), 0)
         FROM policies p JOIN policy_versions v ON v.policy_id = p.id AND v.version = p.version
         WHERE p.deleted_at IS NULL AND p.id <> ?",
    )
    .bind(policy_id)
    .fetch_one(tx)
    .await
    .doing("adding up policies");
    let others = usize::try_from(others?).unwrap_or(usize::MAX);
    let data = serde_json::to_vec(data).map_or(usize::MAX, |data| data.len());
    if others.saturating_add(rego.len()).saturating_add(data) <= MAX_POLICY_BYTES {
        return Ok(());
    }
    let detail = format!(
        "all policies together would have more than {MAX_POLICY_BYTES} bytes; delete some, or their data"
    );
    Err(Problem::new(Code::TooMany, detail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Ledger;

    #[tokio::test]
    async fn the_last_place_is_given_away_and_no_further_one() {
        let ledger = Ledger::new().await;
        let mut tx = ledger.db.begin_write().await.unwrap();
        sql::query("INSERT INTO orgs (id, name, created_at) VALUES ('org_1', 'x', 0)")
            .execute(&mut *tx)
            .await
            .unwrap();
        let fill =
            "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 9999)
             INSERT INTO quotas (id, org_id, name, spec, created_at, updated_at)
             SELECT 'quo_' || n, 'org_1', n, '{}', 0, 0 FROM numbers";
        sql::query(fill).execute(&mut *tx).await.unwrap();
        check_room(&mut tx, Bounded::Quotas).await.unwrap();
        let last = "INSERT INTO quotas (id, org_id, name, spec, created_at, updated_at) VALUES ('q', 'org_1', 'q', '{}', 0, 0)";
        sql::query(last).execute(&mut *tx).await.unwrap();
        check_room(&mut tx, Bounded::Quotas).await.unwrap_err();
        check_room(&mut tx, Bounded::Limits).await.unwrap();
        sql::query("UPDATE quotas SET deleted_at = 1 WHERE id = 'q'").execute(&mut *tx).await.unwrap();
        check_room(&mut tx, Bounded::Quotas).await.unwrap();
    }

    #[tokio::test]
    async fn policies_may_have_so_many_bytes_together_whichever_of_them_grows() {
        let ledger = Ledger::new().await;
        let mut tx = ledger.db.begin_write().await.unwrap();
        for sql in [
            "INSERT INTO orgs (id, name, created_at) VALUES ('org_1', 'x', 0)",
            "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 63)
             INSERT INTO policies (id, org_id, name, mode, scope, on_error, version, created_at, updated_at)
             SELECT 'pol_' || n, 'org_1', n, 'enforce', '{}', 'deny', 2, 0, 0 FROM numbers",
            "INSERT INTO policy_versions (policy_id, version, rego, data, package, reads, warnings, created_at)
             SELECT id, 1, 'an old version counts nothing', '{}', 'p', '[]', '[]', 0 FROM policies
             UNION ALL SELECT id, 2, printf('%.1048574c', 'x'), '{}', 'p', '[]', '[]', 0 FROM policies",
        ] {
            sql::query(sql).execute(&mut *tx).await.unwrap();
        }
        let data = serde_json::json!({});
        let (fits, too_long) = ("x".repeat((1 << 20) - 2), "x".repeat((1 << 20) - 1));
        check_policy_bytes(&mut tx, "pol_new", (&fits, &data)).await.unwrap();
        check_policy_bytes(&mut tx, "pol_new", (&too_long, &data)).await.unwrap_err();
        check_policy_bytes(&mut tx, "pol_7", (&too_long, &data)).await.unwrap();
        sql::query("UPDATE policies SET deleted_at = 1 WHERE id = 'pol_7'").execute(&mut *tx).await.unwrap();
        check_policy_bytes(&mut tx, "pol_new", (&too_long, &data)).await.unwrap();
    }
}
