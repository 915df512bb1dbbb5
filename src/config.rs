//! Configuration: defaults, then `mindweave.toml`, then the environment.
//!
//! [`settings`] is the one table of keys. Loading looks at every key and every variable before it gives up, so that one
//! start shows every fault. Only this module reads the environment.

mod command_line;
mod environment;
mod fault;
mod file;
mod identity;
pub(crate) mod kafka;
mod networks;
mod origins;
mod setting;
mod settings;
pub(crate) mod template;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use mindweave_control_plane::LEAST_CONNECTIONS;

pub(crate) use command_line::CommandLine;
pub(crate) use environment::{ADMIN_TOKEN, Environment, MASTER_KEY, MASTER_KEY_PREVIOUS, PROXY_TOKEN};
pub(crate) use fault::{ConfigError, Fault, Place};
pub(crate) use setting::{BaseUrl, CoreDumps, Database, JournalSync, LogFormat, LogLevel, Setting};
pub(crate) use settings::{Config, KEYS};

/// The file that is read when no other is named and it is there.
const DEFAULT_FILE: &str = "mindweave.toml";
/// The ledger's file in the data folder.
const LEDGER_FILE: &str = "ledger.sqlite";
/// The journal's folder in the data folder.
const JOURNAL_FOLDER: &str = "journal";
/// The folder, in the data folder, of the journal for events of other producers.
const INTAKE_JOURNAL_FOLDER: &str = "ingest-journal";
/// A journal needs room for the segment being written and for one being shipped, else it could never free any.
const LEAST_JOURNAL_SEGMENTS: u64 = 2;

/// What was given for a key, and where.
#[derive(Debug)]
struct Given {
    /// The text, or the TOML type of something that is not text and not a whole number.
    value: Result<String, &'static str>,
    place: Place,
}

/// Everything given, by dotted key.
type Values = BTreeMap<String, Given>;

impl Config {
    /// Reads the file and the environment. The file is `named`, else `./mindweave.toml` if there is one.
    ///
    /// # Errors
    /// All faults at once: unreadable or broken file, unknown keys and variables, wrong values, contradictions.
    pub(crate) fn load(named: Option<&Path>, environment: &Environment) -> Result<Self, ConfigError> {
        let mut faults = Vec::new();
        let mut values = match source(named) {
            Some(path) => file::read(&path, &mut faults),
            None => Values::new(),
        };
        environment.settings(&mut values, &mut faults);
        refuse_unknown(&values, &mut faults);
        let config = Self::build(&values, &mut faults);
        if let Some(config) = &config {
            config.contradictions(&mut faults);
        }
        match config {
            Some(config) if faults.is_empty() => Ok(config),
            _ => Err(ConfigError { faults }),
        }
    }

    /// Every setting at its default; `None` only if a default of the table were broken.
    pub(crate) fn defaults() -> Option<Self> {
        Self::build(&Values::new(), &mut Vec::new())
    }

    /// The ledger's SQLite file, if it is one.
    pub(crate) fn ledger_file(&self) -> Option<PathBuf> {
        self.file_of(&self.control_plane_database)
    }

    /// The SQLite file that an address means, if it means one.
    pub(crate) fn file_of(&self, database: &Database) -> Option<PathBuf> {
        match database {
            Database::InDataDir => Some(self.data_dir.join(LEDGER_FILE)),
            Database::File(path) => Some(path.clone()),
            Database::Server(_) => None,
        }
    }

    /// How many connections a control plane has to its database server.
    pub(crate) fn control_plane_database_connections(&self) -> u32 {
        u32::try_from(self.control_plane_database_connections.get()).unwrap_or(u32::MAX)
    }

    /// Where the ledger is.
    pub(crate) fn ledger(&self) -> mindweave_control_plane::Database {
        use mindweave_control_plane::Database as Ledger;
        match &self.control_plane_database {
            Database::InDataDir => Ledger::Sqlite(self.data_dir.join(LEDGER_FILE)),
            Database::File(path) => Ledger::Sqlite(path.clone()),
            Database::Server(url) => Ledger::Postgres(url.clone()),
        }
    }

    /// The folder of the journal for events of other producers.
    pub(crate) fn intake_journal_dir(&self) -> PathBuf {
        self.data_dir.join(INTAKE_JOURNAL_FOLDER)
    }

    /// The journal's folder.
    pub(crate) fn journal_dir(&self) -> PathBuf {
        self.data_dir.join(JOURNAL_FOLDER)
    }

