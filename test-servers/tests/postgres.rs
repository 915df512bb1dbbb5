//! What the tests of other crates rely on: PostgreSQL's starts, crashes, freezes, databases and certificates.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod waiting;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Instant;

use mindweave_test_servers::{Postgres, PostgresOptions, Tls, timescale};
use waiting::{DEADLINE, SILENCE, children, eventually, process_state};

/// Asks whether the server speaks TLS, the one question that needs no login: `S` is yes, `N` is no.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

#[test]
fn two_databases_are_apart_and_their_owner_is_no_superuser() {
    let server = Postgres::shared();
    let (one, two) = (server.create_database(), server.create_database());
    server.query(&one, "CREATE TABLE ledger (entry TEXT)");
    server.query(&two, "CREATE TABLE ledger (entry TEXT)");
    server.query(&one, "INSERT INTO ledger VALUES ('only here')");
    assert_eq!(server.query(&one, "SELECT entry FROM ledger"), "only here");
    assert_eq!(server.query(&two, "SELECT count(*) FROM ledger"), "0");
    assert_eq!(server.query(&one, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"), "f");
}

#[test]
fn a_wrong_password_is_refused() {
    let server = Postgres::shared();
    let url = server.create_database().replacen("for-tests-only", "guessed", 1);
    let output = Command::new(server.bin("psql")).args(["-X", "-w", "-d", &url, "-c", "SELECT 1"]).output();
    let output = output.expect("psql starts");
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("password authentication failed"), "{error}");
}

#[test]
fn what_was_committed_outlives_a_crash_and_a_stop_and_the_port_stays() {
    let server = Postgres::start();
    let url = server.create_database();
    server.query(&url, "CREATE TABLE ledger (entry TEXT)");
    for (times, down) in [Postgres::kill, Postgres::stop].into_iter().enumerate() {
        server.query(&url, "INSERT INTO ledger VALUES ('kept')");
        down(&server);
        TcpStream::connect(("127.0.0.1", server.port())).expect_err("a server that is down does not listen");
        server.start_again();
        assert_eq!(server.query(&url, "SELECT count(*) FROM ledger"), (times + 1).to_string());
    }
    assert!(!server.log().contains("not properly shut down"), "the last stop was orderly:\n{}", server.log());
}

#[test]
fn a_crash_takes_every_process_of_the_server_and_leaves_it_to_recover() {
    let server = Postgres::start();
    let url = server.create_database();
    let mut busy = Command::new(server.bin("psql"));
    // It computes and waits for nothing: left alone it would not notice for minutes that its server is gone.
    let computing = "DO $$ DECLARE done TIMESTAMPTZ := clock_timestamp() + INTERVAL '3 minutes'; \
                     BEGIN WHILE clock_timestamp() < done LOOP END LOOP; END $$";
    busy.args(["-X", "-q", "-d", &url, "-c", computing]);
    let mut busy = busy.stderr(Stdio::null()).stdout(Stdio::null()).spawn().expect("psql starts");
    let first = server.pid().expect("a server that runs");
    let backend = eventually("the backend works", || {
        let active = "SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'DO %' \
                      AND pid <> pg_backend_pid()";
        server.query(&server.admin_url(), active).parse::<u32>().ok()
    });
    let processes = children(first);
    assert!(processes.contains(&backend), "{processes:?} hold {backend}");
    let begin = Instant::now();
    server.kill();
    assert!(begin.elapsed() < DEADLINE, "a crash takes no time, this one {:?}", begin.elapsed());
    for process in processes.into_iter().chain([first]) {
        assert!(matches!(process_state(process), None | Some('Z')), "process {process} outlived the crash");
    }
    assert!(!busy.wait().expect("psql ends").success());
    server.start_again();
    assert!(server.log().contains("not properly shut down"), "{}", server.log());
}

#[test]
fn a_frozen_server_keeps_connections_waiting_and_goes_on_when_thawed() {
    let server = Postgres::start();
    let ask = || {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port())).expect("the kernel takes it");
        stream.set_read_timeout(Some(SILENCE)).expect("a timeout above zero");
        stream.write_all(&SSL_REQUEST).expect("the kernel takes it");
        stream
    };
    let mut answer = [0];
    ask().read_exact(&mut answer).expect("a server that runs answers");
    assert_eq!(answer, *b"N");

    server.freeze();
    let mut waiting = ask();
    let error = waiting.read_exact(&mut answer).expect_err("a frozen server says nothing");
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    let first = server.pid().expect("a server that runs");
    for process in children(first).into_iter().chain([first]) {
        // One that has ended is not taken away by a parent that stands still.
        assert!(matches!(process_state(process), Some('T' | 'Z')), "process {process}");
    }

    server.thaw();
    waiting.set_read_timeout(Some(DEADLINE)).expect("a timeout above zero");
    waiting.read_exact(&mut answer).expect("the same connection goes on");
    assert_eq!(answer, *b"N");
}

