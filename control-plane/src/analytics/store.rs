//! Sums over time, stitched from the levels at their watermarks.

use serde::Serialize;
use sqlx::FromRow;

use crate::access::Reach;
use crate::db::{Db, Divided, Doing, StoreError, sql::QueryBuilder};
use crate::rollup::{Level, State, states_read};
use crate::usage::totals::{self, Totals};

/// What rows can be told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = UsageDimension)]
pub(crate) enum GroupBy {
    Model,
    Project,
    Team,
    User,
    Key,
}

impl GroupBy {
    /// Every dimension.
    pub(crate) const ALL: [Self; 5] = [Self::Model, Self::Project, Self::Team, Self::User, Self::Key];

    /// Its column, which is also its field in answers.
    pub(crate) fn column(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Project => "project_id",
            Self::Team => "team_id",
            Self::User => "user_id",
            Self::Key => "key_id",
        }
    }
}

/// A question: whole buckets of `interval` whose start lies in `from..to` (microseconds).
#[derive(Clone, Debug)]
pub(crate) struct UsageQuery {
    pub(crate) interval: Level,
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) group_by: Vec<GroupBy>,
    /// Only rows with this value in this dimension.
    pub(crate) only: Vec<(GroupBy, String)>,
}

/// One row of an answer. Dimensions that were not asked for are empty.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub(crate) struct UsageRow {
    pub(crate) bucket: i64,
    pub(crate) model: String,
    pub(crate) project_id: String,
    pub(crate) team_id: String,
    pub(crate) user_id: String,
    pub(crate) key_id: String,
    #[sqlx(flatten)]
    pub(crate) totals: Totals,
}

/// What a question comes to.
#[derive(Debug)]
pub(crate) enum Answer {
    Rows(Vec<UsageRow>),
    /// Sums of this interval are only kept from this moment on.
    NotKept {
        from: i64,
    },
}

/// Answers a question from one state of the database, of what is in reach, with at most `limit` rows.
pub(crate) async fn usage_query(
    db: &Db,
    reach: &Reach,
    query: &UsageQuery,
    limit: u64,
) -> Result<Answer, StoreError> {
    let mut tx = db.begin_read_of(Divided::Sums).await?;
    let state = states_read(&mut tx).await?;
    if let Some(kept_from) = state.kept_from(query.interval).filter(|kept_from| query.from < *kept_from) {
        return Ok(Answer::NotKept { from: kept_from });
    }
    let mut sql = build(reach, query, &state);
    sql.push(" LIMIT ").push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
    let rows = sql.build_query_as().fetch_all(&mut *tx).await.doing("summing usage for a query")?;
    Ok(Answer::Rows(rows))
}

fn build(reach: &Reach, query: &UsageQuery, state: &State) -> QueryBuilder {
    let mut sql = QueryBuilder::new("SELECT bucket");
    for dimension in GroupBy::ALL {
        let column = dimension.column();
        let selected = if query.group_by.contains(&dimension) { column } else { "''" };
        sql.push(format!(", {selected} AS {column}"));
    }
    sql.push(format!(", {} FROM (", totals::sums_sql()));
    let columns = Totals::COLUMNS.join(", ");
    for (index, (level, from, to)) in pieces(query, state).into_iter().enumerate() {
        if index > 0 {
            sql.push(" UNION ALL ");
        }
        let floor = totals::floor_sql(query.interval);
        sql.push(format!(
            "SELECT {floor} AS bucket, dim_id, {columns} FROM {} WHERE bucket >= ",
            level.table()
        ));
        sql.push_bind(from).push(" AND bucket < ").push_bind(to);
    }
    sql.push(") AS pieces JOIN usage_dims USING (dim_id) WHERE true");
    for (dimension, value) in &query.only {
        sql.push(format!(" AND {} = ", dimension.column())).push_bind(value.clone());
    }
    // Of sums the organisation stands beside, so that a whole one is told apart without looking at its projects.
    reach.limit_to_owners(&mut sql, "org_id", "project_id");
    // Numbers name the columns of the select list: the time first, then the dimensions.
    sql.push(" GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6");
    sql
}

/// Which level answers for which part of the time: each up to its watermark, the one below from there.
fn pieces(query: &UsageQuery, state: &State) -> Vec<(Level, i64, i64)> {
    let between = |low: i64, high: i64| (query.from.max(low), query.to.min(high));
    let (hours, days) = (state.hour_complete_until, state.day_complete_until);
    let (start, end) = (i64::MIN, i64::MAX);
    let levels = match query.interval {
        Level::Minute => vec![(Level::Minute, between(start, end))],
        Level::Hour => vec![(Level::Hour, between(start, hours)), (Level::Minute, between(hours, end))],
        Level::Day => vec![
            (Level::Day, between(start, days)),
            (Level::Hour, between(days, hours)),
            (Level::Minute, between(hours, end)),
        ],
    };
    levels.into_iter().map(|(level, (from, to))| (level, from, to)).collect()
}
