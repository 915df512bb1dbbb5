//! Several proxies that divide limits among them.

use proptest::prelude::*;

use super::*;
use crate::shares::{DemandReport, Portion, SHARE_LEASE, ShareAnswer, ShareBook};

/// Proxies with one control plane, all on one clock.
struct Cluster {
    worlds: Vec<World>,
    book: ShareBook,
    number: u64,
}

impl Cluster {
    fn new(proxies: usize, limits: &[LimitSpec]) -> Self {
        let live = u32::try_from(proxies).unwrap();
        let worlds: Vec<_> = (0..proxies).map(|place| world(place, live, limits)).collect();
        let journals = (0..proxies).map(journal);
        Self { worlds, book: ShareBook::new(Vec::new(), journals), number: 0 }
    }

    fn pass(&mut self, seconds: u64) {
        self.worlds.iter_mut().for_each(|world| world.pass(seconds));
    }

    fn report(&mut self, place: usize) -> DemandReport {
        self.number += 1;
        let world = &self.worlds[place];
        world.control.demand_report(self.number, world.at)
    }

    fn exchange(&mut self, place: usize) -> bool {
        let report = self.report(place);
        let answer = self.book.answer(report).unwrap();
        let world = &self.worlds[place];
        world.control.take_shares(&answer, world.at, world.at)
    }

    /// A second in which everybody reports; who has shrunk does so twice, and those before hear of it.
    fn second(&mut self) {
        self.pass(1);
        for place in 0..self.worlds.len() {
            if self.exchange(place) {
                self.exchange(place);
            }
        }
    }

    /// Takes as much as it can; returns how much that is.
    fn drain(&self, place: usize) -> usize {
        let mut taken = 0;
        while let Ok(open) = self.worlds[place].admit("key_1", Ask::tokens(1, 1)) {
            std::mem::forget(open); // not given back, as if it had been settled
            taken += 1;
        }
        taken
    }
}

fn journal(place: usize) -> Arc<str> {
    format!("jnl_{place}").into()
}

fn world(place: usize, live: u32, limits: &[LimitSpec]) -> World {
    let at = Instant::now();
    let control = AdmissionControl::new(journal(place), at);
    control.apply(&snapshot(limits, &[]), at);
    let world = World { control, now: time("2026-11-21T12:00:00Z"), at, sequence: 0 };
    told_live(&world, live);
    world
}

fn told_live(world: &World, live: u32) {
    let feed = UsageFeed { live_proxies: live, as_of: world.now, ..UsageFeed::default() };
    world.control.feed(&feed, world.at);
}

#[test]
fn a_proxy_with_all_the_traffic_gets_nearly_all_of_a_limit_and_an_idle_one_can_start_at_once() {
    let mut cluster = Cluster::new(3, &[limit("lim_1", LimitMetric::RequestsPerMinute, 600)]);
    assert_eq!(cluster.drain(0), 200, "an equal portion at first");
    for _ in 0..4 {
        cluster.second();
    }
    cluster.drain(0);
    cluster.pass(30);
    assert_eq!(cluster.drain(0), 290, "at 580 a minute");
    assert_eq!(cluster.drain(1), 10, "what stays with it");
    for _ in 0..12 {
        cluster.drain(1);
        cluster.second();
    }
    cluster.drain(1);
    cluster.pass(30);
    assert_eq!(cluster.drain(1), 290, "the traffic has moved, and so has the limit");
}

#[test]
fn a_proxy_that_is_alone_has_the_whole_and_nothing_to_report() {
    let mut cluster = Cluster::new(1, &[limit("lim_1", LimitMetric::RequestsPerMinute, 600)]);
    assert_eq!(cluster.drain(0), 600);
    cluster.pass(1);
    assert!(cluster.report(0).limits.is_empty());
}

#[test]
fn portions_outlive_an_edit_of_their_limit() {
    let mut cluster = Cluster::new(2, &[limit("lim_1", LimitMetric::RequestsPerMinute, 600)]);
    for _ in 0..5 {
        cluster.drain(0);
        cluster.second();
    }
    let edited = [limit("lim_1", LimitMetric::RequestsPerMinute, 6_000)];
    cluster.worlds.iter().for_each(|world| world.apply(&edited, &[]));
    cluster.drain(0);
    cluster.pass(6);
    assert_eq!(cluster.drain(0), 585, "0.975 of 6000 a minute");
    cluster.second();
    let report = cluster.report(1);
    assert_eq!(report.limits[0].pieces, 6_000);
}

