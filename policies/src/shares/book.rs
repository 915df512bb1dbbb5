//! What proxies count with, and what the next one is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use mindweave_metering::LimitId;

use super::divide::divide;
use super::{DemandReport, LimitDemand, LimitShare, MAX_REPORTED_LIMITS, Portion, ShareAnswer};

/// Pieces of a limit that can be divided at will, and of one that has fewer requests than there are proxies.
const FINE: u32 = 1 << 20;

/// One whole, where portions with different pieces are added up.
const ONE: u128 = 1 << 48;

/// Most limits that are divided by demand at a time. Further ones stay divided evenly until there is room.
const MAX_DIVIDED: usize = MAX_REPORTED_LIMITS;

/// A report that a later one of the same proxy has overtaken. Nobody waits for its answer any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a later report of this proxy was answered already")]
pub struct StaleReport;

/// Names a limit of a subject.
type Key = (LimitId, Arc<str>);

/// What every proxy said last. In place of the portion that it goes by stands the one that it may go by: the larger of what it said
/// and what it was told since.
#[derive(Clone, Debug, Default)]
pub struct ShareBook {
    /// Everybody who is alive; `None` has never reported.
    live: BTreeMap<Arc<str>, Option<Sender>>,
    /// The limits that are divided by demand, with what was said of them.
    limits: BTreeMap<Key, BTreeMap<Arc<str>, Said>>,
}

/// Who reported.
#[derive(Clone, Copy, Debug)]
struct Sender {
    number: u64,
    /// Among how many it divides what it was told nothing of.
    live_proxies: u32,
}

/// What one proxy said of one limit.
#[derive(Clone, Copy, Debug)]
struct Said {
    demand: u64,
    pieces: u32,
    held: Portion,
}

impl ShareBook {
    /// Goes on with reports as [`Self::entry`] gave them. Those of journals that are not among the living count no more.
    pub fn new(reports: Vec<DemandReport>, live: impl IntoIterator<Item = Arc<str>>) -> Self {
        let live = live.into_iter().map(|journal| (journal, None)).collect();
        let mut book = Self { live, limits: BTreeMap::new() };
        for report in reports {
            if book.live.contains_key(&report.journal) {
                book.note(report);
            }
        }
        book
    }

    /// A proxy has not been heard of for [`super::SHARE_LEASE`], but is not given up: it may go by equal portions by now, where
    /// those are larger than what it was told.
    pub fn doubt(&mut self, journal: &Arc<str>) {
        let equal = self
            .even(self.live.get(journal).copied().flatten().map_or(u32::MAX, |sender| sender.live_proxies));
        for said in self.limits.values_mut().filter_map(|said| said.get_mut(journal)) {
            said.held = said.held.larger(equal);
        }
    }

    /// The journals of those who are alive.
    pub fn live(&self) -> impl Iterator<Item = &Arc<str>> {
        self.live.keys()
    }

    /// How many proxies are alive.
    pub fn live_proxies(&self) -> u32 {
        u32::try_from(self.live.len()).unwrap_or(u32::MAX)
    }

    /// What is to be remembered of a proxy; nothing of one that left, or has never reported.
    pub fn entry(&self, journal: &Arc<str>) -> Option<DemandReport> {
        let Sender { number, live_proxies } = (*self.live.get(journal)?)?;
        let limits = self.limits.iter().filter_map(|((limit_id, subject), said)| {
            let Said { demand, pieces, held } = *said.get(journal)?;
            let (limit_id, subject) = (limit_id.clone(), Arc::clone(subject));
            Some(LimitDemand { limit_id, subject, demand, pieces, held: Some(held) })
        });
        let limits = limits.collect();
        Some(DemandReport { journal: Arc::clone(journal), number, live_proxies, leaving: false, limits })
    }

