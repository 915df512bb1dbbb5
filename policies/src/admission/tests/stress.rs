//! Many threads at once. What must hold does not depend on who is first.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::*;

const THREADS: usize = 8;
const ROUNDS: usize = 400;

fn windows(limit: i64) -> Vec<QuotaSpec> {
    let quota = |id, scope, window| QuotaSpec { scope, window, ..quota(id, QuotaUnit::Tokens, limit) };
    vec![
        quota("project", project(), QuotaWindow::Month),
        quota("key", each_key(), QuotaWindow::Day),
        quota("org", Subject { kind: SubjectKind::Org, id: Some("org_1".into()) }, QuotaWindow::Week),
    ]
}

#[test]
fn a_budget_of_n_admits_exactly_n_however_many_ask_at_once() {
    let world = World::new(&[], &windows(1_000));
    let (admitted, over) = (AtomicI64::new(0), AtomicBool::new(false));
    let kept = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (world, admitted, over, kept) = (&world, &admitted, &over, &kept);
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    if let Ok(open) = world.admit(["key_1", "key_2"][thread % 2], Ask::tokens(1, 0)) {
                        admitted.fetch_add(1, Ordering::Relaxed);
                        kept.lock().push(open);
                    }
                    let (used, reserved) = world.usage("key_1", "project");
                    if used + reserved > 1_000 {
                        over.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(admitted.into_inner(), 1_000);
    assert!(!over.into_inner(), "more was held than there is");
    assert_eq!(world.usage("key_1", "org"), (0, 1_000));
    kept.lock().clear();
    for quota in ["project", "key", "org"] {
        assert_eq!(world.usage("key_1", quota), (0, 0), "{quota}");
    }
}

#[test]
fn nothing_is_lost_while_many_settle_figures_come_and_rules_change() {
    let world = World::new(&[], &windows(i64::MAX / 2));
    let journal = Mutex::new(Vec::<u64>::new());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (world, journal) = (&world, &journal);
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let tokens = u64::try_from(thread * ROUNDS + round).unwrap();
                        let open = world.admit("key_1", Ask::tokens(tokens, 3)).unwrap();
                        let sequence = {
                            let mut journal = journal.lock();
                            journal.push(tokens);
                            journal.len().try_into().unwrap()
                        };
                        open.settle(Settled {
                            charged: ChargeParts::one(charge(tokens, 0), Some(MODEL.into())),
                            use_is_known: true,
                            at: world.now,
                            instant: world.at,
                            sequence: Some(sequence),
                        });
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            let feeds = AtomicU64::new(0);
            while !done.load(Ordering::Relaxed) {
                let (included, sum) = {
                    let journal = journal.lock();
                    let booked = journal.len().saturating_sub(60);
                    (u64::try_from(booked).unwrap(), journal[..booked].iter().sum::<u64>())
                };
                let number = feeds.fetch_add(1, Ordering::Relaxed);
                let figures = figures(i64::try_from(sum).unwrap());
                let as_of = world.now + Duration::from_micros(number);
                world.control.feed(&feed(number.is_multiple_of(3), included, as_of, &figures), world.at);
                let limit = i64::MAX / 2 - i64::try_from(number).unwrap();
                world.apply(&[], &windows(limit));
            }
        });
        for worker in workers {
            worker.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    let journal = journal.into_inner();
    let total = i64::try_from(journal.iter().sum::<u64>()).unwrap();
    for quota in ["project", "key", "org"] {
        let (used, reserved) = world.usage("key_1", quota);
        assert!(used >= total && reserved == 0, "{quota}: {used} of {total}, {reserved} held");
    }
    let last =
        feed(false, journal.len().try_into().unwrap(), world.now + Duration::from_secs(1), &figures(total));
    world.control.feed(&last, world.at);
    for quota in ["project", "key", "org"] {
        assert_eq!(world.usage("key_1", quota), (total, 0), "{quota}");
    }
}

fn figures(used: i64) -> [(&'static str, &'static str, Timestamp, i64); 3] {
    [
        ("project", "prj_1", november(), used),
        ("key", "key_1", time("2026-11-20T23:00:00Z"), used),
        ("org", "org_1", time("2026-11-15T23:00:00Z"), used),
    ]
}