#[test]
fn a_subject_that_a_proxy_sees_for_the_first_time_goes_by_its_portion() {
    let mut cluster = Cluster::new(2, &[limit("lim_1", LimitMetric::ConcurrentRequests, 20)]);
    let open: Vec<_> =
        (0..10).map(|_| cluster.worlds[0].admit("key_1", Ask::tokens(1, 1)).unwrap()).collect();
    for _ in 0..4 {
        cluster.second();
    }
    assert_eq!(cluster.worlds[1].control.counters().0, 0);
    assert_eq!(cluster.drain(1), 1);
    assert_eq!(cluster.drain(0), 9);
    drop(open);
}

#[test]
fn portions_that_nobody_confirms_end_those_above_the_equal_one_first() {
    let mut cluster = Cluster::new(2, &[limit("lim_1", LimitMetric::ConcurrentRequests, 100)]);
    let open: Vec<_> =
        (0..50).map(|_| cluster.worlds[0].admit("key_1", Ask::tokens(1, 1)).unwrap()).collect();
    for _ in 0..4 {
        cluster.second();
    }
    drop(open);
    let at_a_time = |world: &World| {
        let mut open = Vec::new();
        while let Ok(one) = world.admit("key_1", Ask::tokens(1, 1)) {
            open.push(one);
        }
        open.len()
    };
    let parts = |cluster: &Cluster| {
        cluster.worlds.iter().for_each(|world| world.control.expire_shares(world.at));
        cluster.worlds.iter().map(at_a_time).collect::<Vec<_>>()
    };
    assert_eq!(parts(&cluster), [98, 2]);
    cluster.pass(SHARE_LEASE.as_secs() - 1);
    assert_eq!(parts(&cluster), [98, 2]);
    cluster.pass(1);
    assert_eq!(parts(&cluster), [50, 2], "at the end of the lease others may have it");
    cluster.pass(SHARE_LEASE.as_secs());
    assert_eq!(parts(&cluster), [50, 2], "the other one may have been heard a little later");
    cluster.pass(1);
    assert_eq!(parts(&cluster), [50, 50]);
    (0..2).for_each(|place| cluster.book.doubt(&journal(place)));
    for _ in 0..4 {
        cluster.second();
        assert!(parts(&cluster).iter().sum::<usize>() <= 100, "heard again");
    }
}

#[test]
fn requests_that_are_open_count_until_they_end_also_where_the_portion_has_become_smaller() {
    let mut cluster = Cluster::new(2, &[limit("lim_1", LimitMetric::ConcurrentRequests, 100)]);
    let mut open: Vec<_> =
        (0..50).map(|_| cluster.worlds[0].admit("key_1", Ask::tokens(1, 1)).unwrap()).collect();
    let mut others = Vec::new();
    let mut ask = |cluster: &Cluster| {
        for _ in 0..300 {
            others.extend(cluster.worlds[1].admit("key_1", Ask::tokens(1, 1)));
        }
        others.len()
    };
    for _ in 0..4 {
        assert_eq!(ask(&cluster), 50, "as long as the other fifty are open");
        cluster.second();
    }
    open.truncate(20);
    for _ in 0..4 {
        cluster.second();
        assert!(open.len() + ask(&cluster) <= 100);
    }
    assert!(ask(&cluster) > 60);
}

