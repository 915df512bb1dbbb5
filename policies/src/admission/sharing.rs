//! This proxy's portions of the limits that are divided by demand, and what it reports of its own demand.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mindweave_metering::LimitId;
use parking_lot::Mutex;

use super::index::Index;
use super::state::State;
use crate::limits::{LimitCell, LimitRule, Share};
use crate::principal::Principal;
use crate::shares::{DemandReport, LimitDemand, MAX_REPORTED_LIMITS, Portion, SHARE_LEASE, ShareAnswer};

/// Most limits under pressure that are reported: half of what a report has room for, since portions that were told must be in it
/// too. Further ones wait until one of them is quiet.
const MAX_NOTICED: usize = MAX_REPORTED_LIMITS / 2;

/// When a portion that nobody confirms is given up: before its lease is over, counted from the sending of the last report that was
/// answered, so that nobody else has it yet.
const GIVEN_UP_AFTER: Duration = SHARE_LEASE.saturating_sub(Duration::from_secs(1));

/// Demand is measured over no less: a report that follows at once on another tells the same.
const LEAST_MEASURE: Duration = Duration::from_millis(750);

/// Figures of demand are told with so many leading bits, rounded up: portions stand still under steady traffic.
const DEMAND_BITS: u32 = 4;

/// What is known of limits that are divided by demand.
#[derive(Debug, Default)]
pub(crate) struct Sharing {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The portions that this proxy goes by.
    told: Portions,
    /// Limits under pressure.
    noticed: Vec<Noticed>,
    /// When the last report that was answered was made, and the demand was last measured, in nanoseconds of the process.
    confirmed: i64,
    measured: i64,
    expired: Expired,
}

/// Portions by limit and subject.
#[derive(Debug, Default)]
struct Portions(HashMap<LimitId, HashMap<Arc<str>, Portion>>);

/// What became of portions that nobody confirms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Expired {
    #[default]
    Nothing,
    /// Those above an equal portion were given up: somebody else may have them by now.
    Larger,
    /// All of them were.
    All,
}

/// A limit of a subject that was under pressure lately.
#[derive(Debug)]
struct Noticed {
    rule: Arc<LimitRule>,
    subject: Arc<str>,
    cell: Arc<LimitCell>,
    demand: u64,
}

impl Portions {
    fn get(&self, limit_id: &LimitId, subject: &str) -> Option<Portion> {
        self.0.get(limit_id)?.get(subject).copied()
    }

    fn set(&mut self, limit_id: LimitId, subject: Arc<str>, portion: Portion) {
        self.0.entry(limit_id).or_default().insert(subject, portion);
    }

    fn iter(&self) -> impl Iterator<Item = (&LimitId, &Arc<str>, Portion)> {
        self.0.iter().flat_map(|(limit_id, subjects)| {
            subjects.iter().map(move |(subject, portion)| (limit_id, subject, *portion))
        })
    }
}

impl Sharing {
    /// Remembers to report a limit that has come under pressure.
    pub(crate) fn notice(&self, rule: &Arc<LimitRule>, cell: &Arc<LimitCell>, principal: &Principal) {
        let Some(mut known) = self.known.try_lock() else { return }; // it will be told again
        if !cell.presses() {
            return; // somebody else was first
        }
        let has_room = known.noticed.len() < MAX_NOTICED;
        if let Some(subject) = rule.spec.scope.counted(principal).filter(|_| has_room) {
            let (rule, cell) = (Arc::clone(rule), Arc::clone(cell));
            known.noticed.push(Noticed { rule, cell, subject: subject.into(), demand: 0 });
        }
        cell.notice(has_room);
    }

    /// Lets the counter of a subject that was not seen before go by the portion that was told for it. One that is shared with
    /// others, for want of room, is not `own`.
    pub(crate) fn introduce(
        &self,
        rule: &LimitRule,
        cell: &LimitCell,
        subject: &str,
        even: Share,
        own: impl FnOnce() -> bool,
    ) {
        let known = self.known.lock();
        if let Some(portion) = known.told.get(&rule.spec.id, subject).filter(|_| own()) {
            rule.tell(cell, even.since, Some(portion), even.portion);
        }
    }
}

impl Noticed {
    /// Measures anew: demand that rises counts at once, one that falls by half of the difference. Returns whether there still is any.
    fn measure(&mut self, index: &Index, time: Duration) -> bool {
        let Some(rule) = index.limits.get(&self.rule.number) else { return false };
        self.rule = Arc::clone(rule);
        let asked = rule.demand(self.cell.take_asked(), time);
        self.demand = if asked >= self.demand { asked } else { asked.midpoint(self.demand) };
        self.demand > 0
    }
}

