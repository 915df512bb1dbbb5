//! Refresh tokens: whatever happens in whatever order, at most one chain of them is good.

use proptest::prelude::*;
use serde_json::json;

use super::identity::{PASSWORD, login, refresh, server, server_with, set_up, status_of, text};
use super::*;
use crate::clock;
use crate::db::sql;
use crate::identity::identity_prune;

async fn a_used_refresh_token_ends_its_session_and_no_other() {
    let server = server().await;
    set_up(&server);
    let (mine, other) =
        (login(&server, "ada@example.com", PASSWORD), login(&server, "ada@example.com", PASSWORD));
    let first = text(&mine, "refresh_token");
    let second = refresh(&server, &first);
    assert_eq!(second.status, 200, "{}", second.body);
    assert_eq!(status_of(&server, &text(&mine, "access_token")), 200, "requests under way go on");
    let third = refresh(&server, &text(&second, "refresh_token"));
    assert_eq!((third.status, status_of(&server, &text(&third, "access_token"))), (200, 200));
    let thief = refresh(&server, &first);
    assert_eq!((thief.status, thief.code()), (401, "session_ended"));
    for answer in [&mine, &second, &third] {
        assert_eq!(status_of(&server, &text(answer, "access_token")), 401);
        assert_eq!(refresh(&server, &text(answer, "refresh_token")).status, 401);
    }
    assert_eq!(status_of(&server, &text(&other, "access_token")), 200);
    assert_eq!(server.audited_times("session.reuse_detected").await, 1, "told once, however often they try");
    for token in ["mwr_unknown", "x", "mwa_y"] {
        assert_eq!(refresh(&server, token).code(), "session_ended");
    }
}

async fn sessions_slide_until_their_end() {
    let day = Duration::from_secs(86_400);
    let server = server_with(tempfile::tempdir().unwrap(), |settings| {
        (settings.refresh_lifetime, settings.session_lifetime) = (day, 3 * day / 2);
    })
    .await;
    set_up(&server);
    let made = login(&server, "ada@example.com", PASSWORD);
    let expiry = |answer: &Answer| -> jiff::Timestamp { text(answer, "refresh_expires_at").parse().unwrap() };
    let in_hours = |answer: &Answer| expiry(answer).duration_since(clock::now()).as_secs_f64() / 3600.0;
    assert!((23.9..=24.0).contains(&in_hours(&made)), "{}", in_hours(&made));
    server.tamper("UPDATE sessions SET created_at = created_at - 64800000000").await; // 18 hours ago
    let next = refresh(&server, &text(&made, "refresh_token"));
    assert!((17.9..=18.0).contains(&in_hours(&next)), "36 hours at most: {}", in_hours(&next));
    server.tamper("UPDATE sessions SET expires_at = 1").await;
    assert_eq!(status_of(&server, &text(&next, "access_token")), 401);
    assert_eq!(refresh(&server, &text(&next, "refresh_token")).status, 401);
}

async fn what_has_expired_is_deleted_and_what_is_good_stays() {
    let server = server().await;
    set_up(&server);
    let (dead, live) =
        (login(&server, "ada@example.com", PASSWORD), login(&server, "ada@example.com", PASSWORD));
    let next = refresh(&server, &text(&live, "refresh_token"));
    let old = format!("UPDATE sessions SET expires_at = 1 WHERE id = '{}'", text(&dead, "session_id"));
    let tokens = format!(
        "UPDATE session_tokens SET expires_at = 1 WHERE session_id = '{}'",
        text(&dead, "session_id")
    );
    for sql in [old, tokens] {
        let mut tx = server.control_plane.db.begin_write().await.unwrap();
        sql::query(sqlx::AssertSqlSafe(sql)).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
    }
    server.tamper("UPDATE one_time_tokens SET expires_at = 1").await;
    server.tamper("UPDATE attempts SET updated_at = 1").await;
    identity_prune(&server.control_plane.db, clock::now()).await.unwrap();
    let count = async |sql: &'static str| -> i64 {
        sql::query_scalar(sql).fetch_one(server.control_plane.db.readers()).await.unwrap()
    };
    assert_eq!(count("SELECT count(*) FROM sessions").await, 2, "the first start's and the live one");
    assert_eq!(count("SELECT count(*) FROM one_time_tokens").await, 0);
    assert_eq!(count("SELECT count(*) FROM attempts").await, 0);
    assert_eq!(status_of(&server, &text(&next, "access_token")), 200);
    assert_eq!(refresh(&server, &text(&live, "refresh_token")).status, 401, "a used one is still recognised");
    assert_eq!(server.audited_times("session.reuse_detected").await, 1);
}

on_every_engine!(
    a_used_refresh_token_ends_its_session_and_no_other,
    sessions_slide_until_their_end,
    what_has_expired_is_deleted_and_what_is_good_stays,
);

/// What somebody does with the tokens that they have.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Presents the refresh token that they got at this place, of those there are.
    Refresh(usize),
    /// Signs out with the access token that they got last.
    SignOut,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![8 => (0_usize..6).prop_map(Step::Refresh), 1 => Just(Step::SignOut)];
    proptest::collection::vec(step, 1..14)
}

