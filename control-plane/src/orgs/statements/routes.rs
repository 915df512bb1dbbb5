//! `/orgs/{org_id}/usage` and `/orgs/{org_id}/invoices`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE, LINK, VARY};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::month::Month;
use super::store::{self, Detail};
use super::{Statement, csv, statement};
use crate::access::{Access, Area, Caller};
use crate::app::App;
use crate::clock;
use crate::db::Divided;
use crate::http::Page;
use crate::http::cursor;
use crate::http::etag::Tagged;
use crate::http::problem::Problem;
use crate::http::query::Parameters;
use crate::stored::timestamp;

/// The kind of list in cursors.
const LIST: &str = "invoices";
/// Most statements of a page, whatever is asked for: each is summed for it.
const MAX_MONTHS: usize = 24;

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(org_usage))
        .routes(routes!(invoice_list))
        .routes(routes!(invoice_view))
}

/// What an organisation used lately.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct OrgUsage {
    this_month: Statement,
    last_month: Statement,
}

/// What an organisation used this month and the last, by project. Months are those of UTC.
#[utoipa::path(
    get, path = "/orgs/{org_id}/usage", tag = "billing", operation_id = "org_usage",
    params(("org_id" = String, Path, description = "`org_..`")),
    responses((status = 200, body = OrgUsage)),
    extensions(("x-access" = json!("usage:read"))),
)]
async fn org_usage(
    State(app): State<App>,
    caller: Caller,
    Path(org_id): Path<String>,
    query: Parameters,
) -> Result<Json<OrgUsage>, Problem> {
    let mut tx = app.db.begin_read_of(Divided::Sums).await?;
    let permit = caller.org(&mut tx, &org_id, Access::read(Area::Usage)).await?;
    query.finish()?;
    let now = clock::now();
    let this = Month::of(now);
    let names = store::project_names(&mut tx, &permit).await?;
    let this_month = statement(&mut tx, &permit, (this, Detail::Project), &names, now).await?;
    let last_month = statement(&mut tx, &permit, (this.before(), Detail::Project), &names, now).await?;
    Ok(Json(OrgUsage { this_month, last_month }))
}

/// The monthly statements of an organisation, the newest first, with lines by project and model. With `accept: text/csv` as a table, a row a
/// line; the header `link` then names the next page.
#[utoipa::path(
    get, path = "/orgs/{org_id}/invoices", tag = "billing", operation_id = "invoice_list",
    params(
        ("org_id" = String, Path, description = "`org_..`"),
        ("limit" = Option<u64>, Query, description = "Most months of a page, of which none has more than 24"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, content((Page<Statement> = "application/json"), (String = "text/csv")))),
    extensions(("x-access" = json!("billing:read"))),
)]
async fn invoice_list(
    State(app): State<App>,
    caller: Caller,
    Path(org_id): Path<String>,
    headers: HeaderMap,
    mut query: Parameters,
) -> Result<Response, Problem> {
    let mut tx = app.db.begin_read_of(Divided::Sums).await?;
    let permit = caller.org(&mut tx, &org_id, Access::read(Area::Billing)).await?;
    let limit = usize::try_from(query.limit()).map_or(MAX_MONTHS, |limit| limit.min(MAX_MONTHS));
    let after = query.text("cursor");
    query.finish()?;
    let now = clock::now();
    let mut month = match after {
        None => Month::of(now),
        Some(text) => Month::parse(&cursor::read(LIST, &text)?).ok_or_else(cursor::invalid)?.before(),
    };
    let first = store::first_sum(&mut tx, &permit).await?;
    let first = first.map(timestamp).transpose()?.map_or(Month::of(now), Month::of);
    let names = store::project_names(&mut tx, &permit).await?;
    let mut statements = Vec::with_capacity(limit);
    while statements.len() < limit && month >= first {
        statements.push(statement(&mut tx, &permit, (month, Detail::ProjectAndModel), &names, now).await?);
        month = month.before();
    }
    let more = !statements.is_empty() && month >= first;
    let next_cursor = statements.last().filter(|_| more).map(|last| cursor::write(LIST, &last.month));
    if !wants_csv(&headers) {
        return Ok(([(VARY, "accept")], Json(Page { data: statements, next_cursor })).into_response());
    }
    let mut response = csv_answer(&statements);
    let next = next_cursor.map(|cursor| {
        format!("</orgs/{}/invoices?limit={limit}&cursor={cursor}>; rel=\"next\"", permit.org_id())
    });
    if let Some(next) = next.and_then(|next| next.try_into().ok()) {
        response.headers_mut().insert(LINK, next);
    }
    Ok(response)
}

/// The statement of a month, with lines by project and model. With `accept: text/csv` as a table.
#[utoipa::path(
    get, path = "/orgs/{org_id}/invoices/{month}", tag = "billing", operation_id = "invoice_view",
    params(
        ("org_id" = String, Path, description = "`org_..`"),
        ("month" = String, Path, description = "Year and month, as in `2026-10`"),
    ),
    responses((status = 200, content((Statement = "application/json"), (String = "text/csv")))),
    extensions(("x-access" = json!("billing:read"))),
)]
async fn invoice_view(
    State(app): State<App>,
    caller: Caller,
    Path((org_id, text)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut tx = app.db.begin_read_of(Divided::Sums).await?;
    let permit = caller.org(&mut tx, &org_id, Access::read(Area::Billing)).await?;
    let now = clock::now();
    let month = Month::parse(&text).filter(|month| *month <= Month::of(now));
    let month = month.ok_or_else(|| Problem::not_found("invoice", &text))?;
    let names = store::project_names(&mut tx, &permit).await?;
    let statement = statement(&mut tx, &permit, (month, Detail::ProjectAndModel), &names, now).await?;
    if wants_csv(&headers) {
        return Ok(csv_answer(&[statement]));
    }
    Ok(([(VARY, "accept")], Tagged(statement)).into_response())
}

/// Whether a table is asked for: `text/csv` is named, and no JSON before it.
fn wants_csv(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges = values.flat_map(|value| value.split(','));
    let mut kinds = ranges.map(|range| range.split(';').next().unwrap_or_default().trim());
    let named = kinds
        .find(|kind| kind.eq_ignore_ascii_case("text/csv") || kind.eq_ignore_ascii_case("application/json"));
    named.is_some_and(|kind| kind.eq_ignore_ascii_case("text/csv"))
}

fn csv_answer(statements: &[Statement]) -> Response {
    let headers = [(CONTENT_TYPE, "text/csv; charset=utf-8; header=present"), (VARY, "accept")];
    (headers, csv::table(statements)).into_response()
}
