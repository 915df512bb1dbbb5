//! Certificates and authorities that are replaced while everything runs.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use crate::harness::apart::Proxy;
use crate::harness::eventually;
use crate::harness::governed::Call;
use crate::harness::simulator::Simulator;
use crate::pki::{Authority, Secured};

/// A stream of some twenty pieces: long enough that every replacement meets some.
const STREAMED: &str = "input_tokens=10; output_tokens=20; chunk_delay_ms=5";

fn loaded(secured: &Secured) -> f64 {
    secured.metric("mindweave_control_plane_tls_reloads_total{result=\"loaded\"}").expect("it is counted")
}

fn reloaded(proxy: &Proxy) -> f64 {
    let series = "mindweave_control_plane_client_certificate_reloads_total{result=\"loaded\"}";
    proxy.metric(series).expect("it is counted")
}

/// Replaces files and waits until `counted` says that they are in force.
fn replace(what: &str, counted: impl Fn() -> f64, put: impl FnOnce()) {
    let before = counted();
    put();
    eventually(what, || (counted() > before).then_some(()));
}

/// How often the log says this.
fn times(log: &str, words: &str) -> usize {
    log.matches(words).count()
}

/// How often the proxy has begun to watch on a new connection because of new files.
fn renewed(proxy: &Proxy) -> usize {
    times(&proxy.process.log(), "watching the control plane on a new connection")
}

#[test]
fn everything_is_rotated_under_load_without_a_lost_event_or_a_broken_stream() {
    let simulator = Simulator::start();
    let secured = Secured::start();
    let (project, key) = secured.ledger().project_with_key("rotated");
    let proxy = secured.proxy(&simulator.url(), &[]);
    let call = Call::to(proxy.addr, &key).field("stream", true).simulate(STREAMED);
    let (done, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let answer = call.send();
                    assert!(answer.status() == 200 && answer.complete, "{answer:?}");
                    assert!(String::from_utf8_lossy(&answer.body).contains("message_stop"), "a whole stream");
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let rotated = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| rotate(&secured, &proxy)));
        done.store(true, Ordering::Relaxed);
        rotated.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    let calls = calls.into_inner();
    assert!(calls > 20, "only {calls} calls: that is no load");
    let trusted = std::fs::read_to_string(secured.files.path("servers.pem")).expect("the new authorities");
    let ledger = crate::harness::ledger::Ledger::secured(
        secured.control_plane.api,
        crate::harness::server::ADMIN_TOKEN,
        &trusted,
    );
    let events = ledger.await_events(&format!("project_id={project}"), calls);
    assert!(events.iter().all(|event| event["outcome"] == "complete" && event["output_tokens"] == 20));
    assert_eq!(proxy.metric("mindweave_control_plane_connected"), Some(1.0));
    for reason in ["unreachable", "unauthorized", "refused", "broken_off", "malformed", "certificate"] {
        let series = format!("mindweave_control_plane_watch_failures_total{{reason=\"{reason}\"}}");
        assert_eq!(proxy.metric(&series), Some(0.0), "{reason}: {}", proxy.process.log());
    }
}

/// Every file there is, authorities with an overlap.
fn rotate(secured: &Secured, proxy: &Proxy) {
    let (Secured { files, servers, proxies, .. }, new_servers, new_proxies) =
        (secured, Authority::new("new servers"), Authority::new("new proxies"));
    // Certificates of the same authorities.
    replace(
        "the new server certificate",
        || loaded(secured),
        || files.put_pair("server", &servers.server("127.0.0.1")),
    );
    let watches = renewed(proxy);
    replace(
        "the new proxy certificate",
        || reloaded(proxy),
        || files.put_pair("proxy", &proxies.proxy("proxy-1.internal")),
    );
    eventually("the watch stands on the new certificate", || (renewed(proxy) > watches).then_some(()));
    // Another authority for proxies: trusted beside the old one, used, then alone.
    let both = proxies.pem() + &new_proxies.pem();
    replace("both authorities of proxies", || loaded(secured), || files.put("proxies.pem", &both));
    let watches = renewed(proxy);
    replace(
        "a certificate of the new one",
        || reloaded(proxy),
        || files.put_pair("proxy", &new_proxies.proxy("proxy-1.internal")),
    );
    eventually("the watch stands on the new authority", || (renewed(proxy) > watches).then_some(()));
    replace("the old authority is gone", || loaded(secured), || files.put("proxies.pem", &new_proxies.pem()));
    // Another authority for control planes, the same way.
    let both = servers.pem() + &new_servers.pem();
    replace("both authorities of servers", || reloaded(proxy), || files.put("servers.pem", &both));
    replace(
        "a server certificate of the new one",
        || loaded(secured),
        || files.put_pair("server", &new_servers.server("127.0.0.1")),
    );
    let watches = renewed(proxy);
    replace(
        "the old one is not trusted",
        || reloaded(proxy),
        || files.put("servers.pem", &new_servers.pem()),
    );
    eventually("the watch trusts the new one alone", || (renewed(proxy) > watches).then_some(()));
}

