use mindweave_test_servers::PasskeyBrowser;
use serde_json::json;

use super::second_factors::{Somebody, public, somebody};
use super::*;

on_every_engine!(
    a_passkey_is_enough_alone_and_good_once_for_each_challenge,
    a_passkey_is_a_second_factor_of_its_owner_only,
    passkeys_are_listed_renamed_and_deleted_by_their_owner,
);

/// Where people reach a server.
fn origin(server: &Server) -> String {
    format!("http://localhost:{}", server.control_plane.local_addr().port())
}

/// A browser in which somebody has made a passkey, the answer to that, and the session in which it was made.
async fn registered(server: &Server, who: &Somebody) -> (PasskeyBrowser, Answer, String) {
    let session = who.session(server);
    let (browser, added) = add(server, &session).await;
    assert_eq!(added.status, 201, "{}", added.body);
    (browser, added, session)
}

async fn add(server: &Server, session: &str) -> (PasskeyBrowser, Answer) {
    let mut browser = PasskeyBrowser::new(&origin(server));
    let ask = |path: &str, body: Value| server.client.call_as(session, "POST", path, Some(&body));
    let started = ask("/auth/passkeys/register/start", json!({}));
    assert_eq!(started.status, 200, "{}", started.body);
    let credential = browser.create(&started.body["public_key"]).await.unwrap();
    let body = json!({ "token": started.body["token"], "credential": credential, "name": "laptop" });
    let added = ask("/auth/passkeys/register/finish", body.clone());
    let again = ask("/auth/passkeys/register/finish", body);
    assert_eq!((again.status, again.code()), (400, "invalid_link"), "a challenge is good once");
    (browser, added)
}

/// What a browser answers to a new challenge.
async fn answered(server: &Server, browser: &mut PasskeyBrowser, token: Option<&str>) -> Value {
    let started = public(server, "/auth/passkeys/login/start", &json!({ "token": token }));
    assert_eq!(started.status, 200, "{}", started.body);
    let credential = browser.get(&started.body["public_key"]).await.unwrap();
    json!({ "token": started.body["token"], "credential": credential })
}

async fn a_passkey_is_enough_alone_and_good_once_for_each_challenge() {
    let server = Server::start().await;
    let ada = somebody(&server, "ada").await;
    let (mut browser, added, _) = registered(&server, &ada).await;
    assert_eq!(added.body["recovery_codes"].as_array().map(Vec::len), Some(10), "{}", added.body);
    let mut clone = browser.cloned();

    let answer = answered(&server, &mut browser, None).await;
    let session = public(&server, "/auth/passkeys/login/finish", &answer);
    assert_eq!(session.status, 200, "{}", session.body);
    assert_eq!(session.body["user"]["id"], ada.id);
    let access = session.body["access_token"].as_str().unwrap();
    assert_eq!(server.client.get_as(access, "/auth/me").status, 200);

    let refused = |body: &Value, why: &str| {
        let answer = public(&server, "/auth/passkeys/login/finish", body);
        assert_eq!((answer.status, answer.code()), (401, "invalid_credentials"), "{why}: {}", answer.body);
    };
    refused(&answer, "it was used");
    let mut other = answered(&server, &mut browser, None).await;
    other["credential"] = answer["credential"].clone();
    refused(&other, "it answers another challenge");
    refused(&answered(&server, &mut clone, None).await, "the counter of the clone went back");
    let mut lured = browser.lured_to("http://localhost:1");
    refused(&answered(&server, &mut lured, None).await, "it was asked by a page of another origin");
    let mut altered = answered(&server, &mut browser, None).await;
    altered["credential"]["response"]["signature"] = "MAYCAQECAQE".into();
    refused(&altered, "nobody signed this");
    altered["credential"] = json!({});
    refused(&altered, "its challenge is used up");
    let fine = answered(&server, &mut browser, None).await;
    assert_eq!(public(&server, "/auth/passkeys/login/finish", &fine).status, 200, "the owner goes on");

    let noted = ada.noted(&server).await;
    assert!(noted.iter().any(|action| action == "passkey.added"), "{noted:?}");
}

