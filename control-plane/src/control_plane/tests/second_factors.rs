use std::time::Instant;

use mindweave_identity::password::{PasswordHasher, PasswordParameters};
use mindweave_identity::totp::Totp;
use serde_json::json;

use super::people::{At, org, person};
use super::*;
use crate::clock;
use crate::db::sql;
use crate::identity::users::{NewUser, user_insert};

on_every_engine!(
    an_app_is_asked_for_after_the_password_and_no_code_is_good_twice,
    a_code_that_two_servers_are_shown_at_a_time_is_good_at_one,
    recovery_codes_stand_in_for_the_app_once_each,
    changing_factors_takes_more_than_a_session,
    whoever_guesses_codes_is_slowed_down,
);

const PASSWORD: &str = "correct horse battery staple";

/// Somebody with a password.
pub(super) async fn somebody(server: &Server, name: &str) -> Somebody {
    let cheap = PasswordParameters { memory_kib: 64, passes: 1, lanes: 1 };
    let hash = PasswordHasher::new(cheap).unwrap().hash(&Secret::new(PASSWORD.into())).await.unwrap();
    let email = format!("{name}@example.com");
    let new = NewUser {
        email: &email,
        email_verified: true,
        name,
        password_hash: Some(&hash),
        installation_admin: false,
    };
    let mut tx = server.control_plane.db.begin_write().await.unwrap();
    let id = user_insert(&mut tx, new).await.unwrap();
    tx.commit().await.unwrap();
    Somebody { id, email }
}

pub(super) struct Somebody {
    pub(super) id: String,
    pub(super) email: String,
}

impl Somebody {
    /// What a right password is answered with.
    pub(super) fn login(&self, server: &Server) -> Answer {
        let answer = public(server, "/auth/login", &json!({ "email": self.email, "password": PASSWORD }));
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer
    }

    /// The access token of a new session, which a password is enough for.
    pub(super) fn session(&self, server: &Server) -> String {
        let answer = self.login(server);
        answer.body["access_token"].as_str().expect("a session").to_owned()
    }

    /// The token of a sign-in that waits for a second factor.
    pub(super) fn waiting(&self, server: &Server) -> String {
        let answer = self.login(server);
        assert!(answer.body.get("access_token").is_none(), "the password is not enough");
        answer.body["second_factor"]["token"].as_str().expect("a token").to_owned()
    }

    /// What the audit log has about them or their things, oldest first.
    pub(super) async fn noted(&self, server: &Server) -> Vec<String> {
        sql::query_scalar(
            "SELECT action FROM audit_log WHERE chain = 'installation' AND (target_id = ? OR actor_id = ?) ORDER BY sequence",
        )
        .bind(&self.id)
        .bind(&self.id)
        .fetch_all(server.control_plane.db.readers())
        .await
        .unwrap()
    }

    /// Makes all of their sessions eleven minutes old.
    pub(super) async fn wait_eleven_minutes(&self, server: &Server) {
        let began = clock::now().as_microsecond() - 11 * 60 * 1_000_000;
        execute(
            server,
            sql::query("UPDATE sessions SET created_at = ? WHERE user_id = ?").bind(began).bind(&self.id),
        )
        .await;
    }

    /// As if the steps of all codes that were shown were long gone.
    async fn forget_steps(&self, server: &Server) {
        execute(server, sql::query("UPDATE totp_secrets SET last_step = 0 WHERE user_id = ?").bind(&self.id))
            .await;
    }

    /// Switches an app on, and returns it with the recovery codes.
    fn enable(&self, server: &Server) -> (App, Vec<String>) {
        let session = self.session(server);
        let setup = server.client.call_as(&session, "POST", "/auth/mfa/enable", Some(&json!({})));
        assert_eq!(setup.status, 200, "{}", setup.body);
        let app = App::of(&setup);
        let on =
            server.client.call_as(&session, "POST", "/auth/mfa/verify", Some(&json!({ "code": app.now() })));
        assert_eq!(on.status, 200, "{}", on.body);
        let codes = on.body["recovery_codes"].as_array().unwrap();
        (app, codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect())
    }
}

