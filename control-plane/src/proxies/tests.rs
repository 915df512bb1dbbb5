//! Tokens and the door that they open, on a database of their own.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::AUTHORIZATION;
use jiff::{SignedDuration, Timestamp};
use mindweave_policy::{Fingerprint, Secret};
use tokio::time::timeout;

use super::scope::Scope;
use super::store::{self, Token};
use super::*;
use crate::access::{Access, Area, Caller, InstallationPermit};
use crate::clock;
use crate::db::Db;
use crate::http::problem::Code;
use crate::testing::Ledger;

const BOOTSTRAP: &str = "the-token-of-the-configuration";
const WATCH: &str = "/internal/v1/watch?journal=j";
const DELIVER: &str = "/internal/v1/events";

/// A pass that holds.
pub(crate) async fn pass(db: &Db) -> Pass {
    let tokens = tokens(db).await;
    enter(&Door::new(tokens, None), WATCH, BOOTSTRAP).unwrap()
}

async fn tokens(db: &Db) -> Tokens {
    Tokens::start(db.clone(), Some(&Secret::new(BOOTSTRAP.to_owned()))).await.unwrap()
}

fn enter(door: &Door, path: &str, token: &str) -> Result<Pass, Code> {
    let request = Request::get(path).header(AUTHORIZATION, format!("Bearer {token}"));
    door.admitted(&request.body(Body::empty()).unwrap())
}

fn permit() -> InstallationPermit {
    Caller::system().installation(Access::write(Area::Installation)).unwrap()
}

/// Stores a token whose secret is its id.
async fn make(db: &Db, id: &str, scopes: &[Scope], change: impl FnOnce(&mut Token)) {
    let mut token = Token {
        id: id.to_owned(),
        name: "of a test".to_owned(),
        hint: "hint".to_owned(),
        scopes: scopes.to_vec(),
        certificate_name: None,
        created_at: clock::now(),
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
    };
    change(&mut token);
    let mut tx = db.begin_write().await.unwrap();
    store::token_insert(&mut tx, &permit(), &token, &Fingerprint::of(id.as_bytes())).await.unwrap();
    tx.commit().await.unwrap();
}

async fn last_used(db: &Db, id: &str) -> Option<Timestamp> {
    let mut tx = db.begin_read().await.unwrap();
    store::token_view(&mut tx, &permit(), id).await.unwrap().unwrap().last_used_at
}

#[tokio::test]
async fn a_token_opens_what_its_scopes_say_and_nothing_else() {
    let ledger = Ledger::new().await;
    make(&ledger.db, "watching", &[Scope::Watch], |_| {}).await;
    make(&ledger.db, "delivering", &[Scope::Deliver], |_| {}).await;
    make(&ledger.db, "both", &Scope::ALL, |_| {}).await;
    let door = Door::new(tokens(&ledger.db).await, None);
    for (token, watch, deliver) in [
        (BOOTSTRAP, Ok(()), Ok(())),
        ("both", Ok(()), Ok(())),
        ("watching", Ok(()), Err(Code::ScopeMissing)),
        ("delivering", Err(Code::ScopeMissing), Ok(())),
        ("nobodys", Err(Code::Unauthorized), Err(Code::Unauthorized)),
        ("", Err(Code::Unauthorized), Err(Code::Unauthorized)),
    ] {
        assert_eq!(enter(&door, WATCH, token).map(drop), watch, "{token}");
        assert_eq!(enter(&door, DELIVER, token).map(drop), deliver, "{token}");
        assert_eq!(enter(&door, "/internal/v1/events/claim", token).map(drop), deliver, "{token}");
    }
}

#[tokio::test]
async fn a_revoked_token_ends_what_it_has_opened_and_leaves_the_others() {
    for ledger in Ledger::every_kind().await {
        revoke_one_of_two(&ledger).await;
    }
}

async fn revoke_one_of_two(ledger: &Ledger) {
    make(&ledger.db, "old", &Scope::ALL, |_| {}).await;
    make(&ledger.db, "new", &Scope::ALL, |_| {}).await;
    let tokens = tokens(&ledger.db).await;
    let door = Door::new(tokens.clone(), None);
    let mut old = enter(&door, WATCH, "old").unwrap();
    let new = enter(&door, WATCH, "new").unwrap();
    // Another replica revokes it.
    let mut tx = ledger.db.begin_write().await.unwrap();
    store::token_revoke(&mut tx, &permit(), "old", clock::now()).await.unwrap();
    tx.commit().await.unwrap();
    tokens.refresh().await;
    timeout(Duration::from_secs(20), old.changed()).await.unwrap();
    assert!(!old.holds() && new.holds());
    assert_eq!(enter(&door, WATCH, "old").map(drop), Err(Code::Unauthorized));
}

