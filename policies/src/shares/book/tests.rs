//! Proxies and control planes that exchange reports and answers over a network that loses, delays and doubles them.

use proptest::prelude::*;

use super::*;

const LIMIT: &str = "lim_1";

fn limit_id() -> LimitId {
    LimitId::new(LIMIT)
}

/// A proxy as far as shares go.
#[derive(Clone, Debug)]
struct Proxy {
    journal: Arc<str>,
    number: u64,
    demand: u64,
    live_proxies: u32,
    held: Option<Portion>,
}

impl Proxy {
    fn new(name: usize, live_proxies: u32) -> Self {
        Self { journal: format!("jnl_{name}").into(), number: 0, demand: 0, live_proxies, held: None }
    }

    fn goes_by(&self) -> Portion {
        self.held.unwrap_or(Portion::one_of(self.live_proxies))
    }

    fn report(&mut self, pieces: u32) -> DemandReport {
        self.number += 1;
        let limit = LimitDemand {
            limit_id: limit_id(),
            subject: "prj_1".into(),
            demand: self.demand,
            pieces,
            held: self.held,
        };
        DemandReport {
            journal: Arc::clone(&self.journal),
            number: self.number,
            live_proxies: self.live_proxies,
            leaving: false,
            limits: if self.demand > 0 || self.held.is_some() { vec![limit] } else { Vec::new() },
        }
    }

    fn take(&mut self, answer: &ShareAnswer) {
        self.live_proxies = answer.live_proxies;
        self.held = answer.shares.first().map(|share| share.portion);
    }
}

/// Some proxies and the book, written down and read again between reports as control planes do.
struct Cluster {
    proxies: Vec<Proxy>,
    stored: BTreeMap<Arc<str>, DemandReport>,
    pieces: u32,
}

impl Cluster {
    fn new(proxies: usize, pieces: u32) -> Self {
        let live = u32::try_from(proxies).unwrap();
        let proxies = (0..proxies).map(|name| Proxy::new(name, live)).collect();
        Self { proxies, stored: BTreeMap::new(), pieces }
    }

    fn book(&self) -> ShareBook {
        let live = self.proxies.iter().map(|proxy| Arc::clone(&proxy.journal));
        ShareBook::new(self.stored.values().cloned().collect(), live)
    }

    fn process(&mut self, report: DemandReport) -> Result<ShareAnswer, StaleReport> {
        let mut book = self.book();
        let journal = Arc::clone(&report.journal);
        let answer = book.answer(report);
        match book.entry(&journal) {
            Some(entry) => self.stored.insert(journal, entry),
            None => self.stored.remove(&journal),
        };
        answer
    }

    fn exchange(&mut self, place: usize) {
        let report = self.proxies[place].report(self.pieces);
        let answer = self.process(report).unwrap();
        self.proxies[place].take(&answer);
    }

    fn round(&mut self) {
        (0..self.proxies.len()).for_each(|place| self.exchange(place));
    }

    fn parts(&self) -> Vec<u64> {
        self.proxies.iter().map(|proxy| proxy.goes_by().of_units(self.pieces.into())).collect()
    }

    /// By how much they go beyond the whole, in parts of [`ONE`]; rounding down hides less than one part each.
    fn excess(&self) -> u128 {
        let sum: u128 = self.proxies.iter().map(|proxy| size(proxy.goes_by())).sum();
        sum.saturating_sub(ONE)
    }
}

#[test]
fn a_proxy_with_all_the_traffic_gets_nearly_all_within_three_rounds() {
    let mut cluster = Cluster::new(3, 600);
    cluster.proxies[1].demand = 5_000;
    let mut rounds = 0;
    while cluster.parts() != [10, 580, 10] {
        rounds += 1;
        assert!(rounds <= 3, "{:?}", cluster.parts());
        cluster.round();
    }
}

