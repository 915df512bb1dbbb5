//! `/audit`: entries, whether their chain is whole, and exports of it.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::export::{Export, Format};
use super::permit::ChainPermit;
use super::record::{Change, record};
use super::store::{self, Filter};
use super::verify::Anchor;
use super::view::AuditEntry;
use super::walk::{Verification, chain_verify};
use crate::access::{Access, Area, Caller};
use crate::app::App;
use crate::db::{Connection, Doing};
use crate::http::problem::Problem;
use crate::http::query::Parameters;
use crate::http::{Page, cursor};

/// The kind of list in cursors.
const LIST: &str = "audit";

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(audit_list))
        .routes(routes!(audit_verify))
        .routes(routes!(audit_export))
}

/// The chain that is meant: of the organisation that was named, of the only one of the caller, or `installation`.
async fn permit(
    app: &App,
    tx: &mut Connection,
    caller: &Caller,
    org_id: Option<String>,
) -> Result<ChainPermit, Problem> {
    let chain = match org_id {
        Some(org_id) => org_id,
        None => caller.only_org(app.home.org_id.as_str(), Access::read(Area::Audit))?.to_string(),
    };
    ChainPermit::ask(tx, caller, &chain).await
}

/// Entries of the audit log, newest first.
///
/// What belongs to no organisation, as users and sign-ins do, is in the log of the installation: `org_id=installation`, for
/// installation admins.
#[utoipa::path(
    get, path = "/audit", tag = "audit", operation_id = "audit_list",
    params(
        ("org_id" = Option<String>, Query, description = "`org_..`, or `installation`; may be left out by whoever belongs to one organisation"),
        ("action" = Option<String>, Query, description = "For example `key.created`"),
        ("actor_id" = Option<String>, Query, description = "Who did it"),
        ("target_id" = Option<String>, Query, description = "To what"),
        ("target_kind" = Option<String>, Query, description = "To what kind of thing: `key`, `project`, .."),
        ("project_id" = Option<String>, Query, description = "What belongs to a project"),
        ("request_id" = Option<String>, Query, description = "What one request did: the `x-request-id` of its answer"),
        ("from" = Option<jiff::Timestamp>, Query, description = "At or after this time"),
        ("to" = Option<jiff::Timestamp>, Query, description = "Before this time"),
        ("limit" = Option<u64>, Query, description = "Most entries of a page", minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, body = Page<AuditEntry>)),
    extensions(("x-access" = json!("audit:read"))),
)]
async fn audit_list(
    State(app): State<App>,
    caller: Caller,
    mut query: Parameters,
) -> Result<Json<Page<AuditEntry>>, Problem> {
    let (org_id, limit, after) = (query.text("org_id"), query.limit(), query.text("cursor"));
    let filter = Filter {
        action: query.text("action"),
        actor_id: query.text("actor_id"),
        target_id: query.text("target_id"),
        target_kind: query.text("target_kind"),
        project_id: query.text("project_id"),
        request_id: query.text("request_id"),
        from: query.time("from"),
        to: query.time("to"),
    };
    query.finish()?;
    let mut tx = app.db.begin_read().await?;
    let permit = permit(&app, &mut tx, &caller, org_id).await?;
    drop(tx);
    let list = format!("{LIST}-{}", permit.chain()); // a place in one chain means nothing in another
    let before = after.map(|text| read_place(&list, &text)).transpose()?;
    let rows = store::entry_list(&app.db, &permit, &filter, before, limit.saturating_add(1)).await?;
    let entries = rows.into_iter().map(AuditEntry::try_from).collect::<Result<Vec<_>, _>>()?;
    Ok(Json(Page::of(entries, limit, |entry| cursor::write(&list, &entry.sequence.to_string()))))
}

fn read_place(list: &str, text: &str) -> Result<i64, Problem> {
    cursor::read(list, text)?.parse().map_err(|_| cursor::invalid())
}

