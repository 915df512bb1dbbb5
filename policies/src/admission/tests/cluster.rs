//! Several proxies and one ledger: events are booked late and in any order between journals, figures are read by one control plane or
//! another, travel, and are lost; proxies are killed, and start again with or without a control plane. At every moment each
//! proxy's figures are exactly the ledger's state that it knows and its own later events, and all together overshoot a budget
//! by no more than what is documented.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::window::window_bounds;

const NANO: i64 = 1_000;

#[derive(Clone, Copy, Debug)]
enum Step {
    Admit {
        proxy: usize,
        input: u64,
        output: u64,
    },
    /// `beyond`: how much more than was held, where the budget holds what is expected only.
    Settle {
        proxy: usize,
        open: usize,
        part: u64,
        beyond: u64,
    },
    /// The ledger books so many more events of a journal, and gets some of them once more.
    Book {
        proxy: usize,
        events: usize,
        again: usize,
    },
    /// A control plane reads figures for a proxy.
    Read {
        proxy: usize,
    },
    /// The next figures on their way arrive.
    Hear {
        proxy: usize,
    },
    /// The connection breaks, with what is on its way. The next control plane has read so many readings ago.
    Reconnect {
        proxy: usize,
        age: usize,
    },
    Save {
        proxy: usize,
    },
    Kill {
        proxy: usize,
    },
    /// `cached`: without control plane, from what was saved.
    Restart {
        proxy: usize,
        cached: bool,
        part: u64,
    },
    Pass {
        seconds: u64,
    },
}

fn step(proxies: usize) -> impl Strategy<Value = Step> {
    let proxy = 0..proxies;
    prop_oneof![
        6 => (proxy.clone(), 0..40_u64, 1..60_u64)
            .prop_map(|(proxy, input, output)| Step::Admit { proxy, input, output }),
        5 => (proxy.clone(), any::<usize>(), 0..=100_u64, 0..50_u64)
            .prop_map(|(proxy, open, part, beyond)| Step::Settle { proxy, open, part, beyond }),
        4 => (proxy.clone(), 0..5_usize, 0..3_usize)
            .prop_map(|(proxy, events, again)| Step::Book { proxy, events, again }),
        4 => proxy.clone().prop_map(|proxy| Step::Read { proxy }),
        4 => proxy.clone().prop_map(|proxy| Step::Hear { proxy }),
        1 => (proxy.clone(), 0..4_usize).prop_map(|(proxy, age)| Step::Reconnect { proxy, age }),
        1 => proxy.clone().prop_map(|proxy| Step::Save { proxy }),
        1 => proxy.clone().prop_map(|proxy| Step::Kill { proxy }),
        2 => (proxy, any::<bool>(), 0..=100_u64)
            .prop_map(|(proxy, cached, part)| Step::Restart { proxy, cached, part }),
        1 => (0..1_500_u64).prop_map(|seconds| Step::Pass { seconds }),
    ]
}

/// An event, at its place in its journal.
#[derive(Clone, Copy, Debug)]
struct Booked {
    at: Timestamp,
    tokens: i64,
}

/// A state of the ledger: how far each journal is booked, and the number of moves of counters that led there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Reading {
    booked: Vec<usize>,
    through: u64,
    as_of: Timestamp,
}

struct Proxy {
    world: World,
    /// What is open, with what it holds in tokens. Of a killed one: what its start will find interrupted.
    open: Vec<(Option<Reservation>, i64)>,
    journal: Vec<Booked>,
    running: bool,
    /// The state of the ledger by which it goes; none before the first figures.
    knows: Option<Reading>,
    saved: Option<(UsageFeed, Reading)>,
    /// The connection: what was read last for it, and what is on its way.
    told: Option<Reading>,
    on_the_way: VecDeque<(UsageFeed, Reading)>,
    /// The next control plane begins with an old reading.
    begins_with: Option<Reading>,
}

struct Cluster {
    proxies: Vec<Proxy>,
    quotas: Vec<QuotaSpec>,
    ledger: Reading,
    /// Every state of the ledger so far.
    history: Vec<Reading>,
    now: Timestamp,
    at: Instant,
    /// By how much the last admission may have led beyond the limit, and later answers were longer than held.
    allowed: i64,
}

fn quotas(limit: i64, reserve: Reserve) -> Vec<QuotaSpec> {
    vec![
        QuotaSpec { reserve, ..quota("cost", QuotaUnit::Cost, limit * NANO) },
        QuotaSpec { window: QuotaWindow::Hour, reserve, ..quota("hour", QuotaUnit::Tokens, i64::MAX / 2) },
    ]
}

