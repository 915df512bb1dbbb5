//! Inviting people, and accepting.

use mindweave_identity::mail::{MailSettings, Sender, SmtpUrl};
use mindweave_test_servers::Smtp;
use serde_json::{Value, json};

use super::tenancy::Person;
use super::*;
use crate::clock;
use crate::db::sql;

on_every_engine!(
    an_invitation_is_accepted_once_by_whom_it_is_for,
    what_was_revoked_replaced_or_has_expired_cannot_be_accepted,
    an_invitation_gives_no_more_than_its_inviter_could,
    invitations_are_bounded_listed_and_on_the_audit_log,
);

/// A new organisation with an owner.
async fn org(server: &Server) -> (String, Person) {
    let made = server.client.post("/orgs", &json!({ "name": "acme \"Ltd\"" }));
    assert_eq!(made.status, 201, "{}", made.body);
    let org = made.header("location").to_owned();
    let owner = Person::in_role(server, &org, "owner").await;
    (org, owner)
}

fn invitation(email: &str, role: &str) -> Value {
    json!({ "email": email, "role": role })
}

/// Invites somebody, and returns the invitation's path and its token.
fn invite(server: &Server, org: &str, by: &Person, body: &Value) -> (String, String) {
    let made = by.call(server, "POST", &format!("{org}/invitations"), Some(body));
    assert_eq!(made.status, 201, "{}", made.body);
    (made.header("location").to_owned(), token(&made))
}

/// The token of the link in an answer.
fn token(answer: &Answer) -> String {
    let link = answer.body["link"].as_str().unwrap_or_else(|| panic!("no link in {}", answer.body));
    let (place, token) = link.split_once("?token=").unwrap();
    assert!(place.ends_with("/invitations/accept") && token.starts_with("mwo_"), "{link}");
    token.to_owned()
}

fn accept(server: &Server, person: &Person, token: &str) -> Answer {
    person.call(server, "POST", "/invitations/accept", Some(&json!({ "token": token })))
}

async fn an_invitation_is_accepted_once_by_whom_it_is_for() {
    let server = Server::start().await;
    let (org, owner) = org(&server).await;
    let guest = Person::new(&server, "guest").await;
    let unproved = Person::with_address(&server, "unproved", None).await;
    let (path, token) = invite(&server, &org, &owner, &invitation(&guest.email.to_uppercase(), "developer"));

    let mine = guest.get(&server, "/invitations").body;
    assert_eq!(
        (&mine["data"][0]["role"], &mine["data"][0]["org_name"]),
        (&json!("developer"), &json!("acme \"Ltd\""))
    );
    assert!(!mine.to_string().contains(&token), "whoever reads this list has not shown the mail");
    let refused = accept(&server, &owner, &token);
    assert_eq!((refused.status, refused.code()), (403, "invitation_for_another"));
    let refused = server.client.post("/invitations/accept", &json!({ "token": token }));
    assert_eq!((refused.status, refused.code()), (403, "sign_in_required"), "the admin token is nobody's");
    assert_eq!(guest.get(&server, &org).status, 404);

    let accepted = accept(&server, &guest, &token);
    assert_eq!((accepted.status, &accepted.body["role"]), (200, &json!("developer")), "{}", accepted.body);
    assert_eq!(guest.get(&server, &org).status, 200);
    let refused = accept(&server, &guest, &token);
    assert_eq!((refused.status, refused.code()), (404, "invitation_invalid"));
    assert_eq!(owner.get(&server, &path).body["status"], "accepted");
    assert_eq!(owner.get(&server, &path).body["accepted_by"], guest.id.as_str());
    let refused = owner.call(&server, "DELETE", &path, None);
    assert_eq!((refused.status, refused.code()), (409, "invitation_over"));

    let (_, token) = invite(&server, &org, &owner, &invitation(&unproved.email, "developer"));
    assert_eq!(unproved.get(&server, "/invitations").body["data"], json!([]));
    assert_eq!(accept(&server, &unproved, &token).status, 200, "without mail nobody can prove an address");

    // Nobody loses anything by accepting.
    let (_, token) = invite(&server, &org, &owner, &invitation(&owner.email, "auditor"));
    assert_eq!(accept(&server, &owner, &token).status, 200);
    assert_eq!(owner.get(&server, &owner.member_path(&org)).body["roles"][0]["role"], "owner");
}

