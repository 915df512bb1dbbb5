//! Accounts, sign-ins and sessions.

use mindweave_identity::password::PasswordParameters;
use serde_json::json;

use super::people::{At, person};
use super::*;
use crate::db::sql;
use crate::identity::{IdentitySettings, Registration};

pub(super) const PASSWORD: &str = "correct horse battery staple";

/// A control plane with these settings. Hashes are cheap: what they cost is tested where they are made.
pub(super) async fn server_with(folder: TempDir, change: impl FnOnce(&mut IdentitySettings)) -> Server {
    let mut config = config(folder.path(), "11");
    config.identity.password_parameters = PasswordParameters { memory_kib: 64, passes: 1, lanes: 1 };
    change(&mut config.identity);
    let control_plane = ControlPlane::start(config).await.unwrap();
    let client = Client::new(control_plane.local_addr());
    Server { control_plane, client, folder }
}

pub(super) async fn server() -> Server {
    server_with(tempfile::tempdir().unwrap(), |settings| settings.registration = Registration::Open).await
}

/// The token of the owner's link.
pub(super) fn owner_token(server: &Server) -> String {
    let link = server.control_plane.owner_link().expect("a link").expose_secret().to_owned();
    link.rsplit_once("?token=").unwrap().1.to_owned()
}

/// Makes the owner, and returns the answer.
pub(super) fn set_up(server: &Server) -> Answer {
    let owner = json!({ "token": owner_token(server), "email": "Ada@Example.com", "password": PASSWORD, "name": "Ada" });
    server.anonymous("POST", "/auth/setup", &owner)
}

pub(super) fn login(server: &Server, email: &str, password: &str) -> Answer {
    server.anonymous("POST", "/auth/login", &json!({ "email": email, "password": password }))
}

pub(super) fn refresh(server: &Server, token: &str) -> Answer {
    server.anonymous("POST", "/auth/refresh", &json!({ "refresh_token": token }))
}

impl Server {
    /// Asks without a token.
    pub(super) fn anonymous(&self, method: &str, path: &str, body: &Value) -> Answer {
        let headers = [("content-type", "application/json".to_owned())];
        self.client.call_with(method, path, &headers, Some(body.to_string().as_bytes()))
    }

    /// Asks with a token.
    pub(super) fn as_holder(&self, token: &str, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let headers =
            [("authorization", format!("Bearer {token}")), ("content-type", "application/json".to_owned())];
        let body = body.map(ToString::to_string);
        self.client.call_with(method, path, &headers, body.as_deref().map(str::as_bytes))
    }

    /// The actions of the installation's audit log with what they were done to, oldest first.
    pub(super) async fn audited(&self) -> Vec<(String, String)> {
        let sql = "SELECT action, target_id FROM audit_log WHERE chain = 'installation' ORDER BY sequence";
        sql::query_as(sql).fetch_all(self.control_plane.db.readers()).await.unwrap()
    }

    pub(super) async fn audited_times(&self, action: &str) -> usize {
        self.audited().await.iter().filter(|(found, _)| found == action).count()
    }

    /// Changes the database as no request could.
    pub(super) async fn tamper(&self, sql: &'static str) {
        let mut tx = self.control_plane.db.begin_write().await.unwrap();
        sql::query(sql).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
    }
}

pub(super) fn text(answer: &Answer, field: &str) -> String {
    answer.body[field].as_str().unwrap_or_else(|| panic!("{field}: {}", answer.body)).to_owned()
}

/// The status of a look at oneself with this token.
pub(super) fn status_of(server: &Server, token: &str) -> u16 {
    server.as_holder(token, "GET", "/auth/me", None).status
}

