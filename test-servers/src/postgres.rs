//! A PostgreSQL server of the test's own.

mod installation;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::Signal;

use crate::certificates::TestCa;
use crate::ports::Port;
use crate::process::{Server, run};
use installation::{ADVICE, Installation};

pub use installation::timescale;

/// The superuser's name; the server's administrator.
const ADMIN: &str = "postgres";

/// Owns the databases of [`Postgres::create_database`]. It is no superuser, as the control plane's user should be none.
const OWNER: &str = "mindweave";

/// Everybody's password. It guards nothing: the servers listen on loopback for the length of a test.
const PASSWORD: &str = "for-tests-only";

/// What differs from PostgreSQL's defaults. `fsync` stays on: tests kill the server and look what it kept.
const SETTINGS: [(&str, &str); 11] = [
    ("listen_addresses", "'127.0.0.1'"),
    ("max_connections", "300"), // several control planes with their pools, and several tests beside each other
    ("shared_buffers", "'32MB'"), // many servers share the machine's memory
    ("max_wal_size", "'512MB'"),
    ("max_locks_per_transaction", "256"), // a statement on a partitioned table takes locks on each partition
    ("max_worker_processes", "16"),
    ("dynamic_shared_memory_type", "'mmap'"), // in the server's folder, so that it goes with it after a kill -9 too
    ("lc_messages", "'C'"),
    ("timezone", "'America/St_Johns'"), // statements must not lean on the server's zone: half an hour off, with daylight saving
    ("password_encryption", "'scram-sha-256'"),
    ("log_line_prefix", "'%m [%p] %q%u@%d '"),
];

/// Whether and how the server speaks TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tls {
    /// Plain connections only.
    #[default]
    Off,
    /// TLS only: a plain connection is refused. Clients check the server against [`Postgres::ca_file`].
    Required,
}

/// How to start a [`Postgres`].
#[derive(Debug, Clone, Default)]
pub struct PostgresOptions {
    /// Whether connections are encrypted.
    pub tls: Tls,
    /// Lines for `postgresql.conf` that win over this crate's: names, and values with their quotes where they need them.
    pub settings: Vec<(&'static str, String)>,
}

/// A running PostgreSQL server; it ends and its folder goes when the value is dropped or its process ends.
pub struct Postgres {
    installation: Installation,
    server: Server,
    port: Port,
    ca: Option<TestCa>,
    databases: AtomicU32,
}

impl Postgres {
    /// The server that all tests of this process share. Kill one that you started yourself, not this one.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Starts a server with an empty data folder and plain connections.
    pub fn start() -> Self {
        Self::with_options(&PostgresOptions::default())
    }

    /// Starts a server with an empty data folder.
    ///
    /// # Panics
    /// When PostgreSQL is not installed or does not start; with its log and what to install.
    pub fn with_options(options: &PostgresOptions) -> Self {
        let installation = Installation::find();
        let template = installation.data_template(ADMIN, OWNER, PASSWORD);
        let postgres = installation.bin("postgres");
        let server = Server::guarded("PostgreSQL", "mw-pg", |folder| {
            installation.as_server_user([postgres.clone().into(), "-D".into(), folder.join("data").into()])
        });
        let folder = server.folder().to_owned();
        let data = folder.join("data");
        run(Command::new("cp").arg("-a").arg(template.join("data")).arg(&data), ADVICE);
        let port = Port::claim();
        let ca = (options.tls == Tls::Required).then(|| TestCa::new(&folder.join("tls")));
        let mut lines: Vec<(&str, String)> =
            SETTINGS.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        lines.push(("port", port.number().to_string()));
        lines.push(("unix_socket_directories", format!("'{}'", data.display())));
        if timescale().is_some() {
            lines.push(("shared_preload_libraries", "'timescaledb'".to_owned()));
            lines.push(("timescaledb.telemetry_level", "'off'".to_owned()));
        }
        if let Some(ca) = &ca {
            let certificate = ca.server();
            let (cert_file, key_file) = (data.join("server.pem"), data.join("server-key.pem"));
            installation.hand_over(&certificate.cert_file, &cert_file);
            installation.hand_over(&certificate.key_file, &key_file);
            lines.push(("ssl", "on".to_owned()));
            lines.push(("ssl_cert_file", format!("'{}'", cert_file.display())));
            lines.push(("ssl_key_file", format!("'{}'", key_file.display())));
        }
        lines.extend(options.settings.iter().cloned());
        let lines: String = lines.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
        append(&data.join("postgresql.conf"), &lines);
        let connections = if ca.is_some() { "hostssl" } else { "host" };
        // `all` does not stand for `replication`, which a base backup wants.
        let rules = format!(
            "local all all scram-sha-256\n{connections} all all 127.0.0.1/32 scram-sha-256\n\
             {connections} replication all 127.0.0.1/32 scram-sha-256\n"
        );
        fs::write(data.join("pg_hba.conf"), rules).expect("a data folder that can be written");
        let started = Self { installation, server, port, ca, databases: AtomicU32::new(0) };
        started.start_again();
        started
    }