async fn what_was_revoked_replaced_or_has_expired_cannot_be_accepted() {
    let server = Server::start().await;
    let (org, owner) = org(&server).await;
    let guest = Person::new(&server, "guest").await;
    let invited = invitation(&guest.email, "developer");
    let refused = |token: &str, why: &str| {
        let answer = accept(&server, &guest, token);
        assert_eq!((answer.status, answer.code()), (404, "invitation_invalid"), "{why}: {}", answer.body);
    };
    let (path, revoked) = invite(&server, &org, &owner, &invited);
    for _ in 0..2 {
        assert_eq!(owner.call(&server, "DELETE", &path, None).status, 204);
    }
    refused(&revoked, "revoked");
    let again = owner.call(&server, "POST", &format!("{path}/resend"), None);
    assert_eq!((again.status, again.code()), (409, "invitation_over"));

    let (path, first) = invite(&server, &org, &owner, &invited);
    let soon = owner.call(&server, "POST", &format!("{path}/resend"), None);
    assert_eq!((soon.status, soon.code()), (429, "too_many_requests"));
    assert!(soon.header("retry-after").parse::<u64>().unwrap() <= 60);
    for (column, status) in [("sent_at", "pending"), ("expires_at", "expired")] {
        set_long_ago(&server, column).await;
        assert_eq!(owner.get(&server, &path).body["status"], status);
    }
    refused(&first, "expired");
    let again = owner.call(&server, "POST", &format!("{path}/resend"), None);
    assert_eq!((again.status, &again.body["status"]), (200, &json!("pending")), "{}", again.body);
    refused(&first, "replaced");
    refused("mwo_nothing-of-ours", "made up");
    assert_eq!(accept(&server, &guest, &token(&again)).status, 200);
    for (status, count) in [("accepted", 1), ("revoked", 1), ("pending", 0), ("expired", 0)] {
        let listed = owner.get(&server, &format!("{org}/invitations?status={status}")).body;
        assert_eq!(listed["data"].as_array().unwrap().len(), count, "{status}: {listed}");
    }
}

/// Sets a time of every open invitation to long ago.
async fn set_long_ago(server: &Server, column: &'static str) {
    let mut tx = server.control_plane.db.begin_write().await.unwrap();
    let sql = format!("UPDATE invitations SET {column} = 1 WHERE accepted_at IS NULL AND revoked_at IS NULL");
    let done = sql::query(sqlx::AssertSqlSafe(sql)).execute(&mut *tx).await.unwrap();
    assert!(done.rows_affected() > 0);
    tx.commit().await.unwrap();
}