async fn the_first_starts_link_makes_one_owner_once() {
    let first = server().await;
    let old = owner_token(&first);
    first.control_plane.shutdown().await;
    let server = server_with(first.folder, |_| {}).await;
    let new = |token: &str| json!({ "token": token, "email": "ada@example.com", "password": PASSWORD, "name": "Ada" });
    let late = server.anonymous("POST", "/auth/setup", &new(&old));
    assert_eq!((late.status, late.code()), (400, "invalid_link"), "a later start ends the links before");
    let weak = json!({ "token": owner_token(&server), "email": "ada@example.com", "password": "password1234", "name": "Ada" });
    let weak = server.anonymous("POST", "/auth/setup", &weak);
    assert_eq!((weak.status, weak.refused()), (422, vec!["password"]), "and does not use it up");
    let made = set_up(&server);
    assert_eq!(made.status, 201, "{}", made.body);
    let access = text(&made, "access_token");
    let me = server.as_holder(&access, "GET", "/auth/me", None).body;
    assert_eq!((&me["installation_admin"], &me["user"]["email"]), (&json!(true), &json!("Ada@Example.com")));
    assert_eq!((&me["roles"][0]["role"], &me["roles"][0]["place"]), (&json!("owner"), &json!("org")));
    assert_eq!((&me["kind"], &me["scopes"]), (&json!("user"), &json!(["*"])));
    assert_eq!(set_up(&server).code(), "invalid_link");
    let server = server_with(server_stopped(server).await, |_| {}).await;
    assert!(server.control_plane.owner_link().is_none(), "there is somebody");
    assert_eq!(status_of(&server, &access), 200, "sessions outlive a restart");
    let actions: Vec<_> = server.audited().await.into_iter().map(|(action, _)| action).collect();
    assert_eq!(actions, ["user.created", "user.login"]);
}

async fn server_stopped(server: Server) -> TempDir {
    server.control_plane.shutdown().await;
    server.folder
}

async fn a_sign_in_gives_tokens_and_a_wrong_one_does_not_say_what_was_wrong() {
    let server = server().await;
    set_up(&server);
    let right = login(&server, " ADA@example.com ", PASSWORD);
    assert_eq!(right.status, 200, "{}", right.body);
    assert_eq!((&right.body["token_type"], &right.body["expires_in"]), (&json!("Bearer"), &json!(900)));
    assert!(
        text(&right, "access_token").starts_with("mwa_") && text(&right, "refresh_token").starts_with("mwr_")
    );
    assert_eq!(status_of(&server, &text(&right, "access_token")), 200);
    assert_eq!(status_of(&server, &text(&right, "refresh_token")), 401, "it opens nothing but a refresh");
    let hashed = server.control_plane.identity.shared.passwords().runs();
    let audited = server.audited().await.len();
    let wrong = login(&server, "ada@example.com", "wrong horse battery staple");
    let known = (
        server.control_plane.identity.shared.passwords().runs() - hashed,
        server.audited().await.len() - audited,
    );
    let unknown = login(&server, "nobody@example.com", PASSWORD);
    assert_eq!((wrong.status, wrong.code()), (401, "invalid_credentials"));
    assert_eq!((unknown.status, &unknown.body), (401, &wrong.body));
    let both = (
        server.control_plane.identity.shared.passwords().runs() - hashed,
        server.audited().await.len() - audited,
    );
    assert_eq!((known, both), ((1, 1), (2, 2)), "the same work: a hash and an entry each");
    assert_eq!(server.audited_times("user.login_failed").await, 2);
    assert!(server.audited().await.contains(&("user.login_failed".into(), "unknown".into())));
    server.tamper("UPDATE users SET disabled_at = 1").await;
    assert_eq!(login(&server, "ada@example.com", PASSWORD).code(), "invalid_credentials");
    assert_eq!(status_of(&server, &text(&right, "access_token")), 401, "who is disabled is out at once");
    assert_eq!(refresh(&server, &text(&right, "refresh_token")).status, 401);
}

async fn guessing_is_slowed_down_with_a_time_to_come_back() {
    let server = server().await;
    set_up(&server);
    server.tamper("DELETE FROM sessions WHERE id NOT IN (SELECT session_id FROM session_tokens)").await;
    let answers: Vec<_> = (0..8).map(|_| login(&server, "ada@example.com", "wrong horse battery")).collect();
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses[..6], [401; 6]);
    let refused = answers.iter().find(|answer| answer.status == 429).expect("a wait");
    assert_eq!(refused.code(), "too_many_attempts");
    let seconds: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=3).contains(&seconds), "{seconds}");
    let unknown: Vec<_> =
        (0..8).map(|_| login(&server, "nobody@example.com", "wrong horse battery").status).collect();
    assert_eq!(unknown, statuses, "nobody learns from the wait who is registered");
    assert_eq!(login(&server, "ada@example.com", PASSWORD).status, 429, "also the right one waits");
    server.tamper("UPDATE attempts SET updated_at = updated_at - 60000000").await;
    assert_eq!(login(&server, "ada@example.com", PASSWORD).status, 200);
    assert_eq!(login(&server, "ada@example.com", "wrong horse battery").status, 401, "slips are forgiven");
}

