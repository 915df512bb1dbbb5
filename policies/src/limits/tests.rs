use std::sync::atomic::{AtomicU64, Ordering};

use mindweave_metering::{LimitId, OrgId};
use proptest::prelude::*;

use super::*;
use crate::subject::{Subject, SubjectKind};

const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND;
const ALONE: Share = Share { portion: Portion::WHOLE, since: 0 };

fn rule(metric: LimitMetric, limit: u64, burst: Option<u64>) -> LimitRule {
    let scope = Subject { kind: SubjectKind::Project, id: None };
    let spec = LimitSpec {
        id: LimitId::new("lim_1"),
        org_id: OrgId::new("org_1"),
        name: "a limit".into(),
        scope,
        metric,
        limit,
        burst,
        models: Vec::new(),
    };
    LimitRule::new(Arc::new(spec), 1, 0)
}

fn output(tokens: u64) -> Option<ExpectedTokens> {
    Some(ExpectedTokens { input: 0, output: tokens })
}

fn used(tokens: u64) -> ChargeParts {
    ChargeParts::one(Charge { requests: 1, output_tokens: tokens, ..Charge::default() }, None)
}

#[test]
fn an_estimate_is_taken_at_admission_and_corrected_at_settlement() {
    let rule = rule(LimitMetric::OutputTokensPerMinute, 10_000, None);
    let cell = LimitCell::default();
    let held = rule.take(&cell, SECOND, output(8_000), ALONE).unwrap().unwrap();
    assert_eq!(rule.take(&cell, SECOND, output(8_000), ALONE), Err(Duration::from_secs(36)));
    rule.settle(&cell, SECOND, held, Some(&used(1_200)));
    assert_eq!(rule.state(&cell, SECOND, ALONE).unwrap().remaining, 8_800);
}

#[test]
fn an_overrun_is_a_debt_that_later_requests_wait_for() {
    let rule = rule(LimitMetric::OutputTokensPerMinute, 10_000, None);
    let cell = LimitCell::default();
    let held = rule.take(&cell, SECOND, output(1_200), ALONE).unwrap().unwrap();
    rule.settle(&cell, SECOND, held, Some(&used(16_200)));
    assert_eq!(rule.state(&cell, SECOND, ALONE).unwrap().remaining, 0);
    assert_eq!(rule.take(&cell, SECOND, output(0), ALONE), Err(Duration::from_millis(37_200)));
    assert_eq!(rule.state(&cell, SECOND + MINUTE, ALONE).unwrap().remaining, 3_800);
}

#[test]
fn a_request_larger_than_the_burst_passes_when_the_bucket_is_full() {
    let rule = rule(LimitMetric::OutputTokensPerMinute, 1_000, None);
    let cell = LimitCell::default();
    assert!(rule.take(&cell, SECOND, output(5_000), ALONE).is_ok());
    assert_eq!(rule.take(&cell, SECOND, output(5_000), ALONE), Err(Duration::from_secs(300)));
    assert_eq!(rule.take(&cell, SECOND, output(1), ALONE), Err(Duration::from_millis(240_060)));
    assert!(rule.take(&cell, SECOND + 5 * MINUTE, output(5_000), ALONE).is_ok());
}

#[test]
fn requests_a_minute_come_back_one_by_one() {
    let rule = rule(LimitMetric::RequestsPerMinute, 60, Some(3));
    let cell = LimitCell::default();
    for left in [2, 1, 0] {
        assert!(rule.take(&cell, SECOND, None, ALONE).is_ok());
        assert_eq!(rule.state(&cell, SECOND, ALONE).unwrap().remaining, left);
    }
    assert_eq!(rule.take(&cell, SECOND, None, ALONE), Err(Duration::from_secs(1)));
    assert!(rule.take(&cell, 2 * SECOND, None, ALONE).is_ok());
    assert!(rule.take(&cell, 2 * SECOND, None, ALONE).is_err());
    assert_eq!(rule.state(&cell, MINUTE, ALONE).unwrap().remaining, 3);
}

fn left(rule: &LimitRule, cell: &LimitCell, now: i64) -> u64 {
    rule.state(cell, now, ALONE).unwrap().remaining
}

fn since(now: i64, rule: LimitRule) -> LimitRule {
    LimitRule { since: now, ..rule }
}

