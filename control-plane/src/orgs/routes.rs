//! `/orgs` and `/orgs/{id}`.

use axum::Json;
use axum::extract::{Path, State};
use jiff::tz::TimeZone;
use mindweave_metering::OrgId;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::store::{self, Org};
use super::{lifecycle, statements};
use crate::access::{Access, Area, Caller};
use crate::app::App;
use crate::audit::{self, Chain, Change};
use crate::clock;
use crate::governance::commit;
use crate::http::Page;
use crate::http::body::Fields;
use crate::http::etag::{IfMatch, Tagged};
use crate::http::problem::Problem;
use crate::http::query::Parameters;
use crate::http::sorting::SortField;
use crate::usage::counters::counters_reseed;

/// The kind of list in cursors.
const LIST: &str = "orgs";

const BY_AGE: SortField = SortField { name: "created_at", column: "created_at", is_number: true };
const BY_NAME: SortField = SortField { name: "name", column: "name", is_number: false };

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(org_list))
        .routes(routes!(org_view, org_change))
        .merge(lifecycle::routes())
        .merge(statements::routes())
}

/// The organisations that you belong to.
#[utoipa::path(
    get, path = "/orgs", tag = "orgs", operation_id = "org_list",
    params(
        ("name" = Option<String>, Query, description = "Only organisations of this name"),
        ("sort" = Option<String>, Query, description = "`created_at` or `name`; with a minus before it the reverse", pattern = "^(|-?(created_at|name))$"),
        ("limit" = Option<u64>, Query, description = "Most entries of a page"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, body = Page<Org>)),
    extensions(("x-access" = json!("org:read"))),
)]
async fn org_list(
    State(app): State<App>,
    caller: Caller,
    mut query: Parameters,
) -> Result<Json<Page<Org>>, Problem> {
    let (limit, name) = (query.limit(), query.text("name"));
    let sorting = query.sorting(LIST, BY_AGE, [BY_NAME])?;
    query.finish()?;
    let reach = caller.reach(Access::read(Area::Org))?;
    let rows = store::org_list(&app.db, &reach, name, &sorting, limit.saturating_add(1)).await?;
    Ok(Json(Page::of(rows, limit, |org| {
        if sorting.is_by(BY_NAME) {
            sorting.cursor(org.name.as_str(), &org.id)
        } else {
            sorting.cursor(org.created_at.as_microsecond(), &org.id)
        }
    })))
}

/// An organisation.
#[utoipa::path(
    get, path = "/orgs/{org_id}", tag = "orgs", operation_id = "org_view",
    params(("org_id" = String, Path, description = "`org_..`")),
    responses((status = 200, body = Org)),
    extensions(("x-access" = json!("org:read"))),
)]
async fn org_view(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Tagged<Org>, Problem> {
    let mut tx = app.db.begin_read().await?;
    let permit = caller.org(&mut tx, &id, Access::read(Area::Org)).await?;
    Ok(Tagged(store::org_view(&mut tx, &permit).await?))
}

/// What can be changed of an organisation. What is not given stays.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `org_change` reads")]
struct OrgChange {
    #[schema(min_length = 1, max_length = 200, required = false)]
    name: String,
    /// IANA name of the zone in which budgets' days, weeks and months begin.
    #[schema(min_length = 1, max_length = 200, example = "Europe/Berlin", required = false)]
    time_zone: String,
}

/// Changes an organisation.
#[utoipa::path(
    patch, path = "/orgs/{org_id}", tag = "orgs", operation_id = "org_change",
    params(("org_id" = String, Path, description = "`org_..`")),
    request_body = OrgChange,
    responses((status = 200, body = Org)),
    extensions(("x-access" = json!("org:write"))),
)]
async fn org_change(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    if_match: IfMatch,
    mut fields: Fields,
) -> Result<Tagged<Org>, Problem> {
    let mut tx = app.db.begin_write().await?;
    let permit = caller.org(&mut tx, &id, Access::write(Area::Org)).await?;
    let before = store::org_view(&mut tx, &permit).await?;
    if_match.check(&before)?;
    let mut org = before.clone();
    if fields.given("name") {
        org.name = fields.required_text("name");
    }
    if fields.given("time_zone") {
        org.time_zone = read_zone(&mut fields);
    }
    fields.finish()?;
    if org == before {
        return Ok(Tagged(org));
    }
    org.updated_at = clock::now();
    store::org_update(&mut tx, &permit, &org).await?;
    if org.time_zone != before.time_zone {
        counters_reseed(&mut tx, &OrgId::new(id), clock::now()).await?;
    }
    let change = Change::new(Chain::Org(permit.org_id()), "org.updated", "org", permit.org_id());
    audit::record(&mut tx, &caller, change.before(&before).after(&org)).await?;
    commit(&app, tx).await?;
    Ok(Tagged(org))
}

/// An IANA name in its own spelling.
pub(super) fn read_zone(fields: &mut Fields) -> String {
    let text = fields.required_text("time_zone");
    let zone =
        if text.is_empty() { None } else { TimeZone::get(&text).ok().filter(|zone| !zone.is_unknown()) };
    let name = zone.and_then(|zone| zone.iana_name().map(str::to_owned));
    name.unwrap_or_else(|| {
        if !text.is_empty() {
            fields.refuse("time_zone", "must be an IANA time zone, for example Europe/Berlin or UTC");
        }
        text
    })
}