async fn a_session_ends_by_sign_out_and_from_other_sessions() {
    let server = server().await;
    set_up(&server);
    let sessions: Vec<_> = (0..4).map(|_| login(&server, "ada@example.com", PASSWORD)).collect();
    let [one, two, three, four] = [0, 1, 2, 3].map(|index: usize| text(&sessions[index], "access_token"));
    let listed = server.as_holder(&one, "GET", "/auth/sessions", None).body["data"].clone();
    let listed = listed.as_array().unwrap();
    assert_eq!(listed.len(), 5, "with the first start's");
    let current: Vec<_> = listed.iter().filter(|session| session["current"] == true).collect();
    assert_eq!(current[0]["id"], sessions[0].body["session_id"]);
    assert_eq!((&current[0]["method"], &current[0]["address"]), (&json!("password"), &json!("127.0.0.1")));
    let out = server.as_holder(&one, "POST", "/auth/logout", Some(&json!({})));
    assert_eq!(out.status, 204, "{}", out.body);
    assert_eq!(status_of(&server, &one), 401);
    assert_eq!(refresh(&server, &text(&sessions[0], "refresh_token")).code(), "session_ended");
    let path = format!("/auth/sessions/{}", text(&sessions[2], "session_id"));
    assert_eq!(server.as_holder(&two, "DELETE", &path, None).status, 204);
    assert_eq!((status_of(&server, &three), status_of(&server, &two)), (401, 200));
    assert_eq!(server.as_holder(&two, "DELETE", &path, None).status, 404);
    let stranger = person(&server, server_org(&server).as_str(), At::Org, "owner").await;
    let path = format!("/auth/sessions/{}", text(&sessions[3], "session_id"));
    let refused = server.as_holder(&stranger, "DELETE", &path, None);
    assert_eq!(
        (refused.status, refused.code()),
        (403, "sign_in_required"),
        "a token of a program is no session"
    );
    assert_eq!(
        server.as_holder(&two, "POST", "/auth/logout", Some(&json!({ "everywhere": true }))).status,
        204
    );
    assert_eq!((status_of(&server, &two), status_of(&server, &four)), (401, 401));
    assert_eq!(server.audited_times("session.revoked").await, 1);
    assert_eq!(server.audited_times("user.logout").await, 4, "one by one");
    assert_eq!(server.client.get("/auth/sessions").code(), "sign_in_required", "the admin token is nobody");
    assert_eq!(server.client.get("/auth/me").body["kind"], "admin_token");
}

fn server_org(server: &Server) -> String {
    server.client.get("/orgs").body["data"][0]["id"].as_str().unwrap().to_owned()
}

async fn a_password_is_changed_with_the_old_one_and_ends_other_sessions() {
    let server = server().await;
    let first = text(&set_up(&server), "access_token");
    let other = text(&login(&server, "ada@example.com", PASSWORD), "access_token");
    let change = |current: &str, new: &str| {
        let body = json!({ "current_password": current, "new_password": new });
        server.as_holder(&first, "POST", "/auth/password", Some(&body))
    };
    assert_eq!(change("wrong horse battery", "another horse entirely").refused(), ["current_password"]);
    assert_eq!(change(PASSWORD, "short").refused(), ["new_password"]);
    assert_eq!(change(PASSWORD, "i am ada@example.com").refused(), ["new_password"]);
    assert_eq!(status_of(&server, &other), 200);
    assert_eq!(change(PASSWORD, "another horse entirely").status, 204);
    assert_eq!((status_of(&server, &first), status_of(&server, &other)), (200, 401));
    assert_eq!(login(&server, "ada@example.com", PASSWORD).status, 401);
    assert_eq!(login(&server, "ada@example.com", "another horse entirely").status, 200);
    assert_eq!(server.audited_times("user.password_changed").await, 1);
    // Parameters change: the next sign-in renews the hash, and the password stays.
    let folder = server_stopped(server).await;
    let server = server_with(folder, |settings| settings.password_parameters.passes = 2).await;
    assert_eq!(login(&server, "ada@example.com", "another horse entirely").status, 200);
    let stored: String = sql::query_scalar("SELECT password_hash FROM users")
        .fetch_one(server.control_plane.db.readers())
        .await
        .unwrap();
    assert!(stored.starts_with("$argon2id$v=19$m=64,t=2,p=1$"), "{stored}");
    assert_eq!(login(&server, "ada@example.com", "another horse entirely").status, 200);
}

