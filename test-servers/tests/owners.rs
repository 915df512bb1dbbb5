//! Servers end with the process that started them, whatever ends that process.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod waiting;

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use waiting::{DEADLINE, eventually};

/// A process that holds servers in statics, which are never dropped.
struct Owner {
    process: Child,
    /// The address and the folder of each server.
    servers: Vec<(String, PathBuf)>,
}

fn owner(servers: &[&str]) -> Owner {
    let mut process = Command::new(env!("CARGO_BIN_EXE_test-servers"))
        .args(servers)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a binary of this crate");
    let mut lines = BufReader::new(process.stdout.take().expect("its output is a pipe")).lines();
    let servers = servers.iter().map(|name| {
        let line = lines.next().and_then(Result::ok).unwrap_or_else(|| panic!("{name} did not start"));
        let mut words = line.split(' ').skip(1);
        let address = words.next().expect("an address");
        let address =
            address.rsplit('@').next().and_then(|rest| rest.split('/').next()).expect("a host and a port");
        (address.to_owned(), PathBuf::from(words.next().expect("a folder")))
    });
    let servers = servers.collect();
    Owner { process, servers }
}

impl Owner {
    fn all_are_up(&self) {
        for (address, folder) in &self.servers {
            assert!(folder.is_dir(), "{}", folder.display());
            TcpStream::connect(address).expect("a server that listens");
        }
    }

    fn all_go(mut self) {
        self.process.wait().expect("it ends");
        for (address, folder) in &self.servers {
            eventually(&format!("{} is gone within {DEADLINE:?}", folder.display()), || {
                (!folder.exists()).then_some(())
            });
            TcpStream::connect(address).expect_err("nobody listens any more");
        }
    }
}

#[test]
fn servers_end_when_their_owner_is_killed() {
    let mut owner = owner(&["kafka", "postgres"]);
    owner.all_are_up();
    owner.process.kill().expect("a process of ours"); // SIGKILL: it runs no more code
    owner.all_go();
}

#[test]
fn servers_end_when_their_owner_exits_without_dropping_them() {
    let mut owner = owner(&["postgres"]);
    owner.all_are_up();
    drop(owner.process.stdin.take()); // it returns from main, and statics are not dropped then
    owner.all_go();
}

#[test]
fn a_server_ends_when_its_owner_is_killed_at_any_moment_of_a_start() {
    // What is in a server's folder when it is made, when its data is being copied, when it is started, when it runs.
    for moment in [".", "data/base", "data/pg_hba.conf", "log.1", "data/postmaster.pid"] {
        // A folder of its own for temporary files shows what is left. PostgreSQL's user has to pass through it.
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))
            .expect("a folder of ours");
        let entries = || std::fs::read_dir(folder.path()).expect("a folder of ours").flatten();
        let mut starting = Command::new(env!("CARGO_BIN_EXE_test-servers"));
        starting.arg("postgres").env("TMPDIR", folder.path()).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut starting = starting.spawn().expect("a binary of this crate");
        eventually(moment, || entries().find(|entry| entry.path().join(moment).exists()).map(drop));
        starting.kill().expect("a process of ours");
        starting.wait().expect("it ends");
        eventually("its folder is gone", || (entries().count() == 0).then_some(()));
    }
}
