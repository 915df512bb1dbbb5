//! Who has which role where, and who may say so.

use serde_json::{Value, json};

use super::people::{At, new_id, person_with};
use super::tenancy::Person;
use super::*;
use crate::clock;
use crate::db::sql;

on_every_engine!(
    an_organisation_keeps_an_owner,
    nobody_gives_or_takes_more_than_their_own_role,
    strangers_cannot_be_bound_and_look_like_nobody,
    who_is_removed_sees_nothing_from_then_on,
    roles_of_sign_on_groups_are_shown_and_cannot_be_taken_by_hand,
    members_are_listed_by_filters_in_an_order_page_by_page,
);

/// A new organisation of the admin token, as its path.
fn org(server: &Server) -> String {
    let made = server.client.post("/orgs", &json!({ "name": "acme" }));
    assert_eq!(made.status, 201, "{}", made.body);
    made.header("location").to_owned()
}

fn role(role: &str) -> Value {
    json!({ "role": role })
}

async fn an_organisation_keeps_an_owner() {
    let server = Server::start().await;
    let org = org(&server);
    let owner = Person::in_role(&server, &org, "owner").await;
    let admin = Person::in_role(&server, &org, "admin").await;
    let (own, other) = (owner.member_path(&org), admin.member_path(&org));
    for refused in [
        owner.call(&server, "DELETE", &own, None),
        owner.call(&server, "PUT", &own, Some(&role("admin"))),
        server.client.delete(&own),
        server.client.put(&own, &role("auditor")),
    ] {
        assert_eq!((refused.status, refused.code()), (409, "last_owner"), "{}", refused.body);
    }
    assert_eq!(owner.call(&server, "PUT", &other, Some(&role("owner"))).status, 200);
    let demoted = owner.call(&server, "PUT", &own, Some(&role("auditor")));
    assert_eq!((demoted.status, &demoted.body["roles"][0]["role"]), (200, &json!("auditor")));
    let refused = admin.call(&server, "DELETE", &other, None);
    assert_eq!((refused.status, refused.code()), (409, "last_owner"), "now this one is the last");
    // Somebody who may not sign in any more is no owner that counts.
    owner.given(&server, &org, "owner");
    let mut tx = server.control_plane.db.begin_write().await.unwrap();
    let disable = sql::query("UPDATE users SET disabled_at = 1 WHERE id = ?").bind(&owner.id);
    disable.execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    let refused = admin.call(&server, "DELETE", &other, None);
    assert_eq!((refused.status, refused.code()), (409, "last_owner"), "{}", refused.body);
}