    /// Takes a report and says what its sender is to go by from now on.
    ///
    /// # Errors
    /// When a later report of the same proxy was here before. Nothing has changed then.
    pub fn answer(&mut self, report: DemandReport) -> Result<ShareAnswer, StaleReport> {
        let known = self.live.get(&report.journal).copied().flatten();
        if known.is_some_and(|known| known.number >= report.number) {
            return Err(StaleReport);
        }
        let journal = Arc::clone(&report.journal);
        self.forget(&journal);
        if report.leaving {
            self.live.remove(&journal);
            return Ok(ShareAnswer { live_proxies: self.live_proxies(), shares: Vec::new() });
        }
        let equal = self.even(report.live_proxies);
        self.note(report);
        let keys: Vec<Key> = self.limits.keys().cloned().collect();
        let mut shares = Vec::new();
        for key in keys {
            let own = self.limits.get(&key).and_then(|said| said.get(&journal)).copied();
            let own = own.unwrap_or(Said { demand: 0, pieces: 1, held: equal });
            let told = self.told(&key, &journal, own);
            let Some(said) = self.limits.get_mut(&key) else { continue };
            let Some(portion) = told else {
                said.remove(&journal); // even again, as if nothing had been said of it
                continue;
            };
            said.insert(Arc::clone(&journal), Said { held: own.held.larger(portion), ..own });
            let (limit_id, subject) = key;
            shares.push(LimitShare { limit_id, subject, portion });
        }
        self.limits.retain(|_, said| !said.is_empty());
        Ok(ShareAnswer { live_proxies: self.live_proxies(), shares })
    }

    fn forget(&mut self, journal: &Arc<str>) {
        self.limits.retain(|_, said| {
            said.remove(journal);
            !said.is_empty()
        });
    }

    fn note(&mut self, report: DemandReport) {
        let DemandReport { journal, number, live_proxies, leaving: _, limits } = report;
        let equal = self.even(live_proxies);
        for limit in limits.into_iter().take(MAX_REPORTED_LIMITS) {
            let LimitDemand { limit_id, subject, demand, pieces, held } = limit;
            let key = (limit_id, subject);
            // What is divided already must be accounted for; what is not may begin while there is room.
            let begins = demand > 0 && self.limits.len() < MAX_DIVIDED;
            if held.is_some() || begins || self.limits.contains_key(&key) {
                let said = Said { demand, pieces, held: held.unwrap_or(equal) };
                self.limits.entry(key).or_default().insert(Arc::clone(&journal), said);
            }
        }
        self.live.insert(journal, Some(Sender { number, live_proxies }));
    }

    /// What a proxy goes by that divides evenly among so many. By now it may have heard that they are fewer.
    fn even(&self, live_proxies: u32) -> Portion {
        Portion::one_of(live_proxies.min(self.live_proxies()).max(1))
    }

    /// What every proxy says of a limit, in the order of their journals, with the own word in its place. Those that say nothing ask
    /// for nothing, and go by equal portions.
    fn all<'a>(&'a self, key: &Key, journal: &'a str, own: Said) -> Vec<(bool, Said)> {
        let said = self.limits.get(key);
        let all = self.live.iter().map(|(other, sender)| {
            let held = || self.even(sender.map_or(u32::MAX, |sender| sender.live_proxies));
            let silent = || Said { demand: 0, pieces: 1, held: held() };
            match said.and_then(|said| said.get(other)) {
                _ if **other == *journal => (true, own),
                Some(said) => (false, *said),
                None => (false, silent()),
            }
        });
        all.collect()
    }

    /// What this proxy is to go by; `None` when the limit is divided evenly again.
    fn told(&self, key: &Key, journal: &str, own: Said) -> Option<Portion> {
        let (proxies, held) = (self.live_proxies().max(1), own.held);
        let equal = Portion::one_of(proxies);
        let all = self.all(key, journal, own);
        let others = all.iter().filter(|(mine, _)| !mine);
        let taken = others.fold(0, |sum: u128, (_, other)| sum.saturating_add(size(other.held)));
        let free = ONE.saturating_sub(taken);
        if all.iter().all(|(_, said)| said.demand == 0) {
            if all.iter().all(|(_, said)| said.held.is_as_much_as(equal)) {
                return None;
            }
            return Some(if equal.is_more_than(held) && size(equal) > free { held } else { equal });
        }
        let pieces = all.iter().map(|(_, said)| said.pieces).max().unwrap_or(1).min(FINE);
        let pieces = if pieces < proxies { FINE } else { pieces };
        let demands: Vec<u64> = all.iter().map(|(_, said)| said.demand).collect();
        let place = all.iter().position(|(mine, _)| *mine).unwrap_or(0);
        let wanted = divide(pieces, &demands).get(place).copied().unwrap_or(1);
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

/// A portion in parts of [`ONE`], rounded down by less than any that can be told.
fn size(portion: Portion) -> u128 {
    u128::from(portion.part()).saturating_mul(ONE).checked_div(portion.of().into()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
