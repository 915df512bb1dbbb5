//! `mindweave migrate`, and what a control plane says of a database that it lacks: the real binary on real databases.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod harness;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use harness::{eventually, http};
use mindweave_test_servers::Postgres;
use serde_json::Value;

const MASTER_KEY: &str = "1111111111111111111111111111111111111111111111111111111111111111";

/// A command in a clean environment, on this database.
fn command(folder: &Path, database: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mindweave"));
    let ours = |name: &std::ffi::OsStr| {
        let name = name.to_string_lossy();
        name.starts_with("MINDWEAVE_") || name.starts_with("PG")
    };
    for (name, _) in std::env::vars_os().filter(|(name, _)| ours(name)) {
        command.env_remove(name);
    }
    command
        .args(arguments)
        .env("MINDWEAVE_DATA_DIR", folder.join("data"))
        .env("MINDWEAVE_CONTROL_PLANE__DATABASE", database)
        .stdin(Stdio::null());
    command
}

fn run(folder: &Path, database: &str, arguments: &[&str]) -> Output {
    command(folder, database, arguments).output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn status(folder: &Path, database: &str) -> (Option<i32>, Value) {
    let output = run(folder, database, &["migrate", "status", "--json"]);
    let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error} in {output:?}"));
    (output.status.code(), json)
}

#[test]
fn a_file_that_is_not_there_lacks_everything_until_it_is_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let (code, before) = status(folder.path(), "sqlite:");
    assert_eq!((code, &before["state"], &before["version"]), (Some(1), &"pending".into(), &Value::Null));
    assert_eq!(before["pending"][0]["description"], "accounts");
    assert!(!folder.path().join("data").exists(), "looking made something");
    let up = run(folder.path(), "sqlite:", &["migrate", "up"]);
    assert!(up.status.success(), "{up:?}");
    assert!(text(&up.stdout).contains("up to date") && text(&up.stdout).contains("SQLite"), "{up:?}");
    let (code, after) = status(folder.path(), "sqlite:");
    assert_eq!((code, &after["state"], &after["version"]), (Some(0), &"up_to_date".into(), &before["known"]));
}

#[test]
fn a_server_is_described_with_its_tables_and_without_its_password() {
    let server = Postgres::shared();
    let mut databases = vec![(server.create_database(), "native")];
    match mindweave_test_servers::timescale() {
        Some(_) => databases.push((server.create_timescale_database(), "timescaledb")),
        None => println!("TimescaleDB is not installed here: skipped"),
    }
    for (database, partitioning) in databases {
        let folder = tempfile::tempdir().expect("a folder");
        let (code, before) = status(folder.path(), &database);
        assert_eq!(
            (code, &before["engine"], &before["state"]),
            (Some(1), &"postgresql".into(), &"pending".into())
        );
        let lists = run(folder.path(), &database, &["migrate", "status"]);
        assert!(
            text(&lists.stdout).contains("PENDING") && text(&lists.stdout).contains("usage events"),
            "{lists:?}"
        );
        let up = run(folder.path(), &database, &["migrate", "up", "--json"]);
        assert!(up.status.success(), "{up:?}");
        let (code, after) = status(folder.path(), &database);
        assert_eq!(
            (code, &after["state"], &after["partitioning"]),
            (Some(0), &"up_to_date".into(), &partitioning.into())
        );
        let tables: Vec<_> =
            after["tables"].as_array().expect("tables").iter().map(|t| &t["table"]).collect();
        assert_eq!(tables, ["usage_events", "usage_hour", "usage_minute"]);
        let shown = run(folder.path(), &database, &["migrate", "status"]);
        assert!(text(&shown.stdout).contains("usage_minute"), "{shown:?}");
        for output in [lists, up, shown] {
            assert!(!text(&output.stdout).contains("for-tests-only"), "{output:?}");
        }
    }
}

#[test]
fn four_commands_at_once_bring_a_database_up_to_date_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = format!("sqlite:{}", folder.path().join("ledger.db").display());
    for database in [Postgres::shared().create_database(), file] {
        let commands: Vec<Child> = (0..4)
            .map(|_| {
                let mut command = command(folder.path(), &database, &["migrate", "up"]);
                command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs")
            })
            .collect();
        for command in commands {
            let output = command.wait_with_output().expect("it ends");
            assert!(output.status.success(), "{output:?}");
        }
        assert_eq!(status(folder.path(), &database).0, Some(0));
    }
}