fn journal(place: usize) -> String {
    format!("jnl_{place}")
}

fn amount(quota: &QuotaSpec, tokens: i64) -> i64 {
    if quota.unit == QuotaUnit::Cost { tokens * NANO } else { tokens }
}

impl Cluster {
    fn new(proxies: usize, limit: i64, reserve: Reserve) -> Self {
        let quotas = quotas(limit, reserve);
        let ledger = Reading { booked: vec![0; proxies], through: 0, as_of: time("2026-11-21T12:00:00Z") };
        let mut cluster = Self {
            proxies: Vec::new(),
            history: vec![ledger.clone()],
            now: ledger.as_of,
            at: Instant::now(),
            allowed: 0,
            quotas,
            ledger,
        };
        for place in 0..proxies {
            let world = cluster.process(place);
            cluster.proxies.push(Proxy {
                world,
                open: Vec::new(),
                journal: Vec::new(),
                running: true,
                knows: None,
                saved: None,
                told: None,
                on_the_way: VecDeque::new(),
                begins_with: None,
            });
        }
        (0..proxies).for_each(|place| {
            cluster.read(place);
            cluster.hear(place);
        });
        cluster
    }

    fn process(&self, place: usize) -> World {
        let control = AdmissionControl::new(journal(place).into(), self.at);
        control.apply(&snapshot(&[], &self.quotas), self.at);
        World { control, now: self.now, at: self.at, sequence: 0 }
    }

    fn window(&self, quota: &QuotaSpec) -> (Timestamp, Timestamp) {
        window_bounds(quota.window, &crate::time_zone("Europe/Berlin"), self.now)
    }

    /// What these events are of a budget in its current window.
    fn sum(&self, quota: &QuotaSpec, events: &[Booked]) -> i64 {
        let (start, end) = self.window(quota);
        let counted = events.iter().filter(|event| start <= event.at && event.at < end);
        counted.map(|event| amount(quota, event.tokens)).sum()
    }

    /// What the ledger says in this state.
    fn figure(&self, quota: &QuotaSpec, reading: &Reading) -> i64 {
        let booked = self.proxies.iter().zip(&reading.booked);
        booked.map(|(proxy, booked)| self.sum(quota, &proxy.journal[..*booked])).sum()
    }

    fn truth(&self, quota: &QuotaSpec) -> i64 {
        self.proxies.iter().map(|proxy| self.sum(quota, &proxy.journal)).sum()
    }

    /// Events of a proxy that another one does not know of, and what its open requests hold.
    fn hidden(&self, place: usize, from: usize) -> i64 {
        let knows = self.proxies[from].knows.as_ref().map_or(0, |reading| reading.booked[place]);
        let proxy = &self.proxies[place];
        self.sum(&self.quotas[0], &proxy.journal[knows..]) + held(proxy)
    }

    /// A reading on its way to a proxy: all, or what moved since it was told last. `history` has what was in force at each.
    fn feed_of(&self, place: usize, reading: &Reading, before: Option<&Reading>) -> UsageFeed {
        let mut counters = Vec::new();
        for quota in &self.quotas {
            let used = self.figure(quota, reading);
            if before.is_none_or(|before| self.figure(quota, before) != used) {
                counters.push((quota.id.as_str(), "prj_1", self.window(quota).0, used));
            }
        }
        let included =
            BTreeMap::from([(journal(place).into(), u64::try_from(reading.booked[place]).unwrap())]);
        let (as_of, through) = (reading.as_of, Some(reading.through));
        UsageFeed { included, through, ..feed(before.is_none(), 0, as_of, &counters) }
    }

    fn read(&mut self, place: usize) {
        // A clock of the ledger never stands still.
        self.ledger.as_of += Duration::from_micros(1);
        self.history.push(self.ledger.clone());
        let begins_with = self.proxies[place].begins_with.take();
        let reading = begins_with.unwrap_or_else(|| self.ledger.clone());
        let feed = self.feed_of(place, &reading, self.proxies[place].told.as_ref());
        let proxy = &mut self.proxies[place];
        proxy.told = Some(reading.clone());
        proxy.on_the_way.push_back((feed, reading));
    }

    fn hear(&mut self, place: usize) {
        let at = self.at;
        let proxy = &mut self.proxies[place];
        let Some((feed, reading)) = proxy.on_the_way.pop_front().filter(|_| proxy.running) else { return };
        proxy.world.control.feed(&feed, at);
        if proxy.knows.as_ref().is_none_or(|knows| knows.through <= reading.through) {
            let mut knows = reading;
            if let Some(known) = proxy.knows.take() {
                let newer = knows.booked.iter_mut().zip(known.booked);
                newer.for_each(|(new, known)| *new = (*new).max(known));
            }
            proxy.knows = Some(knows);
        }
    }