impl State {
    pub(crate) fn demand_report(&self, number: u64, at: Instant) -> DemandReport {
        let index = self.index.load();
        let mut known = self.sharing.known.lock();
        let now = self.nanos(at);
        let time =
            u64::try_from(now.saturating_sub(known.measured)).map(Duration::from_nanos).unwrap_or_default();
        if time >= LEAST_MEASURE {
            known.measured = now;
            known.noticed.retain_mut(|noticed| {
                let stays = noticed.measure(&index, time);
                if !stays {
                    noticed.cell.ignore();
                }
                stays
            });
        }
        let mut demands: HashMap<(&LimitId, &str), &Noticed> = known
            .noticed
            .iter()
            .map(|noticed| ((&noticed.rule.spec.id, &*noticed.subject), noticed))
            .collect();
        let mut limits = Vec::new();
        for (limit_id, subject, portion) in known.told.iter() {
            let Some(rule) = index.limit(limit_id) else { continue }; // it is gone, and nothing of it is held
            let demand = demands.remove(&(limit_id, &**subject)).map_or(0, |noticed| noticed.demand);
            let goes_by = rule.goes_by(self.limits.get(rule.number, subject).as_deref(), portion);
            limits.push(reported(rule, subject, demand, Some(goes_by)));
        }
        let untold = demands.into_values().filter(|noticed| noticed.demand > 0);
        let even = self.freshness.share().portion;
        limits.extend(untold.map(|noticed| {
            let goes_by = Some(noticed.rule.goes_by(Some(&noticed.cell), even)).filter(|held| *held != even);
            reported(&noticed.rule, &noticed.subject, noticed.demand, goes_by)
        }));
        limits.truncate(MAX_REPORTED_LIMITS);
        let (journal, live_proxies) = (Arc::clone(&self.journal), self.freshness.live_proxies());
        DemandReport { journal, number, live_proxies, leaving: false, limits }
    }

    pub(crate) fn take_shares(&self, answer: &ShareAnswer, sent_at: Instant, at: Instant) -> bool {
        let (index, now) = (self.index.load(), self.nanos(at));
        let mut known = self.sharing.known.lock();
        let even = self.freshness.share().portion;
        self.freshness.note_proxies(answer.live_proxies, now);
        known.confirmed = self.nanos(sent_at);
        known.expired = Expired::Nothing;
        let mut told = Portions::default();
        for share in answer.shares.iter().take(MAX_REPORTED_LIMITS) {
            told.set(share.limit_id.clone(), Arc::clone(&share.subject), share.portion);
        }
        let before = std::mem::replace(&mut known.told, told);
        self.go_by(&index, &before, &known.told, now);
        let shrunk = |(limit_id, subject, portion): (&LimitId, &Arc<str>, Portion)| {
            before.get(limit_id, subject).unwrap_or(even).is_more_than(portion)
        };
        known.told.iter().any(shrunk)
    }

    pub(crate) fn expire_shares(&self, at: Instant) {
        let (index, now) = (self.index.load(), self.nanos(at));
        let mut known = self.sharing.known.lock();
        let age =
            u64::try_from(now.saturating_sub(known.confirmed)).map(Duration::from_nanos).unwrap_or_default();
        let even = self.freshness.share().portion;
        let mut told = Portions::default();
        // Who grows waits for as long again, until all those have shrunk who were heard of last a little later.
        known.expired = match known.expired {
            Expired::Nothing | Expired::Larger if age > SHARE_LEASE.saturating_mul(2) => Expired::All,
            Expired::Nothing if age > GIVEN_UP_AFTER => {
                for (limit_id, subject, portion) in known.told.iter() {
                    let portion = if portion.is_more_than(even) { even } else { portion };
                    told.set(limit_id.clone(), Arc::clone(subject), portion);
                }
                Expired::Larger
            }
            Expired::Nothing | Expired::Larger | Expired::All => return,
        };
        let before = std::mem::replace(&mut known.told, told);
        self.go_by(&index, &before, &known.told, now);
    }

    /// Tells counters what changed. Counters that are made meanwhile are introduced under the same lock, which the caller holds.
    fn go_by(&self, index: &Index, before: &Portions, told: &Portions, now: i64) {
        let even = self.freshness.share().portion;
        let ended = before.iter().filter(|(limit_id, subject, _)| told.get(limit_id, subject).is_none());
        let ended = ended.map(|(limit_id, subject, _)| (limit_id, subject, None));
        let now_told = told.iter().map(|(limit_id, subject, portion)| (limit_id, subject, Some(portion)));
        for (limit_id, subject, portion) in ended.chain(now_told) {
            let Some(rule) = index.limit(limit_id) else { continue };
            if let Some(cell) = self.limits.get(rule.number, subject) {
                rule.tell(&cell, now, portion, even);
            }
        }
    }
}

fn reported(rule: &LimitRule, subject: &Arc<str>, demand: u64, held: Option<Portion>) -> LimitDemand {
    let (limit_id, subject) = (rule.spec.id.clone(), Arc::clone(subject));
    LimitDemand { limit_id, subject, demand: rounded(demand), pieces: rule.pieces(), held }
}

/// Rounded up to a few leading bits.
fn rounded(demand: u64) -> u64 {
    let spare = (u64::BITS - demand.leading_zeros()).saturating_sub(DEMAND_BITS);
    let low = 1_u64.checked_shl(spare).map_or(0, |bit| bit.saturating_sub(1));
    demand.saturating_add(low) & !low
}
