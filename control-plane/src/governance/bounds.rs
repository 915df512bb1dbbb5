//! How much may be in force. Everything of it is in the memory of every proxy, and some of it is asked for every request.

use super::permit::Permit;
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

/// The part of everything that one organisation may have: none can take all the room that the others need.
const PART_OF_ONE: i64 = 2;

impl Bounded {
    /// Of all organisations together.
    fn most(self) -> i64 {
        match self {
            Self::Policies => 1_000,
            Self::Limits | Self::Quotas => 10_000,
        }
    }

    /// The counts of one organisation's and of all.
    fn count_sql(self) -> &'static str {
        match self {
            Self::Policies => {
                "SELECT count(CASE WHEN org_id = ? THEN 1 END), count(*) FROM policies WHERE deleted_at IS NULL"
            }
            Self::Limits => {
                "SELECT count(CASE WHEN org_id = ? THEN 1 END), count(*) FROM limits WHERE deleted_at IS NULL"
            }
            Self::Quotas => {
                "SELECT count(CASE WHEN org_id = ? THEN 1 END), count(*) FROM quotas WHERE deleted_at IS NULL"
            }
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

/// Refuses one more than there may be in the organisation or at all, in the transaction that would make it.
pub(super) async fn check_room(
    tx: &mut Connection,
    permit: &Permit,
    bounded: Bounded,
) -> Result<(), Problem> {
    let counts: Result<(i64, i64), StoreError> = sql::query_as(bounded.count_sql())
        .bind(permit.org_id())
        .fetch_one(tx)
        .await
        .doing("counting what is in force");
    let (own, all) = counts?;
    let (what, most, most_of_one) = (bounded.plural(), bounded.most(), bounded.most() / PART_OF_ONE);
    if own >= most_of_one {
        let detail = format!("this organisation has {most_of_one} {what}, and may have no more; delete some");
        return Err(Problem::new(Code::TooMany, detail));
    }
    if all >= most {
        let detail = format!("this installation has no room for more {what}; ask who runs it");
        return Err(Problem::new(Code::TooMany, detail));
    }
    Ok(())
}

/// Most bytes of all policies' texts and data together; one organisation may have half of them. They travel to proxies in one line, in which each may take six bytes
/// and which may have half a gigabyte.
const MAX_POLICY_BYTES: usize = 64 << 20;

/// Refuses content that makes the policies of the organisation, or all of them, too large together, in the transaction that would
/// make it the policy's.
pub(super) async fn check_policy_bytes(
    tx: &mut Connection,
    permit: &Permit,
    policy_id: &str,
    (rego, data): (&str, &serde_json::Value),
) -> Result<(), Problem> {
    let others: Result<(i64, i64), StoreError> = sql::query_as(
        "SELECT CAST(coalesce(sum(CASE WHEN p.org_id = ? THEN octet_length(v.rego) + octet_length(v.data) END), 0) AS BIGINT),
             CAST(coalesce(sum(octet_length(v.rego) + octet_length(v.data)), 0) AS BIGINT)
         FROM policies p JOIN policy_versions v ON v.policy_id = p.id AND v.version = p.version
         WHERE p.deleted_at IS NULL AND p.id <> ?",
    )
    .bind(permit.org_id())
    .bind(policy_id)
    .fetch_one(tx)
    .await
    .doing("adding up policies");
    let (own, all) = others?;
    let data = serde_json::to_vec(data).map_or(usize::MAX, |data| data.len());
    let with_this = |others: i64| {
        usize::try_from(others).unwrap_or(usize::MAX).saturating_add(rego.len()).saturating_add(data)
    };
    let most_of_one = MAX_POLICY_BYTES / 2;
    if with_this(own) > most_of_one {
        let detail = format!(
            "all policies of this organisation together would have more than {most_of_one} bytes; delete some, or their data"
        );
        return Err(Problem::new(Code::TooMany, detail));
    }
    if with_this(all) > MAX_POLICY_BYTES {
        let detail = "this installation has no room for policies of this size; ask who runs it";
        return Err(Problem::new(Code::TooMany, detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Caller;
    use crate::governance::permit::WRITE;
    use crate::testing::Ledger;

    /// What governs `org_1`.
    async fn permit(tx: &mut Connection) -> Permit {
        Permit::Org(Caller::system().org(tx, "org_1", WRITE).await.unwrap())
    }

    /// So many budgets of an organisation.
    async fn fill(tx: &mut Connection, org: &'static str, budgets: u32) {
        let sql = format!(
            "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {budgets})
             INSERT INTO quotas (id, org_id, name, spec, created_at, updated_at)
             SELECT 'quo_{org}_' || n, '{org}', n, '{{}}', 0, 0 FROM numbers"
        );
        sql::query(sqlx::AssertSqlSafe(sql)).execute(tx).await.unwrap();
    }

    async fn orgs(tx: &mut Connection) {
        for org in ["org_1", "org_2", "org_3"] {
            sql::query("INSERT INTO orgs (id, name, created_at) VALUES (?, 'x', 0)")
                .bind(org)
                .execute(&mut *tx)
                .await
                .unwrap();
        }
    }

    #[tokio::test]
    async fn the_last_place_of_an_organisation_and_of_all_is_given_away_and_no_further_one() {
        let ledger = Ledger::new().await;
        let mut tx = ledger.db.begin_write().await.unwrap();
        orgs(&mut tx).await;
        let permit = permit(&mut tx).await;
        fill(&mut tx, "org_1", 4_999).await;
        fill(&mut tx, "org_2", 5_000).await;
        check_room(&mut tx, &permit, Bounded::Quotas).await.unwrap();
        fill(&mut tx, "org_3", 1).await;
        check_room(&mut tx, &permit, Bounded::Quotas).await.unwrap_err();
        check_room(&mut tx, &permit, Bounded::Limits).await.unwrap();
        sql::query("UPDATE quotas SET deleted_at = 1 WHERE org_id = 'org_2'")
            .execute(&mut *tx)
            .await
            .unwrap();
        check_room(&mut tx, &permit, Bounded::Quotas).await.unwrap();
        let last = "UPDATE quotas SET org_id = 'org_1', name = 'last' WHERE org_id = 'org_3'";
        sql::query(last).execute(&mut *tx).await.unwrap();
        check_room(&mut tx, &permit, Bounded::Quotas).await.unwrap_err();
    }

    #[tokio::test]
    async fn policies_may_have_so_many_bytes_together_whichever_of_them_grows() {
        let ledger = Ledger::new().await;
        let mut tx = ledger.db.begin_write().await.unwrap();
        orgs(&mut tx).await;
        let permit = permit(&mut tx).await;
        for sql in [
            "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 63)
             INSERT INTO policies (id, org_id, name, mode, scope, on_error, version, created_at, updated_at)
             SELECT 'pol_' || n, CASE WHEN n < 32 THEN 'org_1' ELSE 'org_2' END, n, 'enforce', '{}', 'deny', 2, 0, 0 FROM numbers",
            "INSERT INTO policy_versions (policy_id, version, rego, data, package, reads, warnings, created_at)
             SELECT id, 1, 'an old version counts nothing', '{}', 'p', '[]', '[]', 0 FROM policies
             UNION ALL SELECT id, 2, printf('%.1048574c', 'x'), '{}', 'p', '[]', '[]', 0 FROM policies",
        ] {
            sql::query(sql).execute(&mut *tx).await.unwrap();
        }
        let data = serde_json::json!({});
        let (fits, too_long) = ("x".repeat((1 << 20) - 2), "x".repeat((1 << 20) - 1));
        check_policy_bytes(&mut tx, &permit, "pol_new", (&fits, &data)).await.unwrap();
        check_policy_bytes(&mut tx, &permit, "pol_new", (&too_long, &data)).await.unwrap_err();
        check_policy_bytes(&mut tx, &permit, "pol_7", (&too_long, &data)).await.unwrap();
        sql::query("UPDATE policies SET deleted_at = 1 WHERE id = 'pol_7'").execute(&mut *tx).await.unwrap();
        check_policy_bytes(&mut tx, &permit, "pol_new", (&too_long, &data)).await.unwrap();
        let other = "UPDATE policies SET deleted_at = NULL, org_id = 'org_2' WHERE id = 'pol_7'";
        sql::query(other).execute(&mut *tx).await.unwrap();
        check_policy_bytes(&mut tx, &permit, "pol_new", (&too_long, &data)).await.unwrap_err();
    }
}
