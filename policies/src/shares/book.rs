//! What proxies count with, and what the next one is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mindweave_metering::LimitId;

use super::divide::divide;
use super::{DemandReport, LimitDemand, LimitShare, MAX_REPORTED_LIMITS, Portion, ShareAnswer};

/// Pieces of a limit that can be divided at will, and of one that has fewer requests than there are proxies.
const FINE: u32 = 1 << 20;

/// One whole, where portions with different pieces are added up.
const ONE: u128 = 1 << 48;

/// A report that a later one of the same proxy has overtaken. Nobody waits for its answer any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a later report of this proxy was answered already")]
pub struct StaleReport;

/// Names a limit of a subject.
type Key = (LimitId, Arc<str>);

/// The last report of every proxy. In place of the portions that a proxy goes by stand those that it may go by: the larger
/// of what it said and what it was told since.
#[derive(Clone, Debug, Default)]
pub struct ShareBook {
    reports: BTreeMap<Arc<str>, DemandReport>,
    /// Everybody who is alive, those without a report included.
    live: BTreeSet<Arc<str>>,
}

impl ShareBook {
    /// Goes on with reports as [`Self::entry`] left them. Those of journals that are not among the living count no more.
    pub fn new(reports: Vec<DemandReport>, live: impl IntoIterator<Item = Arc<str>>) -> Self {
        let live: BTreeSet<_> = live.into_iter().collect();
        let reports = reports.into_iter().filter(|report| live.contains(&report.journal));
        Self { reports: reports.map(|report| (Arc::clone(&report.journal), report)).collect(), live }
    }

    /// How many proxies are alive.
    pub fn live_proxies(&self) -> u32 {
        u32::try_from(self.live.len()).unwrap_or(u32::MAX)
    }

    /// What is to be remembered of a proxy; nothing of one that left, or has never reported.
    pub fn entry(&self, journal: &str) -> Option<&DemandReport> {
        self.reports.get(journal)
    }

    /// Takes a report and says what its sender is to go by from now on.
    ///
    /// # Errors
    /// When a later report of the same proxy was here before. Nothing has changed then.
    pub fn answer(&mut self, mut report: DemandReport) -> Result<ShareAnswer, StaleReport> {
        if self.reports.get(&report.journal).is_some_and(|known| known.number >= report.number) {
            return Err(StaleReport);
        }
        let journal = Arc::clone(&report.journal);
        if report.leaving {
            self.reports.remove(&journal);
            self.live.remove(&journal);
            return Ok(ShareAnswer { live_proxies: self.live_proxies(), shares: Vec::new() });
        }
        report.limits.truncate(MAX_REPORTED_LIMITS);
        self.live.insert(Arc::clone(&journal));
        let own: BTreeMap<Key, LimitDemand> =
            report.limits.drain(..).map(|limit| (key_of(&limit), limit)).collect();
        self.reports.remove(&journal);
        let divided = self.divided(&own);
        let mut shares = Vec::with_capacity(divided.len());
        for (key, others) in divided {
            let mine = own.get(&key);
            let held = mine.and_then(|mine| mine.held);
            let goes_by = held.unwrap_or(Portion::one_of(report.live_proxies));
            let Some(told) = self.told(&others, mine, goes_by) else { continue };
            let (limit_id, subject) = key;
            let pieces = mine.map_or(1, |mine| mine.pieces);
            report.limits.push(LimitDemand {
                limit_id: limit_id.clone(),
                subject: Arc::clone(&subject),
                demand: mine.map_or(0, |mine| mine.demand),
                pieces,
                held: Some(goes_by.larger(told)),
            });
            shares.push(LimitShare { limit_id, subject, portion: told });
        }
        self.reports.insert(journal, report);
        Ok(ShareAnswer { live_proxies: self.live_proxies(), shares })
    }

    /// The limits that are divided by demand, each with what the other proxies say of it. Only so many: while there is no room,
    /// further ones stay divided evenly.
    fn divided(&self, own: &BTreeMap<Key, LimitDemand>) -> BTreeMap<Key, Vec<Other>> {
        let all = || self.reports.values().flat_map(|report| &report.limits).chain(own.values());
        let mut keys: BTreeSet<Key> = all().filter(|limit| limit.held.is_some()).map(key_of).collect();
        for limit in all().filter(|limit| limit.held.is_none() && limit.demand > 0) {
            if keys.len() >= MAX_REPORTED_LIMITS {
                break;
            }
            keys.insert(key_of(limit));
        }
        let mut divided: BTreeMap<Key, Vec<Other>> = keys.into_iter().map(|key| (key, Vec::new())).collect();
        for report in self.reports.values() {
            for limit in &report.limits {
                if let Some(others) = divided.get_mut(&key_of(limit)) {
                    let held = limit.held.unwrap_or(Portion::one_of(report.live_proxies));
                    others.push(Other { demand: limit.demand, pieces: limit.pieces, held: Some(held) });
                }
            }
        }
        divided
    }

    /// What a proxy that goes by `held` is to go by; `None` when the limit is divided evenly again.
    fn told(&self, others: &[Other], mine: Option<&LimitDemand>, held: Portion) -> Option<Portion> {
        let proxies = self.live_proxies().max(1);
        let equal = Portion::one_of(proxies);
        // The others that say nothing of this limit ask for nothing, and go by equal portions.
        let silent =
            usize::try_from(proxies).unwrap_or(usize::MAX).saturating_sub(1).saturating_sub(others.len());
        let quiet = Other { demand: 0, pieces: 1, held: None };
        let others = || others.iter().copied().chain(std::iter::repeat_n(quiet, silent));
        let taken =
            others().fold(0, |sum: u128, other| sum.saturating_add(size(other.held.unwrap_or(equal))));
        let free = ONE.saturating_sub(taken);
        let own_demand = mine.map_or(0, |mine| mine.demand);
        let demands: Vec<u64> =
            std::iter::once(own_demand).chain(others().map(|other| other.demand)).collect();
        if demands.iter().all(|demand| *demand == 0) {
            let even = |portion: Portion| !portion.is_more_than(equal) && !equal.is_more_than(portion);
            if even(held) && others().all(|other| even(other.held.unwrap_or(equal))) {
                return None;
            }
            let grows = equal.is_more_than(held);
            return Some(if grows && size(equal) > free { held } else { equal });
        }
        let pieces = others().map(|other| other.pieces).max().unwrap_or(1);
        let pieces = pieces.max(mine.map_or(1, |mine| mine.pieces)).min(FINE);
        let pieces = if pieces < proxies { FINE } else { pieces };
        let wanted = divide(pieces, &demands).first().copied().unwrap_or(1);
        let target = Portion::new(wanted, pieces);
        if !target.is_more_than(held) {
            return Some(target);
        }
        let room = free.saturating_mul(pieces.into()).checked_div(ONE).unwrap_or(0);
        match u32::try_from(room).unwrap_or(u32::MAX).min(wanted) {
            0 => Some(held),
            part => Some(held.larger(Portion::new(part, pieces))),
        }
    }
}

/// What another proxy says of a limit.
#[derive(Clone, Copy)]
struct Other {
    demand: u64,
    pieces: u32,
    /// What it may go by; an equal portion, where it says nothing.
    held: Option<Portion>,
}

fn key_of(limit: &LimitDemand) -> Key {
    (limit.limit_id.clone(), Arc::clone(&limit.subject))
}

/// A portion in parts of [`ONE`], rounded down by less than any that can be told.
fn size(portion: Portion) -> u128 {
    u128::from(portion.part()).saturating_mul(ONE).checked_div(portion.of().into()).unwrap_or(0)
}
