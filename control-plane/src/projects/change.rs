//! Where projects are made and moved to, and by whom.

use super::store::Owner;
use crate::access::{Access, Area, Caller, ProjectPermit};
use crate::app::Home;
use crate::db::Connection;
use crate::http::body::Fields;
use crate::http::problem::{Code, Problem};

/// To make and to change projects.
const NEED: Access = Access::write(Area::Projects);
/// Said of a team that is not in the organisation, or that the caller does not see.
const NO_SUCH_TEAM: &str = "is not the id of a team in this organisation";

/// A new project.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `project_create` reads")]
pub(super) struct NewProject {
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// Needed by those who belong to several organisations and name no team.
    #[schema(min_length = 1, max_length = 200)]
    org_id: Option<String>,
    /// The team that it belongs to.
    #[schema(min_length = 1, max_length = 200)]
    team_id: Option<String>,
}

/// What can be changed of a project. What is not given stays; `team_id` may be `null` for none.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `project_change` reads")]
pub(super) struct ProjectChange {
    #[schema(min_length = 1, max_length = 200, required = false)]
    name: String,
    #[schema(min_length = 1, max_length = 200)]
    team_id: Option<String>,
}

/// Where a new project may be made: in the team that is named, or else in the organisation. `None`, with a fault, where the team
/// is not there.
pub(super) async fn owner(
    tx: &mut Connection,
    caller: &Caller,
    org_id: Option<String>,
    team_id: Option<String>,
    home: &Home,
    fields: &mut Fields,
) -> Result<Option<Owner>, Problem> {
    let Some(team_id) = team_id else {
        let org_id = match org_id {
            Some(org_id) => org_id.into(),
            None => caller.only_org(home.org_id.as_str(), NEED)?,
        };
        return Ok(Some(Owner::Org(caller.org(tx, &org_id, NEED).await?)));
    };
    match caller.team(tx, &team_id, NEED).await {
        Ok(permit) if org_id.is_none_or(|org_id| org_id == permit.org_id()) => Ok(Some(Owner::Team(permit))),
        Ok(_) => Ok(no_such_team(fields)),
        Err(problem) if problem.code() == Code::NotFound => Ok(no_such_team(fields)),
        Err(problem) => Err(problem),
    }
}

fn no_such_team(fields: &mut Fields) -> Option<Owner> {
    fields.refuse("team_id", NO_SUCH_TEAM);
    None
}

/// Whether the caller may take a project out of the first team and put it into the second: roles in both hold for it, before or after.
pub(super) async fn check_move(
    tx: &mut Connection,
    caller: &Caller,
    project: &ProjectPermit,
    [from, team_id]: [Option<&str>; 2],
    fields: &mut Fields,
) -> Result<(), Problem> {
    match from {
        None => {} // whoever may change the project itself may give it to a team of theirs
        Some(from) => match caller.team(tx, from, NEED).await {
            Ok(_) => {}
            // The caller sees the project, and so which team has it.
            Err(problem) if problem.code() == Code::NotFound => {
                let detail =
                    "taking a project out of its team takes a role in that team that may change projects";
                return Err(Problem::new(Code::Forbidden, detail));
            }
            Err(problem) => return Err(problem),
        },
    }
    let Some(team_id) = team_id else {
        return caller.org(tx, project.org_id(), NEED).await.map(drop);
    };
    match caller.team(tx, team_id, NEED).await {
        Ok(permit) if permit.org_id() == project.org_id() => {}
        Ok(_) => fields.refuse("team_id", NO_SUCH_TEAM),
        Err(problem) if problem.code() == Code::NotFound => fields.refuse("team_id", NO_SUCH_TEAM),
        Err(problem) => return Err(problem),
    }
    Ok(())
}
