//! A project's keys, filtered and sorted.

use axum::Json;
use axum::extract::{Path, State as Shared};
use jiff::Timestamp;
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::store::{self, Key, ShownKey};
use crate::access::{Access, Area, Caller};
use crate::app::App;
use crate::clock;
use crate::http::Page;
use crate::http::problem::Problem;
use crate::http::query::Parameters;
use crate::http::sorting::SortField;

/// The kind of list in cursors.
const LIST: &str = "keys";
/// What it can be sorted by.
const BY_ID: SortField = SortField { name: "id", column: "k.id", is_number: false };
const BY_NAME: SortField = SortField { name: "name", column: "k.name", is_number: false };
const BY_CREATION: SortField = SortField { name: "created_at", column: "k.created_at", is_number: true };
/// What was never used stands before everything else.
const BY_USE: SortField =
    SortField { name: "last_used_at", column: "coalesce(u.last_used_at, 0)", is_number: true };

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(key_list))
}

/// Whether a key is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = KeyState)]
pub(crate) enum State {
    Active,
    Expired,
    /// Until it is enabled again.
    Disabled,
    /// For good.
    Revoked,
}

impl State {
    /// That of a key at this moment. What is harder to undo counts.
    pub(super) fn of(key: &Key, now: Timestamp) -> Self {
        match key {
            Key { revoked_at: Some(_), .. } => Self::Revoked,
            Key { disabled_at: Some(_), .. } => Self::Disabled,
            Key { expires_at: Some(expiry), .. } if *expiry <= now => Self::Expired,
            _ => Self::Active,
        }
    }
}

/// What a list of keys is limited to.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    pub(super) team_id: Option<String>,
    pub(super) user_id: Option<String>,
    pub(super) state: Option<State>,
}

/// A project's keys, without their secrets, revoked ones included; oldest first unless sorted otherwise.
#[utoipa::path(
    get, path = "/projects/{project_id}/keys", tag = "keys", operation_id = "key_list",
    params(
        ("project_id" = String, Path, description = "`prj_..`"),
        ("team_id" = Option<String>, Query, description = "Only of this team"),
        ("user_id" = Option<String>, Query, description = "Only of this person"),
        ("state" = Option<String>, Query, description = "`active`, `expired`, `disabled` or `revoked`", pattern = "^(|active|expired|disabled|revoked)$"),
        ("sort" = Option<String>, Query, description = "`id`, `name`, `created_at` or `last_used_at`, with a minus before it for the reverse", pattern = "^(|-?(id|name|created_at|last_used_at))$"),
        ("limit" = Option<u64>, Query, description = "Most entries of a page", minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, body = Page<ShownKey>)),
    extensions(("x-access" = json!("keys:read"))),
)]
async fn key_list(
    Shared(app): Shared<App>,
    caller: Caller,
    Path(project_id): Path<String>,
    mut query: Parameters,
) -> Result<Json<Page<ShownKey>>, Problem> {
    let limit = query.limit();
    let states = [
        ("active", Some(State::Active)),
        ("expired", Some(State::Expired)),
        ("disabled", Some(State::Disabled)),
        ("revoked", Some(State::Revoked)),
    ];
    let filter = Filter {
        team_id: query.text("team_id"),
        user_id: query.text("user_id"),
        state: query.choice("state", &states, None),
    };
    let sorting = query.sorting(LIST, BY_ID, [BY_NAME, BY_CREATION, BY_USE]);
    query.finish()?;
    let sorting = sorting?;
    let mut tx = app.db.begin_read().await?;
    let permit = caller.project(&mut tx, &project_id, Access::read(Area::Keys)).await?;
    let more = limit.saturating_add(1);
    let rows = store::key_list(&mut tx, &permit, &filter, &sorting, more, clock::now()).await?;
    Ok(Json(Page::of(rows, limit, |last| {
        let ShownKey { key, last_used_at, .. } = last;
        if sorting.is_by(BY_NAME) {
            sorting.cursor(&*key.name, &key.id)
        } else if sorting.is_by(BY_CREATION) {
            sorting.cursor(key.created_at.as_microsecond(), &key.id)
        } else if sorting.is_by(BY_USE) {
            sorting.cursor(last_used_at.map_or(0, |at| at.as_microsecond()), &key.id)
        } else {
            sorting.cursor(&*key.id, &key.id)
        }
    })))
}
