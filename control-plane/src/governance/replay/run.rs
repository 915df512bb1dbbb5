//! Runs a replay.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use mindweave_metering::UsageEvent;
use mindweave_policy::{PolicySet, PolicySpec, Principal, Snapshot};
use serde::Serialize;
use tokio::time::Instant;

use super::event_input::Past;
use super::store::{Span, requests_list};
use super::tally::Tally;
use crate::access::Reach;
use crate::app::App;
use crate::db::Divided;
use crate::governance::evaluate::on_policies;
use crate::http::problem::Problem;
use crate::usage::Within;

/// Events read and judged in one step: some tens of milliseconds of a core.
const STEP: usize = 500;
/// After this a replay answers with what it has; a third of what a request may take, so that one may wait for another.
const MAX_TIME: Duration = Duration::from_secs(10);

/// Why a replay ended before the beginning of its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ReplayStoppedBy)]
pub(super) enum StoppedBy {
    /// It has looked at as many events as it was to.
    Limit,
    /// It took too long.
    Time,
}

/// What a replay came to.
pub(super) struct Replayed {
    pub(super) tally: Tally,
    /// Events looked at, those that the policy is not about included.
    pub(super) read: u64,
    pub(super) stopped_by: Option<StoppedBy>,
    /// Everything from here on was looked at.
    pub(super) seen_from: Timestamp,
}

/// What every step needs.
struct Trial {
    set: Option<Arc<PolicySet>>,
    policy: Arc<PolicySpec>,
    snapshot: Arc<Snapshot>,
    /// Roles by key.
    roles: HashMap<Arc<str>, Vec<Arc<str>>>,
}

impl Trial {
    /// Compiles the policy. Blocks.
    fn new(snapshot: Arc<Snapshot>, policy: Arc<PolicySpec>, principal: &Principal) -> Self {
        let policies = [Arc::clone(&policy)];
        let set = on_policies(&snapshot.governance, &policies, principal);
        let role = |principal: &Arc<Principal>| {
            let id = principal.key_id.as_ref()?.as_str();
            Some((Arc::from(id), principal.roles.clone()))
        };
        let roles = snapshot.keys.values().filter_map(|entry| role(&entry.principal)).collect();
        Self { set, policy, snapshot, roles }
    }

    /// Judges events. Blocks.
    fn judge(&self, tally: &mut Tally, events: &[UsageEvent]) {
        for event in events {
            let roles = event.key_id.as_ref().and_then(|id| self.roles.get(id.as_str()));
            let past = Past::of(event, roles.map(Vec::as_slice).unwrap_or_default());
            if event.org_id != self.policy.org_id || self.policy.scope.counted(past.principal()).is_none() {
                continue;
            }
            let decide =
                |set: &Arc<PolicySet>| past.with_input(event, &self.snapshot, |input| set.decide(input));
            let evaluated = self.set.as_ref().map(decide).unwrap_or_default();
            tally.add(event, &evaluated);
        }
    }
}

/// Replays a policy on the events of a time that are in reach, at most so many of them.
pub(super) async fn replay(
    app: &App,
    reach: &Reach,
    policy: PolicySpec,
    span: &Span,
    limit: usize,
) -> Result<Replayed, Problem> {
    let failed = |error: tokio::task::JoinError| Problem::internal(&error);
    let closed = |error: tokio::sync::AcquireError| Problem::internal(&error);
    let _turn = app.replays.0.acquire().await.map_err(closed)?;
    let started = Instant::now();
    let snapshot = app.publisher.snapshots().load();
    let anybody = Principal {
        org_id: policy.org_id.clone(),
        project_id: app.home.default_project_id.clone(),
        team_id: None,
        user_id: None,
        key_id: None,
        roles: Vec::new(),
        labels: std::collections::BTreeMap::new(),
    };
    let compile = move || Arc::new(Trial::new(snapshot, Arc::new(policy), &anybody));
    let trial = tokio::task::spawn_blocking(compile).await.map_err(failed)?;
    let within = Within::of(&app.db, reach, span.project_id.as_deref()).await?;
    let (mut tally, mut after, mut read) = (Tally::default(), None, 0_usize);
    let mut seen_from = span.to;
    let stopped_by = loop {
        let wanted = STEP.min(limit.saturating_sub(read));
        if wanted == 0 {
            break Some(StoppedBy::Limit);
        }
        if started.elapsed() > MAX_TIME {
            break Some(StoppedBy::Time);
        }
        let mut tx = app.db.begin_read_of(Divided::Events).await?;
        let (events, place) = requests_list(&mut tx, &within, span, after, wanted).await?;
        drop(tx); // judging takes longer than anybody may keep a reader
        let exhausted = events.len() < wanted;
        read = read.saturating_add(events.len());
        seen_from = events.last().map_or(seen_from, |event| event.timestamp);
        after = place.or(after);
        let judging = Arc::clone(&trial);
        let judge = move || {
            judging.judge(&mut tally, &events);
            tally
        };
        tally = tokio::task::spawn_blocking(judge).await.map_err(failed)?;
        if exhausted {
            seen_from = span.from;
            break None;
        }
    };
    let read = u64::try_from(read).unwrap_or(u64::MAX);
    Ok(Replayed { tally: tally.finish(), read, stopped_by, seen_from })
}
