//! What people manage from the command line: they sign in, and their organisation, its teams and members, keys and what governs are theirs to
//! see and change, as far as their role goes.

use super::*;

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;
use tempfile::TempDir;

const PASSWORD: &str = "four random words here";

/// Somebody's own machine: a home folder, and no data folder of a server.
struct Person {
    home: TempDir,
    server: String,
}

impl Person {
    fn of(server: &MindWeave) -> Self {
        Self {
            home: tempfile::tempdir().expect("a folder"),
            server: format!("http://{}", server.control_plane),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let home = self.home.path().display().to_string();
        let mut command = command(arguments, &[("XDG_CONFIG_HOME", &home), ("HOME", &home)]);
        command.current_dir(self.home.path());
        command
    }

    fn said(&self, arguments: &[&str]) -> String {
        said(self.command(arguments))
    }

    fn json(&self, arguments: &[&str]) -> Value {
        json(&self.said(&[arguments, &["--json"]].concat()))
    }

    fn complaint(&self, arguments: &[&str]) -> String {
        complaint(self.command(arguments))
    }

    /// Signs in.
    fn login(&self, email: &str, password: &str) -> Output {
        self.with_password(&["login", "--server", &self.server, "--email", email], password)
    }

    /// Does what asks for a password, which comes through standard input.
    fn with_password(&self, arguments: &[&str], password: &str) -> Output {
        let mut command = self.command(arguments);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        writeln!(child.stdin.take().expect("a pipe"), "{password}").expect("the password is read");
        child.wait_with_output().expect("the command ends")
    }
}

fn post(server: &MindWeave, path: &str, body: &Value) -> Value {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut answer =
        agent.post(format!("http://{}{path}", server.control_plane)).send_json(body).expect("an answer");
    let text = answer.body_mut().read_to_string().expect("a whole answer");
    assert!(answer.status().is_success(), "POST {path}: {} {text}", answer.status());
    json(&text)
}

/// A server whose first owner is Ada.
fn with_owner(simulator: &Simulator) -> MindWeave {
    let server = MindWeave::start(&simulator.url());
    let link = std::fs::read_to_string(server.data_dir().join("owner-link")).expect("the owner's link");
    let token = link.trim().rsplit_once('=').expect("a token").1;
    let owner = json!({ "token": token, "email": "ada@example.com", "name": "Ada", "password": PASSWORD });
    post(&server, "/auth/setup", &owner);
    server
}

#[test]
fn people_sign_in_and_manage_what_their_role_lets_them() {
    let simulator = Simulator::start();
    let server = with_owner(&simulator);
    let ada = Person::of(&server);
    let wrong = ada.login("ada@example.com", "not her password");
    assert_eq!(wrong.status.code(), Some(1), "{wrong:?}");
    let right = ada.login("ada@example.com", PASSWORD);
    assert!(right.status.success(), "{right:?}");
    let shown = String::from_utf8(right.stdout).expect("text");
    assert!(shown.contains(&format!("signed in at {} as ada@example.com", ada.server)), "{shown}");
    let file = ada.home.path().join("mindweave/profiles.toml");
    assert_eq!(std::fs::metadata(&file).expect("it is remembered").permissions().mode() & 0o777, 0o600);
    assert!(ada.said(&["whoami"]).contains("ada@example.com"));

    let org = ada.json(&["orgs", "show"])["id"].as_str().expect("an id").to_owned();
    ada.said(&["orgs", "set", "--name", "Acme", "--time-zone", "Europe/Berlin"]);
    assert!(ada.said(&["orgs", "list"]).contains("Europe/Berlin"));
    let team = ada.json(&["teams", "create", "red"])["id"].as_str().expect("an id").to_owned();
    ada.said(&["teams", "rename", &team, "crimson"]);
    assert!(ada.said(&["teams", "list"]).contains("crimson"));
    ada.said(&["projects", "create", "checkout", "--team", &team]);
    assert!(ada.said(&["projects", "show", "checkout"]).contains(&team));
    let key = ada.json(&["keys", "create", "checkout", "laptop"])["id"].as_str().expect("an id").to_owned();
    let rotated = ada.json(&["keys", "rotate", "checkout", &key, "--overlap", "1h"]);
    assert!(rotated["secret"].as_str().is_some_and(|secret| secret.starts_with("mw_")), "{rotated}");
    ada.said(&["keys", "disable", "checkout", &key]);
    assert!(ada.said(&["keys", "list", "checkout"]).contains("disabled"));
    ada.said(&["keys", "enable", "checkout", &key]);
    ada.said(&["quotas", "create", "month", "--unit", "cost", "--window", "month", "--limit-usd", "49.99"]);
    ada.said(&["quotas", "set", "month", "--action", "warn"]);
    assert!(ada.said(&["quotas", "list"]).contains("$49.99"));
    ada.said(&["limits", "create", "slow", "--metric", "requests_per_minute", "--limit", "60"]);
    assert!(ada.said(&["limits", "list"]).contains("slow"));
    ada.said(&["policies", "create", "shadowed", "--bundled", "model_allow_list", "--mode", "shadow"]);
    ada.said(&["policies", "set", "shadowed", "--mode", "off"]);
    assert!(ada.said(&["policies", "list"]).contains("off"));

    let invited = ada.json(&["members", "invite", "bob@example.com", "auditor"]);
    let token =
        invited["link"].as_str().and_then(|link| link.rsplit_once('=')).expect("a link, without mail").1;
    let account = json!({ "invitation_token": token, "email": "bob@example.com", "name": "Bob", "password": "another four words here" });
    post(&server, "/auth/register", &account);
    let bob = Person::of(&server);
    let signed_in = bob.login("bob@example.com", "another four words here");
    assert!(signed_in.status.success(), "{signed_in:?}");
    assert!(bob.said(&["projects", "list"]).contains("checkout"), "an auditor sees");
    let refused = bob.complaint(&["projects", "create", "mine"]);
    assert!(refused.contains("403"), "an auditor changes nothing: {refused}");
    let bobs = bob.json(&["whoami"]);
    let id = bobs["id"].as_str().or_else(|| bobs["user"]["id"].as_str()).expect("an id").to_owned();
    ada.said(&["members", "set", &id, "developer"]);
    assert!(ada.said(&["members", "list", "--org", &org]).contains("developer"));
    ada.said(&["members", "remove", &id]);
    assert!(bob.complaint(&["orgs", "show"]).contains("no organisation"));

    let made = ada.with_password(&["tokens", "create", "ci", "--scope", "usage:read", "--json"], PASSWORD);
    let made = json(&String::from_utf8(made.stdout).expect("text"));
    assert!(made["token"].is_string(), "{made}");
    assert!(ada.said(&["tokens", "list"]).contains("usage:read"));
    ada.said(&["logout"]);
    assert!(ada.complaint(&["whoami"]).contains("no token: sign in with `mindweave login`"));
}

#[test]
fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(said(command(&["completions", shell], &[])).contains("policies"), "{shell}");
    }
}