#[test]
fn with_check_a_control_plane_refuses_a_database_that_lacks_something() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = Postgres::shared().create_database();
    let mut start = command(folder.path(), &database, &["control-plane"]);
    start.envs(variables(free_address(), free_address())).env("MINDWEAVE_CONTROL_PLANE__MIGRATE", "check");
    let output = start.output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let complaint = text(&output.stderr);
    assert!(complaint.contains("run `mindweave migrate up`"), "{complaint}");
    assert!(!complaint.contains("for-tests-only"), "{complaint}");
    assert_eq!(status(folder.path(), &database).1["version"], Value::Null, "it changed nothing");
}

#[test]
fn a_database_that_is_nowhere_is_said_so_without_its_password() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = format!("postgres://me:s3cret@{}/ledger", free_address());
    for arguments in [&["migrate", "status"][..], &["migrate", "up"], &["control-plane"]] {
        let mut command = command(folder.path(), &database, arguments);
        command.envs(variables(free_address(), free_address()));
        let output = command.output().expect("the binary runs");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = text(&output.stderr) + &text(&output.stdout);
        assert!(said.contains("nothing listens there") && !said.contains("s3cret"), "{said}");
    }
}

#[test]
fn the_doctor_looks_at_the_database_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = Postgres::shared().create_database();
    let wrong = database.replace("for-tests-only", "s3cret");
    for (database, status, says) in [
        (&database, "ok", "migrations to be made by the next start"),
        (&wrong, "fail", "user or password is wrong"),
    ] {
        let arguments = ["doctor", "--for", "control-plane", "--json"];
        let mut command = command(folder.path(), database, &arguments);
        let output =
            command.envs(variables(free_address(), free_address())).output().expect("the binary runs");
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let checks = report["checks"].as_array().expect("checks");
        let check = checks.iter().find(|check| check["name"] == "database").expect("a check of the database");
        assert_eq!(check["status"], status, "{check}");
        assert!(check["detail"].as_str().is_some_and(|detail| detail.contains(says)), "{check}");
        assert!(!text(&output.stdout).contains("s3cret"), "{output:?}");
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

fn variables(api: SocketAddr, admin: SocketAddr) -> [(&'static str, String); 5] {
    [
        ("MINDWEAVE_CONTROL_PLANE__LISTEN", api.to_string()),
        ("MINDWEAVE_CONTROL_PLANE__ADMIN_LISTEN", admin.to_string()),
        ("MINDWEAVE_ADMIN_TOKEN", "an-admin-token-of-the-tests".to_owned()),
        ("MINDWEAVE_PROXY_TOKEN", "a-proxy-token-of-the-tests".to_owned()),
        ("MINDWEAVE_MASTER_KEY", MASTER_KEY.to_owned()),
    ]
}

/// Status and body, once somebody listens.
fn get(to: SocketAddr, path: &str) -> Option<(u16, String)> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer an-admin-token-of-the-tests\r\nconnection: close\r\n\r\n"
    );
    let answer = http::exchange(to, request.as_bytes()).ok()?;
    Some((answer.status(), text(&answer.body)))
}

/// A process that goes with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn while_its_database_is_away_a_control_plane_says_so_and_is_back_with_it() {
    let server = Postgres::start();
    let folder = tempfile::tempdir().expect("a folder");
    let (api, admin) = (free_address(), free_address());
    let mut start = command(folder.path(), &server.create_database(), &["control-plane"]);
    start.envs(variables(api, admin)).stdout(Stdio::null()).stderr(Stdio::null());
    let _running = Running(start.spawn().expect("the binary runs"));
    let ready = || get(admin, "/health/ready");
    let projects = || get(api, "/projects");
    eventually("it is ready", || ready().filter(|(status, _)| *status == 200));
    assert_eq!(projects().expect("an answer").0, 200);
    server.kill();
    eventually("it is not ready", || {
        ready().filter(|(status, text)| *status == 503 && text.contains("no_database"))
    });
    let (status, body) = projects().expect("an answer");
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("\"code\":\"busy\"") && !body.contains("for-tests-only"), "{body}");
    server.start_again();
    eventually("it is ready again", || ready().filter(|(status, _)| *status == 200));
    assert_eq!(projects().expect("an answer").0, 200);
}
