//! Which budgets count which events.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use mindweave_metering::{OrgId, QuotaId};
use mindweave_policy::{QuotaSpec, QuotaWindow, SubjectKind, time_zone, window_bounds};
use parking_lot::Mutex;

use super::store::{self, CounterMove};
use super::{Used, WINDOWS_KEPT, seed};
use crate::db::{Connection, Doing, StoreError, sql};
use crate::governance::quotas_read;
use crate::usage::dims::Dim;

/// A budget and where its windows lie.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) quota: Arc<QuotaSpec>,
    pub(super) zone: TimeZone,
    /// Earlier windows are not counted.
    first_window: i64,
    /// See [`QuotaSpec::definition`].
    pub(crate) definition: u64,
}

impl Rule {
    fn new(quota: Arc<QuotaSpec>, zone_name: &str, first_window: i64) -> Self {
        Self { definition: quota.definition(zone_name), quota, zone: time_zone(zone_name), first_window }
    }

    /// Start and end of the window that holds this moment, all in microseconds.
    pub(crate) fn window(&self, micros: i64) -> (i64, i64) {
        let at = Timestamp::from_microsecond(micros).unwrap_or_default();
        let (start, end) = window_bounds(self.quota.window, &self.zone, at);
        (start.as_microsecond(), end.as_microsecond())
    }

    /// Windows that start before this are not counted any more.
    pub(super) fn kept_from(&self, now: Timestamp) -> i64 {
        now.as_microsecond().saturating_sub(nominal_micros(self.quota.window).saturating_mul(WINDOWS_KEPT))
    }
}

/// The greatest length of a window, to within the hour that a zone's clock may be turned back.
fn nominal_micros(window: QuotaWindow) -> i64 {
    const MINUTE: i64 = 60_000_000;
    match window {
        QuotaWindow::Minute => MINUTE,
        QuotaWindow::Hour => 60 * MINUTE,
        QuotaWindow::Day => 24 * 60 * MINUTE,
        QuotaWindow::Week => 7 * 24 * 60 * MINUTE,
        QuotaWindow::Month => 31 * 24 * 60 * MINUTE,
    }
}

/// Rules by whom they count.
type BySubject = HashMap<Arc<str>, Vec<usize>>;

/// Every budget of one revision, found by whom it counts.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    rules: Vec<Rule>,
    by_id: HashMap<QuotaId, usize>,
    /// For each kind of subject: budgets of one subject, by its id.
    of_one: HashMap<SubjectKind, BySubject>,
    /// For each kind of subject: budgets of each subject separately, by their organisation's id.
    of_each: HashMap<SubjectKind, BySubject>,
}

impl Rules {
    fn new(rules: Vec<Rule>) -> Self {
        let mut found = Self { rules, ..Self::default() };
        for (index, Rule { quota, .. }) in found.rules.iter().enumerate() {
            found.by_id.insert(quota.id.clone(), index);
            let (by_kind, subject) = match &quota.scope.id {
                Some(id) => (&mut found.of_one, Arc::clone(id)),
                None => (&mut found.of_each, quota.org_id.as_str().into()),
            };
            by_kind.entry(quota.scope.kind).or_default().entry(subject).or_default().push(index);
        }
        found
    }

    /// The budgets.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }

    /// The budget with this id.
    pub(crate) fn get(&self, id: &QuotaId) -> Option<&Rule> {
        self.rules.get(*self.by_id.get(id)?)
    }

    /// The start of the window of each budget that holds this moment. Budgets of one organisation share theirs.
    pub(crate) fn window_starts(&self, now: Timestamp) -> HashMap<&QuotaId, i64> {
        let mut known: HashMap<(&OrgId, QuotaWindow), i64> = HashMap::new();
        let start = |rule: &'_ Rule| rule.window(now.as_microsecond()).0;
        let starts = self.rules.iter().map(|rule| {
            let kind = (&rule.quota.org_id, rule.quota.window);
            (&rule.quota.id, *known.entry(kind).or_insert_with(|| start(rule)))
        });
        starts.collect()
    }

