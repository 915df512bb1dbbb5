//! `/governance/audit`: the decision log, newest first.

use axum::Json;
use axum::extract::State;
use mindweave_metering::{Effect, VerdictRecord};
use serde::Serialize;
use std::sync::Arc;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::filter::{Asked, Filter};
use super::names::{Names, RefusedBy};
use super::record::{LogEffect, Record};
use super::schema::Decided;
use super::store::{Place, decided_list};
use crate::access::Caller;
use crate::app::App;
use crate::db::{Connection, Divided, StoreError};
use crate::governance::permit::READ;
use crate::http::Page;
use crate::http::cursor;
use crate::http::problem::Problem;
use crate::http::query::Parameters;

/// The kind of list in cursors.
const LIST: &str = "audit";
/// Records read in one step.
const STEP: usize = 256;
/// Most records looked at for one page. A filter for something rare may find nothing among them: the page is then short, or
/// empty, and its cursor goes on from there.
const MAX_LOOKED_AT: usize = 20_000;

/// The routes of this file.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(audit))
}

/// A decision as the log shows it.
#[derive(Serialize)]
struct Entry {
    /// `deny`, or `allow` for what was only spoken against.
    effect: Effect,
    reasons: Vec<Arc<str>>,
    verdicts: Vec<EntryVerdict>,
    refused_by: Option<RefusedBy>,
    #[serde(flatten)]
    record: Record,
}

/// What a policy said, with its name.
#[derive(Serialize)]
struct EntryVerdict {
    policy: Option<String>,
    #[serde(flatten)]
    verdict: VerdictRecord,
}

/// What was refused, and what a policy spoke against, newest first. A filter for something rare may give short or empty pages: go on while
/// there is a `next_cursor`.
#[utoipa::path(
    get, path = "/governance/audit", tag = "governance", operation_id = "decision_list",
    params(
        ("project_id" = Option<String>, Query, description = "Only of this project; `project` means the same"),
        ("user_id" = Option<String>, Query, description = "Only of this user; `user` means the same"),
        ("key_id" = Option<String>, Query, description = "Only of this key; `key` means the same"),
        ("policy_id" = Option<String>, Query, description = "Only what this policy said: its id or name, or the id of a budget; `policy` means the same"),
        ("project" = Option<String>, Query, description = "See `project_id`"),
        ("user" = Option<String>, Query, description = "See `user_id`"),
        ("key" = Option<String>, Query, description = "See `key_id`"),
        ("policy" = Option<String>, Query, description = "See `policy_id`"),
        ("effect" = inline(Option<LogEffect>), Query, description = "Only what had this effect"),
        ("reason" = Option<String>, Query, description = "Only what has this reason"),
        ("from" = Option<jiff::Timestamp>, Query, description = "At or after"),
        ("to" = Option<jiff::Timestamp>, Query, description = "Before"),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1_000, description = "Most entries of a page"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, body = Page<Decided>)),
    extensions(("x-access" = json!("governance:read"))),
)]
async fn audit(
    State(app): State<App>,
    caller: Caller,
    mut query: Parameters,
) -> Result<Json<Page<Entry>>, Problem> {
    let limit = usize::try_from(query.limit()).unwrap_or(usize::MAX);
    let asked = Asked::read(&mut query);
    let after = query.text("cursor");
    query.finish()?;
    let after = after.map(|text| read_place(&text)).transpose()?;
    let filter = asked.resolve(&app, &caller.reach(READ)?).await?;
    let mut tx = app.db.begin_read_of(Divided::Events).await?;
    let (found, next) = search(&mut tx, &filter, after, limit).await?;
    let mut names = Names::default();
    let mut data = Vec::with_capacity(found.len());
    for record in found {
        data.push(entry(&mut tx, &mut names, record).await?);
    }
    let next_cursor = next.map(|place| cursor::write(LIST, &format!("{}:{}", place.ended_at, place.landed)));
    Ok(Json(Page { data, next_cursor }))
}

/// The next records that are wanted, and where to go on; `None` at the end of the log.
async fn search(
    tx: &mut Connection,
    filter: &Filter,
    mut after: Option<Place>,
    limit: usize,
) -> Result<(Vec<Record>, Option<Place>), StoreError> {
    let (mut found, mut looked_at) = (Vec::new(), 0_usize);
    loop {
        let rows = decided_list(tx, &filter.within, &filter.columns, after, STEP).await?;
        let exhausted = rows.len() < STEP;
        for (place, record) in rows {
            if !filter.wants(&record) {
                after = Some(place);
            } else if found.len() == limit {
                return Ok((found, after));
            } else {
                after = Some(place);
                found.push(record);
            }
        }
        looked_at = looked_at.saturating_add(STEP);
        if exhausted {
            return Ok((found, None));
        }
        if looked_at >= MAX_LOOKED_AT {
            return Ok((found, after));
        }
        tokio::task::yield_now().await; // between steps, others get their turn on this thread
    }
}

async fn entry(tx: &mut Connection, names: &mut Names, mut record: Record) -> Result<Entry, StoreError> {
    let mut verdicts = Vec::with_capacity(record.decision.verdicts.len());
    for verdict in std::mem::take(&mut record.decision.verdicts) {
        let policy = names.speaker(tx, &record.org_id, verdict.policy_id.as_str()).await?;
        verdicts.push(EntryVerdict { policy, verdict });
    }
    let refused_by = match &record.decision.refused_by {
        Some(id) => names.refused_by(tx, &record.org_id, id).await?,
        None => None,
    };
    let reasons = std::mem::take(&mut record.decision.reasons);
    Ok(Entry { effect: record.decision.effect, reasons, verdicts, refused_by, record })
}

fn read_place(text: &str) -> Result<Place, Problem> {
    let position = cursor::read(LIST, text)?;
    let place = position.split_once(':').and_then(|(ended_at, landed)| {
        Some(Place { ended_at: ended_at.parse().ok()?, landed: landed.parse().ok()? })
    });
    place.ok_or_else(cursor::invalid)
}