#[test]
fn a_raised_limit_keeps_what_is_missing_in_units_and_fills_faster() {
    let cell = LimitCell::default();
    let old = rule(LimitMetric::RequestsPerMinute, 30, Some(5));
    assert!((0..5).all(|_| old.take(&cell, SECOND, None, ALONE).is_ok()));
    assert!(old.take(&cell, SECOND, None, ALONE).is_err());
    let raised = since(SECOND, rule(LimitMetric::RequestsPerMinute, 6_000, Some(100)));
    assert_eq!(left(&raised, &cell, SECOND), 95, "five are used, of a hundred");
    assert!((0..95).all(|_| raised.take(&cell, SECOND, None, ALONE).is_ok()));
    assert_eq!(raised.take(&cell, SECOND, None, ALONE), Err(Duration::from_millis(10)));
}

#[test]
fn a_debt_is_as_many_tokens_after_the_limit_was_raised() {
    let old = rule(LimitMetric::OutputTokensPerMinute, 100, None);
    let indebted = || {
        let cell = LimitCell::default();
        let held = old.take(&cell, SECOND, output(100), ALONE).unwrap().unwrap();
        old.settle(&cell, SECOND, held, Some(&used(8_000)));
        cell
    };
    let cell = indebted();
    assert_eq!(old.take(&cell, SECOND, output(0), ALONE), Err(Duration::from_secs(79 * 60)));
    let raised = since(SECOND, rule(LimitMetric::OutputTokensPerMinute, 1_000_000, None));
    assert_eq!(left(&raised, &cell, SECOND), 992_000);
    assert!(raised.take(&cell, SECOND, output(100), ALONE).is_ok());
    let modest = since(SECOND, rule(LimitMetric::OutputTokensPerMinute, 1_000, None));
    assert_eq!(modest.take(&indebted(), SECOND, output(0), ALONE), Err(Duration::from_secs(7 * 60)));
}

#[test]
fn a_lowered_limit_keeps_what_was_used_and_at_worst_begins_empty() {
    let cell = LimitCell::default();
    let old = rule(LimitMetric::OutputTokensPerMinute, 1_000_000, None);
    old.take(&cell, SECOND, output(300), ALONE).unwrap();
    let lowered = since(SECOND, rule(LimitMetric::OutputTokensPerMinute, 1_000, None));
    assert_eq!(left(&lowered, &cell, SECOND), 700);
    old.take(&cell, SECOND, output(900_000), ALONE).unwrap(); // went by rules that were replaced just then
    let emptied = lowered.take(&cell, SECOND, output(1), ALONE);
    assert_eq!(emptied, Err(Duration::from_millis(60)), "and not in debt by what was allowed");
}

#[test]
fn what_an_open_request_took_is_worth_the_same_after_an_edit() {
    let cell = LimitCell::default();
    let old = rule(LimitMetric::OutputTokensPerMinute, 1_000, None);
    let held = old.take(&cell, SECOND, output(800), ALONE).unwrap().unwrap();
    let raised = since(SECOND, rule(LimitMetric::OutputTokensPerMinute, 10_000, None));
    assert_eq!(left(&raised, &cell, SECOND), 9_200);
    old.settle(&cell, SECOND, held, Some(&used(500)));
    assert_eq!(left(&raised, &cell, SECOND), 9_500);
}

#[test]
fn the_new_rate_counts_from_the_edit_on_not_from_the_next_request() {
    let cell = LimitCell::default();
    let old = rule(LimitMetric::OutputTokensPerMinute, 60, None);
    old.take(&cell, SECOND, output(60), ALONE).unwrap();
    let raised = since(11 * SECOND, rule(LimitMetric::OutputTokensPerMinute, 600, None));
    assert_eq!(left(&raised, &cell, 11 * SECOND), 550, "ten of sixty came back before");
    assert_eq!(left(&raised, &cell, 13 * SECOND), 570);
}

#[test]
fn a_rate_keeps_its_estimate_where_nobody_knows_what_was_used() {
    let rule = rule(LimitMetric::OutputTokensPerMinute, 1_000, None);
    let cell = LimitCell::default();
    let held = rule.take(&cell, SECOND, output(800), ALONE).unwrap().unwrap();
    rule.settle(&cell, SECOND, held, None);
    assert_eq!(left(&rule, &cell, SECOND), 200);
}

