//! From one process with a file to control planes and proxies with a server: nothing of the ledger is lost on the way, and
//! everything goes on where it stopped.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod harness;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use harness::apart::{ControlPlane, Proxy};
use harness::governed::{Call, await_used, count, storm};
use harness::server::MindWeave;
use harness::simulator::Simulator;
use harness::{eventually, http, ledger::Ledger};
use mindweave_test_servers::Postgres;
use serde_json::{Value, json};

const ONLY_KNOWN: &str = "package models\n\ndeny contains {\"reason\": \"no_haiku\", \"message\": \"not here\"} if startswith(input.request.models[_], \"claude-haiku\")\n";

fn migrate(data: &Path, database: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mindweave"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MINDWEAVE_"))
    {
        command.env_remove(name);
    }
    command
        .arg("migrate")
        .args(arguments)
        .env("MINDWEAVE_DATA_DIR", data)
        .env("MINDWEAVE_CONTROL_PLANE__DATABASE", database)
        .stdin(Stdio::null());
    command.output().expect("the binary runs")
}

fn complaint(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What admins and finance see, wholly. `last_used_at` and what changes with the time of the question are left out.
fn seen(ledger: &Ledger, projects: &[&str]) -> Vec<(String, Value)> {
    let mut paths: Vec<String> = [
        "/orgs",
        "/projects",
        "/governance/policies",
        "/governance/limits",
        "/governance/quotas",
        "/proxies/tokens",
        "/v1/usage/events?limit=500&order=asc",
        "/v1/usage/summary",
        "/analytics/usage?interval=day&group_by=project,model,key,user,team",
    ]
    .map(str::to_owned)
    .to_vec();
    for project in projects {
        paths.extend(["", "/keys", "/credentials"].map(|rest| format!("/projects/{project}{rest}")));
    }
    for quota in ledger.get("/governance/quotas")["data"].as_array().expect("a list") {
        paths.push(format!("/governance/quotas/{}", quota["id"].as_str().expect("an id")));
    }
    for policy in ledger.get("/governance/policies")["data"].as_array().expect("a list") {
        paths.push(format!("/governance/policies/{}", policy["id"].as_str().expect("an id")));
    }
    paths.into_iter().map(|path| (path.clone(), without_moments(ledger.get(&path)))).collect()
}

fn without_moments(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            for name in ["from", "to", "as_of", "reserved", "reserved_usd", "last_used_at"] {
                fields.remove(name);
            }
            for field in fields.values_mut() {
                *field = without_moments(field.take());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = without_moments(item.take())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    value
}

/// A server with something of everything: two projects, of which the first has a budget of 8 requests and has used 5.
struct Grown {
    server: MindWeave,
    projects: [String; 2],
    keys: [String; 2],
    revoked: String,
    quota: String,
    /// A third project and its key, with nothing to govern it.
    free: (String, String),
}

impl Grown {
    fn up(simulator: &Simulator) -> Self {
        let server = MindWeave::start(&simulator.url());
        let ledger = server.ledger();
        let (first, key) = ledger.project_with_key("first");
        let (second, other) = ledger.project_with_key("second");
        let free = ledger.project_with_key("free");
        let own = ledger.post(
            &format!("/projects/{first}/keys"),
            &json!({ "name": "revoked", "user_id": "ü", "team_id": "t", "labels": { "a": "b" }, "roles": ["admin"] }),
        );
        let revoked = own["secret"].as_str().expect("a secret").to_owned();
        ledger.post(
            &format!("/projects/{second}/credentials"),
            &json!({ "name": "developer", "api_key": "sk-ant-api03-the-developers-own" }),
        );
        let quota = ledger.create(
            "/governance/quotas",
            &json!({ "name": "eight", "scope": { "project": first }, "unit": "requests", "window": "month", "limit": 8 }),
        );
        ledger.post(
            "/governance/quotas",
            &json!({ "name": "cost", "scope": { "project": second }, "unit": "cost", "window": "month", "limit_usd": "1000" }),
        );
        ledger.post(
            "/governance/limits",
            &json!({ "name": "many", "scope": { "project": second }, "metric": "requests_per_minute", "limit": 100_000 }),
        );
        let policy = ledger.create(
            "/governance/policies",
            &json!({ "name": "no haiku", "rego": ONLY_KNOWN, "mode": "shadow", "scope": { "project": second } }),
        );
        ledger.patch(
            &format!("/governance/policies/{policy}"),
            &json!({ "mode": "enforce", "data": { "a": 1 } }),
        );
        ledger.post("/proxies/tokens", &json!({ "name": "later", "scopes": ["watch", "deliver"] }));
        assert_eq!(Call::new(&server, &revoked).send().status(), 200);
        assert_eq!(
            count(
                &storm(&Call::new(&server, &key).simulate("input_tokens=777; output_tokens=33"), 2, 2),
                200
            ),
            4
        );
        assert_eq!(Call::new(&server, &other).field("stream", true).send().status(), 200);
        assert_eq!(Call::new(&server, &other).field("model", "claude-haiku-4-5").send().status(), 403);
        let id = own["id"].as_str().expect("an id");
        ledger.delete(&format!("/projects/{first}/keys/{id}"));
        ledger.await_events("", 7);
        await_used(&ledger, &quota, 5);
        Self { server, projects: [first, second], keys: [key, other], revoked, quota, free }
    }

    /// Leaves a request in the journal, which nobody delivers any more, and ends as a killed process does.
    fn die(&mut self) {
        let mut open = http::connect(self.server.proxy).expect("the proxy accepts");
        let key = &self.free.1;
        let head = format!(
            "POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ncontent-length: 100\r\n\r\n{{"
        );
        open.write_all(head.as_bytes()).expect("the proxy reads");
        eventually("the request is admitted", || {
            let metrics = http::exchange(
                self.server.admin,
                b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
            );
            let text = String::from_utf8(metrics.ok()?.body).ok()?;
            text.contains("\nmindweave_journal_open_admissions 1\n").then_some(())
        });
        self.server.kill();
    }
}

#[test]
fn a_ledger_that_outgrew_its_file_goes_on_on_a_server_with_the_same_keys_and_budgets() {
    let simulator = Simulator::start();
    let mut grown = Grown::up(&simulator);
    let ids = grown.projects.clone();
    let projects = [ids[0].as_str(), ids[1].as_str()];
    let before = seen(&grown.server.ledger(), &projects);
    grown.die();
    let database = Postgres::shared().create_database();
    let data = grown.server.data_dir().to_path_buf();
    let imported = migrate(&data, &database, &["import", "--from", "sqlite:", "--json"]);
    assert!(imported.status.success(), "{imported:?}");
    let report: Value = serde_json::from_slice(&imported.stdout).expect("JSON");
    let events =
        report["tables"].as_array().expect("tables").iter().find(|table| table["table"] == "usage_events");
    assert_eq!(events.expect("the raw events")["rows"], 7, "{report:#}");
    let progress = String::from_utf8_lossy(&imported.stderr).into_owned();
    assert!(progress.contains("usage_events: 7 of 7 rows"), "{progress}");
    for text in [&progress, &report.to_string()] {
        assert!(!text.contains("for-tests-only"), "the database's password stands in {text}");
    }

    let settings = [("MINDWEAVE_CONTROL_PLANE__DATABASE", database.as_str())];
    let mut control_plane = ControlPlane::taking_over_with(&data, &settings);
    let ledger = control_plane.ledger();
    let left = ledger.await_events(&format!("project_id={}&outcome=interrupted", grown.free.0), 1);
    let after = seen(&ledger, &projects);
    for ((path, before), (_, after)) in before.iter().zip(&after) {
        if path.starts_with("/v1/usage/events") {
            let (before, after) =
                (before["data"].as_array().expect("data"), after["data"].as_array().expect("data"));
            assert_eq!(before[..], after[..7], "{path}");
            assert_eq!(
                (after.len(), &after[7]["event_id"]),
                (8, &left[0]["event_id"]),
                "what was left comes last, once"
            );
        } else if path.starts_with("/analytics") {
            let others = |answer: &Value| -> Vec<Value> {
                let rows = answer["data"].as_array().expect("rows").iter().cloned();
                rows.filter(|row| !row.to_string().contains(&grown.free.0)).collect()
            };
            assert!(others(before).len() > 2, "{before:#}");
            assert_eq!(others(before), others(after), "{path}");
        } else if !path.starts_with("/v1/usage/summary") {
            assert_eq!(before, after, "{path}");
        }
    }
    assert_eq!(ledger.get(&format!("/governance/quotas/{}", grown.quota))["state"]["used"], 5);

    let mut proxy = Proxy::start(&simulator.url(), &control_plane);
    assert_eq!(Call::to(proxy.addr, &grown.revoked).send().status(), 401, "a revoked key stays revoked");
    assert_eq!(Call::to(proxy.addr, &grown.keys[1]).field("model", "claude-haiku-4-5").send().status(), 403);
    assert_eq!(Call::to(proxy.addr, &grown.keys[1]).send().status(), 200, "the stored Claude key opens");
    let first = Call::to(proxy.addr, &grown.keys[0]);
    assert_eq!(count(&storm(&first, 4, 2), 200), 3, "of 8 requests, 5 were made before");
    await_used(&ledger, &grown.quota, 8);
    // Nothing of the old journal comes again with the next start.
    assert!(control_plane.process.stop(), "{}", control_plane.process.log());
    control_plane.start_again();
    proxy.process.kill();
    proxy.start_again();
    let ledger = control_plane.ledger();
    let calls = ledger.events("").iter().filter(|event| event["outcome"] != "denied").count();
    assert_eq!(calls, 11, "6 and 1 that was left before, 4 since");
}

#[test]
fn a_ledger_in_use_or_a_database_in_use_or_no_server_at_all_is_refused_with_words_to_act_on() {
    let simulator = Simulator::start();
    let mut server = MindWeave::start(&simulator.url());
    let database = Postgres::shared().create_database();
    let data = server.data_dir().to_path_buf();
    let told = complaint(&migrate(&data, &database, &["import", "--from", "sqlite:"]));
    assert!(told.contains(&format!("in use by another mindweave (process {})", server.pid())), "{told}");
    // From another folder as well.
    let elsewhere = tempfile::tempdir().expect("a folder");
    let file = format!("sqlite:{}", data.join("ledger.sqlite").display());
    let told = complaint(&migrate(elsewhere.path(), &database, &["import", "--from", &file]));
    assert!(told.contains("in use by another mindweave"), "{told}");
    assert!(server.stop(), "{}", server.log());
    let told = complaint(&migrate(&data, "sqlite:", &["import", "--from", &file]));
    assert!(told.contains("control_plane.database") && told.contains("postgres://"), "{told}");
    let output = migrate(&data, &database, &["import", "--from", &database]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let nobody = format!("sqlite:{}", elsewhere.path().join("nothing.sqlite").display());
    let told = complaint(&migrate(&data, &database, &["import", "--from", &nobody]));
    assert!(told.contains("cannot be opened") && !elsewhere.path().join("nothing.sqlite").exists(), "{told}");
    let mut started = ControlPlane::start_with(&[("MINDWEAVE_CONTROL_PLANE__DATABASE", database.as_str())]);
    started.process.kill();
    let told = complaint(&migrate(&data, &database, &["import", "--from", "sqlite:"]));
    assert!(
        told.contains("is not empty") && told.contains("a control plane has been started on it"),
        "{told}"
    );
    // And the file is as good as before.
    let fresh = Postgres::shared().create_database();
    let output = migrate(&data, &fresh, &["import", "--from", "sqlite:"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("mindweave control-plane"), "{output:?}");
    server.restart();
    assert_eq!(server.ledger().get("/projects")["data"].as_array().map(Vec::len), Some(1));
}
