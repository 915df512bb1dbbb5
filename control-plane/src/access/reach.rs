//! How far a caller sees: what lists and sums are limited to.

use super::caller::Caller;
use super::grants::{Grant, Place};
use super::scope::Access;
use crate::db::sql::QueryBuilder;

/// Where a caller may do something. Can only be made by asking the caller.
#[derive(Clone, Debug)]
pub(crate) struct Reach {
    caller: Caller,
    everything: bool,
    orgs: Vec<String>,
    teams: Vec<String>,
    projects: Vec<String>,
}

impl Reach {
    pub(super) fn everything(caller: Caller) -> Self {
        Self { caller, everything: true, orgs: Vec::new(), teams: Vec::new(), projects: Vec::new() }
    }

    pub(super) fn of(caller: Caller, need: Access) -> Self {
        let (mut orgs, mut teams, mut projects) = (Vec::new(), Vec::new(), Vec::new());
        for Grant { org_id, place, role } in &caller.grants().0 {
            if !role.allows(need) {
                continue;
            }
            match place {
                Place::Org => orgs.push(org_id.clone()),
                Place::Team(id) => teams.push(id.clone()),
                Place::Project(id) => projects.push(id.clone()),
            }
        }
        Self { caller, everything: false, orgs, teams, projects }
    }

    /// Who sees so far.
    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Whether there is no limit.
    pub(crate) fn is_everything(&self) -> bool {
        self.everything
    }

    /// Whether it is nothing at all.
    pub(crate) fn is_nothing(&self) -> bool {
        !self.everything && self.orgs.is_empty() && self.teams.is_empty() && self.projects.is_empty()
    }

    /// Whether it is all of this organisation.
    pub(crate) fn has_org(&self, org_id: &str) -> bool {
        self.everything || self.orgs.iter().any(|org| org == org_id)
    }

    /// Adds a condition, ` AND (..)`, on a table of organisations' things: `org_id` is the name of its column.
    pub(crate) fn limit_to_orgs(&self, sql: &mut QueryBuilder, org_id: &'static str) {
        if !self.everything {
            sql.push(" AND ");
            push_in(sql, org_id, &self.orgs);
        }
    }

    /// Adds a condition, ` AND (..)`, on organisations themselves: every one in which the caller has some role.
    pub(crate) fn limit_to_members(&self, sql: &mut QueryBuilder, id: &'static str) {
        if !self.everything {
            let orgs: Vec<String> = self.caller.grants().0.iter().map(|grant| grant.org_id.clone()).collect();
            sql.push(" AND ");
            push_in(sql, id, &orgs);
        }
    }

    /// Adds a condition, ` AND (..)`, on a table of what teams have, of whose organisations it is not: `team_id` is the name of its column.
    pub(crate) fn limit_to_teams(&self, sql: &mut QueryBuilder, team_id: &'static str) {
        if !self.everything {
            sql.push(" AND ");
            push_in(sql, team_id, &self.teams);
        }
    }

    /// Adds a condition, ` AND (..)`, on a list of teams: `id` and `org_id` are the names of its columns.
    pub(crate) fn limit_to_teams_and_orgs(
        &self,
        sql: &mut QueryBuilder,
        id: &'static str,
        org_id: &'static str,
    ) {
        if !self.everything {
            sql.push(" AND (");
            push_in(sql, org_id, &self.orgs);
            sql.push(" OR ");
            push_in(sql, id, &self.teams);
            sql.push(")");
        }
    }

    /// Adds a condition, ` AND (..)`, on a table with the ids of organisations and of their projects. Whoever sees whole organisations
    /// is told apart by the former alone.
    pub(crate) fn limit_to_owners(
        &self,
        sql: &mut QueryBuilder,
        org_id: &'static str,
        project_id: &'static str,
    ) {
        if self.everything {
            return;
        }
        sql.push(" AND (");
        push_in(sql, org_id, &self.orgs);
        if !self.teams.is_empty() || !self.projects.is_empty() {
            sql.push(" OR ").push(project_id).push(" IN (SELECT id FROM projects WHERE ");
            push_in(sql, "team_id", &self.teams);
            sql.push(" OR ");
            push_in(sql, "id", &self.projects);
            sql.push(")");
        }
        sql.push(")");
    }

    /// Adds a condition, ` AND (..)`, on a table with projects' ids: `project_id` is the name of its column.
    pub(crate) fn limit_to_projects(&self, sql: &mut QueryBuilder, project_id: &'static str) {
        if self.everything {
            return;
        }
        sql.push(" AND ").push(project_id).push(" IN (SELECT id FROM projects WHERE ");
        push_in(sql, "org_id", &self.orgs);
        sql.push(" OR ");
        push_in(sql, "team_id", &self.teams);
        sql.push(" OR ");
        push_in(sql, "id", &self.projects);
        sql.push(")");
    }
}

/// `column IN (?, ..)`, or what is never true.
fn push_in(sql: &mut QueryBuilder, column: &'static str, values: &[String]) {
    let Some((first, rest)) = values.split_first() else {
        sql.push("1 = 0");
        return;
    };
    sql.push(column).push(" IN (").push_bind(first.clone());
    for value in rest {
        sql.push(", ").push_bind(value.clone());
    }
    sql.push(")");
}