#[test]
fn a_limit_of_certain_models_is_charged_what_those_used_unless_it_was_asked_for_one_of_them() {
    let models = vec![crate::model_pattern::ModelPattern::new("claude-opus-*")];
    let plain = rule(LimitMetric::OutputTokensPerMinute, 1_000, None);
    let spec = LimitSpec { models, ..(*plain.spec).clone() };
    let rule = LimitRule::new(Arc::new(spec), 1, 0);
    for (by_name, served, remaining) in
        [(true, "claude-haiku-4-5", 900), (false, "claude-haiku-4-5", 1_000), (false, "claude-opus-4-1", 900)]
    {
        let cell = LimitCell::default();
        let held = rule.take(&cell, SECOND, output(500), ALONE).unwrap().unwrap();
        let charged = ChargeParts::one(used(100).total(), Some(served.into()));
        rule.settle(&cell, SECOND, Taken { by_name, ..held }, Some(&charged));
        assert_eq!(left(&rule, &cell, SECOND), remaining, "{by_name} {served}");
    }
}

#[test]
fn open_requests_are_counted_and_given_back() {
    let rule = rule(LimitMetric::ConcurrentRequests, 2, None);
    let cell = LimitCell::default();
    let first = rule.take(&cell, SECOND, None, ALONE).unwrap().unwrap();
    let second = rule.take(&cell, SECOND, None, ALONE).unwrap().unwrap();
    assert_eq!(rule.take(&cell, SECOND, None, ALONE), Err(CONCURRENCY_RETRY));
    rule.settle(&cell, SECOND, first, Some(&used(1)));
    assert!(rule.take(&cell, SECOND, None, ALONE).is_ok());
    rule.give_back(&cell, second);
    assert!(!cell.is_as_new(MINUTE));
}

#[test]
fn token_limits_do_not_count_what_cannot_use_tokens() {
    let rule = rule(LimitMetric::TokensPerMinute, 1, None);
    let cell = LimitCell::default();
    assert_eq!(rule.take(&cell, SECOND, None, ALONE), Ok(None));
    assert!(cell.is_as_new(SECOND));
}

#[test]
fn the_largest_figures_do_not_overflow() {
    let rule = rule(LimitMetric::TokensPerMinute, 1, None);
    let cell = LimitCell::default();
    let huge = Some(ExpectedTokens { input: u64::MAX, output: u64::MAX });
    let held = rule.take(&cell, SECOND, huge, ALONE).unwrap().unwrap();
    let all = Charge { limited_input_tokens: u64::MAX, ..used(u64::MAX).total() };
    rule.settle(&cell, SECOND, held, Some(&ChargeParts::one(all, None)));
    assert!(rule.take(&cell, i64::MAX / 8, huge, ALONE).is_err());
    let fast = self::rule(LimitMetric::RequestsPerMinute, u64::MAX, Some(u64::MAX));
    assert!(fast.take(&LimitCell::default(), SECOND, None, ALONE).is_ok());
}

#[test]
fn each_of_several_proxies_enforces_its_part() {
    let third = Share { portion: Portion::one_of(3), since: 0 };
    for metric in
        [LimitMetric::RequestsPerMinute, LimitMetric::OutputTokensPerMinute, LimitMetric::ConcurrentRequests]
    {
        let rule = rule(metric, 90, None);
        let cell = LimitCell::default();
        let taken = (0..100).filter(|_| rule.take(&cell, SECOND, output(1), third).is_ok()).count();
        assert_eq!(taken, 30, "{metric:?}");
        let few = self::rule(metric, 2, None);
        assert!(few.take(&LimitCell::default(), SECOND, output(1), third).is_ok(), "nobody is shut out");
    }
    let rule = rule(LimitMetric::OutputTokensPerMinute, 90, None);
    let cell = LimitCell::default();
    let held = rule.take(&cell, SECOND, output(30), third).unwrap().unwrap();
    assert_eq!(rule.take(&cell, SECOND, output(1), third), Err(Duration::from_secs(2)));
    rule.settle(&cell, SECOND, held, Some(&used(10)));
    assert_eq!(rule.state(&cell, SECOND, third).unwrap().remaining, 20);
}

