//! What this machine has to offer: folders, disk, ports, and the server that may be running.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use super::{Check, certificates};
use crate::config::{ADMIN_TOKEN, Config, Environment, MASTER_KEY, Role};
use crate::data_dir::{self, ADMIN_TOKEN_FILE, MASTER_KEY_FILE};
use crate::endpoints::{Endpoints, local_url};
use crate::secrets::configured_master_key;

/// Above this share of `journal.max_bytes` the ledger is plainly not following.
const JOURNAL_WARN_PERCENT: u64 = 50;
/// A journal that is followed has at most the segment being written, the one prepared and one about to be deleted.
const SEGMENTS_OF_AN_IDLE_JOURNAL: u64 = 3;
/// Where the journal's shipper puts events that the ledger can never take.
const DEAD_LETTER_FILE: &str = "dead-letter.jsonl";
/// A server on this machine answers its own health check at once.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);

/// Every check of this machine.
pub(super) fn checks(config: &Config, environment: &Environment, role: Role) -> Vec<Check> {
    let running =
        if data_dir::is_in_use(&config.data_dir) { Endpoints::read(&config.data_dir) } else { None };
    let mut checks = vec![folder(&config.data_dir)];
    if role != Role::Proxy {
        checks.push(master_key(config, environment));
        checks.push(admin_token(config, environment));
        checks.extend(certificates::of_control_plane(config));
    }
    if role != Role::ControlPlane {
        checks.extend(certificates::of_listener(config));
        checks.push(disk(config));
        checks.push(journal(config));
    }
    match running {
        Some(endpoints) => checks.push(server(config, &endpoints)),
        None => checks.extend(config.listeners(role).into_iter().map(|(key, addr)| port(key, addr))),
    }
    checks
}

fn folder(path: &Path) -> Check {
    const NAME: &str = "data folder";
    let shown = path.display();
    if !path.is_dir() {
        let parent = path.ancestors().skip(1).find(|parent| parent.is_dir()).unwrap_or(Path::new("."));
        return match writable(parent) {
            Ok(()) => Check::ok(NAME, format!("{shown} will be made at the first start")),
            Err(error) => Check::fail(
                NAME,
                format!("{shown} cannot be made: {error}"),
                "set data_dir to a folder this user may write to",
            ),
        };
    }
    if let Err(error) = writable(path) {
        let advice = format!("give the server's user write access to {shown}, or set data_dir");
        return Check::fail(NAME, format!("{shown} is not writable: {error}"), advice);
    }
    match data_dir::is_private(path) {
        Ok(true) => Check::ok(NAME, format!("{shown} is writable and private")),
        Ok(false) => {
            Check::warn(NAME, format!("other users can look into {shown}"), format!("chmod 700 {shown}"))
        }
        Err(error) => {
            Check::fail(NAME, format!("cannot look at {shown}: {error}"), "check its owner and its disk")
        }
    }
}

/// Whether a file can be made here. Permission bits alone do not tell: think of read-only and full disks.
fn writable(folder: &Path) -> io::Result<()> {
    let probe = folder.join(format!(".mindweave-doctor-{}", std::process::id()));
    fs::File::options().write(true).create_new(true).open(&probe)?;
    fs::remove_file(probe)
}

fn master_key(config: &Config, environment: &Environment) -> Check {
    const NAME: &str = "master key";
    if let Some(key) = environment.secret(MASTER_KEY) {
        return match mindweave_control_plane::MasterKey::from_text(key.expose_secret()) {
            Ok(_) => Check::ok(NAME, format!("from {MASTER_KEY}")),
            Err(error) => Check::fail(
                NAME,
                format!("{MASTER_KEY}: {error}"),
                "set it to the key the secrets were stored with",
            ),
        };
    }
    if let Some(source) = configured_master_key(config, environment) {
        return Check::ok(NAME, format!("from {source}")); // whether that gives one, `stored secrets` says
    }
    let file = config.data_dir.join(MASTER_KEY_FILE);
    if !file.is_file() && config.ledger_file().is_some_and(|file| file.is_file()) {
        let detail = format!(
            "{} is missing, but there is a ledger: stored Claude keys cannot be opened",
            file.display()
        );
        return Check::fail(NAME, detail, format!("restore the file, or set {MASTER_KEY}"));
    }
    secret_file(NAME, &file)
}

fn admin_token(config: &Config, environment: &Environment) -> Check {
    const NAME: &str = "admin token";
    if environment.secret(ADMIN_TOKEN).is_some() {
        return Check::ok(NAME, format!("from {ADMIN_TOKEN}"));
    }
    secret_file(NAME, &config.data_dir.join(ADMIN_TOKEN_FILE))
}

