//! What goes by mail, with a real mail server.

use mindweave_identity::mail::{MailSettings, Sender, SmtpUrl};
use mindweave_test_servers::Smtp;
use serde_json::json;

use super::identity::{PASSWORD, login, server_with, set_up, status_of, text};
use super::*;
use crate::identity::Registration;

const NEW_PASSWORD: &str = "an entirely different sentence";

async fn with_mail() -> (Server, Smtp) {
    let smtp = tokio::task::block_in_place(Smtp::start);
    let mail = MailSettings {
        smtp_url: SmtpUrl::parse(&smtp.url()).unwrap(),
        from: Sender::parse("MindWeave <mindweave@example.com>").unwrap(),
        ca_file: Some(smtp.ca_file()),
    };
    let server = server_with(tempfile::tempdir().unwrap(), |settings| {
        settings.registration = Registration::Open;
        settings.public_url = Some("https://mindweave.example.com".to_owned());
        settings.mail = Some(mail);
    })
    .await;
    (server, smtp)
}

async fn a_forgotten_password_is_set_by_the_link_of_a_mail_once() {
    let (server, smtp) = with_mail().await;
    let session = text(&set_up(&server), "access_token");
    let forgot = |email: &str| server.anonymous("POST", "/auth/forgot", &json!({ "email": email }));
    let (known, unknown) = (forgot("ada@EXAMPLE.com"), forgot("nobody-here@example.com"));
    assert_eq!((known.status, &known.body), (202, &unknown.body));
    let mail = tokio::task::block_in_place(|| smtp.wait_for("Ada@Example.com", 1)).remove(0);
    assert!(mail.protected && mail.text.contains("https://mindweave.example.com/auth/reset?token=mwo_"));
    let reset = |token: &str, password: &str| {
        server.anonymous("POST", "/auth/reset", &json!({ "token": token, "password": password }))
    };
    assert_eq!(reset(&mail.token(), "password1234").refused(), ["password"], "and the link is still good");
    let set = reset(&mail.token(), NEW_PASSWORD);
    assert_eq!(set.status, 204, "{}", set.body);
    assert_eq!(status_of(&server, &session), 401, "every session is over");
    assert_eq!(reset(&mail.token(), NEW_PASSWORD).code(), "invalid_link");
    assert_eq!(login(&server, "ada@example.com", PASSWORD).status, 401);
    assert_eq!(login(&server, "ada@example.com", NEW_PASSWORD).status, 200);
    for action in ["user.password_reset_requested", "user.password_reset", "session.revoked"] {
        assert_eq!(server.audited_times(action).await, 1, "{action}");
    }
    // A newer link ends the one before, and after some of them there is a wait.
    let statuses: Vec<_> = (0..6).map(|_| forgot("ada@example.com").status).collect();
    assert!(statuses.starts_with(&[202, 202]) && statuses.contains(&429), "{statuses:?}");
    let mails = tokio::task::block_in_place(|| smtp.wait_for("Ada@Example.com", 4));
    let links: Vec<_> =
        mails.iter().filter(|mail| mail.text.contains("?token=") && **mail != mails[0]).collect();
    assert_eq!(reset(&links[0].token(), PASSWORD).code(), "invalid_link");
    assert!(smtp.mails().iter().all(|mail| mail.to != ["nobody-here@example.com"]));
}

async fn an_account_is_made_when_its_address_is_proved() {
    let (server, smtp) = with_mail().await;
    set_up(&server);
    let register = |email: &str| {
        server.anonymous(
            "POST",
            "/auth/register",
            &json!({ "email": email, "password": PASSWORD, "name": "Grace" }),
        )
    };
    let (taken, new) = (register("Ada@Example.com"), register("grace@example.com"));
    assert_eq!((taken.status, &taken.body), (202, &new.body));
    let mail = tokio::task::block_in_place(|| smtp.wait_for("grace@example.com", 1)).remove(0);
    assert_eq!(login(&server, "grace@example.com", PASSWORD).status, 401, "there is nobody yet");
    let verify = |token: &str| server.anonymous("POST", "/auth/verify-email", &json!({ "token": token }));
    let reset = json!({ "token": mail.token(), "password": NEW_PASSWORD });
    assert_eq!(
        server.anonymous("POST", "/auth/reset", &reset).code(),
        "invalid_link",
        "it is for one purpose"
    );
    let verified = verify(&mail.token());
    assert_eq!((verified.status, &verified.body["email"]), (200, &json!("grace@example.com")));
    assert_eq!(verify(&mail.token()).code(), "invalid_link");
    let signed_in = login(&server, "grace@example.com", PASSWORD);
    assert_eq!(signed_in.body["user"]["email_verified"], true, "{}", signed_in.body);
    let to_ada = tokio::task::block_in_place(|| smtp.wait_for("Ada@Example.com", 1)).remove(0);
    assert!(
        to_ada.text.contains("has an account already") && !to_ada.text.contains("token"),
        "{}",
        to_ada.text
    );
    // To change to an address takes its proof too.
    let token = text(&signed_in, "access_token");
    let change =
        server.as_holder(&token, "PATCH", "/auth/me", Some(&json!({ "email": "hopper@example.com" })));
    assert_eq!(change.status, 202, "{}", change.body);
    let mail = tokio::task::block_in_place(|| smtp.wait_for("hopper@example.com", 1)).remove(0);
    assert_eq!(login(&server, "hopper@example.com", PASSWORD).status, 401);
    assert_eq!(verify(&mail.token()).status, 200);
    assert_eq!(login(&server, "hopper@example.com", PASSWORD).status, 200);
    assert_eq!(server.audited_times("user.email_changed").await, 1);
}