#[test]
fn portions_follow_the_traffic_and_are_even_again_when_it_is_over() {
    let mut cluster = Cluster::new(3, 600);
    cluster.proxies[0].demand = 900;
    (0..3).for_each(|_| cluster.round());
    cluster.proxies[0].demand = 100;
    cluster.proxies[1].demand = 200;
    (0..3).for_each(|_| cluster.round());
    assert_eq!(cluster.parts(), [200, 390, 10]);
    cluster.proxies.iter_mut().for_each(|proxy| proxy.demand = 0);
    (0..4).for_each(|_| cluster.round());
    assert!(cluster.proxies.iter().all(|proxy| proxy.held.is_none()), "{:?}", cluster.proxies);
    assert!(cluster.stored.values().all(|report| report.limits.is_empty()));
}

#[test]
fn nobody_grows_before_somebody_else_said_that_it_has_shrunk() {
    let mut cluster = Cluster::new(2, 100);
    cluster.proxies[0].demand = 1_000;
    cluster.exchange(0);
    let report = cluster.proxies[1].report(100);
    cluster.process(report).unwrap(); // the answer is lost
    cluster.exchange(0);
    assert_eq!(cluster.parts(), [50, 50]);
    cluster.exchange(1); // now it is there, but nobody knows
    cluster.exchange(0);
    assert_eq!(cluster.parts(), [50, 2]);
    cluster.exchange(1);
    cluster.exchange(0);
    assert_eq!(cluster.parts(), [98, 2]);
}

#[test]
fn a_report_that_was_overtaken_changes_nothing() {
    let mut cluster = Cluster::new(2, 100);
    cluster.proxies[0].demand = 1_000;
    let late = cluster.proxies[0].report(100);
    (0..3).for_each(|_| cluster.round());
    assert_eq!(cluster.parts(), [98, 2]);
    let before = cluster.stored.clone();
    assert_eq!(cluster.process(late), Err(StaleReport));
    assert_eq!(cluster.stored, before);
}

#[test]
fn who_leaves_or_is_no_longer_alive_gives_its_portion_back() {
    let mut cluster = Cluster::new(3, 300);
    cluster.proxies[0].demand = 1_000;
    (0..3).for_each(|_| cluster.round());
    let leaving = DemandReport { leaving: true, ..cluster.proxies[0].report(300) };
    assert!(cluster.process(leaving).unwrap().shares.is_empty());
    cluster.proxies.remove(0);
    cluster.proxies[0].demand = 10;
    (0..3).for_each(|_| cluster.round());
    assert_eq!(cluster.parts(), [293, 7]);
    cluster.proxies.remove(0); // its lease is over
    cluster.proxies[0].demand = 10;
    cluster.round();
    assert_eq!(cluster.parts(), [300], "what is stored of the dead counts no more");
}

#[test]
fn a_proxy_that_was_out_of_reach_counts_with_an_equal_portion_until_it_says_otherwise() {
    let mut cluster = Cluster::new(2, 100);
    cluster.proxies[0].demand = 1_000;
    (0..3).for_each(|_| cluster.round());
    let mut book = cluster.book();
    cluster.proxies.iter_mut().for_each(|proxy| proxy.held = None); // both gave their portions up
    cluster.proxies.iter().for_each(|proxy| book.doubt(&proxy.journal));
    let answer = book.answer(cluster.proxies[0].report(100)).unwrap();
    assert_eq!(answer.shares[0].portion, Portion::one_of(2), "the other one may go by half");
    book.answer(cluster.proxies[1].report(100)).unwrap();
    book.answer(cluster.proxies[1].report(100)).unwrap();
}

#[test]
fn a_limit_of_fewer_requests_than_proxies_is_divided_by_time() {
    let mut cluster = Cluster::new(4, 2);
    cluster.proxies[2].demand = 5;
    (0..3).for_each(|_| cluster.round());
    assert!(cluster.proxies[2].goes_by().is_more_than(Portion::new(19, 20)));
    assert_eq!(cluster.excess(), 0);
}

#[test]
fn only_so_many_limits_are_divided_by_demand() {
    let report = |journal: &str, number, from: usize, count: usize| DemandReport {
        journal: journal.into(),
        number,
        live_proxies: 2,
        leaving: false,
        limits: (from..from + count)
            .map(|subject| LimitDemand {
                limit_id: limit_id(),
                subject: format!("key_{subject:05}").into(),
                demand: 5,
                pieces: 60,
                held: None,
            })
            .collect(),
    };
    let mut book = ShareBook::new(Vec::new(), ["a".into(), "b".into()]);
    assert_eq!(book.answer(report("a", 1, 0, MAX_DIVIDED * 2)).unwrap().shares.len(), MAX_DIVIDED);
    assert_eq!(book.answer(report("b", 1, MAX_DIVIDED, 5)).unwrap().shares.len(), MAX_DIVIDED);
    assert!(book.limits.len() <= MAX_DIVIDED);
}

