//! `mindweave doctor`: looks at everything a server needs, and says what to do about what is wrong.

mod certificates;
mod control_plane;
mod database;
mod kafka;
mod local;
mod sealed;
mod upstream;

use std::io::{self, Write};

use serde::Serialize;

use crate::config::{Config, ConfigError, Environment, Role};
use crate::table::pad;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// As it should be.
    Ok,
    /// Not looked at, because something it builds on is missing.
    Skipped,
    /// Works, but not as it should.
    Warn,
    /// A server will not start, or not work.
    Fail,
}

/// One check.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Check {
    name: &'static str,
    status: Status,
    /// What was found.
    detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Check {
    fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, status: Status::Ok, detail: detail.into(), advice: None }
    }

    fn skipped(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, status: Status::Skipped, detail: detail.into(), advice: None }
    }

    fn warn(name: &'static str, detail: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name, status: Status::Warn, detail: detail.into(), advice: Some(advice.into()) }
    }

    fn fail(name: &'static str, detail: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name, status: Status::Fail, detail: detail.into(), advice: Some(advice.into()) }
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    status: Status,
    checks: &'a [Check],
}

/// Runs every check and prints what came out; returns the worst.
///
/// # Errors
/// When the output cannot be written.
pub(crate) fn run(
    config: Result<Config, ConfigError>,
    environment: &Environment,
    role: Option<Role>,
    json: bool,
    out: &mut impl Write,
) -> anyhow::Result<Status> {
    let checks = checks(config, environment, role);
    let worst = checks.iter().map(|check| check.status).max().unwrap_or(Status::Ok);
    if json {
        serde_json::to_writer_pretty(&mut *out, &Report { status: worst, checks: &checks })?;
        writeln!(out)?;
    } else {
        print(&checks, out)?;
    }
    Ok(worst)
}

fn checks(config: Result<Config, ConfigError>, environment: &Environment, role: Option<Role>) -> Vec<Check> {
    let config = match config {
        Ok(config) => config,
        Err(error) => {
            let faults = error.faults().iter();
            let advice = "mend it; docs/configuration.md has every setting";
            return faults.map(|fault| Check::fail("configuration", fault.to_string(), advice)).collect();
        }
    };
    let mut checks = vec![Check::ok("configuration", "every setting is valid")];
    let role = role.unwrap_or(if config.proxy_control_plane.is_some() { Role::Proxy } else { Role::Serve });
    checks.extend(local::checks(&config, environment, role));
    if role == Role::Proxy {
        checks.extend(control_plane::checks(&config, environment));
    }
    if role != Role::Proxy {
        checks.extend(database::checks(&config));
        checks.extend(sealed::checks(&config, environment));
    }
    checks.extend(kafka::checks(&config));
    if role != Role::ControlPlane {
        checks.extend(upstream::checks(&config));
    }
    checks
}

fn print(checks: &[Check], out: &mut impl Write) -> io::Result<()> {
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    for check in checks {
        let status = match check.status {
            Status::Ok => "ok",
            Status::Skipped => "-",
            Status::Warn => "warn",
            Status::Fail => "FAIL",
        };
        let name = pad(check.name, width, crate::table::Align::Left);
        writeln!(out, "{status:<4}  {name}  {}", check.detail)?;
        if let Some(advice) = &check.advice {
            writeln!(out, "      {}  -> {advice}", " ".repeat(width))?;
        }
    }
    out.flush()
}

#[cfg(test)]
mod tests;
