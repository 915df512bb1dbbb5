//! Random histories of admissions, settlements, feeds, edits and time, against a reference that keeps every event and adds them
//! up anew each time.

use proptest::prelude::*;

use super::*;
use crate::window::window_bounds;

const KEYS: [&str; 2] = ["key_1", "key_2"];

#[derive(Clone, Copy, Debug)]
enum Step {
    Admit {
        key: usize,
        input: u64,
        output: u64,
    },
    /// `early`: the ledger books and feeds the event before the proxy settles it.
    Settle {
        open: usize,
        input: u64,
        output: u64,
        early: bool,
    },
    Drop {
        open: usize,
    },
    /// Another proxy's event reaches the ledger.
    Foreign {
        key: usize,
        tokens: u64,
    },
    /// The ledger books so many more own events and tells its figures.
    Feed {
        more: usize,
        full: bool,
    },
    /// A feed of the past comes once more.
    Repeat {
        back: usize,
    },
    Pass {
        seconds: u64,
    },
    Edit {
        limit: i64,
        daily: bool,
        extra: bool,
        first_the_feed: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..2_usize, 0..40_u64, 0..40_u64).prop_map(|(key, input, output)| Step::Admit { key, input, output }),
        4 => (any::<usize>(), 0..60_u64, 0..60_u64, any::<bool>())
            .prop_map(|(open, input, output, early)| Step::Settle { open, input, output, early }),
        1 => any::<usize>().prop_map(|open| Step::Drop { open }),
        1 => (0..2_usize, 0..50_u64).prop_map(|(key, tokens)| Step::Foreign { key, tokens }),
        3 => (0..4_usize, any::<bool>()).prop_map(|(more, full)| Step::Feed { more, full }),
        1 => any::<usize>().prop_map(|back| Step::Repeat { back }),
        2 => (0..2_400_u64).prop_map(|seconds| Step::Pass { seconds }),
        1 => (50..400_i64, any::<bool>(), any::<bool>(), any::<bool>())
            .prop_map(|(limit, daily, extra, first_the_feed)| Step::Edit { limit, daily, extra, first_the_feed }),
    ]
}

/// An event as the ledger keeps it.
#[derive(Clone, Copy)]
struct Booked {
    key: usize,
    at: Timestamp,
    charge: Charge,
}

struct Open {
    key: usize,
    reservation: Reservation,
    tokens: u64,
    tokens_era: u32,
    requests_era: u32,
}

struct Reference {
    world: World,
    quotas: Vec<QuotaSpec>,
    open: Vec<Open>,
    /// Rises when the budgets begin anew: requests that are open then hold nothing of the new ones.
    tokens_era: u32,
    requests_era: u32,
    /// Place in the journal: index + 1.
    own: Vec<Booked>,
    included: usize,
    foreign: Vec<Booked>,
    /// How many of them the last feed included.
    foreign_included: usize,
    told: HashMap<(String, String, Timestamp), i64>,
    feeds: Vec<UsageFeed>,
}

fn quotas(limit: i64, daily: bool, extra: bool) -> Vec<QuotaSpec> {
    let window = if daily { QuotaWindow::Day } else { QuotaWindow::Hour };
    let mut quotas = vec![
        QuotaSpec { window, ..quota("tokens", QuotaUnit::Tokens, limit) },
        QuotaSpec {
            scope: each_key(),
            window: QuotaWindow::Hour,
            ..quota("cost", QuotaUnit::Cost, limit * 700)
        },
    ];
    if extra {
        quotas.push(QuotaSpec { window: QuotaWindow::Minute, ..quota("requests", QuotaUnit::Requests, 8) });
    }
    quotas
}

fn subject_of(quota: &QuotaSpec, key: usize) -> &'static str {
    if quota.scope == each_key() { KEYS[key] } else { "prj_1" }
}

impl Reference {
    fn new() -> Self {
        let quotas = quotas(200, false, false);
        Self {
            world: World::new(&[], &quotas),
            quotas,
            open: Vec::new(),
            tokens_era: 0,
            requests_era: 0,
            own: Vec::new(),
            included: 0,
            foreign: Vec::new(),
            foreign_included: 0,
            told: HashMap::new(),
            feeds: Vec::new(),
        }
    }

    fn sum(quota: &QuotaSpec, subject: &str, at: Timestamp, events: &[Booked]) -> i64 {
        let (start, end) = window_bounds(quota.window, &crate::time_zone("Europe/Berlin"), at);
        let counted = events.iter().filter(|event| start <= event.at && event.at < end);
        let counted = counted.filter(|event| subject_of(quota, event.key) == subject);
        counted.map(|event| event.charge.amount(quota.unit)).sum()
    }

    fn used(&self, quota: &QuotaSpec, subject: &str) -> i64 {
        let foreign = &self.foreign[..self.foreign_included];
        Self::sum(quota, subject, self.world.now, &self.own)
            + Self::sum(quota, subject, self.world.now, foreign)
    }