#[derive(Clone, Debug)]
enum Step {
    Demand {
        proxy: usize,
        demand: u64,
    },
    /// A report goes out; it arrives later, or never.
    Send {
        proxy: usize,
    },
    /// One of the reports on their way arrives. Its answer goes out, if its sender still waits for it.
    Arrive {
        which: usize,
    },
    /// One of the answers on their way arrives.
    Answer {
        which: usize,
    },
    Lose {
        which: usize,
    },
    /// The limit is edited: its pieces are others from now on.
    Edit {
        pieces: u32,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let demand = prop_oneof![Just(0_u64), 1_u64..50, 1_000_u64..2_000];
    prop_oneof![
        1 => (any::<usize>(), demand).prop_map(|(proxy, demand)| Step::Demand { proxy, demand }),
        4 => any::<usize>().prop_map(|proxy| Step::Send { proxy }),
        4 => any::<usize>().prop_map(|which| Step::Arrive { which }),
        4 => any::<usize>().prop_map(|which| Step::Answer { which }),
        1 => any::<usize>().prop_map(|which| Step::Lose { which }),
        1 => (1_u32..200).prop_map(|pieces| Step::Edit { pieces }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// Reports and answers are lost, late, and overtake each other. A proxy takes an answer only to its own last report.
    #[test]
    fn what_proxies_go_by_never_adds_up_to_more_than_the_whole_and_converges(
        proxies in 1_usize..6,
        pieces in 1_u32..200,
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut cluster = Cluster::new(proxies, pieces);
        let mut reports: Vec<DemandReport> = Vec::new();
        let mut answers: Vec<(usize, u64, ShareAnswer)> = Vec::new();
        for step in steps {
            match step {
                Step::Demand { proxy, demand } => cluster.proxies[proxy % proxies].demand = demand,
                Step::Send { proxy } => {
                    let pieces = cluster.pieces;
                    reports.push(cluster.proxies[proxy % proxies].report(pieces));
                }
                Step::Arrive { which } if !reports.is_empty() => {
                    let report = reports.swap_remove(which % reports.len());
                    let (journal, number) = (Arc::clone(&report.journal), report.number);
                    if let Ok(answer) = cluster.process(report) {
                        let sender = cluster.proxies.iter().position(|proxy| proxy.journal == journal);
                        answers.push((sender.unwrap(), number, answer));
                    }
                }
                Step::Answer { which } if !answers.is_empty() => {
                    let (place, number, answer) = answers.swap_remove(which % answers.len());
                    if cluster.proxies[place].number == number {
                        cluster.proxies[place].take(&answer);
                    }
                }
                Step::Lose { which } => {
                    if !answers.is_empty() {
                        answers.swap_remove(which % answers.len());
                    }
                }
                Step::Edit { pieces } => cluster.pieces = pieces,
                Step::Arrive { .. } | Step::Answer { .. } => {}
            }
            prop_assert_eq!(cluster.excess(), 0);
            prop_assert!(cluster.proxies.iter().all(|proxy| proxy.goes_by().part() > 0));
        }
        (0..4).for_each(|_| cluster.round());
        let demands: Vec<u64> = cluster.proxies.iter().map(|proxy| proxy.demand).collect();
        let live = u32::try_from(proxies).unwrap();
        let fine = if cluster.pieces < live { FINE } else { cluster.pieces };
        for (place, proxy) in cluster.proxies.iter().enumerate() {
            let expected = if demands.iter().all(|demand| *demand == 0) {
                Portion::one_of(live)
            } else {
                Portion::new(divide(fine, &demands)[place], fine)
            };
            prop_assert!(proxy.goes_by().is_as_much_as(expected), "{place}: {:?} not {expected:?}", proxy);
        }
    }
}
