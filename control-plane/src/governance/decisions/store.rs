//! All SQL of the decision log.

use jiff::Timestamp;
use mindweave_metering::{LimitId, PolicyId, QuotaId};
use sqlx::{AssertSqlSafe, FromRow};

use super::record::Record;
use crate::access::Reach;
use crate::db::{
    Connection, Doing, StoreError,
    sql::{self, QueryBuilder},
};
use crate::governance::stored_specs::parse;
use crate::usage::Within;

/// A place in the log: after the event with this time and order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) ended_at: i64,
    pub(super) landed: i64,
}

/// What the index and the columns can tell apart.
#[derive(Clone, Debug, Default)]
pub(super) struct Columns {
    pub(super) project_id: Option<String>,
    pub(super) user_id: Option<String>,
    pub(super) key_id: Option<String>,
    /// At or after.
    pub(super) from: Option<Timestamp>,
    /// Before.
    pub(super) to: Option<Timestamp>,
}

#[derive(FromRow)]
struct DecidedRow {
    landed: i64,
    ended_at: i64,
    event: String,
}

/// At most `limit` records behind a place, newest first.
pub(super) async fn decided_list(
    tx: &mut Connection,
    within: &Within,
    columns: &Columns,
    after: Option<Place>,
    limit: usize,
) -> Result<Vec<(Place, Record)>, StoreError> {
    let rows: Vec<DecidedRow> = build(within, columns, after, limit)
        .build_query_as()
        .fetch_all(tx)
        .await
        .doing("reading the decision log")?;
    let record = |row: DecidedRow| {
        let place = Place { ended_at: row.ended_at, landed: row.landed };
        Ok((place, parse(&row.event, "an event")?))
    };
    rows.into_iter().map(record).collect()
}

/// The project of the columns is among what is `within`.
fn build(within: &Within, columns: &Columns, after: Option<Place>, limit: usize) -> QueryBuilder {
    let matching = |sql: &mut QueryBuilder| {
        sql.push("SELECT landed, ended_at, event FROM usage_events WHERE flagged = 1");
        let texts = [(" AND user_id = ", &columns.user_id), (" AND key_id = ", &columns.key_id)];
        for (clause, value) in texts {
            if let Some(value) = value {
                sql.push(clause).push_bind(value.clone());
            }
        }
        if let Some(from) = columns.from {
            sql.push(" AND ended_at >= ").push_bind(from.as_microsecond());
        }
        if let Some(to) = columns.to {
            sql.push(" AND ended_at < ").push_bind(to.as_microsecond());
        }
        if let Some(Place { ended_at, landed }) = after {
            sql.push(" AND (ended_at, landed) < (");
            sql.push_bind(ended_at).push(", ").push_bind(landed).push(")");
        }
    };
    within.select(matching, " ORDER BY ended_at DESC, landed DESC", limit)
}

/// What has names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    Policy,
    Limit,
    Quota,
}

impl Named {
    /// What an id is of; `None` for anything else.
    pub(super) fn of(id: &str) -> Option<Self> {
        let kinds = [
            (PolicyId::PREFIX, Self::Policy),
            (LimitId::PREFIX, Self::Limit),
            (QuotaId::PREFIX, Self::Quota),
        ];
        kinds.into_iter().find(|(prefix, _)| id.starts_with(prefix)).map(|(_, named)| named)
    }

    fn table(self) -> &'static str {
        match self {
            Self::Policy => "policies",
            Self::Limit => "limits",
            Self::Quota => "quotas",
        }
    }
}

/// The name of a policy, a limit or a budget of an organisation; also of a deleted one.
pub(super) async fn name_view(
    tx: &mut Connection,
    named: Named,
    org_id: &str,
    id: &str,
) -> Result<Option<String>, StoreError> {
    // Events of an organisation that is not here are seen only by who sees everything.
    let sql = format!(
        "SELECT name FROM {} WHERE id = ?1 AND (org_id = ?2 OR NOT EXISTS (SELECT 1 FROM orgs WHERE id = ?2))",
        named.table()
    );
    let name = sql::query_scalar(AssertSqlSafe(sql)).bind(id).bind(org_id);
    name.fetch_optional(tx).await.doing("looking for a name")
}

/// The ids of the policies in reach that have, or had when they were deleted, this name.
pub(super) async fn policies_named(
    tx: &mut Connection,
    reach: &Reach,
    name: &str,
) -> Result<Vec<String>, StoreError> {
    let mut sql = QueryBuilder::new("SELECT id FROM policies WHERE name = ");
    sql.push_bind(name);
    // Of the organisations whose decisions the caller sees, in whatever part.
    reach.limit_to_members(&mut sql, "org_id");
    let rows: Vec<(String,)> =
        sql.build_query_as().fetch_all(tx).await.doing("looking for policies by name")?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Ledger, NOON, at};

    #[tokio::test]
    async fn the_log_walks_its_own_index_in_order_whatever_is_asked() {
        let ledger = Ledger::new().await;
        let place = Some(Place { ended_at: NOON, landed: 1 });
        let by_project = Columns { project_id: Some("prj_1".into()), ..Columns::default() };
        let within = Columns { from: Some(at(NOON)), to: Some(at(NOON)), ..Columns::default() };
        let by_key = Columns { key_id: Some("key_1".into()), ..within.clone() };
        let by_user = Columns { user_id: Some("usr_1".into()), ..Columns::default() };
        let cases = [
            (Columns::default(), None, "usage_events_flagged"),
            (within, place, "usage_events_flagged (ended_at"),
            (by_key, place, "usage_events_flagged_by_key (key_id=?"),
            (by_user, place, "usage_events_flagged_by_user (user_id=?"),
            (by_project, place, "usage_events_flagged_by_project (project_id=?"),
        ];
        for (columns, after, index) in cases {
            let within = Within::everything(columns.project_id.as_deref());
            let plan = build(&within, &columns, after, 10).plan(ledger.db.readers()).await;
            assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{plan}");
        }
    }
}