    fn admit(&mut self, place: usize, input: u64, output: u64) -> Result<(), TestCaseError> {
        let proxy = &self.proxies[place];
        if !proxy.running || proxy.knows.is_none() {
            return Ok(());
        }
        let Ok(reservation) = proxy.world.admit("key_1", Ask::tokens(input, output)) else { return Ok(()) };
        let tokens = reservation.budgets.iter().max().unwrap() / NANO; // of the two, the one of money
        let others: i64 = (0..self.proxies.len())
            .filter(|other| *other != place)
            .map(|other| self.hidden(other, place))
            .sum();
        self.proxies[place].open.push((Some(reservation), tokens));
        self.allowed = others;
        Ok(())
    }

    fn settle(&mut self, place: usize, open: usize, part: u64, beyond: u64) {
        let (now, at) = (self.now, self.at);
        let expected = self.quotas[0].reserve == Reserve::Expected;
        let proxy = &mut self.proxies[place];
        if !proxy.running || proxy.open.is_empty() {
            return;
        }
        let (reservation, held) = proxy.open.swap_remove(open % proxy.open.len());
        let used = held * i64::try_from(part).unwrap() / 100;
        let used = if expected && part == 100 { held + i64::try_from(beyond).unwrap() } else { used };
        self.allowed += (used - held).max(0) * NANO;
        proxy.journal.push(Booked { at: now, tokens: used });
        (proxy.world.now, proxy.world.at) = (now, at);
        proxy.world.sequence = u64::try_from(proxy.journal.len()).unwrap() - 1;
        proxy.world.settle(reservation.unwrap(), u64::try_from(used).unwrap(), 0);
    }

    fn book(&mut self, place: usize, events: usize, again: usize) {
        let position = self.ledger.booked[place];
        // Those that are delivered again are behind the position, and fenced by it.
        let from = position.saturating_sub(again);
        let to = (from + events).min(self.proxies[place].journal.len()).max(position);
        let new = &self.proxies[place].journal[position..to];
        let moves = new.iter().any(|event| event.tokens != 0);
        self.ledger.booked[place] = to;
        self.ledger.through += u64::from(moves);
        self.ledger.as_of += Duration::from_micros(1);
        self.history.push(self.ledger.clone());
    }

