//! The way to the Claude API, step by step, so that the first broken one is named; and the clock, by the API's own.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use ureq::tls::TlsConfig;

use super::Check;
use crate::config::{BaseUrl, Config};
use crate::trust::trusted;

/// Answers 401 without a key: nothing is used, nothing is billed.
const PROBE_PATH: &str = "/v1/models";
/// A probe waits no longer than this for its answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);
/// The API's clock is told in whole seconds and is as old as its way here.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(5);

/// Every check of the way upstream.
pub(super) fn checks(config: &Config) -> Vec<Check> {
    let url = &config.proxy_upstream;
    let mut checks = Vec::new();
    let reached = resolve(url, &mut checks).and_then(|addrs| connect(config, &addrs, &mut checks));
    let answer = reached.and_then(|()| ask(config, &mut checks));
    match answer {
        Some(date) => checks.push(clock(date.as_deref(), Timestamp::now())),
        None => checks.push(Check::skipped("clock", "there is no answer to compare it with")),
    }
    checks
}

fn resolve(url: &BaseUrl, checks: &mut Vec<Check>) -> Option<Vec<SocketAddr>> {
    const NAME: &str = "upstream name";
    let (host, port) = url.host_and_port()?;
    match (host.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>) {
        Ok(addrs) if !addrs.is_empty() => {
            let ips: Vec<String> = addrs.iter().map(|addr| addr.ip().to_string()).collect();
            checks.push(Check::ok(NAME, format!("{host} is {}", ips.join(", "))));
            Some(addrs)
        }
        Ok(_) => {
            checks.push(Check::fail(NAME, format!("{host} has no address"), "check proxy.upstream"));
            None
        }
        Err(error) => {
            let advice = "check proxy.upstream, and this machine's name servers";
            checks.push(Check::fail(NAME, format!("{host} cannot be looked up: {error}"), advice));
            None
        }
    }
}

fn connect(config: &Config, addrs: &[SocketAddr], checks: &mut Vec<Check>) -> Option<()> {
    const NAME: &str = "upstream connection";
    let mut failures = Vec::new();
    for addr in addrs {
        match TcpStream::connect_timeout(addr, config.proxy_deadlines_connect) {
            Ok(_) => {
                checks.push(Check::ok(NAME, format!("{addr} accepts")));
                return Some(());
            }
            Err(error) => failures.push(format!("{addr}: {error}")),
        }
    }
    let advice = "check the firewall and the route out; MindWeave connects directly and uses no HTTP proxy";
    checks.push(Check::fail(NAME, failures.join("; "), advice));
    None
}

/// Asks without a key. The answer's date, if there is an answer.
fn ask(config: &Config, checks: &mut Vec<Check>) -> Option<Option<String>> {
    const NAME: &str = "upstream API";
    let url = format!("{}{PROBE_PATH}", config.proxy_upstream.as_str());
    let roots = match trusted(config.proxy_upstream_ca_file.as_deref()) {
        Ok(roots) => roots,
        Err(problem) => {
            checks.push(Check::fail(NAME, problem, "set proxy.upstream_ca_file to a readable PEM file"));
            return None;
        }
    };
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .timeout_global(Some(PROBE_TIMEOUT))
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .build()
        .new_agent();
    let answer = match agent.get(&url).header("anthropic-version", "2023-06-01").call() {
        Ok(answer) => answer,
        Err(error @ (ureq::Error::Tls(_) | ureq::Error::Rustls(_) | ureq::Error::Io(_))) => {
            let advice = "if a company gateway signs its own certificates, put its authority into proxy.upstream_ca_file";
            checks.push(Check::fail(NAME, format!("{url}: {error}"), advice));
            return None;
        }
        Err(error) => {
            checks.push(Check::fail(
                NAME,
                format!("{url}: {error}"),
                "check that proxy.upstream is the Claude API",
            ));
            return None;
        }
    };
    let status = answer.status();
    checks.push(match status.as_u16() {
        401 => Check::ok(NAME, format!("{url} asks for a key, as the API does")),
        200..=299 => Check::ok(NAME, format!("{url} answers {status} without a key")),
        _ => Check::warn(
            NAME,
            format!("{url} answers {status}; the API answers 401"),
            "check that proxy.upstream is the Claude API",
        ),
    });
    Some(answer.headers().get("date").and_then(|date| date.to_str().ok()).map(str::to_owned))
}

fn clock(date: Option<&str>, now: Timestamp) -> Check {
    const NAME: &str = "clock";
    let parsed = date.and_then(|date| jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date).ok());
    let Some(theirs) = parsed else {
        return Check::skipped(NAME, "the answer has no date to compare it with");
    };
    let off = now.duration_since(theirs);
    let seconds = off.as_secs();
    if off.abs() <= CLOCK_TOLERANCE {
        return Check::ok(NAME, "agrees with the API's");
    }
    let direction = if off.is_negative() { "behind" } else { "ahead of" };
    let detail = format!("is {} s {direction} the API's", seconds.unsigned_abs());
    Check::warn(NAME, detail, "set this machine's clock (NTP): the ledger books calls by it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    #[test]
    fn a_clock_that_is_off_is_told_by_how_much() {
        let now: Timestamp = "2026-11-21T12:00:00.9Z".parse().unwrap();
        assert_eq!(clock(Some("Sat, 21 Nov 2026 12:00:00 GMT"), now).status, Status::Ok);
        let behind = clock(Some("Sat, 21 Nov 2026 12:02:00 GMT"), now);
        assert_eq!((behind.status, behind.detail.as_str()), (Status::Warn, "is 119 s behind the API's"));
        let ahead = clock(Some("Sat, 21 Nov 2026 11:00:00 GMT"), now);
        assert_eq!(ahead.detail, "is 3600 s ahead of the API's");
        assert_eq!(clock(None, now).status, Status::Skipped);
        assert_eq!(clock(Some("soon"), now).status, Status::Skipped);
    }
}