#[test]
fn a_frozen_server_can_be_stopped_and_killed() {
    let server = Postgres::start();
    server.freeze();
    server.stop();
    server.start_again();
    server.freeze();
    server.kill();
    server.start_again();
    assert_eq!(server.query(&server.admin_url(), "SELECT 1"), "1");
}

#[test]
fn tls_is_checked_against_the_servers_own_authority_and_plain_connections_are_refused() {
    let server =
        Postgres::with_options(&PostgresOptions { tls: Tls::Required, ..PostgresOptions::default() });
    let url = server.create_database();
    assert!(url.contains("sslmode=verify-full"), "{url}");
    assert_eq!(server.query(&url, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"), "t");

    let other = Postgres::with_options(&PostgresOptions { tls: Tls::Required, ..PostgresOptions::default() });
    let foreign =
        url.replace(&server.ca_file().display().to_string(), &other.ca_file().display().to_string());
    let plain = url.replace("verify-full", "disable");
    for (refused, reason) in [(&foreign, "certificate verify failed"), (&plain, "no encryption")] {
        let output = Command::new(server.bin("psql")).args(["-X", "-d", refused, "-c", "SELECT 1"]).output();
        let error = String::from_utf8_lossy(&output.expect("psql starts").stderr).into_owned();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn settings_of_the_test_win() {
    let settings = vec![("work_mem", "'7MB'".to_owned()), ("max_connections", "41".to_owned())];
    let server = Postgres::with_options(&PostgresOptions { settings, ..PostgresOptions::default() });
    let shown = server
        .query(&server.admin_url(), "SELECT current_setting('work_mem'), current_setting('max_connections')");
    assert_eq!(shown, "7MB|41");
}

#[test]
fn nothing_of_a_dropped_server_is_left() {
    let server = Postgres::start();
    let (folder, port, first) = (server.folder().to_owned(), server.port(), server.pid().expect("it runs"));
    let segment = || {
        let listed = std::fs::read_to_string("/proc/sysvipc/shm").expect("a list of shared memory segments");
        listed.lines().any(|line| line.split_whitespace().nth(4) == Some(&first.to_string()))
    };
    assert!(segment(), "a running PostgreSQL has a segment");
    let processes = children(first);
    drop(server);
    assert!(!folder.exists());
    TcpStream::connect(("127.0.0.1", port)).expect_err("nobody listens");
    for process in processes.into_iter().chain([first]) {
        assert!(matches!(process_state(process), None | Some('Z')), "process {process} is still there");
    }
    assert!(!segment(), "its shared memory segment is still there");
}

/// Without the extension there is nothing to start: then this holds that none is promised.
#[test]
fn timescale_is_there_when_it_is_said_to_be() {
    let server = Postgres::shared();
    let available = "SELECT count(*) FROM pg_available_extensions WHERE name = 'timescaledb'";
    let available = server.query(&server.admin_url(), available) == "1";
    assert_eq!(timescale().is_some(), available);
    if let Some(version) = timescale() {
        let url = server.create_timescale_database();
        let installed = "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'";
        assert_eq!(server.query(&url, installed), version);
        server.query(&url, "CREATE TABLE readings (at BIGINT NOT NULL); SELECT create_hypertable('readings', by_range('at', 10))");
    }
}

#[test]
fn a_server_that_cannot_start_says_why_and_what_to_do() {
    let settings = vec![("shared_buffers", "'a lot'".to_owned())];
    let failure = std::panic::catch_unwind(|| {
        Postgres::with_options(&PostgresOptions { settings, ..PostgresOptions::default() })
    });
    let failure = failure.err().expect("it cannot start");
    let message = failure.downcast_ref::<String>().expect("a panic with a message");
    for part in ["PostgreSQL ended while starting", "apt-get install postgresql", "shared_buffers"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn many_servers_start_at_once_each_on_its_own_port() {
    let starting: Vec<_> = (0..4).map(|_| std::thread::spawn(Postgres::start)).collect();
    let servers: Vec<Postgres> = starting.into_iter().map(|one| one.join().expect("it starts")).collect();
    let mut ports: Vec<u16> = servers.iter().map(Postgres::port).collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), servers.len());
    // The threads that started them are gone; the servers are not.
    for server in &servers {
        assert_eq!(server.query(&server.admin_url(), "SELECT 1"), "1");
    }
}
