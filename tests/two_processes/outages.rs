//! One of the two is away.

use std::io::Write;

use crate::harness::apart::{ControlPlane, PROXY_TOKEN, Proxy};
use crate::harness::governed::Call;
use crate::harness::server::MindWeave;
use crate::harness::simulator::Simulator;
use crate::harness::{eventually, http};

/// A proxy that serves this key.
fn serving(simulator: &Simulator, control_plane: &ControlPlane, name: &str) -> (Proxy, String, String) {
    let (project, key) = control_plane.ledger().project_with_key(name);
    let proxy = Proxy::start(&simulator.url(), control_plane);
    assert_eq!(Call::to(proxy.addr, &key).send().status(), 200);
    (proxy, project, key)
}

#[test]
fn a_killed_control_plane_stops_nobody_and_gets_every_event_once_when_it_is_back() {
    let simulator = Simulator::start();
    let mut control_plane = ControlPlane::start();
    let (proxy, project, key) = serving(&simulator, &control_plane, "alone");
    let call = Call::to(proxy.addr, &key);
    let mut calls = 1;
    for round in 0..3 {
        control_plane.process.kill();
        for _ in 0..20 {
            assert_eq!(call.send().status(), 200);
        }
        calls += 20;
        eventually("the proxy notices", || {
            (proxy.metric("mindweave_control_plane_connected") == Some(0.0)).then_some(())
        });
        assert_eq!(proxy.health().0, 200, "a proxy with an old snapshot serves");
        control_plane.start_again();
        let events = control_plane.ledger().await_events(&format!("project_id={project}"), calls);
        assert!(events.iter().all(|event| event["outcome"] == "complete"), "round {round}: {events:#?}");
    }
    eventually("the proxy hears again", || {
        let connected = proxy.metric("mindweave_control_plane_connected") == Some(1.0);
        let age = proxy.metric("mindweave_control_plane_snapshot_age_seconds")?;
        (connected && age < 2.0).then_some(())
    });
}

#[test]
fn a_proxy_that_starts_alone_serves_with_what_it_knew_and_delivers_what_it_could_not() {
    let simulator = Simulator::start();
    let mut control_plane = ControlPlane::start();
    let (mut proxy, project, key) = serving(&simulator, &control_plane, "restarted");
    control_plane.ledger().await_events(&format!("project_id={project}"), 1);
    eventually("the snapshot is on disk", || {
        proxy.process.data_dir().join("snapshot.sealed").exists().then_some(())
    });
    control_plane.process.kill();
    for _ in 0..5 {
        assert_eq!(Call::to(proxy.addr, &key).send().status(), 200);
    }
    proxy.process.kill();
    proxy.start_again();
    assert_eq!(proxy.metric("mindweave_control_plane_connected"), Some(0.0));
    for _ in 0..5 {
        assert_eq!(Call::to(proxy.addr, &key).send().status(), 200);
    }
    assert_eq!(Call::to(proxy.addr, "mw_nobody_has_this_key").send().status(), 401);
    control_plane.start_again();
    control_plane.ledger().await_events(&format!("project_id={project}"), 11);
    // What changed meanwhile is heard as well.
    let (_, later) = control_plane.ledger().project_with_key("later");
    eventually("the new key works", || (Call::to(proxy.addr, &later).send().status() == 200).then_some(()));
}

#[test]
fn a_proxy_that_stops_alone_keeps_its_events_for_the_next_start() {
    let simulator = Simulator::start();
    let mut control_plane = ControlPlane::start();
    let (mut proxy, project, key) = serving(&simulator, &control_plane, "stopped");
    control_plane.ledger().await_events(&format!("project_id={project}"), 1);
    assert!(control_plane.process.stop(), "{}", control_plane.process.log());
    assert_eq!(Call::to(proxy.addr, &key).send().status(), 200);
    assert!(proxy.process.stop(), "{}", proxy.process.log());
    control_plane.start_again();
    assert_eq!(control_plane.ledger().events("").len(), 1);
    proxy.start_again();
    control_plane.ledger().await_events(&format!("project_id={project}"), 2);
}

#[test]
fn a_proxy_that_knows_nothing_is_not_ready_until_the_control_plane_answers() {
    let simulator = Simulator::start();
    let control_plane = ControlPlane::start();
    let (_, key) = control_plane.ledger().project_with_key("late");
    control_plane.gate.lead_to(None);
    let proxy = Proxy::start_unready(&simulator.url(), &control_plane.gate.url(), &[]);
    assert_eq!(proxy.health(), (503, "not ready: no_snapshot\n".to_owned()));
    let refused = Call::to(proxy.addr, &key).send();
    assert_eq!(refused.status(), 503, "{refused:?}");
    assert_eq!(refused.header("x-should-retry").as_deref(), Some("true"), "{refused:?}");
    control_plane.gate.lead_to(Some(control_plane.api));
    proxy.await_ready();
    assert_eq!(Call::to(proxy.addr, &key).send().status(), 200);
}

#[test]
fn a_cut_between_the_two_heals_by_itself_and_loses_nothing() {
    let simulator = Simulator::start();
    let control_plane = ControlPlane::start();
    let (proxy, project, key) = serving(&simulator, &control_plane, "cut");
    let mut calls = 1;
    for _ in 0..5 {
        control_plane.gate.lead_to(None);
        for _ in 0..5 {
            assert_eq!(Call::to(proxy.addr, &key).send().status(), 200);
        }
        calls += 5;
        control_plane.gate.lead_to(Some(control_plane.api));
        control_plane.ledger().await_events(&format!("project_id={project}"), calls);
    }
}

#[test]
fn what_a_proxy_keeps_of_its_control_plane_is_sealed_and_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let simulator = Simulator::start();
    let control_plane = ControlPlane::start();
    let (proxy, _, key) = serving(&simulator, &control_plane, "sealed");
    for name in ["snapshot.sealed", "counters.sealed"] {
        let path = proxy.process.data_dir().join(name);
        let bytes = eventually("the file is there", || std::fs::read(&path).ok());
        let mode = std::fs::metadata(&path).expect("a file").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}");
        for secret in ["sk-ant-api03-upstream-of-the-project", "sealed", PROXY_TOKEN, &key] {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} stands in {name}");
        }
    }
    for log in [proxy.process.log(), control_plane.process.log()] {
        for secret in ["sk-ant-api03", PROXY_TOKEN, &key] {
            assert!(!log.contains(secret), "{secret} stands in a log:\n{log}");
        }
    }
}

#[test]
fn a_control_plane_delivers_what_a_killed_serve_left_in_its_data_folder() {
    let simulator = Simulator::start();
    let mut server = MindWeave::start(&simulator.url());
    let (project, key) = server.ledger().project_with_key("left");
    let mut open = http::connect(server.proxy).expect("the proxy accepts");
    let head =
        format!("POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ncontent-length: 100\r\n\r\n{{");
    open.write_all(head.as_bytes()).expect("the proxy reads");
    eventually("the request is admitted", || {
        let metrics =
            http::exchange(server.admin, b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let text = String::from_utf8(metrics.ok()?.body).ok()?;
        text.contains("\nmindweave_journal_open_admissions 1\n").then_some(())
    });
    server.kill();
    let mut control_plane = ControlPlane::taking_over(server.data_dir());
    let event = control_plane.ledger().await_events(&format!("project_id={project}"), 1).remove(0);
    assert_eq!(event["outcome"], "interrupted", "{event:#}");
    assert!(control_plane.process.stop());
    control_plane.start_again();
    control_plane.ledger().await_events(&format!("project_id={project}"), 1);
}