    /// The scheme of the API's URL.
    pub(crate) fn control_plane_scheme(&self) -> &'static str {
        if self.control_plane_tls_cert_file.is_some() { "https" } else { "http" }
    }

    /// Every address that a process of this role binds, with the key that sets it.
    pub(crate) fn listeners(&self, role: Role) -> Vec<(&'static str, SocketAddr)> {
        let traffic = ("proxy.listen", self.proxy_listen);
        let proxy_admin = ("proxy.admin_listen", self.proxy_admin_listen);
        let api = ("control_plane.listen", self.control_plane_listen);
        match role {
            Role::Serve => vec![traffic, proxy_admin, api],
            Role::Proxy => vec![traffic, proxy_admin],
            Role::ControlPlane => {
                vec![api, ("control_plane.admin_listen", self.control_plane_admin_listen)]
            }
        }
    }

    /// Faults that only several keys together show.
    fn contradictions(&self, faults: &mut Vec<Fault>) {
        self.halves_of_tls(faults);
        if self.journal_max_bytes.0 / LEAST_JOURNAL_SEGMENTS < self.journal_segment_bytes.0 {
            faults.push(Fault::together(
                "journal.max_bytes",
                "must be at least twice `journal.segment_bytes`: a full segment is only deleted while another is written",
            ));
        }
        if self.control_plane_database_connections() < LEAST_CONNECTIONS {
            faults.push(Fault::together(
                "control_plane.database_connections",
                &format!("must be at least {LEAST_CONNECTIONS}: readers, ingest and one writer have connections of their own"),
            ));
        }
        self.collisions(faults);
        identity::contradictions(self, faults);
        kafka::contradictions(self, faults);
        if self.proxy_upstream.is_at(self.proxy_listen) {
            faults.push(Fault::together(
                "proxy.upstream",
                "is the address of `proxy.listen`: the proxy would call itself",
            ));
        }
        self.without_control_plane(faults);
    }

    /// Certificates without keys, keys without certificates, authorities without either.
    fn halves_of_tls(&self, faults: &mut Vec<Fault>) {
        for (certificate, key, names, purpose) in [
            (
                &self.proxy_tls_cert_file,
                &self.proxy_tls_key_file,
                ("proxy.tls.cert_file", "proxy.tls.key_file"),
                "cannot serve TLS",
            ),
            (
                &self.control_plane_tls_cert_file,
                &self.control_plane_tls_key_file,
                ("control_plane.tls.cert_file", "control_plane.tls.key_file"),
                "cannot serve TLS",
            ),
            (
                &self.proxy_control_plane_cert_file,
                &self.proxy_control_plane_key_file,
                ("proxy.control_plane_cert_file", "proxy.control_plane_key_file"),
                "cannot be shown to the control plane",
            ),
        ] {
            let (missing, given) = match (certificate, key) {
                (Some(_), None) => (names.1, names.0),
                (None, Some(_)) => (names.0, names.1),
                (Some(_), Some(_)) | (None, None) => continue,
            };
            faults.push(Fault::together(
                missing,
                &format!("is missing: `{given}` alone {purpose}; set both or neither"),
            ));
        }
        if self.control_plane_tls_client_ca_file.is_some() && self.control_plane_tls_cert_file.is_none() {
            faults.push(Fault::together(
                "control_plane.tls.cert_file",
                "is missing: `control_plane.tls.client_ca_file` has no meaning without TLS",
            ));
        }
    }

    /// What has no meaning without a control plane, or without TLS to it.
    fn without_control_plane(&self, faults: &mut Vec<Fault>) {
        let Some(url) = &self.proxy_control_plane else {
            for (given, name) in [
                (&self.proxy_control_plane_ca_file, "proxy.control_plane_ca_file"),
                (&self.proxy_control_plane_cert_file, "proxy.control_plane_cert_file"),
            ] {
                if given.is_some() {
                    faults.push(Fault::together(
                        "proxy.control_plane",
                        &format!("is missing: `{name}` has no meaning without it"),
                    ));
                }
            }
            return;
        };
        if self.proxy_control_plane_cert_file.is_some() && !url.is_tls() {
            faults.push(Fault::together(
                "proxy.control_plane",
                "must begin with `https://`: `proxy.control_plane_cert_file` has no meaning without TLS",
            ));
        }
    }

    /// Addresses of one process that are the same.
    fn collisions(&self, faults: &mut Vec<Fault>) {
        for role in [Role::Serve, Role::ControlPlane] {
            let listeners = self.listeners(role); // those of `Role::Proxy` are among those of `Role::Serve`
            for (index, (key, addr)) in listeners.iter().enumerate() {
                for (other, taken) in listeners.iter().take(index) {
                    if collide(*addr, *taken) {
                        faults.push(Fault::together(
                            key,
                            &format!("is the same address as `{other}`; use another port"),
                        ));
                    }
                }
            }
        }
    }
}

/// What a process is there for. Without further words: help then lists the values in one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Role {
    // Both of the others.
    Serve,
    // Traffic only.
    Proxy,
    // Ledger and API only.
    ControlPlane,
}

/// The file to read, if any.
fn source(named: Option<&Path>) -> Option<PathBuf> {
    match named {
        Some(path) => Some(path.to_path_buf()),
        None => Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.is_file()),
    }
}

fn refuse_unknown(values: &Values, faults: &mut Vec<Fault>) {
    for (name, given) in values {
        if KEYS.iter().any(|key| key.name == name) {
            continue;
        }
        let section = format!("{name}.");
        faults.push(if KEYS.iter().any(|key| key.name.starts_with(&section)) {
            Fault::section(name, given.place.clone())
        } else {
            Fault::unknown_key(name, given.place.clone())
        });
    }
}

/// Whether two listeners would fight for one port. Port 0 never does.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let same_ip = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && same_ip
}

#[cfg(test)]
mod tests;
