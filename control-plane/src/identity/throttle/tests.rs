use std::sync::Arc;

use super::*;
use crate::testing::{Ledger, on_every_kind_of_ledger};

fn origin(address: &str) -> Origin {
    Origin { request_id: Arc::from("r"), address: Some(address.parse().unwrap()), user_agent: None }
}

fn login(identity: &str, address: &str) -> Attempt {
    Attempt::new(Action::Login, Some(identity), &origin(address))
}

/// How many attempts are let through before one is refused.
async fn let_through(db: &Db, attempt: &Attempt, most: u32) -> u32 {
    for made in 0..most {
        if check(db, attempt).await.is_err() {
            return made;
        }
    }
    most
}

/// As if so much time had passed.
async fn wait(db: &Db, time: Duration) {
    let mut tx = db.begin_write().await.unwrap();
    let micros = i64::try_from(time.as_micros()).unwrap();
    sql::query("UPDATE attempts SET updated_at = updated_at - ?")
        .bind(micros)
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

async fn waits_grow_and_are_forgotten(ledger: Ledger) {
    let (db, attempt) = (&ledger.db, login("ada", "192.0.2.1"));
    assert_eq!(let_through(db, &attempt, 100).await, PAIR.free + 1, "the wait begins after the next one");
    wait(db, Duration::from_secs(1)).await;
    assert_eq!(let_through(db, &attempt, 100).await, 1);
    wait(db, Duration::from_secs(1)).await;
    assert_eq!(let_through(db, &attempt, 100).await, 0, "the second wait is longer");
    wait(db, Duration::from_secs(1)).await;
    assert_eq!(let_through(db, &attempt, 100).await, 1, "and asking did not make it longer still");
    wait(db, PAIR.forget_after).await;
    assert_eq!(let_through(db, &attempt, 100).await, PAIR.free + 1);
}

async fn many_at_once_count_as_many(ledger: Ledger) {
    let other = ledger.another_process().await;
    let attempt = login("ada", "192.0.2.1");
    let mut attempts = tokio::task::JoinSet::new();
    for number in 0..40 {
        let (db, attempt) =
            (if number % 2 == 0 { ledger.db.clone() } else { other.db.clone() }, attempt.clone());
        attempts.spawn(async move { check(&db, &attempt).await.is_ok() });
    }
    let through = attempts.join_all().await.into_iter().filter(|through| *through).count();
    assert_eq!(through, usize::try_from(PAIR.free + 1).unwrap());
}

async fn who_guesses_elsewhere_does_not_lock_a_person_out(ledger: Ledger) {
    let db = &ledger.db;
    for host in 0..200 {
        let _refused = check(db, &login("ada", &format!("198.51.100.{host}"))).await;
    }
    assert!(check(db, &login("ada", "198.51.100.250")).await.is_err(), "many addresses, one identity");
    assert!(check(db, &login("ada", "192.0.2.1").trusting_address()).await.is_ok());
    assert!(check(db, &login("grace", "198.51.100.250")).await.is_ok());
    wait(db, IDENTITY.longest_wait).await;
    assert!(check(db, &login("ada", "192.0.2.77")).await.is_ok(), "a minute at most, from wherever");
}

async fn one_network_is_one_address(ledger: Ledger) {
    let db = &ledger.db;
    let mut through = 0;
    for host in 0..200 {
        let attempt = login(&format!("user-{host}"), &format!("2001:db8:1:2::{host:x}"));
        through += u32::from(check(db, &attempt).await.is_ok());
    }
    // A second's wait may pass meanwhile on a busy machine, and lets one more through.
    assert!((ADDRESS.free + 1..ADDRESS.free + 10).contains(&through), "{through}");
    assert!(check(db, &login("ada", "2001:db8:1:3::1")).await.is_ok(), "the next customer");
}

async fn success_forgives_slips_from_there_only(ledger: Ledger) {
    let (db, here, elsewhere) = (&ledger.db, login("ada", "192.0.2.1"), login("ada", "192.0.2.2"));
    for attempt in [&here, &elsewhere] {
        assert_eq!(let_through(db, attempt, 100).await, PAIR.free + 1);
    }
    let mut tx = db.begin_write().await.unwrap();
    succeeded(&mut tx, &here).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(let_through(db, &here, 3).await, 3);
    assert_eq!(let_through(db, &elsewhere, 3).await, 0);
    let mut tx = db.begin_write().await.unwrap();
    assert_eq!(forget(&mut tx, clock::now().as_microsecond(), 100).await.unwrap(), 0);
    let later = clock::now().as_microsecond() + i64::try_from(MAIL_TO_ONE.forget_after.as_micros()).unwrap();
    assert!(forget(&mut tx, later + 1_000_000, 100).await.unwrap() >= 4);
}

on_every_kind_of_ledger!(
    waits_grow_and_are_forgotten,
    many_at_once_count_as_many,
    who_guesses_elsewhere_does_not_lock_a_person_out,
    one_network_is_one_address,
    success_forgives_slips_from_there_only,
);

#[test]
fn an_address_in_another_form_is_the_same_one() {
    assert_eq!(network("::ffff:192.0.2.1".parse().unwrap()), network("192.0.2.1".parse().unwrap()));
    let key = |identity: &str| format!("{:?}", login(identity, "192.0.2.1").buckets);
    assert!(!key("ada@example.com").contains("ada"), "nobody is named");
    assert_ne!(key("ada"), key("bob"));
}
