use proptest::prelude::*;

use super::pending::{MAX_PENDING, Pending};
use super::*;
use crate::governance::QuotaWindow;

fn minutes() -> Calendar {
    Calendar { window: QuotaWindow::Minute, zone: TimeZone::UTC }
}

fn minute(number: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + number * 60).unwrap()
}

fn own(minute_number: i64, sequence: u64, amount: i64) -> Own {
    Own { at: minute(minute_number), sequence, amount }
}

#[test]
fn an_event_that_ends_late_is_charged_to_its_own_window() {
    let mut counter = Counter::default();
    counter.charge(&minutes(), own(1, 1, 10), 0);
    counter.charge(&minutes(), own(0, 2, 5), 0);
    assert_eq!(counter.figures(minute(1), 0).used(), 10);
    assert_eq!(counter.figures(minute(0), 0).used(), 5);
    assert_eq!(counter.figures(minute(2), 0).used(), 0);
}

#[test]
fn windows_long_past_neither_count_nor_push_out_the_current_one() {
    let mut counter = Counter::default();
    for number in 10..13 {
        counter.charge(&minutes(), own(number, 1, 10), 0);
    }
    counter.charge(&minutes(), own(3, 2, 5), 0);
    assert!(!counter.set_ledger(&minutes(), minute(2), 900, 0, 1, minute(2)), "long past");
    assert!(!counter.set_ledger(&minutes(), minute(11), 10, 1, 1, minute(12)), "over when it was told");
    assert!(counter.set_ledger(&minutes(), minute(12), 10, 1, 1, minute(12)));
    assert_eq!(counter.figures(minute(3), 0).used(), 0);
    assert_eq!(counter.figures(minute(12), 0).used(), 10);
    let no_start = minute(12) + std::time::Duration::from_secs(1);
    assert!(!counter.set_ledger(&minutes(), no_start, 900, 0, 1, no_start));
}

#[test]
fn past_windows_are_forgotten_and_what_is_held_is_not() {
    let mut counter = Counter::default();
    counter.charge(&minutes(), own(1, 1, 10), 0);
    counter.reserve(5);
    assert!(!counter.forget_before(minute(1)));
    assert!(!counter.forget_before(minute(9)), "something is held");
    assert_eq!(counter.figures(minute(1), 0).used(), 0);
    counter.release(5);
    assert!(counter.forget_before(minute(9)));
}

#[test]
fn expectations_follow_what_answers_become() {
    let sizes = ModelSizes::default();
    sizes.record(0);
    assert_eq!(sizes.expected(), FIRST_EXPECTED_OUTPUT, "an answer without output says nothing");
    sizes.record(1_000);
    assert_eq!(sizes.expected(), 2_500, "one answer: with much room");
    for _ in 0..300 {
        sizes.record(100);
    }
    assert!((100..=110).contains(&sizes.expected()), "{}", sizes.expected());
    sizes.record(u64::MAX);
    assert!(sizes.expected() > 1_000_000);
}

#[test]
fn a_project_tells_a_bounded_number_of_models_apart() {
    let project = ProjectSizes::default();
    project.of("claude-sonnet-4-5").record(10);
    for number in 0..1_000 {
        project.of(&format!("made-up-{number}")).record(5_000);
    }
    assert!(project.of("claude-sonnet-4-5").expected() < 100);
    assert!(Arc::ptr_eq(&project.of("made-up-998"), &project.of("made-up-999")));
}

proptest! {
    /// What is expected covers most of what comes: at least 85 of 100 sizes of a long-tailed distribution.
    #[test]
    fn expectations_cover_most_answers(seed in any::<u64>(), scale in 10_u64..4_000) {
        let sizes = ModelSizes::default();
        let mut state = seed | 1;
        let mut covered = 0;
        for round in 0..2_000 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let leading = u64::from((state >> 20).leading_zeros()) - 20; // about exponential, mean near 1
            let size = 1 + leading * scale + state % scale;
            if round >= 100 && size <= sizes.expected() {
                covered += 1;
            }
            sizes.record(size);
        }
        prop_assert!(covered >= 1_900 * 85 / 100, "{covered} of 1900");
    }

    /// Never too low; too high by less than one entry, and exact while there are few.
    #[test]
    fn pending_events_are_never_counted_too_low(
        events in prop::collection::vec((1_u64..2_000, 0_i64..1_000), 1..600),
        included in prop::collection::vec(0_u64..2_000, 1..8),
    ) {
        let mut pending = Pending::default();
        for (sequence, amount) in &events {
            pending.add(*sequence, *amount);
        }
        let distinct: std::collections::BTreeSet<_> = events.iter().map(|(sequence, _)| sequence).collect();
        let mut through = 0;
        for included in included {
            through = through.max(included);
            pending.drop_through(through);
            let exact: i64 = events.iter().filter(|(sequence, _)| *sequence > through).map(|(_, amount)| amount).sum();
            prop_assert!(pending.total() >= exact);
            if distinct.len() <= MAX_PENDING {
                prop_assert_eq!(pending.total(), exact);
            }
        }
    }
}