async fn an_invited_person_registers_with_the_token_of_their_mail_and_nobody_else_does() {
    let (server, smtp) = with_mail().await;
    let owner = text(&set_up(&server), "access_token");
    let org = server.client.get("/orgs").body["data"][0]["id"].as_str().unwrap().to_owned();
    let invited = json!({ "email": "grace@example.com", "role": "developer" });
    let made = server.as_holder(&owner, "POST", &format!("/orgs/{org}/invitations"), Some(&invited));
    assert_eq!(made.status, 201, "{}", made.body);
    let mail = tokio::task::block_in_place(|| smtp.wait_for("grace@example.com", 1)).remove(0);
    let register = |email: &str, token: &str| {
        let body =
            json!({ "email": email, "password": PASSWORD, "name": "Grace", "invitation_token": token });
        server.anonymous("POST", "/auth/register", &body)
    };
    // Neither answer tells whether somebody is registered.
    let (taken, new) =
        (register("ada@example.com", "mwo_guessed"), register("new@example.com", "mwo_guessed"));
    assert_eq!((taken.status, taken.code(), &taken.body), (404, "invitation_invalid", &new.body));
    let (taken, new) =
        (register("ada@example.com", &mail.token()), register("new@example.com", &mail.token()));
    assert_eq!((taken.status, taken.code(), &taken.body), (403, "invitation_for_another", &new.body));
    assert_eq!(server.audited_times("user.created").await, 1, "what was refused left nobody behind");
    let accepted = register("Grace@example.com", &mail.token());
    assert_eq!(accepted.status, 202, "{}", accepted.body);
    assert_eq!(register("grace@example.com", &mail.token()).code(), "invitation_invalid");
    let signed_in = login(&server, "grace@example.com", PASSWORD);
    assert_eq!(signed_in.body["user"]["email_verified"], true, "{}", signed_in.body);
    let me = server.as_holder(&text(&signed_in, "access_token"), "GET", "/auth/me", None).body;
    assert_eq!((&me["roles"][0]["role"], &me["roles"][0]["org_id"]), (&json!("developer"), &json!(org)));
    assert_eq!(me["installation_admin"], false);
}

async fn no_password_token_or_hash_of_one_is_in_the_database_or_the_audit_log() {
    let (server, smtp) = with_mail().await;
    let made = set_up(&server);
    server.anonymous("POST", "/auth/forgot", &json!({ "email": "ada@example.com" }));
    let mail = tokio::task::block_in_place(|| smtp.wait_for("Ada@Example.com", 1)).remove(0);
    let secrets =
        [PASSWORD.to_owned(), text(&made, "access_token"), text(&made, "refresh_token"), mail.token()];
    let stored = stored(server.folder.path());
    let has = |text: &[u8]| stored.iter().any(|bytes| bytes.windows(text.len()).any(|window| window == text));
    assert!(has(b"Ada@Example.com"), "what is looked through holds what was stored");
    for secret in secrets {
        assert!(!has(secret.as_bytes()));
    }
    let bodies: Vec<(String, Option<String>)> =
        crate::db::sql::query_as("SELECT body, personal FROM audit_log")
            .fetch_all(server.control_plane.db.readers())
            .await
            .unwrap();
    assert!(bodies.iter().all(|(body, personal)| {
        let all = format!("{body}{}", personal.as_deref().unwrap_or_default());
        !all.contains("argon2") && !all.contains("mwo_")
    }));
}

on_every_engine!(
    a_forgotten_password_is_set_by_the_link_of_a_mail_once,
    an_account_is_made_when_its_address_is_proved,
    an_invited_person_registers_with_the_token_of_their_mail_and_nobody_else_does,
    no_password_token_or_hash_of_one_is_in_the_database_or_the_audit_log,
);
