//! What lies in `deploy/` speaks of settings, ports and times that there are.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const PREFIX: &str = "MINDWEAVE_";
/// Secrets, which are no settings.
const SECRETS: [&str; 3] = ["MINDWEAVE_ADMIN_TOKEN", "MINDWEAVE_PROXY_TOKEN", "MINDWEAVE_MASTER_KEY"];
/// What the other programs in these files listen on: HAProxy's are ours.
const FOREIGN_PORTS: [&str; 5] = ["53", "443", "5432", "9092", "9093"];

/// Every file of the folder, with its text.
fn files() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, found);
            } else {
                let text = std::fs::read_to_string(&path).expect("a text");
                found.push((path, text));
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy"), &mut found);
    assert!(found.len() >= 12, "{found:?}");
    found
}

/// The file that ends so.
fn file(name: &str) -> String {
    let files = files();
    let (_, text) = files.iter().find(|(path, _)| path.ends_with(name)).expect("the file is there");
    text.clone()
}

/// Every setting with its default, as the binary prints them.
fn settings() -> BTreeMap<String, String> {
    let output =
        Command::new(env!("CARGO_BIN_EXE_mindweave")).arg("config").output().expect("the binary runs");
    let template = String::from_utf8(output.stdout).expect("text");
    let (mut section, mut found) = (String::new(), BTreeMap::new());
    for line in template.lines() {
        let line = line.trim_start_matches('#').trim();
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = format!("{name}.");
        } else if let Some((name, value)) = line.split_once('=') {
            let name = name.trim();
            if !name.is_empty() && name.chars().all(|char| char.is_ascii_lowercase() || char == '_') {
                found.insert(format!("{section}{name}"), value.trim().trim_matches('"').to_owned());
            }
        }
    }
    assert_eq!(found["proxy.listen"], "127.0.0.1:8000", "the template is read as it is meant");
    found
}

fn variables_in(text: &str) -> BTreeSet<String> {
    let of_ours = |word: &str| word.starts_with(PREFIX) && word.len() > PREFIX.len();
    let words = text.split(|char: char| !(char.is_ascii_alphanumeric() || char == '_'));
    words.filter(|word| of_ours(word)).map(str::to_owned).collect()
}

/// Variables with the values that stand in these files, secrets and what comes from elsewhere left out.
fn given() -> Vec<(PathBuf, String, String)> {
    let mut found = Vec::new();
    for (path, text) in files() {
        for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
            let Some((_, rest)) = line.split_once(PREFIX) else { continue };
            let end = |char: char| !(char.is_ascii_alphanumeric() || char == '_');
            let name = rest.split(end).next().expect("a first part");
            let rest = rest.strip_prefix(name).expect("it begins so");
            let name = &*format!("{PREFIX}{name}");
            let given = ["=", ": ", ", value: "].iter().find_map(|mark| rest.strip_prefix(mark));
            let Some(value) = given else { continue };
            let value = value.trim_end_matches('}');
            let value = value.trim().trim_end_matches('\\').trim().trim_matches('"');
            if !value.contains("$") && !SECRETS.contains(&name) {
                found.push((path.clone(), name.to_owned(), value.to_owned()));
            }
        }
    }
    found
}

#[test]
fn every_variable_is_a_setting_or_a_secret() {
    let known: BTreeSet<String> = settings()
        .keys()
        .map(|key| format!("{PREFIX}{}", key.replace('.', "__").to_uppercase()))
        .chain(SECRETS.map(str::to_owned))
        .collect();
    let mut seen = BTreeSet::new();
    for (path, text) in files() {
        for name in variables_in(&text) {
            // As an example of what Kubernetes would set.
            if name != "MINDWEAVE_PROXY_PORT" {
                assert!(known.contains(&name), "{}: {name} is no setting", path.display());
                seen.insert(name);
            }
        }
    }
    for secret in SECRETS {
        assert!(seen.contains(secret), "nobody sets {secret}");
    }
}