async fn an_invitation_gives_no_more_than_its_inviter_could() {
    let server = Server::start().await;
    let (org, owner) = org(&server).await;
    let team = owner.call(&server, "POST", &format!("{org}/teams"), Some(&json!({ "name": "payments" })));
    let team = team.header("location").to_owned();
    let team_id = team.trim_start_matches("/teams/");
    let admin = Person::in_role(&server, &org, "admin").await;
    let lead = Person::in_role(&server, &team, "admin").await;
    let guest = Person::new(&server, "guest").await;
    let path = format!("{org}/invitations");
    let refused = admin.call(&server, "POST", &path, Some(&invitation(&guest.email, "owner")));
    assert_eq!((refused.status, refused.code()), (403, "role_too_powerful"));
    let refused = lead.call(&server, "POST", &path, Some(&invitation(&guest.email, "auditor")));
    assert_eq!((refused.status, refused.code()), (403, "forbidden"), "to the whole organisation");
    let to_team = json!({ "email": guest.email, "role": "developer", "team_id": team_id });
    let (_, of_lead) = invite(&server, &org, &lead, &to_team);
    let (_, of_admin) = invite(&server, &org, &admin, &invitation(&guest.email, "admin"));

    lead.given(&server, &team, "developer");
    let refused = accept(&server, &guest, &of_lead);
    assert_eq!((refused.status, refused.code()), (404, "invitation_invalid"), "the lead leads no more");
    assert_eq!(owner.call(&server, "DELETE", &admin.member_path(&org), None).status, 204);
    let refused = accept(&server, &guest, &of_admin);
    assert_eq!((refused.status, refused.code()), (404, "invitation_invalid"), "the admin is gone");
    assert_eq!(guest.get(&server, &org).status, 404);

    lead.given(&server, &team, "admin");
    let accepted = accept(&server, &guest, &of_lead);
    assert_eq!((accepted.status, &accepted.body["place"]), (200, &json!("team")), "{}", accepted.body);
    assert_eq!(guest.get(&server, &team).status, 200);
    assert_eq!(guest.get(&server, &format!("{org}/members")).status, 403, "it was to the team");

    let newcomer = Person::new(&server, "newcomer").await;
    let to_team = json!({ "email": newcomer.email, "role": "developer", "team_id": team_id });
    let (_, to_nothing) = invite(&server, &org, &owner, &to_team);
    assert_eq!(owner.call(&server, "DELETE", &team, None).status, 204);
    assert_eq!(accept(&server, &newcomer, &to_nothing).status, 404, "the team is gone");
    let elsewhere = json!({ "email": newcomer.email, "role": "developer", "team_id": "team_of_nobody" });
    assert_eq!(owner.call(&server, "POST", &path, Some(&elsewhere)).status, 404);
    let two = json!({ "email": "x", "role": "developer", "team_id": "a", "project_id": "b" });
    let refused = owner.call(&server, "POST", &path, Some(&two));
    assert_eq!((refused.status, refused.refused()), (422, vec!["project_id", "email"]));
}

