//! Who may call whom.

use std::process::{Command, Output, Stdio};

use crate::harness::apart::{ControlPlane, PROXY_TOKEN, Proxy};
use crate::harness::governed::Call;
use crate::harness::server::{ADMIN_TOKEN, MindWeave};
use crate::harness::simulator::Simulator;
use crate::harness::{eventually, http};

const WRONG_TOKEN: &str = "wrong-token-of-a-proxy-0123456789";

#[test]
fn a_proxy_with_the_wrong_token_gets_nothing_and_says_why() {
    let simulator = Simulator::start();
    let control_plane = ControlPlane::start();
    let (_, key) = control_plane.ledger().project_with_key("refused");
    let token = [("MINDWEAVE_PROXY_TOKEN", WRONG_TOKEN)];
    let proxy = Proxy::start_unready(&simulator.url(), &control_plane.gate.url(), &token);
    eventually("the log says why", || {
        proxy.process.log().contains("does not accept this proxy token").then_some(())
    });
    assert_eq!(proxy.health().0, 503);
    assert_eq!(Call::to(proxy.addr, &key).send().status(), 503);
    for log in [proxy.process.log(), control_plane.process.log()] {
        assert!(!log.contains(WRONG_TOKEN) && !log.contains(PROXY_TOKEN), "a token stands in a log:\n{log}");
    }
}

#[test]
fn each_token_opens_its_own_door_only() {
    let control_plane = ControlPlane::start();
    let ask = |method: &str, path: &str, token: &str| {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}"
        );
        http::exchange(control_plane.api, request.as_bytes()).expect("the control plane answers").status()
    };
    for path in ["/projects", "/governance/policies", "/v1/usage/events", "/nowhere"] {
        assert_eq!(ask("GET", path, PROXY_TOKEN), 401, "{path} with the proxy token");
    }
    assert_eq!(ask("POST", "/projects", PROXY_TOKEN), 401);
    for (method, path) in [
        ("GET", "/internal/v1/watch?proxy_id=pxy_1&journal=1"),
        ("POST", "/internal/v1/events/claim"),
        ("POST", "/internal/v1/events"),
    ] {
        assert_eq!(ask(method, path, ADMIN_TOKEN), 401, "{path} with the admin token");
        assert_eq!(ask(method, path, "neither"), 401, "{path} with another token");
    }
    assert_eq!(ask("GET", "/projects", ADMIN_TOKEN), 200);
    assert!(ask("POST", "/internal/v1/events/claim", PROXY_TOKEN) < 500);
    assert_ne!(ask("POST", "/internal/v1/events/claim", PROXY_TOKEN), 401);
}

#[test]
fn serve_takes_other_proxies_only_when_it_is_given_a_token_for_them() {
    let simulator = Simulator::start();
    let (path, body) = ("/internal/v1/events/claim", r#"{"source":"journal-of-a-test"}"#);
    let claim = |server: &MindWeave| {
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {PROXY_TOKEN}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        http::exchange(server.control_plane, request.as_bytes()).expect("the API answers").status()
    };
    let closed = MindWeave::start(&simulator.url());
    assert!(matches!(claim(&closed), 401 | 403 | 404), "{}", claim(&closed));
    let open = MindWeave::start_with(&simulator.url(), &[("MINDWEAVE_PROXY_TOKEN", PROXY_TOKEN)]);
    assert_eq!(claim(&open), 200);
}

#[test]
fn a_control_plane_makes_a_token_that_its_proxies_can_be_given() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let mut child = command("control-plane", &data)
        .env("MINDWEAVE_CONTROL_PLANE__LISTEN", "127.0.0.1:0")
        .env("MINDWEAVE_CONTROL_PLANE__ADMIN_LISTEN", "127.0.0.1:0")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let token = eventually("the token is there", || {
        std::fs::read_to_string(data.join("proxy-token"))
            .ok()
            .filter(|_| data.join("endpoints.json").exists())
    });
    child.kill().and_then(|()| child.wait()).expect("the control plane can be killed");
    assert!(token.trim().len() >= 64, "256 bits in hexadecimal");
    let admin = std::fs::read_to_string(data.join("admin-token")).expect("an admin token");
    assert_ne!(token, admin);
}

#[test]
fn a_command_that_lacks_what_it_needs_says_what_to_set() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let url = ("MINDWEAVE_PROXY__CONTROL_PLANE", "http://127.0.0.1:1");
    let same = [
        ("MINDWEAVE_PROXY_TOKEN", "the-same-token-for-both"),
        ("MINDWEAVE_ADMIN_TOKEN", "the-same-token-for-both"),
    ];
    for (name, variables, expected) in [
        ("proxy", &[][..], "proxy.control_plane is not set"),
        ("proxy", &[url], "there is no proxy token: set MINDWEAVE_PROXY_TOKEN"),
        ("serve", &[url], "proxy.control_plane is for `mindweave proxy`"),
        ("control-plane", &same, "every proxy would be an admin"),
    ] {
        let output: Output =
            command(name, &data).envs(variables.iter().copied()).output().expect("the binary runs");
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{name}: {complaint}");
        assert!(complaint.contains(expected), "{name}: {complaint}");
    }
}

/// A command in a clean environment.
fn command(name: &str, data: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mindweave"));
    for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("MINDWEAVE_")) {
        command.env_remove(key);
    }
    command.arg(name).env("MINDWEAVE_DATA_DIR", data).stdin(Stdio::null());
    command
}