#[test]
fn a_report_names_only_so_many_limits_and_the_answer_may_name_what_is_gone() {
    let mut cluster = Cluster::new(2, &[limit("lim_1", LimitMetric::ConcurrentRequests, 2)]);
    for key in 0..400 {
        for _ in 0..3 {
            drop(cluster.worlds[0].admit(&format!("key_{key}"), Ask::tokens(1, 1)).map(std::mem::forget));
        }
    }
    cluster.pass(1);
    assert_eq!(cluster.report(0).limits.len(), 256);
    cluster.exchange(0);
    cluster.worlds[0].apply(&[], &[]);
    cluster.pass(1);
    assert!(cluster.report(0).limits.is_empty());
    cluster.exchange(0);
    let nothing = ShareAnswer { live_proxies: 2, shares: Vec::new() };
    let world = &cluster.worlds[0];
    assert!(!world.control.take_shares(&nothing, world.at, world.at));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Ask {
        proxy: usize,
        requests: usize,
    },
    End {
        proxy: usize,
        requests: usize,
    },
    /// A report arrives and its answer too, or only the report.
    Report {
        proxy: usize,
        answered: bool,
    },
    Pass {
        millis: u64,
    },
    Edit {
        limit: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_usize, 1..40_usize).prop_map(|(proxy, requests)| Step::Ask { proxy, requests }),
        2 => (0..3_usize, 1..40_usize).prop_map(|(proxy, requests)| Step::End { proxy, requests }),
        8 => (0..3_usize, prop::bool::weighted(0.8)).prop_map(|(proxy, answered)| Step::Report { proxy, answered }),
        3 => (1..2_000_u64).prop_map(|millis| Step::Pass { millis }),
        1 => (30..300_u64).prop_map(|limit| Step::Edit { limit }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn several_proxies_never_open_more_or_admit_more_than_the_limit_together(
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let limits = |limit: u64| {
            let opens = self::limit("lim_open", LimitMetric::ConcurrentRequests, limit);
            let rate = LimitSpec { scope: project(), ..self::limit("lim_rate", LimitMetric::RequestsPerMinute, limit) };
            [opens, rate]
        };
        let mut limit = 60;
        let mut cluster = Cluster::new(3, &limits(limit));
        let mut open: [Vec<Reservation>; 3] = Default::default();
        let (mut began, mut admitted) = (cluster.worlds[0].at, 0_u64);
        for step in steps {
            match step {
                Step::Ask { proxy, requests } => {
                    for _ in 0..requests {
                        let asked = cluster.worlds[proxy].admit("key_1", Ask::tokens(1, 1));
                        admitted += u64::from(asked.is_ok());
                        open[proxy].extend(asked.ok());
                    }
                    let at_a_time = open.iter().map(|open| u64::try_from(open.len()).unwrap()).sum::<u64>();
                    prop_assert!(at_a_time <= limit, "{at_a_time} open of {limit}");
                }
                Step::End { proxy, requests } => {
                    let stay = open[proxy].len().saturating_sub(requests);
                    for ended in open[proxy].split_off(stay) {
                        cluster.worlds[proxy].settle(ended, 1, 1);
                    }
                }
                Step::Report { proxy, answered } => {
                    if answered {
                        cluster.exchange(proxy);
                    } else {
                        let report = cluster.report(proxy);
                        cluster.book.answer(report).unwrap();
                    }
                }
                Step::Pass { millis } => cluster.worlds.iter_mut().for_each(|world| {
                    world.at += Duration::from_millis(millis);
                    world.now += Duration::from_millis(millis);
                }),
                Step::Edit { limit: edited } => {
                    // All is settled, and every bucket full: what an edit does to what is open is not of portions.
                    for (world, open) in cluster.worlds.iter_mut().zip(&mut open) {
                        open.drain(..).for_each(|open| world.settle(open, 1, 1));
                        world.pass(40 * 60);
                    }
                    limit = edited;
                    cluster.worlds.iter().for_each(|world| world.apply(&limits(limit), &[]));
                    (began, admitted) = (cluster.worlds[0].at, 0);
                }
            }
            let time = cluster.worlds[0].at.duration_since(began).as_millis();
            let bound = u128::from(limit) + u128::from(limit) * time / 60_000 + 3;
            prop_assert!(u128::from(admitted) <= bound, "{admitted} admitted, {bound} allowed");
        }
        let sum = |cluster: &Cluster, limit_id: &str| {
            let journals = (0..3).map(journal);
            let said = journals.filter_map(|journal| cluster.book.entry(&journal)).flat_map(|report| report.limits);
            said.filter(|said| said.limit_id.as_str() == limit_id).filter_map(|said| said.held).collect::<Vec<Portion>>()
        };
        for _ in 0..5 {
            cluster.second();
        }
        let portions = sum(&cluster, "lim_open");
        let all: f64 = portions.iter().map(|portion| f64::from(portion.part()) / f64::from(portion.of())).sum();
        prop_assert!(all <= 1.0 + 1e-9, "{portions:?}");
    }
}