pub(super) async fn execute(server: &Server, statement: sql::Query) {
    let mut tx = server.control_plane.db.begin_write().await.unwrap();
    assert!(statement.execute(&mut *tx).await.unwrap().rows_affected() > 0);
    tx.commit().await.unwrap();
}

/// Asks as nobody.
pub(super) fn public(server: &Server, path: &str, body: &Value) -> Answer {
    let headers = [("content-type", "application/json".to_owned())];
    server.client.call_with("POST", path, &headers, Some(body.to_string().as_bytes()))
}

/// An authenticator app.
struct App(Totp);

impl App {
    fn of(setup: &Answer) -> Self {
        let secret = Secret::new(setup.body["secret"].as_str().unwrap().to_owned());
        Self(Totp::from_secret_text(&secret).unwrap())
    }

    /// The code of so many seconds from now. The server takes this step and its neighbours: a step that ends meanwhile does not matter.
    fn in_seconds(&self, seconds: i64) -> String {
        let at = u64::try_from(clock::now().as_second() + seconds).unwrap();
        self.0.code(at).expose_secret().to_owned()
    }

    fn now(&self) -> String {
        self.in_seconds(0)
    }
}

fn verify(server: &Server, token: &str, factor: (&str, &str)) -> Answer {
    public(server, "/auth/mfa/verify", &json!({ "token": token, (factor.0): factor.1 }))
}

async fn an_app_is_asked_for_after_the_password_and_no_code_is_good_twice() {
    let server = Server::start().await;
    let ada = somebody(&server, "ada").await;
    let session = ada.session(&server);
    let ask = |path: &str, body: &Value| server.client.call_as(&session, "POST", path, Some(body));
    let nothing = ask("/auth/mfa/verify", &json!({ "code": "123456" }));
    assert_eq!((nothing.status, nothing.code()), (409, "not_enabled"));

    let first = App::of(&ask("/auth/mfa/enable", &json!({})));
    let setup = ask("/auth/mfa/enable", &json!({}));
    let app = App::of(&setup);
    let uri = setup.body["uri"].as_str().unwrap();
    assert!(uri.starts_with("otpauth://totp/MindWeave:ada%40example.com?secret="), "{uri}");
    assert_eq!(setup.header("cache-control"), "no-store");
    assert!(ada.login(&server).body["access_token"].is_string(), "it is not on before a code was shown");
    for wrong in [first.now(), app.in_seconds(3_600)] {
        let answer = ask("/auth/mfa/verify", &json!({ "code": wrong }));
        assert_eq!((answer.status, answer.code()), (401, "invalid_credentials"));
    }
    let code = app.now();
    let on = ask("/auth/mfa/verify", &json!({ "code": code }));
    assert_eq!(on.body["recovery_codes"].as_array().map(Vec::len), Some(10), "{}", on.body);
    let again = ask("/auth/mfa/enable", &json!({}));
    assert_eq!((again.status, again.code()), (409, "already_enabled"));

    let login = ada.login(&server);
    assert_eq!(login.body["second_factor"]["methods"], json!(["totp", "recovery_code"]));
    let token = ada.waiting(&server);
    assert_eq!(server.client.get_as(&token, "/auth/me").status, 401, "it is no access token");
    let reused = verify(&server, &token, ("code", &code));
    assert_eq!((reused.status, reused.code()), (401, "invalid_credentials"), "it has switched the app on");
    let next = app.in_seconds(30);
    let answer = verify(&server, &token, ("code", &next));
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["user"]["id"], ada.id);
    let access = answer.body["access_token"].as_str().unwrap();
    assert_eq!(server.client.get_as(access, "/auth/me").status, 200);

    ada.forget_steps(&server).await;
    let used = verify(&server, &token, ("code", &app.now()));
    assert_eq!((used.status, used.code()), (400, "invalid_link"), "a sign-in ends once");
    verify(&server, &ada.waiting(&server), ("code", &next));
    assert_eq!(verify(&server, &ada.waiting(&server), ("code", &next)).status, 401);

    let secret = setup.body["secret"].as_str().unwrap().as_bytes();
    for file in stored(server.folder.path()) {
        assert!(!file.windows(secret.len()).any(|window| window == secret), "the secret is stored in clear");
    }
    let noted = ada.noted(&server).await;
    for action in ["mfa.setup_begun", "mfa.enabled", "user.login_failed", "user.login"] {
        assert!(noted.iter().any(|noted| noted == action), "{action} is not among {noted:?}");
    }
}