#[tokio::test]
async fn a_reading_that_finds_nothing_new_wakes_nobody() {
    let ledger = Ledger::new().await;
    let tokens = tokens(&ledger.db).await;
    let mut pass = enter(&Door::new(tokens.clone(), None), WATCH, BOOTSTRAP).unwrap();
    tokens.refresh().await;
    timeout(Duration::from_millis(50), pass.changed()).await.unwrap_err();
}

#[tokio::test]
async fn a_token_expires_by_the_clock_alone() {
    let ledger = Ledger::new().await;
    let soon = clock::now() + SignedDuration::from_millis(300);
    make(&ledger.db, "short", &Scope::ALL, |token| token.expires_at = Some(soon)).await;
    let door = Door::new(tokens(&ledger.db).await, None);
    let pass = enter(&door, WATCH, "short").unwrap();
    assert!(pass.holds() || clock::now() >= soon);
    while clock::now() < soon {
        tokio::time::sleep(Duration::from_millis(5)).await; // until the time that it is about
    }
    assert!(!pass.holds());
    assert_eq!(enter(&door, WATCH, "short").map(drop), Err(Code::Unauthorized));
}

#[tokio::test]
async fn a_token_made_through_another_control_plane_is_known_with_the_next_reading() {
    let ledger = Ledger::new().await;
    let tokens = tokens(&ledger.db).await;
    let door = Door::new(tokens.clone(), None);
    make(&ledger.db, "elsewhere", &Scope::ALL, |_| {}).await;
    assert_eq!(enter(&door, WATCH, "elsewhere").map(drop), Err(Code::Unauthorized));
    tokens.refresh().await;
    enter(&door, WATCH, "elsewhere").unwrap();
}

#[tokio::test]
async fn a_token_bound_to_a_name_opens_nothing_where_nobody_vouches_for_names() {
    let ledger = Ledger::new().await;
    let name = Some("proxy-1.internal".to_owned());
    make(&ledger.db, "bound", &Scope::ALL, |token| token.certificate_name = name).await;
    let door = Door::new(tokens(&ledger.db).await, None);
    assert_eq!(enter(&door, WATCH, "bound").map(drop), Err(Code::CertificateNameMismatch));
}

#[tokio::test]
async fn without_the_database_known_tokens_go_on_and_unknown_ones_are_to_come_back() {
    let ledger = Ledger::new().await;
    make(&ledger.db, "known", &Scope::ALL, |_| {}).await;
    let tokens = tokens(&ledger.db).await;
    let door = Door::new(tokens.clone(), None);
    let pass = enter(&door, WATCH, "known").unwrap();
    ledger.db.close().await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(6)).await;
    tokens.refresh().await;
    assert!(pass.holds());
    enter(&door, WATCH, "known").unwrap();
    assert_eq!(enter(&door, WATCH, "unknown").map(drop), Err(Code::Busy));
}

#[tokio::test]
async fn uses_are_noted_together_and_never_backwards() {
    for ledger in Ledger::every_kind().await {
        note_uses(&ledger).await;
    }
}

async fn note_uses(ledger: &Ledger) {
    make(&ledger.db, "used", &Scope::ALL, |_| {}).await;
    make(&ledger.db, "unused", &Scope::ALL, |_| {}).await;
    let tokens = tokens(&ledger.db).await;
    enter(&Door::new(tokens.clone(), None), DELIVER, "used").unwrap();
    tokens.refresh().await;
    assert_eq!(last_used(&ledger.db, "used").await, None, "not at once: each is a write");
    assert!(tokens.last_use("used").is_some(), "this process knows of it");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
    tokens.refresh().await;
    let noted = last_used(&ledger.db, "used").await.unwrap();
    let earlier = noted - SignedDuration::from_secs(5);
    store::tokens_used(&ledger.db, &[("used".to_owned(), earlier)]).await.unwrap();
    assert_eq!(last_used(&ledger.db, "used").await, Some(noted));
    assert_eq!(last_used(&ledger.db, "unused").await, None);
}