#[test]
fn every_value_is_one_that_the_program_takes() {
    let given = given();
    assert!(given.len() > 12, "{given:?}");
    for (path, name, value) in given {
        // A second, made-up setting: the program names every fault of its configuration and does nothing.
        let output = Command::new(env!("CARGO_BIN_EXE_mindweave"))
            .args(["migrate", "status"])
            .env_clear()
            .env("MINDWEAVE_PROXY__MADE_UP", "1")
            .env("MINDWEAVE_PROXY__CONTROL_PLANE", "https://x:1")
            .env("MINDWEAVE_CONTROL_PLANE__TLS__CERT_FILE", "x")
            .env("MINDWEAVE_CONTROL_PLANE__TLS__KEY_FILE", "x")
            .env(&name, &value)
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null())
            .output()
            .expect("the binary runs");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains("MINDWEAVE_PROXY__MADE_UP"), "{told}");
        assert!(told.contains("the configuration has 1 fault"), "{}: {name}={value}: {told}", path.display());
    }
}

#[test]
fn every_port_is_one_that_something_listens_on() {
    let settings = settings();
    let ours: Vec<String> =
        ["proxy.listen", "proxy.admin_listen", "control_plane.listen", "control_plane.admin_listen"]
            .map(|key| settings[key].rsplit(':').next().expect("a port").to_owned())
            .to_vec();
    let mut seen = BTreeSet::new();
    for (path, text) in files().into_iter().filter(|(path, _)| path.extension().is_none_or(|end| end != "md"))
    {
        let bare = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        for line in bare {
            let line = line.to_lowercase().replace("0.0.0.0:", "port: ");
            for marker in [
                "port: ",
                "port ",
                "expose ",
                "bind :",
                "localhost:",
                "127.0.0.1/",
                "127.0.0.1:",
                "control-plane:",
            ] {
                for rest in line.split(marker).skip(1) {
                    let numbers =
                        rest.split(|char: char| !char.is_ascii_digit() && char != ' ').next().unwrap_or("");
                    for port in numbers.split_whitespace() {
                        let known = ours.iter().any(|known| known == port) || FOREIGN_PORTS.contains(&port);
                        assert!(known, "{}: nothing listens on {port}: {line}", path.display());
                        seen.insert(port.to_owned());
                    }
                }
            }
        }
    }
    assert!(ours.iter().all(|port| seen.contains(port)), "{ours:?} {seen:?}");
}

#[test]
fn whoever_stops_a_proxy_waits_longer_than_it_drains() {
    let drain = settings()["proxy.deadlines.drain"].clone();
    let drain =
        drain.strip_suffix('m').and_then(|minutes| minutes.parse::<u64>().ok()).expect("minutes") * 60;
    let number = |text: &str, before: &str| -> u64 {
        let rest = text.split(before).nth(1).unwrap_or_else(|| panic!("{before} in {text}"));
        rest.split(|char: char| !char.is_ascii_digit())
            .next()
            .and_then(|digits| digits.parse().ok())
            .expect("a number")
    };
    for unit in ["mindweave.service", "mindweave-proxy.service"] {
        assert!(number(&file(unit), "\nTimeoutStopSec=") * 60 > drain, "{unit}");
    }
    assert!(number(&file("compose.yaml"), "stop_grace_period: ") * 60 > drain);
    let proxy = file("kubernetes/proxy.yaml");
    let before = number(&proxy, "[sleep, \"");
    assert!(number(&proxy, "terminationGracePeriodSeconds: ") > drain + before);
    // And nobody on the way cuts an answer that the proxy still waits for.
    let idle = settings()["proxy.deadlines.idle"].trim_end_matches('m').parse::<u64>().expect("minutes") * 60;
    for side in ["timeout client ", "timeout server "] {
        assert!(number(&file("haproxy.cfg"), side) * 60 > idle, "{side}");
    }
}