    fn held(&self, quota: &QuotaSpec, subject: &str) -> i64 {
        let counted = self.open.iter().filter(|open| subject_of(quota, open.key) == subject);
        let counted = counted.filter(|open| match quota.unit {
            QuotaUnit::Tokens => open.tokens_era == self.tokens_era,
            QuotaUnit::Requests => open.requests_era == self.requests_era,
            QuotaUnit::Cost => true,
        });
        counted.map(|open| charge(open.tokens, 0).amount(quota.unit)).sum()
    }

    fn must_pass(&self, key: usize, tokens: u64) -> bool {
        self.quotas.iter().all(|quota| {
            let subject = subject_of(quota, key);
            let used = self.used(quota, subject);
            let need = charge(tokens, 0).amount(quota.unit);
            used < quota.limit && used + self.held(quota, subject) + need <= quota.limit
        })
    }

    fn feed(&mut self, more: usize, full: bool) {
        self.included = (self.included + more).min(self.own.len());
        self.foreign_included = self.foreign.len();
        let mut figures = HashMap::new();
        for quota in &self.quotas {
            for key in 0..KEYS.len() {
                let subject = subject_of(quota, key);
                let (start, _) =
                    window_bounds(quota.window, &crate::time_zone("Europe/Berlin"), self.world.now);
                let used = Self::sum(quota, subject, self.world.now, &self.own[..self.included])
                    + Self::sum(quota, subject, self.world.now, &self.foreign);
                figures.insert((quota.id.as_str().to_owned(), subject.to_owned(), start), used);
            }
        }
        let listed =
            figures.iter().filter(|(key, used)| full || self.told.get(*key).copied().unwrap_or(0) != **used);
        let listed: Vec<_> = listed.filter(|(_, used)| **used != 0).collect();
        let counters: Vec<_> = listed
            .iter()
            .map(|((quota, subject, start), used)| (&**quota, &**subject, *start, **used))
            .collect();
        let as_of = self.world.now + Duration::from_micros(u64::try_from(self.feeds.len()).unwrap());
        let feed = feed(full, u64::try_from(self.included).unwrap(), as_of, &counters);
        self.world.control.feed(&feed, self.world.at);
        self.feeds.push(feed);
        self.told.extend(figures);
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Admit { key, input, output } => {
                let admitted = self.world.admit(KEYS[key], Ask::tokens(input, output));
                prop_assert_eq!(
                    admitted.is_ok(),
                    self.must_pass(key, input + output),
                    "{:?}",
                    admitted.err()
                );
                if let Ok(reservation) = admitted {
                    let (tokens_era, requests_era) = (self.tokens_era, self.requests_era);
                    let tokens = input + output;
                    self.open.push(Open { key, reservation, tokens, tokens_era, requests_era });
                }
            }
            Step::Settle { open, input, output, early } if !self.open.is_empty() => {
                let Open { key, reservation, .. } = self.open.swap_remove(open % self.open.len());
                self.own.push(Booked { key, at: self.world.now, charge: charge(input, output) });
                if early {
                    self.feed(usize::MAX - self.included, false);
                }
                self.world.settle(reservation, input, output);
            }
            Step::Drop { open } if !self.open.is_empty() => {
                drop(self.open.swap_remove(open % self.open.len()));
            }
            Step::Settle { .. } | Step::Drop { .. } => {}
            Step::Foreign { key, tokens } => {
                self.foreign.push(Booked { key, at: self.world.now, charge: charge(tokens, 0) });
            }
            Step::Feed { more, full } => self.feed(more, full),
            Step::Repeat { back } if !self.feeds.is_empty() => {
                let old = &self.feeds[back % self.feeds.len()];
                if old.as_of + Duration::from_secs(10) > self.feeds.last().unwrap().as_of {
                    self.world.control.feed(old, self.world.at);
                }
            }
            Step::Repeat { .. } => {}
            Step::Pass { seconds } => {
                self.world.pass(seconds);
                self.world.control.sweep(self.world.now, self.world.at);
            }
            Step::Edit { limit, daily, extra, first_the_feed } => {
                let edited = quotas(limit, daily, extra);
                self.tokens_era += u32::from(edited[0].window != self.quotas[0].window);
                self.requests_era += u32::from(edited.len() != self.quotas.len());
                self.quotas = edited;
                if first_the_feed {
                    self.feed(0, true);
                }
                self.world.apply(&[], &self.quotas);
                if !first_the_feed {
                    self.feed(0, true);
                }
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), TestCaseError> {
        for quota in &self.quotas {
            for (key, name) in KEYS.iter().enumerate() {
                let subject = subject_of(quota, key);
                let (used, reserved) = self.world.usage(name, quota.id.as_str());
                prop_assert_eq!(used, self.used(quota, subject), "used of {} by {}", quota.id, subject);
                prop_assert_eq!(
                    reserved,
                    self.held(quota, subject),
                    "reserved of {} by {}",
                    quota.id,
                    subject
                );
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_is_used_is_the_ledgers_figure_and_the_own_events_behind_it_at_every_moment(
        steps in prop::collection::vec(step(), 1..70),
    ) {
        let mut reference = Reference::new();
        for step in steps {
            reference.step(step)?;
            reference.check()?;
        }
    }
}