/// Plays steps on a session of its own, and holds it to what must be: a token is exchanged once, and once one came twice, or the
/// session was signed out of, nothing is good any more.
fn play(server: &Server, steps: &[Step]) {
    let made = login(server, "ada@example.com", PASSWORD);
    let mut tokens = vec![(text(&made, "access_token"), text(&made, "refresh_token"))];
    let (mut used, mut live) = (vec![false], true);
    for step in steps {
        match *step {
            Step::Refresh(place) => {
                let place = place % tokens.len();
                let answer = refresh(server, &tokens[place].1);
                let good = live && !used[place];
                assert_eq!(answer.status == 200, good, "{steps:?}: {}", answer.body);
                if good {
                    used[place] = true;
                    tokens.push((text(&answer, "access_token"), text(&answer, "refresh_token")));
                    used.push(false);
                } else {
                    live = false;
                }
            }
            Step::SignOut => {
                let last = &tokens[tokens.len() - 1].0;
                let answer = server.as_holder(last, "POST", "/auth/logout", Some(&json!({})));
                assert_eq!(answer.status, if live { 204 } else { 401 });
                live = false;
            }
        }
        let chains = used.iter().filter(|used| !**used).count();
        assert_eq!(chains, 1, "the end of the chain is the only one that was not used");
        for (access, _) in &tokens {
            assert_eq!(status_of(server, access) == 200, live, "{steps:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_any_order_at_most_one_chain_is_good() {
    ENGINE
        .scope(Engine::Sqlite, async {
            let server = server().await;
            set_up(&server);
            let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
                cases: 48,
                failure_persistence: None,
                ..ProptestConfig::default()
            });
            runner
                .run(&steps(), |steps| {
                    play(&server, &steps);
                    Ok(())
                })
                .unwrap();
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_refresh_at_two_control_planes_one_wins_and_the_session_ends() {
    ENGINE.scope(Engine::Postgres, many_at_two()).await;
}

async fn many_at_two() {
    let here = server().await;
    set_up(&here);
    let there = ControlPlane::start(config(here.folder.path(), "11")).await.unwrap();
    let addresses = [here.control_plane.local_addr(), there.local_addr()];
    for round in 0..6 {
        let made = login(&here, "ada@example.com", PASSWORD);
        let body = json!({ "refresh_token": text(&made, "refresh_token") }).to_string();
        let threads: Vec<_> = (0..8)
            .map(|number| {
                let (address, body) = (addresses[number % 2], body.clone());
                std::thread::spawn(move || {
                    let config = ureq::Agent::config_builder().http_status_as_error(false).build();
                    let agent: ureq::Agent = config.into();
                    let request = Request::builder()
                        .method("POST")
                        .uri(format!("http://{address}/auth/refresh"))
                        .header("content-type", "application/json");
                    let mut response = agent.run(request.body(body.as_bytes()).unwrap()).unwrap();
                    let status = response.status().as_u16();
                    (status, response.body_mut().read_to_string().unwrap())
                })
            })
            .collect();
        let answers = tokio::task::block_in_place(|| {
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        let winners: Vec<_> = answers.iter().filter(|(status, _)| *status == 200).collect();
        assert_eq!(winners.len(), 1, "round {round}: {answers:?}");
        assert!(answers.iter().all(|(status, _)| matches!(status, 200 | 401)), "{answers:?}");
        let won: Value = serde_json::from_str(&winners[0].1).unwrap();
        assert_eq!(status_of(&here, won["access_token"].as_str().unwrap()), 401, "no time of grace");
        assert_eq!(here.audited_times("session.reuse_detected").await, round + 1);
    }
    there.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_control_planes_that_start_together_one_link_is_good_and_makes_one_owner() {
    ENGINE.scope(Engine::Postgres, started_together()).await;
}

async fn started_together() {
    let first = server().await;
    let folder = first.folder.path();
    let (second, third) =
        tokio::join!(ControlPlane::start(config(folder, "11")), ControlPlane::start(config(folder, "11")));
    let (second, third) = (second.unwrap(), third.unwrap());
    let tokens: Vec<_> = [&first.control_plane, &second, &third]
        .iter()
        .map(|plane| plane.owner_link().unwrap().expose_secret().rsplit_once("?token=").unwrap().1.to_owned())
        .collect();
    let made: Vec<_> = tokens
        .iter()
        .map(|token| {
            let owner =
                json!({ "token": token, "email": "ada@example.com", "password": PASSWORD, "name": "Ada" });
            first.anonymous("POST", "/auth/setup", &owner).status
        })
        .collect();
    assert_eq!(made.iter().filter(|status| **status == 201).count(), 1, "{made:?}");
    assert_eq!(made[0], 400, "the first one's is over");
    assert_eq!(first.audited_times("user.created").await, 1);
    for plane in [second, third] {
        plane.shutdown().await;
    }
}