fn secret_file(name: &'static str, file: &Path) -> Check {
    let shown = file.display();
    if !file.exists() {
        return Check::ok(name, format!("{shown} will be made at the first start"));
    }
    match data_dir::is_private(file) {
        Ok(true) => Check::ok(name, format!("in {shown}")),
        Ok(false) => Check::fail(
            name,
            format!("other users can read {shown}"),
            format!("chmod 600 {shown}, and think about replacing it"),
        ),
        Err(error) => {
            Check::fail(name, format!("cannot read {shown}: {error}"), "run this as the server's user")
        }
    }
}

fn disk(config: &Config) -> Check {
    const NAME: &str = "disk space";
    let folder = config.data_dir.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("."));
    let stat = match rustix::fs::statvfs(folder) {
        Ok(stat) => stat,
        Err(error) => {
            return Check::fail(NAME, format!("cannot be asked: {error}"), "check the disk of data_dir");
        }
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let taken = journal_bytes(config).unwrap_or(0);
    let wanted = config.journal_max_bytes.0.saturating_sub(taken);
    let detail = format!("{} free; the journal may take {} more", size(free), size(wanted));
    if free < config.journal_segment_bytes.0.saturating_mul(2) {
        Check::fail(NAME, detail, "free some space: the journal cannot even begin")
    } else if free < wanted {
        let advice = "free some space or lower journal.max_bytes: in an outage of the ledger the disk would fill up first";
        Check::warn(NAME, detail, advice)
    } else {
        Check::ok(NAME, detail)
    }
}

fn journal(config: &Config) -> Check {
    const NAME: &str = "journal";
    let (limit, folder) = (config.journal_max_bytes.0, config.journal_dir());
    let taken = match journal_bytes(config) {
        Ok(taken) => taken,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Check::ok(NAME, "will be made at the first start");
        }
        Err(error) => {
            let detail = format!("cannot look into {}: {error}", folder.display());
            return Check::fail(NAME, detail, "run this as the server's user");
        }
    };
    let detail = format!("{} of at most {}", size(taken), size(limit));
    let dead_letters = folder.join(DEAD_LETTER_FILE);
    if dead_letters.is_file() {
        let detail =
            format!("{detail}; events that the ledger could not take are in {}", dead_letters.display());
        return Check::warn(
            NAME,
            detail,
            "report the reasons in that file; remove it once they are dealt with",
        );
    }
    let idle = config.journal_segment_bytes.0.saturating_mul(SEGMENTS_OF_AN_IDLE_JOURNAL);
    if taken > idle && taken.saturating_mul(100) / limit > JOURNAL_WARN_PERCENT {
        let advice =
            "the ledger does not follow: the server's log says why; nothing is lost while there is room";
        return Check::warn(NAME, detail, advice);
    }
    Check::ok(NAME, detail)
}

/// The bytes of all files of the journal.
fn journal_bytes(config: &Config) -> io::Result<u64> {
    let mut bytes = 0_u64;
    for entry in fs::read_dir(config.journal_dir())? {
        let metadata = match entry?.metadata() {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue, // a segment that was just released
            Err(error) => return Err(error),
        };
        bytes = bytes.saturating_add(metadata.len());
    }
    Ok(bytes)
}

fn port(key: &'static str, addr: SocketAddr) -> Check {
    match TcpListener::bind(addr) {
        Ok(_) => Check::ok(key, format!("{addr} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Check::fail(
            key,
            format!("{addr} is in use by another program"),
            format!("stop that program, or set {key}"),
        ),
        Err(error) => Check::fail(
            key,
            format!("{addr} cannot be bound: {error}"),
            format!("set {key} to an address of this machine"),
        ),
    }
}

fn server(config: &Config, endpoints: &Endpoints) -> Check {
    const NAME: &str = "server";
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .timeout_global(Some(HEALTH_TIMEOUT))
        .build()
        .new_agent();
    let url = format!("{}/health/ready", local_url("http", endpoints.admin));
    let pid = endpoints.pid;
    match agent.get(&url).call() {
        Ok(answer) if answer.status().is_success() => {
            let addr = endpoints.proxy.or(endpoints.control_plane).unwrap_or(endpoints.admin);
            Check::ok(NAME, format!("runs as process {pid} on {addr}, and is ready"))
        }
        Ok(answer) => Check::warn(
            NAME,
            format!("runs as process {pid}, but is not ready: {url} answers {}", answer.status()),
            "it may be starting or stopping; else its log says why",
        ),
        Err(error) => Check::fail(
            NAME,
            format!("process {pid} has {}, but {url} does not answer: {error}", config.data_dir.display()),
            format!("look at its log; restart it if it hangs (kill {pid})"),
        ),
    }
}

/// Bytes as people say them.
fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    for (unit, factor) in UNITS {
        if bytes >= factor {
            let tenths = bytes.saturating_mul(10) / factor;
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{bytes} B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_said_as_people_say_them() {
        for (bytes, said) in [(0, "0 B"), (1_023, "1023 B"), (1_536, "1.5 KiB"), (4 << 30, "4.0 GiB")] {
            assert_eq!(size(bytes), said);
        }
    }
}