async fn a_code_that_two_servers_are_shown_at_a_time_is_good_at_one() {
    let server = Server::start().await;
    let other = ControlPlane::start(config(server.folder.path(), "11")).await.unwrap();
    let other_addr = other.local_addr();
    let ada = somebody(&server, "ada").await;
    let (app, codes) = ada.enable(&server);
    for (name, code) in [("code", app.in_seconds(30)), ("recovery_code", codes[0].clone())] {
        let tokens: Vec<_> = (0..4).map(|_| ada.waiting(&server)).collect();
        let answers: Vec<_> = tokio::task::block_in_place(|| {
            std::thread::scope(|scope| {
                let ask = |(number, token): (usize, &String)| {
                    let addr = if number % 2 == 0 { server.control_plane.local_addr() } else { other_addr };
                    let body = json!({ "token": token, (name): code }).to_string();
                    let handle = tokio::runtime::Handle::current();
                    scope.spawn(move || {
                        let _runtime = handle.enter();
                        post(addr, "/auth/mfa/verify", &body)
                    })
                };
                let running: Vec<_> = tokens.iter().enumerate().map(ask).collect();
                running.into_iter().map(|thread| thread.join().unwrap()).collect()
            })
        });
        assert_eq!(answers.iter().filter(|status| **status == 200).count(), 1, "{name}: {answers:?}");
        // Who comes at the same moment from the same address may also be told to wait.
        assert!(answers.iter().all(|status| [200, 401, 429].contains(status)), "{name}: {answers:?}");
    }
    other.shutdown().await;
}

/// The status of an answer.
fn post(addr: SocketAddr, path: &str, body: &str) -> u16 {
    let config = ureq::Agent::config_builder().http_status_as_error(false).build();
    let agent: ureq::Agent = config.into();
    let request = agent.post(format!("http://{addr}{path}")).header("content-type", "application/json");
    request.send(body).unwrap().status().as_u16()
}

async fn recovery_codes_stand_in_for_the_app_once_each() {
    let server = Server::start().await;
    let ada = somebody(&server, "ada").await;
    let (app, codes) = ada.enable(&server);
    let small = codes[0].to_lowercase().replace('-', " ");
    let answer = verify(&server, &ada.waiting(&server), ("recovery_code", &small));
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(verify(&server, &ada.waiting(&server), ("recovery_code", &codes[0])).status, 401);
    let session = answer.body["access_token"].as_str().unwrap();
    let renewed = server.client.call_as(session, "POST", "/auth/mfa/recovery-codes", Some(&json!({})));
    assert_eq!(renewed.body["recovery_codes"].as_array().map(Vec::len), Some(10), "{}", renewed.body);
    assert_eq!(
        verify(&server, &ada.waiting(&server), ("recovery_code", &codes[1])).status,
        401,
        "they are over"
    );
    let new = renewed.body["recovery_codes"][0].as_str().unwrap();
    assert_eq!(verify(&server, &ada.waiting(&server), ("recovery_code", new)).status, 200);
    for file in stored(server.folder.path()) {
        let bare = codes[2].replace('-', "");
        assert!(
            !file.windows(bare.len()).any(|window| window == bare.as_bytes()),
            "a code is stored in clear"
        );
    }
    let both = json!({ "token": ada.waiting(&server), "code": app.now(), "recovery_code": new });
    assert_eq!(public(&server, "/auth/mfa/verify", &both).refused(), ["code"]);
    let noted = ada.noted(&server).await;
    assert_eq!(noted.iter().filter(|action| *action == "mfa.recovery_code_used").count(), 2);
    assert!(noted.iter().any(|action| action == "mfa.recovery_codes_renewed"));
}

