//! A sign-on of which the provider did not ask for a second factor, by somebody who has one here.

use std::time::Duration;

use mindweave_identity::totp::Totp;
use serde_json::json;

use super::second_factors::{Somebody, execute, public, somebody};
use super::*;
use crate::clock;
use crate::db::sql;
use crate::identity::one_time::{self, Purpose};

on_every_engine!(
    a_sign_on_that_ends_with_a_factor_here_is_still_the_providers,
    who_first_proves_an_address_shares_the_account_with_no_provider,
);

/// The id of the provider.
const PROVIDER: &str = "work";

/// Switches an app on, and makes its codes good again.
async fn app_of(server: &Server, somebody: &Somebody) -> Totp {
    let session = somebody.session(server);
    let setup = server.client.call_as(&session, "POST", "/auth/mfa/enable", Some(&json!({})));
    let secret = Secret::new(setup.body["secret"].as_str().unwrap().to_owned());
    let app = Totp::from_secret_text(&secret).unwrap();
    let on =
        server.client.call_as(&session, "POST", "/auth/mfa/verify", Some(&json!({ "code": code(&app) })));
    assert_eq!(on.status, 200, "{}", on.body);
    forget_steps(server).await;
    app
}

/// As if the steps of all codes that were shown were long gone.
async fn forget_steps(server: &Server) {
    execute(server, sql::query("UPDATE totp_secrets SET last_step = 0")).await;
}

fn code(app: &Totp) -> String {
    let now = u64::try_from(clock::now().as_second()).unwrap();
    app.code(now).expose_secret().to_owned()
}

/// A provider, which nobody has to ask for what is tested here.
async fn provider(server: &Server, org_id: &str) {
    let settings = json!({
        "scopes": ["openid"], "groups_claim": null, "role_mapping": [], "default_role": null, "domains": [],
        "provisioning": "members_only",
    });
    let insert = sql::query(
        "INSERT INTO oidc_providers (id, org_id, name, issuer, client_id, sealed, settings, enabled, created_at, updated_at)
         VALUES (?, ?, 'Work', 'http://127.0.0.1:1', 'me', NULL, ?, 1, 0, 0)",
    );
    execute(server, insert.bind(PROVIDER).bind(org_id).bind(settings.to_string())).await;
}

/// The token of a sign-on by the provider that waits for a second factor: as of somebody whom it has just named.
async fn waiting(server: &Server, somebody: &Somebody) -> String {
    let mut tx = server.control_plane.db.begin_write().await.unwrap();
    let admitted = json!({ "provider_id": PROVIDER, "multi_factor": false, "challenge": null });
    let lifetime = Duration::from_secs(60);
    let code = one_time::issue(&mut tx, Purpose::SignOnCode, Some(&somebody.id), &admitted, lifetime).await;
    tx.commit().await.unwrap();
    let answer = public(server, "/auth/oauth/token", &json!({ "code": code.unwrap().expose_secret() }));
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body["second_factor"]["token"].as_str().expect("a token").to_owned()
}

async fn a_sign_on_that_ends_with_a_factor_here_is_still_the_providers() {
    let server = Server::start().await;
    let made = server.client.post("/orgs", &json!({ "name": "acme" }));
    let org = made.header("location").to_owned();
    let org_id = org.rsplit('/').next().unwrap();
    let ada = somebody(&server, "ada").await;
    let app = app_of(&server, &ada).await;
    provider(&server, org_id).await;

    let by_password = ada.waiting(&server);
    let (first, second) = (waiting(&server, &ada).await, waiting(&server, &ada).await);
    // Passkeys take the same token.
    let begun = public(&server, "/auth/passkeys/login/start", &json!({ "token": second }));
    assert_eq!((begun.status, begun.code()), (409, "not_enabled"), "who has none: {}", begun.body);
    let verify =
        |token: &str| public(&server, "/auth/mfa/verify", &json!({ "token": token, "code": code(&app) }));
    let answer = verify(&first);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let session = answer.body["access_token"].as_str().unwrap().to_owned();
    let methods: Vec<String> = sql::query_scalar("SELECT method FROM sessions WHERE id = ?")
        .bind(answer.body["session_id"].as_str().unwrap())
        .fetch_all(server.control_plane.db.readers())
        .await
        .unwrap();
    assert_eq!(methods, [PROVIDER]);

    let path = format!("{org}/sign-on/{PROVIDER}");
    let off = server.client.patch(&path, &json!({ "enabled": false }));
    assert_eq!(off.status, 200, "{}", off.body);
    assert_eq!(server.client.get_as(&session, "/auth/me").status, 401, "it ends with its provider");
    forget_steps(&server).await;
    let late = verify(&second);
    assert_eq!((late.status, late.code()), (400, "invalid_link"), "and so does one on its way");
    let answer = verify(&by_password);
    assert_eq!(answer.status, 200, "a password is no provider's: {}", answer.body);
}

/// How many rows of this kind there are.
async fn count(server: &Server, what: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {what}");
    sql::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(server.control_plane.db.readers()).await.unwrap()
}

async fn who_first_proves_an_address_shares_the_account_with_no_provider() {
    let server = Server::start().await;
    // A provider has made an account for an address that it only claims, and somebody has used it.
    let ada = somebody(&server, "ada").await;
    app_of(&server, &ada).await;
    let identity = || {
        let insert = sql::query(
            "INSERT INTO external_identities (issuer, subject, user_id, provider_id, created_at, last_login_at)
             VALUES ('https://idp.example.com', 'ada', ?, 'work', 0, 0)",
        );
        insert.bind(ada.id.clone())
    };
    execute(&server, identity()).await;
    execute(&server, sql::query("UPDATE users SET email_verified_at = NULL, password_hash = NULL")).await;
    let reset = async |password: &str| {
        let mut tx = server.control_plane.db.begin_write().await.unwrap();
        let lifetime = Duration::from_secs(60);
        let token = one_time::issue(&mut tx, Purpose::PasswordReset, Some(&ada.id), &(), lifetime).await;
        tx.commit().await.unwrap();
        let token = token.unwrap();
        let body = json!({ "token": token.expose_secret(), "password": password });
        let answer = public(&server, "/auth/reset", &body);
        assert_eq!(answer.status, 204, "{}", answer.body);
    };
    reset("mule staple horse paper").await;
    for table in ["external_identities", "totp_secrets", "recovery_codes"] {
        assert_eq!(count(&server, table).await, 0, "{table}");
    }
    assert_eq!(count(&server, "audit_log WHERE action = 'user.reclaimed'").await, 1);
    // The second time it is their own that would go.
    execute(&server, identity()).await;
    reset("another mule, another horse").await;
    assert_eq!(count(&server, "external_identities").await, 1);
}