#[test]
fn an_authority_that_is_taken_out_cuts_its_proxies_off_until_they_have_another_certificate() {
    let simulator = Simulator::start();
    let secured = Secured::start();
    let (project, key) = secured.ledger().project_with_key("cut off");
    let proxy = secured.proxy(&simulator.url(), &[]);
    assert_eq!(Call::to(proxy.addr, &key).send().status(), 200);
    let new = Authority::new("new proxies");
    secured.files.put("proxies.pem", &new.pem());
    eventually("the watch is cut", || {
        let log = proxy.process.log();
        log.contains("refuses this proxy's certificate: no authority that it trusts vouches for it")
            .then_some(())
    });
    let log = secured.control_plane.process.log();
    assert!(log.contains("watch ended: its proxy would not be let in any more"), "{log}");
    // Traffic goes on by what was said last, and its events wait.
    assert_eq!(Call::to(proxy.addr, &key).send().status(), 200);
    assert_eq!(proxy.metric("mindweave_control_plane_connected"), Some(0.0));
    secured.files.put_pair("proxy", &new.proxy("proxy-1.internal"));
    eventually("the proxy is back", || {
        (proxy.metric("mindweave_control_plane_connected") == Some(1.0)).then_some(())
    });
    secured.ledger().await_events(&format!("project_id={project}"), 2);
}

#[test]
fn a_watch_does_not_outlive_the_certificate_that_it_was_begun_with() {
    let simulator = Simulator::start();
    let secured = Secured::start();
    let end = SystemTime::from(jiff::Timestamp::now()) + Duration::from_secs(6);
    secured.files.put_pair("proxy", &secured.proxies.proxy_until("proxy-1.internal", end));
    let proxy = secured.proxy(&simulator.url(), &[]);
    assert_eq!(proxy.metric("mindweave_control_plane_connected"), Some(1.0));
    let expiry = "mindweave_control_plane_client_certificate_expiry_timestamp_seconds";
    let left = proxy.metric(expiry).expect("it is shown")
        - SystemTime::from(jiff::Timestamp::now())
            .duration_since(SystemTime::UNIX_EPOCH)
            .expect("after 1970")
            .as_secs_f64();
    assert!(left <= 6.0, "{left}");
    assert!(proxy.process.log().contains("this proxy's certificate is about to expire"));
    eventually("the watch is over", || {
        proxy.process.log().contains("refuses this proxy's certificate: it has expired").then_some(())
    });
    assert!(
        SystemTime::from(jiff::Timestamp::now()) >= end - Duration::from_secs(1),
        "it was valid until then"
    );
    secured.files.put_pair("proxy", &secured.proxies.proxy("proxy-1.internal"));
    eventually("the proxy is back", || {
        (proxy.metric("mindweave_control_plane_connected") == Some(1.0)).then_some(())
    });
}

#[test]
fn files_that_cannot_be_used_change_nothing_and_are_counted_on_both_sides() {
    let simulator = Simulator::start();
    let secured = Secured::start();
    let (_, key) = secured.ledger().project_with_key("kept");
    let proxy = secured.proxy(&simulator.url(), &[]);
    let good = std::fs::read_to_string(secured.files.path("server.crt")).expect("a certificate");
    secured.files.put("server.crt", "nonsense");
    secured.files.put("proxy.key", &secured.proxies.proxy("another").key);
    eventually("both say that they keep what they had", || {
        let kept = secured.metric("mindweave_control_plane_tls_reloads_total{result=\"kept_old\"}");
        let series = "mindweave_control_plane_client_certificate_reloads_total{result=\"kept_old\"}";
        (kept == Some(1.0) && proxy.metric(series) == Some(1.0)).then_some(())
    });
    for log in [secured.control_plane.process.log(), proxy.process.log()] {
        assert!(log.contains("keeping the old"), "{log}");
    }
    assert_eq!(Call::to(proxy.addr, &key).send().status(), 200);
    assert_eq!(proxy.metric("mindweave_control_plane_connected"), Some(1.0));
    // A proxy that comes now is served with what was kept.
    secured.files.put_pair("second", &secured.proxies.proxy("proxy-2.internal"));
    let second = secured.unready_proxy(&simulator.url(), "second", &[]);
    second.await_ready();
    replace("what was good before", || loaded(&secured), || secured.files.put("server.crt", &good));
}

#[test]
fn a_new_certificate_that_is_refused_takes_the_open_watch_from_nobody() {
    let simulator = Simulator::start();
    let secured = Secured::start();
    let proxy = secured.proxy(&simulator.url(), &[]);
    secured.files.put_pair("proxy", &Authority::new("somebody").proxy("proxy-1.internal"));
    eventually("the proxy says that it goes on with the open connection", || {
        proxy.process.log().contains("going on with the open connection").then_some(())
    });
    assert_eq!(proxy.metric("mindweave_control_plane_connected"), Some(1.0));
    let (_, key) = secured.ledger().project_with_key("later");
    eventually("it hears of what changes", || {
        (Call::to(proxy.addr, &key).send().status() == 200).then_some(())
    });
}
