//! Who gets in, and what the others are told.

use std::time::{Duration, SystemTime};

use crate::harness::apart::{PROXY_TOKEN, Proxy};
use crate::harness::eventually;
use crate::harness::governed::Call;
use crate::harness::server::ADMIN_TOKEN;
use crate::harness::simulator::Simulator;
use crate::pki::{Authority, Secured, assert_no_secret};

#[test]
fn a_call_through_a_proxy_with_a_certificate_is_in_the_ledger_once() {
    let simulator = Simulator::start();
    let secured = Secured::start();
    let (project, key) = secured.ledger().project_with_key("secured");
    let proxy = secured.proxy(&simulator.url(), &[]);
    let call = Call::to(proxy.addr, &key).simulate("input_tokens=120; output_tokens=34");
    assert_eq!(call.send().status(), 200);
    let events = secured.ledger().await_events(&format!("project_id={project}"), 1);
    assert_eq!(events[0]["cost_nano_usd"], 120 * 5_000 + 34 * 25_000, "{:#}", events[0]);
    let log = secured.control_plane.process.log();
    assert!(log.contains("proxy-1.internal"), "the log says whose certificate it was:\n{log}");
    assert_no_secret(&[proxy.process.log(), log], &[PROXY_TOKEN, ADMIN_TOKEN, &key], &secured.files);
}

/// Refused for this reason: the proxy says so, serves nothing, and neither log has a secret.
fn assert_refused(secured: &Secured, proxy: &Proxy, reason: &str) {
    eventually(&format!("the log says {reason:?}"), || proxy.process.log().contains(reason).then_some(()));
    eventually("it has started, and has no snapshot", || {
        let (status, why) = proxy.health();
        assert_eq!(status, 503, "{why}");
        (why == "not ready: no_snapshot\n").then_some(())
    });
    let logs = [proxy.process.log(), secured.control_plane.process.log()];
    assert_no_secret(&logs, &[PROXY_TOKEN, ADMIN_TOKEN], &secured.files);
}

#[test]
fn who_has_no_certificate_or_the_wrong_one_gets_nothing_and_reads_why_in_its_log() {
    let simulator = Simulator::start();
    let secured = Secured::start();
    secured.files.put_pair("foreign", &Authority::new("proxies").proxy("proxy-1.internal"));
    let yesterday = SystemTime::from(jiff::Timestamp::now()) - Duration::from_secs(86_400);
    secured.files.put_pair("expired", &secured.proxies.proxy_until("proxy-1.internal", yesterday));
    secured.files.put_pair("servers_own", &secured.servers.server("127.0.0.1"));
    for (shown, reason) in [
        ("", "the control plane wants a client certificate of an authority that it trusts"),
        ("foreign", "refuses this proxy's certificate: no authority that it trusts vouches for it"),
        ("expired", "refuses this proxy's certificate: it has expired"),
        ("servers_own", "refuses this proxy's certificate: "),
    ] {
        let proxy = secured.unready_proxy(&simulator.url(), shown, &[]);
        assert_refused(&secured, &proxy, reason);
        let counted = "mindweave_control_plane_watch_failures_total{reason=\"certificate\"}";
        assert!(proxy.metric(counted) >= Some(1.0), "{shown:?} counts as a fault of the certificate");
    }
    let refused = "mindweave_control_plane_refused_proxy_requests_total{reason=\"certificate\"}";
    assert!(secured.metric(refused) >= Some(1.0));
    let failed = "mindweave_control_plane_tls_handshake_failures_total{reason=\"client_certificate\"}";
    assert!(secured.metric(failed) >= Some(3.0));
}

#[test]
fn a_control_plane_of_another_name_or_of_an_unknown_authority_is_not_told_the_token() {
    let simulator = Simulator::start();
    let secured = Secured::start();
    secured.files.put_pair("server", &secured.servers.server("another.internal"));
    await_reloads(&secured, 1.0);
    let proxy = secured.unready_proxy(&simulator.url(), "proxy", &[]);
    assert_refused(&secured, &proxy, "not valid for name");
    secured.files.put_pair("server", &Authority::new("strangers").server("127.0.0.1"));
    await_reloads(&secured, 2.0);
    let proxy = secured.unready_proxy(&simulator.url(), "proxy", &[]);
    assert_refused(&secured, &proxy, "UnknownIssuer");
    let log = secured.control_plane.process.log();
    assert!(!log.contains("proxy connected"), "{log}");
}

fn await_reloads(secured: &Secured, count: f64) {
    eventually("the new files are in force", || {
        let loaded = "mindweave_control_plane_tls_reloads_total{result=\"loaded\"}";
        (secured.metric(loaded) >= Some(count)).then_some(())
    });
}

#[test]
fn the_right_token_without_a_certificate_is_a_problem_that_says_what_is_missing() {
    let secured = Secured::start();
    let proxys = crate::harness::ledger::Ledger::secured(
        secured.control_plane.api,
        PROXY_TOKEN,
        &secured.servers.pem(),
    );
    let (status, problem) =
        proxys.refused("/internal/v1/events/claim", &serde_json::json!({ "source": "s" }));
    assert_eq!((status, &problem["code"]), (403, &"client_certificate_required".into()), "{problem:#}");
    assert!(
        problem["detail"].as_str().expect("words").contains("proxy.control_plane_cert_file"),
        "{problem:#}"
    );
    // The API of people is not a matter of certificates, and its token is still needed.
    let (status, _) = proxys.refused("/projects", &serde_json::json!({ "name": "x" }));
    assert_eq!(status, 401);
}

#[test]
fn a_certificate_without_a_token_opens_nothing() {
    let simulator = Simulator::start();
    let secured = Secured::start();
    let wrong = [("MINDWEAVE_PROXY_TOKEN", "wrong-token-of-a-proxy-0123456789")];
    let proxy = secured.unready_proxy(&simulator.url(), "proxy", &wrong);
    assert_refused(&secured, &proxy, "does not accept this proxy token");
}

#[test]
fn a_control_plane_whose_files_cannot_be_used_does_not_start_and_says_which() {
    let files = crate::pki::Files::new();
    files.put_pair("server", &Authority::new("servers").server("127.0.0.1"));
    files.put("server.key", &Authority::new("others").server("127.0.0.1").key);
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_mindweave"));
    command.arg("control-plane").env("MINDWEAVE_DATA_DIR", folder.path().join("data"));
    command.env("MINDWEAVE_CONTROL_PLANE__LISTEN", "127.0.0.1:0");
    command.env("MINDWEAVE_CONTROL_PLANE__ADMIN_LISTEN", "127.0.0.1:0");
    command.env("MINDWEAVE_CONTROL_PLANE__TLS__CERT_FILE", files.path("server.crt"));
    command.env("MINDWEAVE_CONTROL_PLANE__TLS__KEY_FILE", files.path("server.key"));
    let output = command.output().expect("the binary runs");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    assert!(complaint.contains("certificate and key cannot be used together"), "{complaint}");
}