    fn restart(&mut self, place: usize, cached: bool, part: u64) {
        if self.proxies[place].running {
            return;
        }
        let world = self.process(place);
        let proxy = &mut self.proxies[place];
        proxy.world = world;
        proxy.running = true;
        match proxy.saved.clone().filter(|_| cached) {
            Some((figures, reading)) => {
                proxy.world.control.load(&figures);
                proxy.knows = Some(reading);
            }
            None => {
                proxy.knows = None;
                self.read(place);
                self.hear(place);
            }
        }
        let (now, proxy) = (self.now, &mut self.proxies[place]);
        let included = proxy.world.control.included();
        for (sequence, event) in (1..).zip(&proxy.journal).filter(|(sequence, _)| *sequence > included) {
            proxy.world.control.replay(sequence, &event_of(*event));
        }
        for (_, held) in std::mem::take(&mut proxy.open) {
            let event = Booked { at: now, tokens: held * i64::try_from(part).unwrap() / 100 };
            proxy.journal.push(event);
            let sequence = u64::try_from(proxy.journal.len()).unwrap();
            proxy.world.control.replay(sequence, &event_of(event));
        }
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Admit { proxy, input, output } => self.admit(proxy, input, output)?,
            Step::Settle { proxy, open, part, beyond } => self.settle(proxy, open, part, beyond),
            Step::Book { proxy, events, again } if self.proxies[proxy].running => {
                self.book(proxy, events, again);
            }
            Step::Read { proxy } if self.proxies[proxy].running => self.read(proxy),
            Step::Hear { proxy } => self.hear(proxy),
            Step::Reconnect { proxy, age } => {
                let old = self.history.len().saturating_sub(age + 1);
                let begins_with = (age > 0).then(|| self.history[old].clone());
                let proxy = &mut self.proxies[proxy];
                (proxy.told, proxy.begins_with) = (None, begins_with);
                proxy.on_the_way.clear();
            }
            Step::Save { proxy } => {
                let proxy = &mut self.proxies[proxy];
                if let Some(knows) = proxy.knows.clone().filter(|_| proxy.running) {
                    proxy.saved = Some((proxy.world.control.save(), knows));
                }
            }
            Step::Kill { proxy } if self.proxies[proxy].running => {
                let proxy = &mut self.proxies[proxy];
                proxy.running = false;
                proxy.open.iter_mut().for_each(|(reservation, _)| drop(reservation.take()));
                (proxy.told, proxy.begins_with) = (None, None);
                proxy.on_the_way.clear();
            }
            Step::Restart { proxy, cached, part } => self.restart(proxy, cached, part),
            Step::Pass { seconds } => {
                self.now += Duration::from_secs(seconds);
                self.at += Duration::from_secs(seconds);
                self.ledger.as_of = self.ledger.as_of.max(self.now);
                let (now, at) = (self.now, self.at);
                self.proxies.iter_mut().for_each(|proxy| (proxy.world.now, proxy.world.at) = (now, at));
            }
            Step::Book { .. } | Step::Read { .. } | Step::Kill { .. } => {}
        }
        Ok(())
    }

    fn check(&self) -> Result<(), TestCaseError> {
        for (place, proxy) in self.proxies.iter().enumerate().filter(|(_, proxy)| proxy.running) {
            let Some(knows) = &proxy.knows else { continue };
            for quota in &self.quotas {
                let (used, _) = proxy.world.usage("key_1", quota.id.as_str());
                let own = self.sum(quota, &proxy.journal[knows.booked[place]..]);
                prop_assert_eq!(used, self.figure(quota, knows) + own, "{} at proxy {}", quota.id, place);
            }
        }
        let quota = &self.quotas[0];
        let committed = self.truth(quota) + self.proxies.iter().map(held).sum::<i64>();
        prop_assert!(
            committed <= quota.limit + self.allowed,
            "{committed} of {} and {} allowed beyond",
            quota.limit,
            self.allowed
        );
        Ok(())
    }

    /// Everybody is there, everything is booked and told.
    fn settle_all(&mut self) -> Result<(), TestCaseError> {
        for place in 0..self.proxies.len() {
            self.restart(place, true, 50);
            while !self.proxies[place].open.is_empty() {
                self.settle(place, 0, 100, 0);
            }
            self.book(place, usize::MAX / 2, 0);
        }
        for place in 0..self.proxies.len() {
            while !self.proxies[place].on_the_way.is_empty() {
                self.hear(place);
            }
            self.read(place);
            self.hear(place);
            self.read(place); // the first may have been an old one
            self.hear(place);
            for quota in &self.quotas {
                let (used, reserved) = self.proxies[place].world.usage("key_1", quota.id.as_str());
                prop_assert_eq!((used, reserved), (self.truth(quota), 0), "{} at proxy {}", quota.id, place);
            }
        }
        Ok(())
    }
}

/// What the open requests of a proxy hold, in the first budget's unit.
fn held(proxy: &Proxy) -> i64 {
    proxy.open.iter().map(|(_, tokens)| tokens * NANO).sum()
}

fn event_of(event: Booked) -> UsageEvent {
    let json = serde_json::json!({
        "event_id": "0190b5a0-0000-7000-8000-000000000001", "timestamp": event.at, "org_id": "org_1",
        "project_id": "prj_1", "key_id": "key_1", "event_type": "api_call", "method": "POST",
        "endpoint": "/v1/messages", "model": MODEL, "requested_model": MODEL, "input_tokens": event.tokens,
        "output_tokens": 0, "cache_read_tokens": 0, "cache_write_5m_tokens": 0, "cache_write_1h_tokens": 0,
        "thinking_tokens": 0, "web_search_requests": 0, "buckets": [], "certainty": "exact",
        "outcome": "complete", "status": 200, "latency_ms": 1, "overhead_us": 1, "streamed": false,
        "retry_count": 0, "tool_calls": [], "price_book": "1", "snapshot_revision": 1, "proxy_id": "pxy_1",
        "decision": {"effect": "allow", "reasons": [], "policy_revision": 0, "shadow": []},
        "cost_nano_usd": event.tokens * NANO, "cost_usd": "0",
    });
    serde_json::from_value(json).unwrap()
}

fn run(limit: i64, reserve: Reserve, proxies: usize, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut cluster = Cluster::new(proxies, limit, reserve);
    for step in steps {
        cluster.step(step)?;
        cluster.check()?;
    }
    cluster.settle_all()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn several_proxies_count_every_event_once_and_overshoot_by_no_more_than_what_they_cannot_know(
        (proxies, steps) in (2..5_usize)
            .prop_flat_map(|proxies| (Just(proxies), prop::collection::vec(step(proxies), 1..150))),
        limit in 50..2_000_i64,
        most in any::<bool>(),
    ) {
        run(limit, if most { Reserve::Max } else { Reserve::Expected }, proxies, steps)?;
    }
}
