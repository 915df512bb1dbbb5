//! All SQL of statements.

use std::collections::HashMap;

use sqlx::FromRow;

use crate::access::OrgPermit;
use crate::db::sql::QueryBuilder;
use crate::db::{Connection, Doing, StoreError, sql};
use crate::rollup::{Level, cover, states_read};
use crate::usage::totals::{self, Totals};

/// What lines are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    Project,
    ProjectAndModel,
}

/// Which sums are wanted: of whole UTC days, `from..to` in microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sums {
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) detail: Detail,
}

/// A sum.
#[derive(FromRow)]
pub(super) struct Sum {
    pub(super) project_id: String,
    /// Empty where there is none.
    pub(super) model: String,
    #[sqlx(flatten)]
    pub(super) totals: Totals,
}

/// The sums of an organisation, the most expensive first, at most one more than `most`; and until when days are summed.
pub(super) async fn sums_by_line(
    tx: &mut Connection,
    permit: &OrgPermit,
    sums: Sums,
    most: usize,
) -> Result<(Vec<Sum>, i64), StoreError> {
    let model = match sums.detail {
        Detail::Project => "''",
        Detail::ProjectAndModel => "model",
    };
    let state = states_read(tx).await?;
    let mut sql =
        QueryBuilder::new(format!("SELECT project_id, {model} AS model, {} FROM (", totals::sums_sql()));
    push_pieces(&mut sql, &cover(&state, sums.from, sums.to));
    sql.push(") AS pieces JOIN usage_dims USING (dim_id) WHERE org_id = ").push_bind(permit.org_id());
    sql.push(" GROUP BY 1, 2 ORDER BY cost_nano_usd DESC, 1, 2 LIMIT ");
    sql.push_bind(i64::try_from(most).unwrap_or(i64::MAX).saturating_add(1));
    let rows = sql.build_query_as().fetch_all(tx).await.doing("summing a month")?;
    Ok((rows, state.day_complete_until))
}

/// The sum of an organisation.
pub(super) async fn sum_of_all(
    tx: &mut Connection,
    permit: &OrgPermit,
    sums: Sums,
) -> Result<Totals, StoreError> {
    let state = states_read(tx).await?;
    let mut sql = QueryBuilder::new(format!("SELECT {} FROM (", totals::sums_sql()));
    push_pieces(&mut sql, &cover(&state, sums.from, sums.to));
    sql.push(") AS pieces JOIN usage_dims USING (dim_id) WHERE org_id = ").push_bind(permit.org_id());
    sql.build_query_as().fetch_one(tx).await.doing("summing a month")
}

fn push_pieces(sql: &mut QueryBuilder, pieces: &[(Level, i64, i64)]) {
    let columns = Totals::COLUMNS.join(", ");
    for (index, (level, from, to)) in pieces.iter().enumerate() {
        if index > 0 {
            sql.push(" UNION ALL ");
        }
        sql.push(format!("SELECT dim_id, {columns} FROM {} WHERE bucket >= ", level.table()));
        sql.push_bind(*from).push(" AND bucket < ").push_bind(*to);
    }
}

/// The first moment of which there is a sum.
pub(super) async fn first_sum(tx: &mut Connection, permit: &OrgPermit) -> Result<Option<i64>, StoreError> {
    let mut first = None;
    for level in [Level::Minute, Level::Hour, Level::Day] {
        // Goes along the primary key, and ends at the first row of the organisation.
        let sql = format!(
            "SELECT u.bucket FROM {} u JOIN usage_dims d ON d.dim_id = u.dim_id WHERE d.org_id = ? ORDER BY u.bucket LIMIT 1",
            level.table()
        );
        let bucket: Option<i64> = sql::query_scalar(sqlx::AssertSqlSafe(sql))
            .bind(permit.org_id())
            .fetch_optional(&mut *tx)
            .await
            .doing("looking for the first month")?;
        first = first.into_iter().chain(bucket).min();
    }
    Ok(first)
}

/// What the projects of an organisation are called, deleted ones too.
pub(super) async fn project_names(
    tx: &mut Connection,
    permit: &OrgPermit,
) -> Result<HashMap<String, String>, StoreError> {
    let rows: Vec<(String, String)> = sql::query_as("SELECT id, name FROM projects WHERE org_id = ?")
        .bind(permit.org_id())
        .fetch_all(tx)
        .await
        .doing("reading projects' names")?;
    Ok(rows.into_iter().collect())
}
