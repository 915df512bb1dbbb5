//! `/governance/shadow`: what policies in shadow mode would have done.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use jiff::{SignedDuration, Timestamp};
use mindweave_metering::{EventId, PolicyId, VerdictKind, VerdictMode};
use serde::Serialize;
use tokio::time::Instant;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::filter::Asked;
use super::names::Names;
use super::record::LogEffect;
use super::store::decided_list;
use crate::access::Caller;
use crate::app::App;
use crate::clock;
use crate::db::Divided;
use crate::governance::permit::READ;
use crate::governance::schema::VerdictKindWord;
use crate::http::problem::Problem;
use crate::http::query::Parameters;

/// How far back a summary goes when nobody says.
const DEFAULT_SPAN: SignedDuration = SignedDuration::from_hours(24);
/// Records read in one step.
const STEP: usize = 1_000;
/// After this a summary answers with what it has; half of what a request may take.
const MAX_TIME: Duration = Duration::from_secs(15);
/// Most lines of a summary. Reasons come from the policies' authors, who may have put a name into each.
const MAX_LINES: usize = 1_000;
/// Event ids shown for each line.
const SAMPLES: usize = 5;

/// The routes of this file.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(shadow))
}

/// A summary.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = ShadowSummary)]
struct Summary {
    from: Timestamp,
    to: Timestamp,
    /// Whether everything in that time was looked at; else only what is newer than `seen_from`.
    complete: bool,
    seen_from: Timestamp,
    /// Most events first.
    data: Vec<Line>,
}

/// What a policy said, for one reason, about one project's requests.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = ShadowLine)]
struct Line {
    #[schema(value_type = String)]
    policy_id: PolicyId,
    policy: Option<String>,
    version: u64,
    #[schema(value_type = VerdictKindWord)]
    kind: VerdictKind,
    #[schema(value_type = String)]
    reason: Arc<str>,
    #[serde(skip)]
    #[schema(ignore)]
    org_id: Arc<str>,
    #[schema(value_type = String)]
    project_id: Arc<str>,
    events: u64,
    first_at: Timestamp,
    last_at: Timestamp,
    #[schema(value_type = Vec<String>)]
    sample_event_ids: Vec<EventId>,
}

type Key = (PolicyId, u64, bool, Arc<str>, Arc<str>);

/// What policies in shadow mode would have done, of the last day by default.
#[utoipa::path(
    get, path = "/governance/shadow", tag = "governance", operation_id = "shadow_summary",
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
    ),
    responses((status = 200, body = Summary)),
    extensions(("x-access" = json!("governance:read"))),
)]
async fn shadow(
    State(app): State<App>,
    caller: Caller,
    mut query: Parameters,
) -> Result<Json<Summary>, Problem> {
    let asked = Asked::read(&mut query);
    query.finish()?;
    let mut filter = asked.resolve(&app, &caller.reach(READ)?).await?;
    let to = filter.columns.to.unwrap_or_else(clock::now);
    let from = filter.columns.from.unwrap_or_else(|| to.saturating_sub(DEFAULT_SPAN).unwrap_or(to));
    (filter.columns.from, filter.columns.to) = (Some(from), Some(to));
    let started = Instant::now();
    let mut lines: BTreeMap<Key, Line> = BTreeMap::new();
    let (mut after, mut complete, mut seen_from) = (None, true, to);
    loop {
        // One reader a step: a whole summary takes longer than anybody may keep one.
        let rows = decided_list(
            &mut *app.db.begin_read_of(Divided::Events).await?,
            &filter.within,
            &filter.columns,
            after,
            STEP,
        )
        .await?;
        let exhausted = rows.len() < STEP;
        for (place, record) in rows {
            (after, seen_from) = (Some(place), record.timestamp);
            if filter.wants(&record) {
                complete &= add(&mut lines, &record, filter.policies.as_deref());
            }
        }
        if exhausted {
            seen_from = from;
            break;
        }
        if started.elapsed() > MAX_TIME {
            complete = false;
            break;
        }
        tokio::task::yield_now().await;
    }
    let (mut names, mut tx) = (Names::default(), app.db.begin_read().await?);
    let mut data: Vec<_> = lines.into_values().collect();
    for line in &mut data {
        line.policy = names.speaker(&mut tx, &line.org_id, line.policy_id.as_str()).await?;
    }
    data.sort_by_key(|line| std::cmp::Reverse(line.events));
    Ok(Json(Summary { from, to, complete, seen_from, data }))
}

/// Adds what policies in shadow mode said of a request. Returns whether there was room for it.
fn add(lines: &mut BTreeMap<Key, Line>, record: &super::record::Record, policies: Option<&[String]>) -> bool {
    let mut room = true;
    let wanted = |id: &str| policies.is_none_or(|ids| ids.iter().any(|wanted| wanted == id));
    for verdict in record.decision.verdicts.iter().filter(|verdict| verdict.mode == VerdictMode::Shadow) {
        if !wanted(verdict.policy_id.as_str()) {
            continue;
        }
        let denies = verdict.kind == VerdictKind::Deny;
        let (policy_id, reason) = (verdict.policy_id.clone(), Arc::clone(&verdict.reason));
        let key = (policy_id, verdict.version, denies, reason, Arc::clone(&record.project_id));
        if lines.len() >= MAX_LINES && !lines.contains_key(&key) {
            room = false;
            continue;
        }
        let line = lines.entry(key).or_insert_with(|| Line {
            policy_id: verdict.policy_id.clone(),
            policy: None,
            version: verdict.version,
            kind: verdict.kind,
            reason: Arc::clone(&verdict.reason),
            org_id: Arc::clone(&record.org_id),
            project_id: Arc::clone(&record.project_id),
            events: 0,
            first_at: record.timestamp,
            last_at: record.timestamp,
            sample_event_ids: Vec::new(),
        });
        line.events = line.events.saturating_add(1);
        line.first_at = line.first_at.min(record.timestamp);
        line.last_at = line.last_at.max(record.timestamp);
        if line.sample_event_ids.len() < SAMPLES {
            line.sample_event_ids.push(record.event_id);
        }
    }
    room
}
