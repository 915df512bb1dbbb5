//! The limits and budgets of one snapshot, arranged so that those of a principal are found without looking at the others.

use std::collections::HashMap;
use std::sync::Arc;

use dashmap::DashMap;
use foldhash::fast::RandomState;
use mindweave_metering::{LimitId, OrgId, QuotaId};

use super::rules::{OwnerKey, Rules};
use crate::budget::{BudgetRule, Calendar};
use crate::governance::{Governance, LimitMetric, LimitSpec, QuotaSpec, QuotaUnit, QuotaWindow};
use crate::limits::LimitRule;
use crate::model_pattern::ModelPattern;
use crate::principal::Principal;
use crate::subject::{Subject, SubjectKind};
use crate::window::time_zone;

/// The limits and budgets in force.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Rises with every change.
    pub(crate) generation: u64,
    orgs: HashMap<OrgId, OrgRules>,
    pub(crate) limits: HashMap<u32, Arc<LimitRule>>,
    pub(crate) budgets: HashMap<u32, Arc<BudgetRule>>,
    limit_numbers: HashMap<LimitId, u32>,
    budget_numbers: HashMap<QuotaId, u32>,
    /// Rules of principals that asked lately.
    pub(crate) rules: DashMap<OwnerKey, Arc<Rules>, RandomState>,
}

/// The rules of one organisation by the kind of subject, in the order of [`SubjectKind::ALL`].
#[derive(Debug, Default)]
struct OrgRules {
    kinds: [KindRules; SubjectKind::ALL.len()],
}

#[derive(Debug, Default)]
struct KindRules {
    each: Found,
    one: HashMap<Arc<str>, Found>,
}

/// Rules of some subject.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) limits: Vec<Arc<LimitRule>>,
    pub(crate) budgets: Vec<Arc<BudgetRule>>,
}

/// Gives every rule a number that names its counters. A rule keeps it for as long as it counts the same thing.
#[derive(Debug, Default)]
pub(crate) struct Numbering {
    last: u32,
    limits: HashMap<LimitId, NumberedLimit>,
    budgets: HashMap<QuotaId, (BudgetMeaning, u32)>,
}

#[derive(Debug)]
struct NumberedLimit {
    number: u32,
    meaning: (LimitMetric, Subject),
    /// Limit and burst.
    pace: (u64, Option<u64>),
    /// Since when it has that pace, in nanoseconds of the process.
    since: i64,
}

type BudgetMeaning = (QuotaUnit, QuotaWindow, Subject, Vec<ModelPattern>, Arc<str>);

impl Numbering {
    /// Numbers the limits and budgets of a snapshot, and forgets those that are not in it. `now` is in nanoseconds of the process.
    fn renew(&mut self, governance: &Governance, now: i64) -> Index {
        let mut index = Index::default();
        let (mut limits, mut budgets) = (HashMap::new(), HashMap::new());
        for spec in &governance.limits {
            let meaning = (spec.metric, spec.scope.clone());
            let pace = (spec.limit, spec.burst);
            let known = self.limits.remove(&spec.id).filter(|known| known.meaning == meaning);
            let since = known.as_ref().filter(|known| known.pace == pace).map_or(now, |known| known.since);
            let number = known.map_or_else(|| self.next(), |known| known.number);
            limits.insert(spec.id.clone(), NumberedLimit { number, meaning, pace, since });
            index.add_limit(spec, number, since);
        }
        for spec in &governance.quotas {
            let zone = governance
                .orgs
                .get(&spec.org_id)
                .map_or_else(|| "UTC".into(), |org| Arc::clone(&org.time_zone));
            let calendar = Calendar { window: spec.window, zone: time_zone(&zone) };
            let meaning =
                (spec.unit, spec.window, spec.scope.clone(), spec.models.clone(), Arc::clone(&zone));
            let number = self.budgets.remove(&spec.id).filter(|(known, _)| *known == meaning);
            let number = number.map_or_else(|| self.next(), |(_, number)| number);
            budgets.insert(spec.id.clone(), (meaning, number));
            index.add_budget(spec, number, calendar, &zone);
        }
        self.limits = limits;
        self.budgets = budgets;
        index
    }

    fn next(&mut self) -> u32 {
        self.last = self.last.wrapping_add(1); // after four thousand million edits the first numbers are long forgotten
        self.last
    }
}

impl Index {
    /// The index that follows this one.
    pub(crate) fn following(&self, governance: &Governance, numbering: &mut Numbering, now: i64) -> Self {
        Self { generation: self.generation.saturating_add(1), ..numbering.renew(governance, now) }
    }

    /// Rules that count this principal, with the id under which they do.
    pub(crate) fn rules_of<'a>(
        &'a self,
        principal: &'a Principal,
    ) -> impl Iterator<Item = (&'a Found, &'a str)> {
        let org = self.orgs.get(&principal.org_id);
        let kinds = org.into_iter().flat_map(|org| SubjectKind::ALL.into_iter().zip(&org.kinds));
        kinds.flat_map(|(kind, rules)| {
            let id = kind.id_in(principal);
            let one = id.and_then(|id| rules.one.get(id));
            id.into_iter()
                .flat_map(move |id| one.into_iter().chain([&rules.each]).map(move |found| (found, id)))
        })
    }

    /// Whether nothing is in force for anybody.
    pub(crate) fn is_empty(&self) -> bool {
        self.limits.is_empty() && self.budgets.is_empty()
    }

    /// The limit of this id.
    pub(crate) fn limit(&self, id: &LimitId) -> Option<&Arc<LimitRule>> {
        self.limits.get(self.limit_numbers.get(id)?)
    }

    /// The budget of this id.
    pub(crate) fn budget(&self, id: &QuotaId) -> Option<&Arc<BudgetRule>> {
        self.budgets.get(self.budget_numbers.get(id)?)
    }

    fn add_limit(&mut self, spec: &Arc<LimitSpec>, number: u32, since: i64) {
        let rule = Arc::new(LimitRule::new(Arc::clone(spec), number, since));
        self.limits.insert(number, Arc::clone(&rule));
        self.limit_numbers.insert(spec.id.clone(), number);
        self.found(&spec.org_id, &spec.scope).limits.push(rule);
    }

    fn add_budget(&mut self, spec: &Arc<QuotaSpec>, number: u32, calendar: Calendar, zone: &str) {
        let definition = spec.definition(zone);
        let rule = Arc::new(BudgetRule { spec: Arc::clone(spec), number, calendar, definition });
        self.budgets.insert(number, Arc::clone(&rule));
        self.budget_numbers.insert(spec.id.clone(), number);
        self.found(&spec.org_id, &spec.scope).budgets.push(rule);
    }

    fn found(&mut self, org_id: &OrgId, scope: &Subject) -> &mut Found {
        let org = self.orgs.entry(org_id.clone()).or_default();
        let [org_rules, team, user, project, key] = &mut org.kinds;
        let rules = match scope.kind {
            SubjectKind::Org => org_rules,
            SubjectKind::Team => team,
            SubjectKind::User => user,
            SubjectKind::Project => project,
            SubjectKind::Key => key,
        };
        match &scope.id {
            Some(id) => rules.one.entry(Arc::clone(id)).or_default(),
            None => &mut rules.each,
        }
    }
}