    /// The budgets that count a dimension, each with the id of whom it counts there.
    fn counting<'r, 'd: 'r>(
        &'r self,
        dim: &'d Dim<'_>,
    ) -> impl Iterator<Item = (usize, &'r Rule, &'d str)> + 'r {
        let matching = |by_kind: &'r HashMap<SubjectKind, BySubject>, kind: SubjectKind, id: &str| {
            by_kind.get(&kind).and_then(|by_subject| by_subject.get(id)).into_iter().flatten()
        };
        let kinds = SubjectKind::ALL.into_iter().filter_map(|kind| Some((kind, dim.subject(kind)?)));
        kinds.flat_map(move |(kind, subject)| {
            let indexes =
                matching(&self.of_one, kind, subject).chain(matching(&self.of_each, kind, dim.org_id()));
            indexes.filter_map(move |index| {
                let rule = self.rules.get(*index)?;
                let counts =
                    rule.quota.org_id.as_str() == dim.org_id() && rule.quota.counts_model(dim.model());
                counts.then_some((*index, rule, subject))
            })
        })
    }

    /// What new events move: their use by minute and dimension. A window begins with a minute in every zone of today.
    pub(crate) fn moves<'a, 'd: 'a>(
        &self,
        used: impl Iterator<Item = (i64, &'a Dim<'d>, Used)>,
        now: Timestamp,
    ) -> Vec<CounterMove> {
        let mut windows: HashMap<usize, (i64, i64)> = HashMap::new(); // most events of a batch share them
        let mut moves: HashMap<(usize, &str, i64), i64> = HashMap::new();
        for (minute, dim, used) in used.filter(|(_, dim, _)| dim.is_request()) {
            for (index, rule, subject) in self.counting(dim) {
                let amount = used.amount(rule.quota.unit);
                if amount == 0 {
                    continue;
                }
                let (mut start, end) = windows.get(&index).copied().unwrap_or_default();
                if !(start..end).contains(&minute) {
                    let window = rule.window(minute);
                    start = window.0;
                    windows.insert(index, window);
                }
                if start >= rule.first_window && start >= rule.kept_from(now) {
                    let sum = moves.entry((index, subject, start)).or_default();
                    *sum = sum.saturating_add(amount);
                }
            }
        }
        let found = moves.into_iter().filter_map(|((index, subject, window_start), amount)| {
            let quota_id = self.rules.get(index)?.quota.id.clone();
            Some(CounterMove { quota_id, window_start, subject: subject.to_owned(), amount })
        });
        let mut found: Vec<_> = found.collect();
        found.sort_unstable_by(|a, b| a.key().cmp(&b.key())); // in the order of the table's key
        found
    }
}

/// The rules of the last revision that was asked for.
#[derive(Debug, Default)]
pub(crate) struct RulesCache(Mutex<Option<(i64, Arc<Rules>)>>);

impl RulesCache {
    /// The rules, if they are those of this revision.
    pub(crate) fn get(&self, revision: i64) -> Option<Arc<Rules>> {
        self.0.lock().as_ref().filter(|(known, _)| *known == revision).map(|(_, rules)| Arc::clone(rules))
    }

    /// Remembers rules whose counting is committed.
    pub(crate) fn remember(&self, revision: i64, rules: Arc<Rules>) {
        *self.0.lock() = Some((revision, rules));
    }
}

/// The budgets of this state of the database, for reading their counters.
pub(crate) async fn rules_read(tx: &mut Connection) -> Result<Rules, StoreError> {
    let zones = zones_read(tx).await?;
    let rule = |quota: Arc<QuotaSpec>| {
        let zone_name = zone_of(&zones, &quota.org_id);
        Rule::new(quota, zone_name, i64::MIN)
    };
    Ok(Rules::new(quotas_read(tx).await?.into_iter().map(rule).collect()))
}

/// The budgets of this state of the database, for moving their counters; `None` when [`rules_count`] has something to do first.
/// Writes nothing.
pub(crate) async fn rules_counted(tx: &mut Connection) -> Result<Option<Rules>, StoreError> {
    let zones = zones_read(tx).await?;
    let mut known = store::countings_read(tx).await?;
    let mut rules = Vec::new();
    for quota in quotas_read(tx).await? {
        let zone_name = zone_of(&zones, &quota.org_id);
        let counting = known.remove(quota.id.as_str());
        let Some(first_window) = seed::counted(&quota, zone_name, counting.as_ref())? else {
            return Ok(None);
        };
        rules.push(Rule::new(quota, zone_name, first_window));
    }
    Ok(known.is_empty().then(|| Rules::new(rules)))
}

/// Counts the budgets that nobody counted yet in their present definition, and forgets those that are gone. Nobody may book events
/// meanwhile.
pub(crate) async fn rules_count(tx: &mut Connection, now: Timestamp) -> Result<(), StoreError> {
    let zones = zones_read(tx).await?;
    let mut known = store::countings_read(tx).await?;
    for quota in quotas_read(tx).await? {
        let zone_name = zone_of(&zones, &quota.org_id);
        let counting = known.remove(quota.id.as_str());
        seed::ensure(tx, &quota, zone_name, counting.as_ref(), now).await?;
    }
    for gone in known.keys() {
        store::counters_forget(tx, gone).await?;
    }
    Ok(())
}

fn zone_of<'a>(zones: &'a HashMap<OrgId, String>, org_id: &OrgId) -> &'a str {
    zones.get(org_id).map_or("UTC", String::as_str)
}

async fn zones_read(tx: &mut Connection) -> Result<HashMap<OrgId, String>, StoreError> {
    let rows: Vec<(String, String)> =
        sql::query_as("SELECT id, time_zone FROM orgs").fetch_all(tx).await.doing("reading time zones")?;
    Ok(rows.into_iter().map(|(id, zone)| (OrgId::new(id), zone)).collect())
}