    /// The URL of a fresh, empty database, whose owner is not a superuser.
    pub fn create_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.query(&self.admin_url(), &format!("CREATE DATABASE {name} OWNER {OWNER} TEMPLATE template0"));
        self.url(OWNER, &name)
    }

    /// As [`Postgres::create_database`], with the extension TimescaleDB made in it.
    ///
    /// # Panics
    /// When the server has no such extension: ask [`timescale`] first.
    pub fn create_timescale_database(&self) -> String {
        let url = self.create_database();
        let name = url.rsplit('/').next().and_then(|tail| tail.split('?').next()).unwrap_or_default();
        self.query(&self.url(ADMIN, name), "CREATE EXTENSION timescaledb");
        url
    }

    /// The superuser's URL, of the database `postgres`.
    pub fn admin_url(&self) -> String {
        self.url(ADMIN, ADMIN)
    }

    /// Runs SQL with `psql` and returns the rows: fields parted by `|`, one row a line, as text.
    ///
    /// # Panics
    /// When a statement fails.
    pub fn query(&self, database_url: &str, sql: &str) -> String {
        let mut psql = Command::new(self.bin("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database_url, "-c", sql]);
        run(&mut psql, "a statement of a test failed").trim_end().to_owned()
    }

    /// The port on 127.0.0.1, the same after each start.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// What a client has to trust, with [`Tls::Required`].
    ///
    /// # Panics
    /// Without TLS.
    pub fn ca_file(&self) -> PathBuf {
        self.ca.as_ref().expect("a server that was started with TLS").file()
    }

    /// One of PostgreSQL's programs, of the server's version: `psql`, `pg_dump`, `pg_restore`.
    pub fn bin(&self, name: &str) -> PathBuf {
        self.installation.bin(name)
    }

    /// Ends every process of the server at once, as a crash does. What was committed must still be there.
    pub fn kill(&self) {
        self.server.kill();
    }

    /// Stops the server in an orderly way (a fast shutdown: connections are closed, transactions rolled back).
    pub fn stop(&self) {
        self.server.stop(Signal::INT);
    }

    /// Starts the server again after [`Postgres::kill`] or [`Postgres::stop`]: the same data, the same port.
    pub fn start_again(&self) {
        let pg_isready = self.bin("pg_isready");
        let port = self.port().to_string();
        self.server.start(ADVICE, |_log| {
            let mut command = Command::new(&pg_isready);
            command.args(["-q", "-h", "127.0.0.1", "-p", &port, "-U", ADMIN, "-d", ADMIN]);
            command.status().is_ok_and(|status| status.success())
        });
    }

    /// Stops all processes of the server where they are: connections stay open and nothing answers.
    pub fn freeze(&self) {
        self.server.freeze();
    }

    /// Lets a frozen server go on.
    pub fn thaw(&self) {
        self.server.thaw();
    }

    /// What the server wrote since its last start.
    pub fn log(&self) -> String {
        self.server.log()
    }

    /// The server's private folder. It is gone when the server is.
    pub fn folder(&self) -> &Path {
        self.server.folder()
    }

    /// The id of the server's first process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }

    fn url(&self, user: &str, database: &str) -> String {
        let url = format!("postgres://{user}:{PASSWORD}@127.0.0.1:{}/{database}", self.port());
        match &self.ca {
            Some(ca) => format!("{url}?sslmode=verify-full&sslrootcert={}", ca.file().display()),
            None => url,
        }
    }
}

fn append(file: &Path, text: &str) {
    let before = fs::read_to_string(file).expect("a file of the server");
    fs::write(file, before + text).expect("a data folder that can be written");
}
