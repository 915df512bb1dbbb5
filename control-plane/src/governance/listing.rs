//! Which policies, limits and budgets a caller sees in a list: see [`super::permit`].

use super::bounds::Bounded;
use crate::access::Reach;
use crate::db::Engine;
use crate::db::sql::QueryBuilder;

/// Where the id of a scope of each kind stands in a row.
struct ScopeIds {
    table: &'static str,
    team: &'static str,
    project: &'static str,
}

fn scope_ids(listed: Bounded, engine: Engine) -> ScopeIds {
    let (table, in_spec) = match listed {
        Bounded::Policies => ("policies", false),
        Bounded::Limits => ("limits", true),
        Bounded::Quotas => ("quotas", true),
    };
    let (team, project) = match (in_spec, engine) {
        (false, Engine::Sqlite) => {
            ("json_extract(listed.scope, '$.team')", "json_extract(listed.scope, '$.project')")
        }
        (true, Engine::Sqlite) => {
            ("json_extract(listed.spec, '$.scope.team')", "json_extract(listed.spec, '$.scope.project')")
        }
        (false, Engine::Postgres) => {
            ("(CAST(listed.scope AS json) ->> 'team')", "(CAST(listed.scope AS json) ->> 'project')")
        }
        (true, Engine::Postgres) => (
            "(CAST(listed.spec AS json) -> 'scope' ->> 'team')",
            "(CAST(listed.spec AS json) -> 'scope' ->> 'project')",
        ),
    };
    ScopeIds { table, team, project }
}

/// Adds the condition, ` AND (..)`, to a list of these, whose ids are in the column `id`. Adds nothing for who sees everything.
pub(super) fn limit_to_reach(sql: &mut QueryBuilder, reach: &Reach, listed: Bounded, engine: Engine) {
    if reach.is_everything() {
        return;
    }
    let ScopeIds { table, team, project } = scope_ids(listed, engine);
    sql.push(format!(" AND id IN (SELECT listed.id FROM {table} listed WHERE true"));
    reach.limit_to_orgs(sql, "listed.org_id");
    // A scope is about the row's own organisation, whatever ids it has.
    sql.push(format!(
        " UNION SELECT listed.id FROM {table} listed JOIN teams t ON t.org_id = listed.org_id AND t.id = {team}
          WHERE t.deleted_at IS NULL"
    ));
    reach.limit_to_teams(sql, "t.id");
    sql.push(format!(
        " UNION SELECT listed.id FROM {table} listed JOIN projects p ON p.org_id = listed.org_id AND p.id = {project}
          WHERE p.deleted_at IS NULL"
    ));
    reach.limit_to_projects(sql, "p.id");
    sql.push(")");
}