async fn changing_factors_takes_more_than_a_session() {
    let server = Server::start().await;
    let ada = somebody(&server, "ada").await;
    let ask = |token: &str, path: &str, body: Value| server.client.call_as(token, "POST", path, Some(&body));
    let session = ada.session(&server);
    ada.wait_eleven_minutes(&server).await;
    let old = ask(&session, "/auth/mfa/enable", json!({}));
    assert_eq!((old.status, old.code()), (403, "confirmation_required"));
    let wrong = ask(&session, "/auth/mfa/enable", json!({ "password": "not the password" }));
    assert_eq!((wrong.status, wrong.code()), (401, "invalid_credentials"));
    assert_eq!(ask(&session, "/auth/mfa/enable", json!({ "password": PASSWORD })).status, 200);

    let (app, codes) = ada.enable(&server);
    let session = verify(&server, &ada.waiting(&server), ("code", &app.in_seconds(30)));
    let session = session.body["access_token"].as_str().unwrap().to_owned();
    let shown = |factor: Value| {
        let mut body = json!({ "password": PASSWORD });
        body.as_object_mut().unwrap().extend(factor.as_object().unwrap().clone());
        body
    };
    for (body, status) in [
        (json!({}), 403),
        (json!({ "password": PASSWORD }), 403),
        (json!({ "recovery_code": codes[0] }), 403),
        (shown(json!({ "recovery_code": "0000-0000-0000-0000" })), 401),
    ] {
        let answer = ask(&session, "/auth/mfa/disable", body);
        assert_eq!(answer.status, status, "{}", answer.body);
    }
    let wrong = json!({ "password": "not the password", "recovery_code": codes[0] });
    assert_eq!(ask(&session, "/auth/mfa/disable", wrong).status, 401);
    ada.wait_eleven_minutes(&server).await;
    let stolen = ask(&session, "/auth/mfa/recovery-codes", json!({ "password": PASSWORD }));
    assert_eq!((stolen.status, stolen.code()), (403, "confirmation_required"), "a password is one factor");
    let off = ask(&session, "/auth/mfa/disable", shown(json!({ "recovery_code": codes[0] })));
    assert_eq!(off.status, 204, "{}", off.body);
    assert!(ada.login(&server).body["access_token"].is_string(), "the password is enough again");
    let off = ask(&ada.session(&server), "/auth/mfa/disable", shown(json!({})));
    assert_eq!((off.status, off.code()), (409, "not_enabled"));
    assert!(ada.noted(&server).await.iter().any(|action| action == "mfa.disabled"));

    let acme = org(&server, "Acme").await;
    let program = person(&server, &acme, At::Org, "owner").await;
    for path in ["enable", "disable", "recovery-codes"] {
        let answer = ask(&program, &format!("/auth/mfa/{path}"), json!({}));
        assert_eq!((answer.status, answer.code()), (403, "sign_in_required"), "{path}");
    }
}

async fn whoever_guesses_codes_is_slowed_down() {
    let server = Server::start().await;
    let ada = somebody(&server, "ada").await;
    let (app, _) = ada.enable(&server);
    let token = ada.waiting(&server);
    let (begun, mut guesses) = (Instant::now(), 0);
    let refused = loop {
        let answer = verify(&server, &token, ("code", &app.in_seconds(86_400 + guesses * 30)));
        if answer.status != 401 {
            break answer;
        }
        guesses += 1;
        assert!(begun.elapsed() < Duration::from_secs(30) && guesses < 20, "nobody stops this");
    };
    assert_eq!((refused.status, refused.code()), (429, "too_many_attempts"));
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    let right = verify(&server, &token, ("code", &app.in_seconds(30)));
    assert_eq!(right.status, 429, "a right code is not looked at while it lasts");
}