async fn a_passkey_is_a_second_factor_of_its_owner_only() {
    let server = Server::start().await;
    let (ada, eve) = (somebody(&server, "ada").await, somebody(&server, "eve").await);
    let (mut browser, added, old_session) = registered(&server, &ada).await;
    let (mut eves, ..) = registered(&server, &eve).await;
    let waiting = ada.login(&server).body;
    assert_eq!(waiting["second_factor"]["methods"], json!(["passkey", "recovery_code"]));
    let token = waiting["second_factor"]["token"].as_str().unwrap();
    let verify =
        |passkey: &Value| public(&server, "/auth/mfa/verify", &json!({ "token": token, "passkey": passkey }));

    let foreign = answered(&server, &mut eves, None).await;
    assert_eq!(verify(&foreign).status, 401, "Eve's passkey is not Ada's");
    let alone = answered(&server, &mut browser, Some(token)).await;
    assert_eq!(
        public(&server, "/auth/passkeys/login/finish", &alone).status,
        200,
        "whose it is it proves anyhow"
    );
    let passkey = answered(&server, &mut browser, Some(token)).await;
    let session = verify(&passkey);
    assert_eq!(session.status, 200, "{}", session.body);
    assert_eq!(session.body["user"]["id"], ada.id);
    let over = public(&server, "/auth/passkeys/login/start", &json!({ "token": token }));
    assert_eq!((over.status, over.code()), (400, "invalid_link"), "the sign-in has ended");

    // With an old session, passkey and password together confirm a change.
    ada.wait_eleven_minutes(&server).await;
    let start = "/auth/passkeys/register/start";
    let ask = |body: &Value| server.client.call_as(&old_session, "POST", start, Some(body));
    assert_eq!(ask(&json!({ "password": "correct horse battery staple" })).status, 403);
    let proof = answered(&server, &mut browser, None).await;
    let confirmed = ask(&json!({ "password": "correct horse battery staple", "passkey": proof }));
    assert_eq!(confirmed.status, 200, "{}", confirmed.body);
    let excluded = &confirmed.body["public_key"]["excludeCredentials"];
    assert_eq!(excluded.as_array().map(Vec::len), Some(1));

    let code = added.body["recovery_codes"][0].as_str().unwrap();
    let body = json!({ "token": ada.waiting(&server), "recovery_code": code });
    assert_eq!(public(&server, "/auth/mfa/verify", &body).status, 200, "the laptop was lost");
}

async fn passkeys_are_listed_renamed_and_deleted_by_their_owner() {
    let server = Server::start().await;
    let (ada, eve) = (somebody(&server, "ada").await, somebody(&server, "eve").await);
    let (mut browser, added, session) = registered(&server, &ada).await;
    let eves = eve.session(&server);
    let path = added.header("location").to_owned();
    let (_, second) = add(&server, &session).await;
    assert!(second.body.get("recovery_codes").is_none(), "there are some: {}", second.body);

    let list = server.client.get_as(&session, "/auth/passkeys");
    assert_eq!(list.body["data"].as_array().map(Vec::len), Some(2), "{}", list.body);
    assert_eq!(server.client.get_as(&eves, "/auth/passkeys").body["data"], json!([]));
    let name = json!({ "name": "old laptop" });
    assert_eq!(server.client.call_as(&eves, "PATCH", &path, Some(&name)).status, 404);
    assert_eq!(server.client.call_as(&eves, "DELETE", &path, None).status, 404);
    let renamed = server.client.call_as(&session, "PATCH", &path, Some(&name));
    assert_eq!(
        (renamed.status, renamed.body["name"].as_str()),
        (200, Some("old laptop")),
        "{}",
        renamed.body
    );

    let answer = answered(&server, &mut browser, None).await;
    ada.wait_eleven_minutes(&server).await;
    let old = server.client.call_as(&session, "DELETE", &path, None);
    assert_eq!((old.status, old.code()), (403, "confirmation_required"));
    let fresh = public(&server, "/auth/passkeys/login/finish", &answer);
    let fresh = fresh.body["access_token"].as_str().unwrap();
    for path in [&path, second.header("location")] {
        assert_eq!(server.client.call_as(fresh, "DELETE", path, None).status, 204);
        assert_eq!(server.client.call_as(fresh, "DELETE", path, None).status, 404);
    }
    let answer = answered(&server, &mut browser, None).await;
    assert_eq!(public(&server, "/auth/passkeys/login/finish", &answer).status, 401);
    assert!(ada.login(&server).body["access_token"].is_string(), "the password is enough again");
    let noted = ada.noted(&server).await;
    for action in ["passkey.renamed", "passkey.deleted"] {
        assert!(noted.iter().any(|noted| noted == action), "{action} is not among {noted:?}");
    }
}
