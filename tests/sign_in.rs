//! People's way in through the real binary: from the link that the first start prints to a password set by mail, with nothing of it in
//! the log.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod harness;

use std::os::unix::fs::PermissionsExt as _;

use harness::server::MindWeave;
use mindweave_test_servers::Smtp;
use serde_json::{Value, json};

/// Nothing listens there: no traffic is sent.
const NOWHERE: &str = "http://127.0.0.1:9";
const PASSWORD: &str = "first horse battery staple";
const NEW_PASSWORD: &str = "second sentence of mine";

fn call(server: &MindWeave, path: &str, token: Option<&str>, body: &Value) -> (u16, Value) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut request = agent.post(format!("http://{}{path}", server.control_plane));
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let mut answer = request.send_json(body).expect("an answer");
    let text = answer.body_mut().read_to_string().expect("a whole answer");
    (answer.status().as_u16(), serde_json::from_str(&text).unwrap_or_default())
}

fn text(body: &Value, field: &str) -> String {
    body[field].as_str().unwrap_or_else(|| panic!("{field}: {body}")).to_owned()
}

#[test]
fn from_the_first_link_to_a_forgotten_password_nothing_secret_is_logged() {
    let smtp = Smtp::start();
    let (url, ca_file) = (smtp.url(), smtp.ca_file());
    let mut server = MindWeave::start_with(
        NOWHERE,
        &[
            ("MINDWEAVE_LOG__LEVEL", "trace"),
            ("MINDWEAVE_MAIL__SMTP_URL", &url),
            ("MINDWEAVE_MAIL__FROM", "MindWeave <mindweave@example.com>"),
            ("MINDWEAVE_MAIL__CA_FILE", ca_file.to_str().expect("a path of text")),
        ],
    );
    let file = server.data_dir().join("owner-link");
    let mode = std::fs::metadata(&file).expect("the owner's link is left").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let link = std::fs::read_to_string(&file).expect("a link").trim().to_owned();
    let (page, token) = link.rsplit_once("?token=").expect("a link with a token");
    assert_eq!(page, format!("http://localhost:{}/auth/setup", server.control_plane.port()));

    let owner = json!({ "token": token, "email": "ada@example.com", "name": "Ada", "password": PASSWORD });
    let (status, made) = call(&server, "/auth/setup", None, &owner);
    assert_eq!(status, 201, "{made}");
    let (_, renewed) =
        call(&server, "/auth/refresh", None, &json!({ "refresh_token": made["refresh_token"] }));
    let wrong = json!({ "email": "ada@example.com", "password": "wrong-horse-in-the-log" });
    assert_eq!(call(&server, "/auth/login", None, &wrong).0, 401);
    assert_eq!(call(&server, "/auth/forgot", None, &json!({ "email": "ada@example.com" })).0, 202);
    let mail = smtp.wait_for("ada@example.com", 1).remove(0);
    let reset = json!({ "token": mail.token(), "password": NEW_PASSWORD });
    assert_eq!(call(&server, "/auth/reset", None, &reset).0, 204);
    let right = json!({ "email": "ada@example.com", "password": NEW_PASSWORD });
    let (status, last) = call(&server, "/auth/login", None, &right);
    assert_eq!(status, 200, "{last}");
    let twice = json!({ "refresh_token": renewed["refresh_token"] });
    assert_eq!(call(&server, "/auth/refresh", None, &twice).0, 401);
    assert_eq!(call(&server, "/auth/logout", Some(&text(&last, "access_token")), &json!({})).0, 204);

    server.restart();
    assert!(!file.exists(), "there is an owner, so the link is gone");
    // Standard output is in the same file: the banner's line is where the link belongs, and the only one.
    let log = server.log();
    let (banner, log): (Vec<_>, Vec<_>) = log.lines().partition(|line| *line == format!("  {link}"));
    let log = log.join("\n");
    assert_eq!(banner.len(), 1, "the banner shows the link once");
    assert!(log.contains("ready"), "what is looked through is the log:\n{log}");
    let mut secrets = vec![PASSWORD.to_owned(), NEW_PASSWORD.to_owned(), "wrong-horse-in-the-log".to_owned()];
    secrets.extend([token.to_owned(), mail.token(), "for/tests:only".to_owned(), "for%2Ftests".to_owned()]);
    for session in [&made, &renewed, &last] {
        secrets.extend([text(session, "access_token"), text(session, "refresh_token")]);
    }
    secrets.extend(["$argon2id$".to_owned(), "ada@example.com".to_owned()]);
    for secret in secrets {
        assert!(!log.contains(&secret), "{secret} is in the log");
    }
}