/// Whether the audit log is as it was written.
///
/// Walks along the chain from its beginning, or from a checkpoint on. A long one takes several requests: each says how far it
/// came. That the end of a chain was cut off shows only by an entry that is known from elsewhere: give one as `head`.
#[utoipa::path(
    get, path = "/audit/verify", tag = "audit", operation_id = "audit_verify",
    params(
        ("org_id" = Option<String>, Query, description = "`org_..`, or `installation`"),
        ("after" = Option<String>, Query, pattern = "^[0-9]{1,18}:[0-9a-f]{64}$", description = "`checkpoint` of the answer before"),
        ("head" = Option<String>, Query, pattern = "^[0-9]{1,18}:[0-9a-f]{64}$", description = "An entry that the log must have, as `SEQUENCE:HASH`"),
    ),
    responses((status = 200, body = Verification)),
    extensions(("x-access" = json!("audit:read"))),
)]
async fn audit_verify(
    State(app): State<App>,
    caller: Caller,
    mut query: Parameters,
) -> Result<Json<Verification>, Problem> {
    let org_id = query.text("org_id");
    let (after, known) = (anchor(&mut query, "after"), anchor(&mut query, "head"));
    query.finish()?;
    let mut tx = app.db.begin_read().await?;
    let permit = permit(&app, &mut tx, &caller, org_id).await?;
    drop(tx);
    Ok(Json(chain_verify(&app.db, &permit, after.filter(|after| after.sequence > 0), known).await?))
}

fn anchor(query: &mut Parameters, name: &'static str) -> Option<Anchor> {
    match query.text(name)?.parse() {
        Ok(anchor) => Some(anchor),
        Err(fault) => {
            query.refuse(name, fault);
            None
        }
    }
}

/// The number of an entry; 0 where none is given.
fn entry_number(query: &mut Parameters, name: &'static str) -> i64 {
    let Some(text) = query.text(name) else { return 0 };
    match text.parse() {
        Ok(number) if number >= 0 => number,
        _ => {
            query.refuse(name, "must be the number of an entry");
            0
        }
    }
}

/// What the log says of an export.
#[derive(Serialize)]
struct Exported {
    format: &'static str,
    after: i64,
}

/// The audit log as a file.
///
/// Lines of JSON have everything that `mindweave audit verify` needs, also years later and without a server. The export is in the
/// log itself, as its last entry.
#[utoipa::path(
    get, path = "/audit/export", tag = "audit", operation_id = "audit_export",
    params(
        ("org_id" = Option<String>, Query, description = "`org_..`, or `installation`"),
        ("format" = inline(Option<Format>), Query, description = "`jsonl`, or `csv`, which cannot be verified [default: jsonl]"),
        ("after" = Option<i64>, Query, minimum = 0, description = "Only entries behind the one of this number"),
    ),
    responses((status = 200, description = "The export", content((String = "application/jsonl"), (String = "text/csv")))),
    extensions(("x-access" = json!("audit:read"))),
)]
async fn audit_export(
    State(app): State<App>,
    caller: Caller,
    mut query: Parameters,
) -> Result<Response, Problem> {
    let org_id = query.text("org_id");
    let formats = [("jsonl", Format::JsonLines), ("csv", Format::Csv)];
    let format = query.choice("format", &formats, Format::JsonLines);
    let after = entry_number(&mut query, "after");
    query.finish()?;
    let mut tx = app.db.begin_write().await?;
    let permit = permit(&app, &mut tx, &caller, org_id).await?;
    let after = after.min(store::head(&mut tx, permit.chain()).await?.sequence);
    let change = Change::new(permit.as_chain(), "audit.exported", "audit_log", permit.chain());
    let exported = Exported { format: format.as_str(), after };
    record(&mut tx, permit.caller(), change.after(&exported)).await?;
    let head = store::head(&mut tx, permit.chain()).await?;
    tx.commit().await.doing("noting an export")?;
    let chain = permit.chain().to_owned();
    let name = format!("attachment; filename=\"audit-{chain}-{}.{}\"", head.sequence, format.as_str());
    let headers = [(CONTENT_TYPE, format.content_type().to_owned()), (CONTENT_DISPOSITION, name)];
    let export = Export { db: app.db.clone(), chain, format, after, head, stop: app.stop.clone() };
    Ok((headers, Body::new(export.into_body())).into_response())
}