#[test]
fn threads_never_take_more_than_the_burst() {
    for metric in
        [LimitMetric::RequestsPerMinute, LimitMetric::OutputTokensPerMinute, LimitMetric::ConcurrentRequests]
    {
        let rule = rule(metric, 1_000, None);
        let cell = LimitCell::default();
        let taken = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        if rule.take(&cell, SECOND, output(1), ALONE).is_ok() {
                            taken.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(taken.into_inner(), 1_000, "{metric:?}");
    }
}

proptest! {
    /// The documented bound: in any span, what is used of requests that began and ended in it is at most a burst and the
    /// span's own share, plus what was used beyond estimates.
    #[test]
    fn what_is_used_stays_under_the_rate_a_burst_and_the_estimates_error(
        limit in 1_u64..100_000,
        steps in prop::collection::vec((0_i64..20 * SECOND, 0_u64..3_000, 0_u64..3_000), 1..60),
    ) {
        let rule = rule(LimitMetric::OutputTokensPerMinute, limit, None);
        let cell = LimitCell::default();
        let (mut now, mut total, mut beyond) = (SECOND, 0_u64, 0_u64);
        for (pause, estimate, actual) in steps {
            now += pause;
            if let Ok(Some(held)) = rule.take(&cell, now, output(estimate), ALONE) {
                rule.settle(&cell, now, held, Some(&used(actual)));
                total += actual;
                beyond = beyond.max(actual.saturating_sub(limit)).max(actual.saturating_sub(estimate));
            }
        }
        let share = u128::from(limit) * u128::try_from(now - SECOND).unwrap() / u128::try_from(MINUTE).unwrap();
        let bound = u128::from(limit) + share + u128::from(beyond) + u128::from(estimate_beyond_burst(limit)) + 1;
        prop_assert!(u128::from(total) <= bound, "{total} used, {bound} allowed");
    }

    #[test]
    fn giving_back_restores_what_was_there(limit in 1_u64..1_000_000, before in 0_u64..5_000, units in 0_u64..5_000) {
        let rule = rule(LimitMetric::OutputTokensPerMinute, limit, Some(20_000));
        let cell = LimitCell::default();
        rule.take(&cell, SECOND, output(before), ALONE).unwrap();
        let start = rule.state(&cell, SECOND, ALONE);
        if let Ok(Some(held)) = rule.take(&cell, SECOND, output(units), ALONE) {
            rule.give_back(&cell, held);
        }
        prop_assert_eq!(rule.state(&cell, SECOND, ALONE), start);
    }
}

/// An estimate beyond the burst passes a full bucket: at most this much more than the burst in the test above.
fn estimate_beyond_burst(limit: u64) -> u64 {
    3_000_u64.saturating_sub(limit)
}

fn share(part: u32, of: u32, since: i64) -> Share {
    Share { portion: Portion::new(part, of), since }
}

fn left_of(rule: &LimitRule, cell: &LimitCell, now: i64, share: Share) -> u64 {
    rule.state(cell, now, share).unwrap().remaining
}

#[test]
fn a_portion_that_grows_brings_room_and_not_what_fills_it() {
    let rule = rule(LimitMetric::OutputTokensPerMinute, 600, None);
    let cell = LimitCell::default();
    rule.take(&cell, SECOND, output(100), share(1, 3, 0)).unwrap();
    assert_eq!(left_of(&rule, &cell, SECOND, share(1, 3, 0)), 100);
    let grown = share(9, 10, SECOND);
    assert_eq!(left_of(&rule, &cell, SECOND, grown), 100, "of 540");
    assert_eq!(left_of(&rule, &cell, 11 * SECOND, grown), 190, "at 540 a minute");
    assert_eq!(left_of(&rule, &cell, 2 * MINUTE, grown), 540);
}

#[test]
fn a_portion_that_shrinks_keeps_what_it_has_room_for_and_every_debt() {
    let rule = rule(LimitMetric::OutputTokensPerMinute, 600, None);
    let cell = LimitCell::default();
    rule.take(&cell, SECOND, output(500), share(1, 1, 0)).unwrap();
    assert_eq!(left_of(&rule, &cell, SECOND, share(1, 3, SECOND)), 100);
    assert_eq!(left_of(&rule, &cell, SECOND, share(1, 20, SECOND)), 30);
    let held = rule.take(&cell, SECOND, output(0), share(1, 1, 0)).unwrap().unwrap();
    rule.settle(&cell, SECOND, held, Some(&used(400)));
    let wait = rule.take(&cell, SECOND, output(0), share(1, 3, SECOND)).unwrap_err();
    assert_eq!(wait.as_millis(), 90_000, "300 beyond, at 200 a minute");
}

#[test]
fn what_a_request_took_is_worth_the_same_in_another_portion() {
    let rule = rule(LimitMetric::OutputTokensPerMinute, 600, None);
    let cell = LimitCell::default();
    let held = rule.take(&cell, SECOND, output(90), share(1, 3, 0)).unwrap().unwrap();
    let grown = share(2, 3, SECOND);
    assert_eq!(left_of(&rule, &cell, SECOND, grown), 110);
    rule.settle(&cell, SECOND, held, Some(&used(40)));
    assert_eq!(left_of(&rule, &cell, SECOND, grown), 160);
}

#[test]
fn a_limit_is_noticed_once_it_is_half_used_and_never_by_a_proxy_that_is_alone() {
    for metric in
        [LimitMetric::RequestsPerMinute, LimitMetric::OutputTokensPerMinute, LimitMetric::ConcurrentRequests]
    {
        let rule = rule(metric, 60, None);
        let (alone, cell) = (LimitCell::default(), LimitCell::default());
        let half = share(1, 2, 0);
        for taken in 1..=100_u64 {
            rule.take(&alone, SECOND, output(1), ALONE).ok();
            rule.take(&cell, SECOND, output(1), half).ok();
            assert_eq!(cell.presses(), taken > 15, "{metric:?} after {taken} of 30");
        }
        assert!(!alone.presses());
        cell.notice(true);
        rule.take(&cell, SECOND, output(1), half).ok();
        assert!(!cell.presses());
        assert!(cell.take_asked() >= 85, "those that were refused too");
        cell.ignore();
        rule.take(&cell, SECOND, output(1), half).ok();
        assert!(cell.presses());
    }
}

/// A move of one of several proxies that divide a limit.
#[derive(Clone, Copy, Debug)]
enum Move {
    Take {
        cell: usize,
        estimate: u64,
        used: u64,
    },
    /// A part of one proxy's portion goes to another, which gets it a little later.
    Shift {
        from: usize,
        to: usize,
        parts: u32,
        delay: i64,
    },
    Pass {
        nanos: i64,
    },
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        6 => (0..4_usize, 1..400_u64, 0..400_u64)
            .prop_map(|(cell, estimate, used)| Move::Take { cell, estimate, used: used.min(estimate) }),
        2 => (0..4_usize, 0..4_usize, 1..1_000_u32, 0..SECOND)
            .prop_map(|(from, to, parts, delay)| Move::Shift { from, to, parts, delay }),
        3 => (0..20 * SECOND).prop_map(|nanos| Move::Pass { nanos }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    /// The bound of one proxy holds for all of them together, however portions move: in any time, a burst and what comes back
    /// in it. (What a request uses beyond its estimate, and one that is larger than a bucket, come on top, as with one proxy.)
    #[test]
    fn proxies_that_divide_a_limit_use_no_more_of_it_together_than_one_alone(
        limit in 1_600_u64..100_000,
        requests in any::<bool>(),
        steps in prop::collection::vec(moves(), 1..150),
    ) {
        const PARTS: u32 = 1_000;
        let metric =
            if requests { LimitMetric::RequestsPerMinute } else { LimitMetric::OutputTokensPerMinute };
        let rule = rule(metric, limit, None);
        let cells: [LimitCell; 4] = Default::default();
        let mut parts = [PARTS / 4; 4];
        let (mut now, mut total) = (SECOND, 0_u64);
        let even = share(1, 4, 0);
        for step in steps {
            match step {
                Move::Take { cell, estimate, used: really } => {
                    // One that is larger than the bucket goes into debt instead.
                    let estimate = estimate.min(Portion::new(parts[cell], PARTS).of_units(limit)).max(1);
                    if let Ok(Some(held)) = rule.take(&cells[cell], now, output(estimate), even) {
                        let really = really.min(estimate);
                        rule.settle(&cells[cell], now, held, Some(&used(really)));
                        total += if requests { 1 } else { really };
                    }
                }
                Move::Shift { from, to, parts: moved, delay } if from != to => {
                    let moved = moved.min(parts[from].saturating_sub(20));
                    parts[from] -= moved;
                    rule.tell(&cells[from], now, Some(Portion::new(parts[from], PARTS)), even.portion);
                    now += delay;
                    parts[to] += moved;
                    rule.tell(&cells[to], now, Some(Portion::new(parts[to], PARTS)), even.portion);
                }
                Move::Shift { .. } => {}
                Move::Pass { nanos } => now += nanos,
            }
            let refilled = u128::from(limit) * u128::try_from(now - SECOND).unwrap() / u128::try_from(MINUTE).unwrap();
            let bound = u128::from(limit) + refilled + 4; // a started unit each
            prop_assert!(u128::from(total) <= bound, "{total} used, {bound} allowed");
        }
    }
}
