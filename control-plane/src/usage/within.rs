//! Whose events somebody sees, as statements say it.
//!
//! Events have an index by project and time. Where few projects are seen, each is walked in its own index and the newest of all are taken:
//! what others did is not even looked at. Where many are, the whole time is walked, and what is not theirs is passed over.

use crate::access::Reach;
use crate::db::sql::QueryBuilder;
use crate::db::{Db, Doing, Engine, StoreError};

/// Most projects that are walked one by one: each is a part of the statement, which a server plans for every piece of the table.
const MAX_WALKED: usize = 32;

/// The events that somebody sees, those of one project if only they are asked for.
#[derive(Clone, Debug)]
pub(crate) struct Within(Seen);

#[derive(Clone, Debug)]
enum Seen {
    /// All there are; of one project if one was asked for.
    Everything(Option<String>),
    /// Those of these projects.
    Projects(Vec<String>),
    /// Those of more projects than are walked one by one. The text names the column so that its index is not used where that would sort them all.
    Many(Reach, &'static str),
}

impl Within {
    /// What is in reach, of one project if `only` is given.
    pub(crate) async fn of(db: &Db, reach: &Reach, only: Option<&str>) -> Result<Self, StoreError> {
        if reach.is_everything() {
            return Ok(Self::everything(only));
        }
        let mut sql = QueryBuilder::new("SELECT id FROM projects WHERE true");
        if let Some(only) = only {
            sql.push(" AND id = ").push_bind(only);
        }
        reach.limit_to_projects(&mut sql, "id");
        sql.push(" ORDER BY id LIMIT ")
            .push_bind(i64::try_from(MAX_WALKED).unwrap_or(i64::MAX).saturating_add(1));
        let rows: Vec<(String,)> = sql
            .build_query_as()
            .fetch_all(db.readers())
            .await
            .doing("looking for the projects that somebody sees")?;
        if rows.len() <= MAX_WALKED {
            return Ok(Self(Seen::Projects(rows.into_iter().map(|(id,)| id).collect())));
        }
        let column = match db.engine() {
            Engine::Sqlite => "+project_id", // no index for this term
            Engine::Postgres => "project_id",
        };
        Ok(Self(Seen::Many(reach.clone(), column)))
    }

    /// All there is, of one project if `only` is given: for who sees everything.
    pub(crate) fn everything(only: Option<&str>) -> Self {
        Self(Seen::Everything(only.map(str::to_owned)))
    }

    /// A statement for at most `limit` of the events that `matching` selects, in an order of its columns. What it selects has a condition already.
    pub(crate) fn select(
        &self,
        matching: impl Fn(&mut QueryBuilder),
        order: &str,
        limit: usize,
    ) -> QueryBuilder {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut sql = QueryBuilder::new("");
        let of = |sql: &mut QueryBuilder, project: &str| {
            matching(sql);
            sql.push(" AND project_id = ").push_bind(project);
        };
        match &self.0 {
            Seen::Everything(None) => matching(&mut sql),
            Seen::Everything(Some(project)) => of(&mut sql, project),
            Seen::Many(reach, column) => {
                matching(&mut sql);
                reach.limit_to_projects(&mut sql, column);
            }
            Seen::Projects(projects) => match projects.as_slice() {
                [] => {
                    matching(&mut sql);
                    sql.push(" AND 1 = 0");
                }
                [project] => of(&mut sql, project),
                projects => {
                    for (index, project) in projects.iter().enumerate() {
                        sql.push(if index == 0 { "SELECT * FROM (" } else { " UNION ALL SELECT * FROM (" });
                        of(&mut sql, project);
                        sql.push(order).push(" LIMIT ").push_bind(limit);
                        sql.push(format!(") AS project_{index}"));
                    }
                }
            },
        }
        sql.push(order).push(" LIMIT ").push_bind(limit);
        sql
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Ledger;

    const ORDER: &str = " ORDER BY ended_at DESC, landed DESC";

    fn matching(sql: &mut QueryBuilder) {
        sql.push("SELECT landed, ended_at, event FROM usage_events WHERE true");
    }

    #[tokio::test]
    async fn the_events_of_few_projects_are_read_from_the_index_of_each() {
        let ledger = Ledger::new().await;
        let projects = ["prj_1", "prj_2", "prj_3"].map(str::to_owned).to_vec();
        let plan =
            Within(Seen::Projects(projects)).select(matching, ORDER, 10).plan(ledger.db.readers()).await;
        assert_eq!(plan.matches("usage_events_by_project (project_id=?").count(), 3, "{plan}");
        assert!(!plan.contains("SCAN usage_events"), "{plan}");
        let one = Within(Seen::Projects(vec!["prj_1".into()])).select(matching, ORDER, 10);
        let plan = one.plan(ledger.db.readers()).await;
        assert!(
            plan.contains("usage_events_by_project (project_id=?") && !plan.contains("TEMP B-TREE"),
            "{plan}"
        );
    }

    #[tokio::test]
    async fn nothing_is_read_for_who_sees_nothing() {
        let ledger = Ledger::new().await;
        let sql = Within(Seen::Projects(Vec::new())).select(matching, ORDER, 10);
        let rows: Vec<(i64, i64, String)> =
            sql.build_query_as().fetch_all(ledger.db.readers()).await.unwrap();
        assert!(rows.is_empty());
    }
}