async fn nobody_gives_or_takes_more_than_their_own_role() {
    let server = Server::start().await;
    let org = org(&server);
    let team = server.client.post(&format!("{org}/teams"), &json!({ "name": "payments" }));
    let team = team.header("location").to_owned();
    let owner = Person::in_role(&server, &org, "owner").await;
    let admin = Person::in_role(&server, &org, "admin").await;
    let lead = Person::in_role(&server, &team, "admin").await;
    let member = Person::in_role(&server, &org, "billing").await;
    let path = |person: &Person, place: &str| person.member_path(place);
    for (who, method, path, body) in [
        (&admin, "PUT", path(&member, &org), Some(role("owner"))),
        (&admin, "PUT", path(&member, &team), Some(role("owner"))),
        (&admin, "PUT", path(&admin, &org), Some(role("owner"))),
        (&admin, "PUT", path(&owner, &org), Some(role("auditor"))),
        (&admin, "DELETE", path(&owner, &org), None),
        (&lead, "PUT", path(&member, &team), Some(role("owner"))),
        (&lead, "PUT", path(&lead, &team), Some(role("owner"))),
    ] {
        let refused = who.call(&server, method, &path, body.as_ref());
        assert_eq!((refused.status, refused.code()), (403, "role_too_powerful"), "{method} {path}");
    }
    let refused = lead.call(&server, "PUT", &path(&lead, &org), Some(&role("auditor")));
    assert_eq!((refused.status, refused.code()), (403, "forbidden"), "a team's lead gives roles in the team");
    for given in ["auditor", "billing", "developer", "admin"] {
        let answer = lead.call(&server, "PUT", &path(&member, &team), Some(&role(given)));
        assert_eq!(answer.status, 200, "{}", answer.body);
        let answer = admin.call(&server, "PUT", &path(&member, &org), Some(&role(given)));
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    let stale = [
        ("authorization", format!("Bearer {}", admin.token)),
        ("content-type", "application/json".to_owned()),
        ("if-match", "\"of-another-version\"".to_owned()),
    ];
    let refused = server.client.call_with("DELETE", &path(&member, &org), &stale, None);
    assert_eq!((refused.status, refused.code()), (412, "precondition_failed"));
    assert_eq!(admin.call(&server, "DELETE", &path(&member, &org), None).status, 204, "team and all");
    assert_eq!(server.client.get(&path(&member, &team)).status, 404);
}

async fn strangers_cannot_be_bound_and_look_like_nobody() {
    let server = Server::start().await;
    let (ours, theirs) = (org(&server), org(&server));
    let owner = Person::in_role(&server, &ours, "owner").await;
    let stranger = Person::in_role(&server, &theirs, "developer").await;
    let account = server
        .client
        .post(&format!("{theirs}/service-accounts"), &json!({ "name": "ci", "role": "auditor" }));
    assert_eq!(account.status, 201, "{}", account.body);
    let account = account.body["id"].as_str().unwrap().to_owned();
    for id in [&stranger.id, &account, &new_id("usr_"), &"admin-token".to_owned()] {
        let path = format!("{ours}/members/{id}");
        let refused = owner.call(&server, "PUT", &path, Some(&role("auditor")));
        assert_eq!((refused.status, refused.code()), (404, "not_found"), "{}", refused.body);
        let detail = refused.body["detail"].as_str().unwrap();
        assert_eq!(detail, format!("there is no member with the id {id:?}"));
        assert_eq!(owner.get(&server, &path).status, 404);
        assert_eq!(owner.call(&server, "DELETE", &path, None).status, 404);
    }
    let refused = server.client.put(&format!("{ours}/members/{account}"), &role("auditor"));
    assert_eq!(
        refused.status, 404,
        "not even the admin token takes a service account into another organisation"
    );
    let refused = owner.call(&server, "PUT", &stranger.member_path(&ours), Some(&json!({ "role": "king" })));
    assert_eq!((refused.status, refused.refused()), (422, vec!["role"]));
}

async fn who_is_removed_sees_nothing_from_then_on() {
    let server = Server::start().await;
    let org = org(&server);
    let owner = Person::in_role(&server, &org, "owner").await;
    let member = Person::in_role(&server, &org, "developer").await;
    let id = org.trim_start_matches("/orgs/");
    let program = person_with(&server, &[(id, At::Org, "admin")], &["*"]).await;
    assert_eq!(member.get(&server, &org).status, 200);
    assert_eq!(server.client.get_as(&program, &org).status, 200);
    let members = owner.get(&server, &format!("{org}/members")).body;
    for other in members["data"].as_array().unwrap() {
        let other = other["id"].as_str().unwrap();
        if other != owner.id {
            let removed = owner.call(&server, "DELETE", &format!("{org}/members/{other}"), None);
            assert_eq!(removed.status, 204, "{}", removed.body);
        }
    }
    for token in [&member.token, &program] {
        let orgs = server.client.get_as(token, "/orgs");
        assert_eq!((orgs.status, &orgs.body["data"]), (200, &json!([])), "they are still signed in");
        for path in [org.clone(), format!("{org}/members"), format!("{org}/teams"), format!("{org}/usage")] {
            assert_eq!(server.client.get_as(token, &path).status, 404, "{path}");
        }
    }
    let log = owner.get(&server, &format!("/audit?org_id={id}&action=member.removed"));
    assert_eq!(log.status, 200, "{}", log.body);
    let targets = log.body["data"].as_array().unwrap();
    assert!(targets.iter().any(|entry| entry.to_string().contains(&member.id)), "{}", log.body);
}

async fn roles_of_sign_on_groups_are_shown_and_cannot_be_taken_by_hand() {
    let server = Server::start().await;
    let org = org(&server);
    let owner = Person::in_role(&server, &org, "owner").await;
    let member = Person::in_role(&server, &org, "billing").await;
    let id = org.trim_start_matches("/orgs/");
    let mut tx = server.control_plane.db.begin_write().await.unwrap();
    let insert = sql::query(
        "INSERT INTO role_bindings (id, principal_id, org_id, place, place_id, role, source, created_at, updated_at)
         VALUES (?, ?, ?, 'org', ?, 'developer', 'okta', ?, ?)",
    );
    let now = clock::now().as_microsecond();
    let insert = insert.bind(new_id("rol_")).bind(&member.id).bind(id).bind(id).bind(now).bind(now);
    insert.execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    let path = member.member_path(&org);
    let sources = |answer: &Answer| -> Vec<_> {
        let roles = answer.body["roles"].as_array().unwrap();
        roles.iter().map(|role| format!("{} {}", role["source"], role["role"]).replace('"', "")).collect()
    };
    assert_eq!(sources(&owner.get(&server, &path)), ["manual billing", "okta developer"]);
    let changed = owner.call(&server, "PUT", &path, Some(&role("auditor")));
    assert_eq!(sources(&changed), ["manual auditor", "okta developer"]);
    let left = owner.call(&server, "DELETE", &path, None);
    assert_eq!((left.status, sources(&left)), (200, vec!["okta developer".to_owned()]));
    let refused = owner.call(&server, "DELETE", &path, None);
    assert_eq!((refused.status, refused.code()), (409, "managed_by_sign_on"), "{}", refused.body);
    assert_eq!(member.get(&server, &org).status, 200);
}

async fn members_are_listed_by_filters_in_an_order_page_by_page() {
    let server = Server::start().await;
    let org = org(&server);
    let owner = Person::new(&server, "zoe").await;
    owner.given(&server, &org, "owner");
    for name in ["Ada", "bob", "ada_l%", "carl"] {
        Person::new(&server, name).await.given(&server, &org, "developer");
    }
    let account =
        server.client.post(&format!("{org}/service-accounts"), &json!({ "name": "ci", "role": "auditor" }));
    assert_eq!(account.status, 201, "{}", account.body);
    let path = format!("{org}/members");
    let names = |query: &str| -> Vec<String> {
        let listed = server.client.pages(&format!("{path}?{query}"), 2, || {});
        listed.iter().map(|member| member["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("sort=name"), ["Ada", "ada_l%", "bob", "carl", "ci", "zoe"]);
    assert_eq!(names("sort=-name"), ["zoe", "ci", "carl", "bob", "ada_l%", "Ada"]);
    assert_eq!(names("sort=joined_at"), ["zoe", "Ada", "bob", "ada_l%", "carl", "ci"]);
    assert_eq!(names("sort=-joined_at&role=developer"), ["carl", "ada_l%", "bob", "Ada"]);
    assert_eq!(names("q=ADA"), ["Ada", "ada_l%"]);
    assert_eq!(names("q=a_l%25"), ["ada_l%"], "marks of patterns stand for themselves");
    assert_eq!(names("kind=service_account"), ["ci"]);
    assert_eq!(names("role=owner&kind=service_account"), Vec::<String>::new());
    let first = server.client.get(&format!("{path}?sort=name&limit=1")).body;
    let cursor = first["next_cursor"].as_str().unwrap();
    let elsewhere = server.client.get(&format!("{path}?sort=joined_at&cursor={cursor}"));
    assert_eq!((elsewhere.status, elsewhere.code()), (400, "invalid_cursor"));
    let refused = server.client.get(&format!("{path}?sort=password&role=king&kind=cat"));
    assert_eq!((refused.status, refused.refused()), (400, vec!["role", "kind", "sort"]));
}

/// Two control planes of one database. Each owner removes the other at the same moment; the one that is later is no owner any more, or the
/// last one.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_owners_who_remove_each_other_at_once_one_stays() {
    ENGINE.scope(Engine::Postgres, removed_at_once()).await;
}

async fn removed_at_once() {
    let server = Server::start().await;
    let other = ControlPlane::start(config(server.folder.path(), "11")).await.unwrap();
    let there = Client::new(other.local_addr());
    for round in 0..8 {
        let org = org(&server);
        let (one, two) =
            (Person::in_role(&server, &org, "owner").await, Person::in_role(&server, &org, "owner").await);
        let (first, second) = std::thread::scope(|scope| {
            let here = &server.client;
            let (org, one, two) = (&org, &one, &two);
            let first =
                scope.spawn(move || here.call_as(&one.token, "DELETE", &two.member_path(org), None).status);
            let demote = (round % 2 == 0).then(|| role("auditor"));
            let method = if demote.is_some() { "PUT" } else { "DELETE" };
            let there = &there;
            let second = scope.spawn(move || {
                there.call_as(&two.token, method, &one.member_path(org), demote.as_ref()).status
            });
            (first.join().unwrap(), second.join().unwrap())
        });
        let done = [first, second].iter().filter(|status| matches!(status, 200 | 204)).count();
        assert_eq!(done, 1, "round {round}: {first} {second}");
        assert!([first, second].iter().any(|status| matches!(status, 403 | 404 | 409)), "{first} {second}");
        let owners = server.client.get(&format!("{org}/members?role=owner")).body;
        assert_eq!(owners["data"].as_array().unwrap().len(), 1, "{owners}");
    }
    other.shutdown().await;
}
