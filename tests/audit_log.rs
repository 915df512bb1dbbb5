//! The audit log from outside: what its topic gets while brokers and control planes die, and what `mindweave audit verify` says of
//! an export.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod harness;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use harness::cluster::Cluster;
use harness::eventually;
use harness::ledger::Ledger;
use harness::server::{ADMIN_TOKEN, MindWeave};
use serde_json::{Value, json};

/// The id of the organisation of the first start.
fn org(ledger: &Ledger) -> String {
    ledger.get("/orgs")["data"][0]["id"].as_str().expect("an organisation").to_owned()
}

/// Gives the organisation another name, so many times.
fn rename(ledger: &Ledger, org: &str, round: &str, times: usize) {
    for number in 0..times {
        ledger.patch(&format!("/orgs/{org}"), &json!({ "name": format!("{round} {number}") }));
    }
}

/// What the topic has of each chain, in the order in which a consumer gets it.
fn told(cluster: &Cluster) -> BTreeMap<String, Vec<Value>> {
    let mut tool = cluster.kafka.tool("org.apache.kafka.tools.consumer.ConsoleConsumer");
    let brokers = cluster.kafka.brokers();
    tool.args(["--bootstrap-server", &brokers, "--topic", "audit.log", "--from-beginning"]);
    tool.args(["--timeout-ms", "5000"]).stdin(Stdio::null());
    let output = tool.output().expect("Kafka's consumer runs");
    let mut chains: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Ok(message) = serde_json::from_str::<Value>(line) else { continue };
        let chain = message["data"]["chain"].as_str().expect("a chain").to_owned();
        chains.entry(chain).or_default().push(message);
    }
    chains
}

#[test]
fn the_topic_gets_every_entry_in_order_while_broker_and_leader_die() {
    let mut cluster = Cluster::start(2);
    let org = org(&cluster.ledger(0));
    rename(&cluster.ledger(0), &org, "both live", 20);
    cluster.kafka.kill();
    rename(&cluster.ledger(1), &org, "without broker", 20);
    cluster.kafka.start_again();
    for place in [0, 1] {
        cluster.control_planes[place].process.kill();
        rename(&cluster.ledger(1 - place), &org, "one is dead", 20);
        cluster.start_control_plane_again(place);
        cluster.ledger(place).await_back();
    }
    rename(&cluster.ledger(0), &org, "both again", 20);
    eventually("everything is told", || {
        let waiting = cluster
            .postgres
            .query(&cluster.database, "SELECT count(*) FROM audit_heads WHERE told < sequence");
        (waiting.trim() == "0").then_some(())
    });
    let stored = cluster.ledger(1).get(&format!("/audit?org_id={org}&limit=1000"));
    let stored = stored["data"].as_array().expect("entries");
    let told = told(&cluster);
    let mut first: BTreeMap<u64, &Value> = BTreeMap::new();
    for message in &told[&org] {
        let sequence = message["data"]["sequence"].as_u64().expect("a number");
        let next = first.keys().next_back().map_or(1, |last| last + 1);
        assert!(sequence <= next, "entry {sequence} came before entry {next}");
        first.entry(sequence).or_insert(message);
    }
    assert_eq!(first.len(), stored.len(), "nothing is missing");
    assert!(first.len() >= 100, "{} entries", first.len());
    for entry in stored {
        let message = first[&entry["sequence"].as_u64().expect("a number")];
        assert_eq!((&message["type"], &message["data"]), (&entry["action"], entry));
    }
    let verified = cluster.ledger(0).get(&format!("/audit/verify?org_id={org}"));
    assert_eq!((&verified["valid"], &verified["complete"]), (&json!(true), &json!(true)), "{verified}");
}

/// `mindweave audit verify` with these arguments.
fn verify(arguments: &[&str], input: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mindweave"));
    command.args(["audit", "verify"]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    drop(stdin.write_all(input.unwrap_or_default().as_bytes())); // it may not want it
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it ends by itself")
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Writes an export into a file.
fn save(folder: &Path, name: &str, export: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, export).expect("a file can be written");
    path
}

fn export(server: &MindWeave, org: &str) -> String {
    let url = format!("http://{}/audit/export?org_id={org}", server.control_plane);
    let request = ureq::get(url).header("authorization", format!("Bearer {ADMIN_TOKEN}"));
    request.call().expect("an export").body_mut().read_to_string().expect("text")
}

#[test]
fn an_export_is_verified_without_server_and_every_way_to_tamper_is_shown() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = MindWeave::start("http://127.0.0.1:9");
    let org = org(&server.ledger());
    rename(&server.ledger(), &org, "before", 5);
    let older = export(&server, &org);
    rename(&server.ledger(), &org, "after", 5);
    let newer = export(&server, &org);
    drop(server);
    let (old_file, file) = (save(folder.path(), "old", &older), save(folder.path(), "new", &newer));
    let (old_file, file) = (old_file.to_str().expect("a name"), file.to_str().expect("a name"));

    let sound = verify(&[file], None);
    assert_eq!(code(&sound), 0, "{}", words(&sound));
    assert!(words(&sound).contains("only an entry from elsewhere shows"), "{}", words(&sound));
    let head = words(&sound).lines().find_map(|line| line.strip_prefix("head     ").map(str::to_owned));
    let head = head.expect("the head");
    assert_eq!(code(&verify(&["-", "--head", &head, "--against", old_file], Some(&newer))), 0);
    let report: Value = serde_json::from_str(&words(&verify(&[file, "--json"], None))).expect("JSON");
    assert_eq!((&report["sound"], &report["anchored"]), (&json!(true), &json!(false)));

    let lines: Vec<&str> = newer.split_inclusive('\n').collect();
    let without = |gone: usize| {
        lines.iter().enumerate().filter(|(at, _)| *at != gone).map(|(_, line)| *line).collect::<String>()
    };
    let mut swapped = lines.clone();
    swapped.swap(3, 4);
    for (tampered, meaning) in [
        (newer.replacen("before 3", "before 9", 1), "its content was changed"),
        (without(4), "entries before it are missing"),
        (without(lines.len() - 1), "the chain ends before this entry"),
        (swapped.concat(), "entries before it are missing"),
        (format!("{newer}{}", lines[2]), "it is there twice"),
        (format!("{newer}not an entry\n"), "it is not an entry"),
    ] {
        let found = verify(&["-"], Some(&tampered));
        assert_eq!(code(&found), 1, "{meaning}: {}", words(&found));
        assert!(words(&found).contains(meaning), "{meaning}: {}", words(&found));
    }
    // An older state of the log is sound by itself: only what is known from outside tells.
    assert_eq!(code(&verify(&[old_file], None)), 0);
    let rolled_back = verify(&[old_file, "--head", &head], None);
    assert_eq!(code(&rolled_back), 1);
    assert!(words(&rolled_back).contains("the chain ends before this entry"), "{}", words(&rolled_back));

    assert_eq!(code(&verify(&["/no/such/file"], None)), 2);
    assert_eq!(code(&verify(&["-"], Some("{}"))), 2, "no export");
    assert_eq!(code(&verify(&[file, "--head", "12"], None)), 2, "no such option");
}