async fn registering_does_not_tell_who_is_registered() {
    let server = server().await;
    set_up(&server);
    let register = |email: &str| {
        server.anonymous(
            "POST",
            "/auth/register",
            &json!({ "email": email, "password": PASSWORD, "name": "Grace" }),
        )
    };
    let (taken, new) = (register("ada@example.com"), register("grace@example.com"));
    assert_eq!((taken.status, &taken.body), (202, &new.body));
    let begun = std::time::Instant::now();
    while login(&server, "grace@example.com", PASSWORD).status != 200 {
        assert!(begun.elapsed() < Duration::from_secs(30), "the account is not made");
        server.tamper("DELETE FROM attempts").await;
    }
    assert_eq!(server.audited_times("user.created").await, 2);
    for (body, field) in [
        (json!({ "email": "grace", "password": PASSWORD, "name": "G" }), "email"),
        (json!({ "email": "g@example.com", "password": "x", "name": "G" }), "password"),
        (json!({ "email": "g@example.com", "password": PASSWORD }), "name"),
    ] {
        assert_eq!(server.anonymous("POST", "/auth/register", &body).refused(), [field]);
    }
    let forgot = server.anonymous("POST", "/auth/forgot", &json!({ "email": "ada@example.com" }));
    assert_eq!((forgot.status, forgot.code()), (409, "mail_not_configured"));
    for (registration, code) in
        [(Registration::Invitation, "registration_closed"), (Registration::Closed, "registration_closed")]
    {
        let server =
            server_with(tempfile::tempdir().unwrap(), |settings| settings.registration = registration).await;
        let body = json!({ "email": "grace@example.com", "password": PASSWORD, "name": "Grace" });
        assert_eq!(server.anonymous("POST", "/auth/register", &body).code(), code);
    }
}

async fn people_change_their_names_and_old_versions_are_refused() {
    let server = server().await;
    let token = text(&set_up(&server), "access_token");
    let before = server.as_holder(&token, "GET", "/auth/me", None);
    let changed = server.as_holder(&token, "PATCH", "/auth/me", Some(&json!({ "name": "Countess" })));
    assert_eq!(
        (changed.status, &changed.body["user"]["name"]),
        (200, &json!("Countess")),
        "{}",
        changed.body
    );
    let headers = [
        ("authorization", format!("Bearer {token}")),
        ("content-type", "application/json".to_owned()),
        ("if-match", before.header("etag").to_owned()),
    ];
    let late = server.client.call_with("PATCH", "/auth/me", &headers, Some(b"{\"name\":\"X\"}"));
    assert_eq!((late.status, late.code()), (412, "precondition_failed"));
    let refused = server.as_holder(&token, "PATCH", "/auth/me", Some(&json!({ "email": "new@example.com" })));
    assert_eq!((refused.status, refused.code()), (409, "mail_not_configured"));
    assert_eq!(server.audited_times("user.updated").await, 1);
}

on_every_engine!(
    the_first_starts_link_makes_one_owner_once,
    a_sign_in_gives_tokens_and_a_wrong_one_does_not_say_what_was_wrong,
    guessing_is_slowed_down_with_a_time_to_come_back,
    a_session_ends_by_sign_out_and_from_other_sessions,
    a_password_is_changed_with_the_old_one_and_ends_other_sessions,
    registering_does_not_tell_who_is_registered,
    people_change_their_names_and_old_versions_are_refused,
);
