//! The shape of the workspace, held by a test: who may import whom, and how big a file may get.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};

/// Each crate of the workspace with the ones that it may import. Imports go down only; the data plane and the control plane
/// never see each other, and the simulator sees nobody, so that it and the meter check each other.
const IMPORTS: [(&str, &[&str]); 11] = [
    (
        "mindweave",
        &[
            "mindweave-control-plane",
            "mindweave-eventlog",
            "mindweave-kafka",
            "mindweave-metering",
            "mindweave-policy",
            "mindweave-proxy",
            "mindweave-simulator",
            TEST_SERVERS,
        ],
    ),
    ("mindweave-proxy", &["mindweave-eventlog", "mindweave-metering", "mindweave-policy"]),
    (
        "mindweave-control-plane",
        &["mindweave-eventlog", "mindweave-identity", "mindweave-metering", "mindweave-policy", TEST_SERVERS],
    ),
    ("mindweave-identity", &["mindweave-policy", TEST_SERVERS]),
    ("mindweave-kafka", &["mindweave-eventlog", TEST_SERVERS]),
    ("mindweave-simulator", &[]),
    ("mindweave-eventlog", &["mindweave-metering"]),
    ("mindweave-policy", &["mindweave-metering"]),
    ("mindweave-metering", &[]),
    (TEST_SERVERS, &[]),
    // Measures requests from outside, and the way of events with its parts in hand.
    (
        "mindweave-bench",
        &[
            "mindweave-control-plane",
            "mindweave-eventlog",
            "mindweave-kafka",
            "mindweave-policy",
            TEST_SERVERS,
        ],
    ),
];

/// Real servers for tests and benches: never part of what is shipped.
const TEST_SERVERS: &str = "mindweave-test-servers";

/// What a crate must not even reach through others, and why.
const OUT_OF_REACH: [(&str, &[&str]); 6] = [
    ("mindweave", &[TEST_SERVERS]),
    // The hot path waits for no database and no broker, and carries no second web framework.
    ("mindweave-proxy", &["sqlx", "sqlx-core", "axum", "rdkafka"]),
    // The ledger takes events from whoever brings them.
    ("mindweave-control-plane", &["rdkafka"]),
    ("mindweave-kafka", &["sqlx", "sqlx-core", "axum"]),
    // What an exchange costs is a pure question: no IO, no async.
    ("mindweave-metering", &["tokio", "hyper", "mio", "socket2"]),
    ("mindweave-policy", &["tokio", "hyper", "mio", "socket2"]),
];

/// Libraries that one crate alone may import, so that they can be replaced in one place.
const SOLE_USER: [(&str, &str); 2] = [("regorus", "mindweave-policy"), ("rdkafka", "mindweave-kafka")];

/// Longest Rust file, in lines: more does not fit one reading.
const MAX_FILE_LINES: usize = 500;

/// Names that say nothing about what is in a file.
const EMPTY_NAMES: [&str; 5] = ["utils.rs", "helpers.rs", "common.rs", "manager.rs", "types.rs"];

fn metadata() -> Metadata {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let mut command = MetadataCommand::new();
    command.manifest_path(manifest).other_options(["--locked".to_owned()]);
    command.exec().expect("cargo metadata answers")
}

#[test]
fn imports_go_down_only() {
    let metadata = metadata();
    let allowed: BTreeMap<&str, &[&str]> = IMPORTS.into_iter().collect();
    let ours: BTreeSet<&str> =
        metadata.workspace_packages().iter().map(|package| package.name.as_str()).collect();
    let known: BTreeSet<&str> = allowed.keys().copied().collect();
    assert_eq!(ours, known, "a crate came or went: decide here what it may import");
    for package in metadata.workspace_packages() {
        for dependency in
            package.dependencies.iter().filter(|dependency| ours.contains(dependency.name.as_str()))
        {
            let name = dependency.name.as_str();
            assert!(
                allowed[package.name.as_str()].contains(&name),
                "{} must not import {name}",
                package.name
            );
        }
    }
}

#[test]
fn the_hot_path_and_the_pure_crates_do_not_reach_what_they_must_not() {
    let metadata = metadata();
    for (crate_name, forbidden) in OUT_OF_REACH {
        let reached = reached_by(&metadata, crate_name);
        for name in forbidden {
            assert!(
                !reached.contains(*name),
                "{crate_name} reaches {name}: `cargo tree -p {crate_name} -i {name}` shows how"
            );
        }
    }
}

#[test]
fn a_library_with_one_user_keeps_one_user() {
    for package in metadata().workspace_packages() {
        for (library, user) in SOLE_USER {
            let imports = package.dependencies.iter().any(|dependency| dependency.name == library);
            assert!(
                !imports || package.name.as_str() == user,
                "only {user} may import {library}, not {}",
                package.name
            );
        }
    }
}

#[test]
fn every_crate_takes_the_workspaces_lints() {
    for package in metadata().workspace_packages() {
        let manifest = std::fs::read_to_string(&package.manifest_path).expect("a manifest is text");
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{} sets its own lints",
            package.manifest_path
        );
    }
}

#[test]
fn every_rust_file_fits_one_reading_and_has_a_name_that_says_something() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    rust_files(root, &mut files);
    assert!(files.len() > 50, "only {} files found: the search is broken", files.len());
    for file in files {
        let lines = std::fs::read_to_string(&file).expect("a Rust file is text").lines().count();
        let shown = file.strip_prefix(root).unwrap_or(&file).display();
        assert!(lines <= MAX_FILE_LINES, "{shown} has {lines} lines, at most {MAX_FILE_LINES} are allowed");
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        assert!(!EMPTY_NAMES.contains(&name), "{shown}: name it after what is in it");
    }
}

/// Every package that a crate's own code can reach; what only its tests and build scripts use does not count.
fn reached_by(metadata: &Metadata, crate_name: &str) -> BTreeSet<String> {
    let resolve = metadata.resolve.as_ref().expect("metadata with dependencies");
    let nodes: BTreeMap<&PackageId, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let names: BTreeMap<&PackageId, &str> =
        metadata.packages.iter().map(|package| (&package.id, package.name.as_str())).collect();
    let start = metadata
        .packages
        .iter()
        .find(|package| package.name.as_str() == crate_name)
        .expect("a crate of ours");
    let mut reached = BTreeSet::new();
    let mut open = vec![&start.id];
    while let Some(id) = open.pop() {
        for dependency in &nodes[id].deps {
            let at_runtime = dependency.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal);
            if at_runtime && reached.insert(names[&dependency.pkg].to_owned()) {
                open.push(&dependency.pkg);
            }
        }
    }
    reached
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            // Built things and other people's packages are not ours to judge.
            if !name.starts_with('.') && name != "target" && name != "node_modules" {
                rust_files(&path, files);
            }
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
}
