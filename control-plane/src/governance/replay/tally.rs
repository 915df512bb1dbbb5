//! What a replay counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use mindweave_metering::{EventId, NanoUsd, Outcome, UsageEvent, VerdictKind};
use mindweave_policy::Evaluated;
use serde::Serialize;

use crate::governance::schema::VerdictKindWord;

/// Most reasons, projects and users told apart. Reasons come from the policy's author, who may have put a name into each.
const MAX_GROUPS: usize = 1_000;
/// Event ids shown for each reason.
const SAMPLES: usize = 10;

/// What a policy would have done.
#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
#[schema(as = ReplayTally)]
pub(super) struct Tally {
    /// Requests that the policy is about.
    pub(super) events: u64,
    /// Those that it would have refused.
    denied: u64,
    /// Those of them that were not refused at the time.
    newly_denied: u64,
    /// What those had cost, as far as it is known.
    newly_denied_cost_nano_usd: i64,
    newly_denied_cost_usd: String,
    /// Those that it would have let pass with a warning.
    warned: u64,
    /// Those of which it would have had no usable result; they follow the policy's `on_error`.
    errors: u64,
    by_reason: Vec<ByReason>,
    by_project: Vec<ByProject>,
    by_user: Vec<ByUser>,
    /// Whether there were more reasons, projects or users than are told apart.
    groups_left_out: bool,
    #[serde(skip)]
    #[schema(ignore)]
    groups: Groups,
}

#[derive(Debug, Default)]
struct Groups {
    reasons: BTreeMap<(bool, Arc<str>), (u64, Vec<EventId>)>,
    projects: BTreeMap<Arc<str>, Counts>,
    users: BTreeMap<Option<Arc<str>>, Counts>,
}

#[derive(Clone, Copy, Debug, Default, Serialize, utoipa::ToSchema)]
#[schema(as = ReplayCounts)]
struct Counts {
    denied: u64,
    warned: u64,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ReplayByReason)]
struct ByReason {
    #[schema(value_type = VerdictKindWord)]
    kind: VerdictKind,
    #[schema(value_type = String)]
    reason: Arc<str>,
    events: u64,
    #[schema(value_type = Vec<String>)]
    sample_event_ids: Vec<EventId>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ReplayByProject)]
struct ByProject {
    #[schema(value_type = String)]
    project_id: Arc<str>,
    #[serde(flatten)]
    counts: Counts,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ReplayByUser)]
struct ByUser {
    /// `null`: requests without one.
    #[schema(value_type = Option<String>)]
    user_id: Option<Arc<str>>,
    #[serde(flatten)]
    counts: Counts,
}

impl Tally {
    /// Counts what the policy said of a request.
    pub(super) fn add(&mut self, event: &UsageEvent, evaluated: &Evaluated) {
        let add = |figure: &mut u64, by: bool| *figure = figure.saturating_add(u64::from(by));
        let decision = &evaluated.decision;
        let denied = !decision.denials.is_empty();
        let warned = !denied && !decision.warnings.is_empty();
        add(&mut self.events, true);
        add(&mut self.denied, denied);
        add(&mut self.warned, warned);
        add(&mut self.errors, !evaluated.errors.is_empty());
        if denied && event.outcome != Outcome::Denied {
            add(&mut self.newly_denied, true);
            let cost = event.cost_nano_usd.map_or(0, |cost| cost.0);
            self.newly_denied_cost_nano_usd = self.newly_denied_cost_nano_usd.saturating_add(cost);
        }
        let denials = decision.denials.iter().map(|verdict| (true, &verdict.reason));
        let warnings = decision.warnings.iter().map(|verdict| (false, &verdict.reason));
        let mut said: Vec<_> = denials.chain(warnings).collect();
        said.sort_unstable();
        said.dedup(); // a request counts once for a reason, however many messages came with it
        for (denies, reason) in said {
            self.add_reason(denies, reason, event.event_id);
        }
        if denied || warned {
            let project = event.project_id.as_str();
            let mut room = count(&mut self.groups.projects, Arc::from(project), denied);
            let user = event.user_id.as_ref().map(|id| Arc::from(id.as_str()));
            room &= count(&mut self.groups.users, user, denied);
            self.groups_left_out |= !room;
        }
    }

    fn add_reason(&mut self, denies: bool, reason: &Arc<str>, event_id: EventId) {
        let key = (denies, Arc::clone(reason));
        if self.groups.reasons.len() >= MAX_GROUPS && !self.groups.reasons.contains_key(&key) {
            self.groups_left_out = true;
            return;
        }
        let (events, samples) = self.groups.reasons.entry(key).or_default();
        *events = events.saturating_add(1);
        if samples.len() < SAMPLES {
            samples.push(event_id);
        }
    }

    /// Writes the groups out, the greatest first.
    pub(super) fn finish(mut self) -> Self {
        let Groups { reasons, projects, users } = std::mem::take(&mut self.groups);
        let kind = |denies: bool| if denies { VerdictKind::Deny } else { VerdictKind::Warn };
        let by_reason = reasons.into_iter().map(|((denies, reason), (events, sample_event_ids))| ByReason {
            kind: kind(denies),
            reason,
            events,
            sample_event_ids,
        });
        self.by_reason = by_reason.collect();
        self.by_reason.sort_by_key(|line| std::cmp::Reverse(line.events));
        self.by_project =
            projects.into_iter().map(|(project_id, counts)| ByProject { project_id, counts }).collect();
        self.by_project.sort_by_key(|line| std::cmp::Reverse((line.counts.denied, line.counts.warned)));
        self.by_user = users.into_iter().map(|(user_id, counts)| ByUser { user_id, counts }).collect();
        self.by_user.sort_by_key(|line| std::cmp::Reverse((line.counts.denied, line.counts.warned)));
        self.newly_denied_cost_usd = NanoUsd(self.newly_denied_cost_nano_usd).to_string();
        self
    }
}

/// Counts for one of a group. Returns whether there was room for it.
fn count<K: Ord>(groups: &mut BTreeMap<K, Counts>, key: K, denied: bool) -> bool {
    if groups.len() >= MAX_GROUPS && !groups.contains_key(&key) {
        return false;
    }
    let counts = groups.entry(key).or_default();
    let figure = if denied { &mut counts.denied } else { &mut counts.warned };
    *figure = figure.saturating_add(1);
    true
}
