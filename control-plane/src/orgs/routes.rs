//! `/orgs` and `/orgs/{id}`.

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use jiff::tz::TimeZone;
use mindweave_metering::OrgId;

use super::store::{self, Org};
use crate::app::App;
use crate::clock;
use crate::governance::commit;
use crate::http::Page;
use crate::http::body::Fields;
use crate::http::cursor;
use crate::http::problem::Problem;
use crate::http::query::Parameters;
use crate::usage::counters::counters_reseed;

/// The kind of list in cursors.
const LIST: &str = "orgs";
/// What an organisation is called in messages.
const KIND: &str = "organisation";

/// The routes of this module.
pub(crate) fn routes() -> Router<App> {
    Router::new().route("/orgs", get(org_list)).route("/orgs/{id}", get(org_view).patch(org_change))
}

async fn org_list(State(app): State<App>, mut query: Parameters) -> Result<Json<Page<Org>>, Problem> {
    let (limit, after) = (query.limit(), query.text("cursor"));
    query.finish()?;
    let after = after.map(|text| cursor::read(LIST, &text)).transpose()?.unwrap_or_default();
    let rows = store::org_list(&app.db, &after, limit.saturating_add(1)).await?;
    Ok(Json(Page::of(rows, limit, |org| cursor::write(LIST, &org.id))))
}

async fn org_view(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Org>, Problem> {
    let mut tx = app.db.begin_read().await?;
    store::org_view(&mut tx, &id).await?.map(Json).ok_or_else(|| Problem::not_found(KIND, &id))
}

async fn org_change(
    State(app): State<App>,
    Path(id): Path<String>,
    mut fields: Fields,
) -> Result<Json<Org>, Problem> {
    let mut tx = app.db.begin_write().await?;
    let before = store::org_view(&mut tx, &id).await?.ok_or_else(|| Problem::not_found(KIND, &id))?;
    let mut org = before.clone();
    if fields.given("name") {
        org.name = fields.required_text("name");
    }
    if fields.given("time_zone") {
        org.time_zone = read_zone(&mut fields);
    }
    fields.finish()?;
    if org == before {
        return Ok(Json(org));
    }
    store::org_update(&mut tx, &org).await?;
    if org.time_zone != before.time_zone {
        counters_reseed(&mut tx, &OrgId::new(id), clock::now()).await?;
    }
    commit(&app, tx).await?;
    Ok(Json(org))
}

/// An IANA name in its own spelling.
fn read_zone(fields: &mut Fields) -> String {
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