async fn invitations_are_bounded_listed_and_on_the_audit_log() {
    let server = Server::start().await;
    let (org, owner) = org(&server).await;
    let path = format!("{org}/invitations");
    for name in ["a", "b", "c", "d", "e"] {
        invite(&server, &org, &owner, &invitation(&format!("{name}@example.com"), "developer"));
    }
    let refused = owner.call(&server, "POST", &path, Some(&invitation("A@Example.com", "auditor")));
    assert_eq!((refused.status, refused.code()), (409, "already_invited"));
    let emails = |query: &str| -> String {
        let listed = server.client.pages(&format!("{path}?{query}"), 2, || {});
        listed.iter().map(|entry| entry["email"].as_str().unwrap().replace("@example.com", "")).collect()
    };
    assert_eq!(emails("sort=-email"), "edcba");
    assert_eq!(emails("sort=created_at&status=pending"), "abcde");
    assert_eq!(emails("email=C@example.com"), "c");

    let id = org.trim_start_matches("/orgs/");
    let mut tx = server.control_plane.db.begin_write().await.unwrap();
    let (now, later) = (clock::now().as_microsecond(), i64::MAX / 2);
    for number in 5..500_u16 {
        let mut fingerprint = [7_u8; 32];
        fingerprint[..2].copy_from_slice(&number.to_be_bytes());
        let insert = sql::query(
            "INSERT INTO invitations (id, org_id, email, email_key, place, place_id, role, fingerprint, mailed, invited_by,
                 created_at, sent_at, expires_at) VALUES (?, ?, 'x', ?, 'org', ?, 'auditor', ?, 0, 'x', ?, ?, ?)",
        );
        let insert = insert.bind(format!("inv_{number}")).bind(id).bind(format!("{number}")).bind(id);
        let insert = insert.bind(fingerprint.as_slice()).bind(now).bind(now).bind(later);
        insert.execute(&mut *tx).await.unwrap();
    }
    tx.commit().await.unwrap();
    let refused = owner.call(&server, "POST", &path, Some(&invitation("f@example.com", "developer")));
    assert_eq!((refused.status, refused.code()), (409, "too_many"), "{}", refused.body);

    let log = owner.get(&server, &format!("/audit?org_id={id}&action=invitation.created")).body;
    assert_eq!(log["data"].as_array().unwrap().len(), 5, "{log}");
    for stored in stored(server.folder.path()) {
        assert!(!String::from_utf8_lossy(&stored).contains("mwo_"), "a token is stored");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_mails_can_be_sent_the_link_is_in_the_mail_and_nowhere_else() {
    ENGINE.scope(Engine::Sqlite, sent_by_mail()).await;
}

async fn sent_by_mail() {
    let smtp = tokio::task::block_in_place(Smtp::start);
    let folder = tempfile::tempdir().unwrap();
    let mut configured = config(folder.path(), "11");
    configured.identity.public_url = Some("https://mindweave.example.com".to_owned());
    configured.identity.mail = Some(MailSettings {
        smtp_url: SmtpUrl::parse(&smtp.url()).unwrap(),
        from: Sender::parse("MindWeave <mindweave@example.com>").unwrap(),
        ca_file: Some(smtp.ca_file()),
    });
    let control_plane = ControlPlane::start(configured).await.unwrap();
    let client = Client::new(control_plane.local_addr());
    let server = Server { control_plane, client, folder };
    let (org, owner) = org(&server).await;
    let guest = Person::new(&server, "guest").await;
    let invited = invitation(&guest.email, "developer");
    let made = owner.call(&server, "POST", &format!("{org}/invitations"), Some(&invited));
    assert_eq!((made.status, &made.body["mailed"], &made.body["link"]), (201, &json!(true), &Value::Null));
    let mails = tokio::task::block_in_place(|| smtp.wait_for(&guest.email, 1));
    let [mail] = mails.as_slice() else { panic!("{} mails", mails.len()) };
    assert!(
        mail.text.contains("https://mindweave.example.com/invitations/accept?token=mwo_"),
        "{}",
        mail.text
    );
    assert!(mail.text.contains("acme \"Ltd\"") && mail.text.contains("developer"), "{}", mail.text);
    assert_eq!(accept(&server, &guest, &mail.token()).status, 200);

    let unproved = Person::with_address(&server, "unproved", None).await;
    let invited = invitation(&unproved.email, "developer");
    let path = owner
        .call(&server, "POST", &format!("{org}/invitations"), Some(&invited))
        .header("location")
        .to_owned();
    let mails = tokio::task::block_in_place(|| smtp.wait_for(&unproved.email, 1));
    let refused = accept(&server, &unproved, &mails[0].token());
    assert_eq!((refused.status, refused.code()), (403, "email_not_verified"));
    assert_eq!(owner.get(&server, &path).body["status"], "pending", "nothing of it happened");
    server.control_plane.shutdown().await;
}

/// Two control planes of one database, and a token that is shown to both at once.
#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_that_is_accepted_at_two_control_planes_at_once_is_accepted_once() {
    ENGINE.scope(Engine::Postgres, accepted_at_once()).await;
}

async fn accepted_at_once() {
    let server = Server::start().await;
    let other = ControlPlane::start(config(server.folder.path(), "11")).await.unwrap();
    let there = Client::new(other.local_addr());
    let (org, owner) = org(&server).await;
    for round in 0..8 {
        let guest = Person::new(&server, "guest").await;
        let (_, token) = invite(&server, &org, &owner, &invitation(&guest.email, "developer"));
        let body = json!({ "token": token });
        let statuses = std::thread::scope(|scope| {
            let ask = |client| {
                let (guest, body) = (&guest, &body);
                scope.spawn(move || {
                    Client::call_as(client, &guest.token, "POST", "/invitations/accept", Some(body)).status
                })
            };
            let asked = [ask(&server.client), ask(&there), ask(&server.client), ask(&there)];
            asked.map(|asked| asked.join().unwrap())
        });
        let mut sorted = statuses;
        sorted.sort_unstable();
        assert_eq!(sorted, [200, 404, 404, 404], "round {round}");
        let member = server.client.get(&guest.member_path(&org)).body;
        assert_eq!(member["roles"].as_array().unwrap().len(), 1, "{member}");
    }
    let id = org.trim_start_matches("/orgs/");
    let log = owner.get(&server, &format!("/audit?org_id={id}&action=invitation.accepted")).body;
    assert_eq!(log["data"].as_array().unwrap().len(), 8, "{log}");
    other.shutdown().await;
}
