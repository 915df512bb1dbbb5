//! `/orgs/{org_id}/privacy/..`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use serde_json::json;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::erase::person_erase;
use super::export::{Record, SECTIONS, Section, section_read};
use super::store::{self, Erasure};
use crate::access::{Access, Area, Caller};
use crate::app::App;
use crate::audit::{self, Chain, Change};
use crate::db::{Divided, Doing};
use crate::governance::commit;
use crate::http::body::Fields;
use crate::http::cursor;
use crate::http::problem::Problem;
use crate::http::query::Parameters;
use crate::http::{DEFAULT_PAGE, Page};

/// The kinds of lists in cursors.
const ERASURES: &str = "erasures";
const EXPORT: &str = "export";

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(person_export))
        .routes(routes!(person_erase_begin))
        .routes(routes!(erasure_list))
        .routes(routes!(erasure_view))
}

/// Whose data is wanted.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `person_export` reads")]
struct ExportRequest {
    /// The person, as keys and events name them, or the id of their account.
    #[schema(min_length = 1, max_length = 200)]
    user_id: String,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// What is known of a person: their account and roles, keys that name them, what they used, single calls, what they changed. In the
/// body, because who it is does not belong into a URL. Every page is noted in the audit log.
#[utoipa::path(
    post, path = "/orgs/{org_id}/privacy/export", tag = "privacy", operation_id = "person_export",
    params(("org_id" = String, Path, description = "`org_..`")),
    request_body = ExportRequest,
    responses((status = 200, body = Page<Record>)),
    extensions(("x-access" = json!("privacy:read"))),
)]
async fn person_export(
    State(app): State<App>,
    caller: Caller,
    Path(org_id): Path<String>,
    mut fields: Fields,
) -> Result<Json<Page<Record>>, Problem> {
    let mut tx = app.db.begin_read_of(Divided::Events).await?;
    let permit = caller.org(&mut tx, &org_id, Access::read(Area::Privacy)).await?;
    let user_id = fields.required_text("user_id");
    let given = fields.text("cursor");
    fields.finish()?;
    let (mut section, mut after) = match &given {
        None => (0, String::new()),
        Some(text) => read_cursor(text)?,
    };
    let limit = usize::try_from(DEFAULT_PAGE).unwrap_or(usize::MAX);
    let mut records = Vec::new();
    while let Some(from) = SECTIONS.get(section).filter(|_| records.len() <= limit) {
        let room = limit.saturating_add(1).saturating_sub(records.len());
        let room = i64::try_from(room).unwrap_or(i64::MAX);
        let mut read = section_read(&mut tx, &permit, &user_id, *from, &after, room).await?;
        records.append(&mut read);
        section = section.saturating_add(1);
        after.clear();
    }
    drop(tx);
    // Every page: a cursor can be made up. Whom it was about is a part of what an erasure takes away.
    let mut tx = app.db.begin_write().await?;
    let change = Change::new(Chain::Org(permit.org_id()), "person.exported", "org", permit.org_id());
    let about = json!({ "user_id": user_id });
    audit::record(&mut tx, &caller, change.after(&about).identifying()).await?;
    tx.commit().await.doing("noting an export")?;
    Ok(Json(Page::of(records, DEFAULT_PAGE, |last| write_cursor(last.section, &last.place))))
}

fn write_cursor(section: Section, place: &str) -> String {
    let number = SECTIONS.iter().position(|known| *known == section).unwrap_or_default();
    cursor::write(EXPORT, &format!("{number}:{place}"))
}

fn read_cursor(text: &str) -> Result<(usize, String), Problem> {
    let position = cursor::read(EXPORT, text)?;
    let parts =
        position.split_once(':').and_then(|(section, place)| Some((section.parse().ok()?, place.to_owned())));
    parts.filter(|(section, _)| *section < SECTIONS.len()).ok_or_else(cursor::invalid)
}

/// Who is to be erased.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `person_erase_begin` reads")]
struct EraseRequest {
    /// The person, as keys and events name them, or the id of their account.
    #[schema(min_length = 1, max_length = 200)]
    user_id: String,
}

/// Replaces who somebody is by a pseudonym; figures stay. Roles and keys, the account where they have no other organisation, sums and
/// what governs are changed when this is answered, and so is whatever arrives later; stored calls follow. It cannot be undone.
#[utoipa::path(
    post, path = "/orgs/{org_id}/privacy/erase", tag = "privacy", operation_id = "person_erase",
    params(("org_id" = String, Path, description = "`org_..`")),
    request_body = EraseRequest,
    responses((status = 202, body = Erasure)),
    extensions(("x-access" = json!("privacy:write"))),
)]
async fn person_erase_begin(
    State(app): State<App>,
    caller: Caller,
    Path(org_id): Path<String>,
    mut fields: Fields,
) -> Result<impl IntoResponse, Problem> {
    let mut tx = app.db.begin_write().await?;
    let permit = caller.org(&mut tx, &org_id, Access::write(Area::Privacy)).await?;
    let user_id = fields.required_text("user_id");
    fields.finish()?;
    let erasure = person_erase(&mut tx, &permit, &user_id).await?;
    commit(&app, tx).await?;
    let location = format!("/orgs/{}/privacy/erasures/{}", permit.org_id(), erasure.id);
    Ok((StatusCode::ACCEPTED, [(LOCATION, location)], Json(erasure)))
}

/// Erasures, oldest first. None says who it was.
#[utoipa::path(
    get, path = "/orgs/{org_id}/privacy/erasures", tag = "privacy", operation_id = "erasure_list",
    params(
        ("org_id" = String, Path, description = "`org_..`"),
        ("limit" = Option<u64>, Query, description = "Most entries of a page", minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, body = Page<Erasure>)),
    extensions(("x-access" = json!("privacy:read"))),
)]
async fn erasure_list(
    State(app): State<App>,
    caller: Caller,
    Path(org_id): Path<String>,
    mut query: Parameters,
) -> Result<Json<Page<Erasure>>, Problem> {
    let (limit, after) = (query.limit(), query.text("cursor"));
    query.finish()?;
    let after = after.map(|text| cursor::read(ERASURES, &text)).transpose()?.unwrap_or_default();
    let mut tx = app.db.begin_read().await?;
    let permit = caller.org(&mut tx, &org_id, Access::read(Area::Privacy)).await?;
    let rows = store::erasure_list(&mut tx, &permit, &after, limit.saturating_add(1)).await?;
    Ok(Json(Page::of(rows, limit, |erasure| cursor::write(ERASURES, &erasure.id))))
}

/// How far an erasure is.
#[utoipa::path(
    get, path = "/orgs/{org_id}/privacy/erasures/{erasure_id}", tag = "privacy", operation_id = "erasure_view",
    params(("org_id" = String, Path, description = "`org_..`"), ("erasure_id" = String, Path, description = "`era_..`")),
    responses((status = 200, body = Erasure)),
    extensions(("x-access" = json!("privacy:read"))),
)]
async fn erasure_view(
    State(app): State<App>,
    caller: Caller,
    Path((org_id, erasure_id)): Path<(String, String)>,
) -> Result<Json<Erasure>, Problem> {
    let mut tx = app.db.begin_read().await?;
    let permit = caller.org(&mut tx, &org_id, Access::read(Area::Privacy)).await?;
    let erasure = store::erasure_view(&mut tx, &permit, &erasure_id).await?;
    erasure.map(Json).ok_or_else(|| Problem::not_found("erasure in this organisation", &erasure_id))
}
