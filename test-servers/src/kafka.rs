//! An Apache Kafka of the test's own: one process that is broker and controller (KRaft).

mod admin;
mod distribution;
mod properties;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::Signal;

use crate::certificates::{Certificate, TestCa};
use crate::ports::Port;
use crate::process::Server;
use distribution::{ADVICE, class_archive, formatted, libraries};

/// The name that SASL listeners know, with every mechanism.
pub const SASL_USER: &str = "mindweave";

/// Its password. It guards nothing: the servers listen on loopback for the length of a test.
pub const SASL_PASSWORD: &str = "for-tests-only";

/// What Kafka writes when it serves: after it has registered with its controller and its listeners answer.
const STARTED: &str = "Kafka Server started";

/// The server's settings, in its folder.
const PROPERTIES: &str = "server.properties";

/// For Java programs that live shortly: no second compiler, no threads for the collector.
const QUICK: [&str; 2] = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];

/// Log lines with the time, to the standard error.
const LOGGING: [&str; 2] =
    ["-Dorg.slf4j.simpleLogger.showDateTime=true", "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS"];

/// How clients reach the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Security {
    /// Neither encrypted nor authenticated.
    #[default]
    Plaintext,
    /// TLS; see [`Kafka::ca_file`].
    Tls {
        /// Whether a client must show a certificate of the same authority; see [`Kafka::client_certificate`].
        mutual: bool,
    },
    /// SASL (PLAIN, SCRAM-SHA-256, SCRAM-SHA-512) in the clear, with [`SASL_USER`] and [`SASL_PASSWORD`].
    SaslPlaintext,
    /// The same over TLS.
    SaslTls,
}

/// How to start a [`Kafka`].
#[derive(Debug, Clone)]
pub struct KafkaOptions {
    /// How clients reach the server.
    pub security: Security,
    /// Lines for `server.properties` that win over this crate's.
    pub settings: Vec<(&'static str, String)>,
    /// Arguments for the Java virtual machine: by default a small heap and a quick start.
    pub jvm: Vec<String>,
}

impl Default for KafkaOptions {
    fn default() -> Self {
        let jvm = ["-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];
        Self { security: Security::default(), settings: Vec::new(), jvm: jvm.map(str::to_owned).to_vec() }
    }
}

/// A running Kafka; it ends and its folder goes when the value is dropped or its process ends.
pub struct Kafka {
    server: Server,
    security: Security,
    cluster_id: String,
    clients: Port,
    /// Plain and without authentication whatever the clients' listener asks for: this crate's own way in.
    administration: Port,
    controller: Port,
    ca: TestCa,
    client_certificate: Certificate,
}

impl Kafka {
    /// The server that all tests of this process share. Kill one that you started yourself, not this one.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Kafka> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Starts an empty server without security.
    pub fn start() -> Self {
        Self::with_options(&KafkaOptions::default())
    }

    /// Starts an empty server.
    ///
    /// # Panics
    /// When Java or Maven is missing or Kafka does not start; with its log and what to install.
    pub fn with_options(options: &KafkaOptions) -> Self {
        Self::launch(options, &format!("-XX:SharedArchiveFile={}", class_archive().display()))
    }

    fn launch(options: &KafkaOptions, class_sharing: &str) -> Self {
        let class_path = class_path();
        let server = Server::guarded("Kafka", "mw-kafka", |folder| {
            let mut command: Vec<OsString> = vec!["java".into(), class_sharing.into()];
            command.extend(options.jvm.iter().map(OsString::from));
            command.extend(LOGGING.map(OsString::from));
            command.extend([
                "-cp".into(),
                class_path.clone(),
                "kafka.Kafka".into(),
                folder.join(PROPERTIES).into(),
            ]);
            command
        });
        let folder = server.folder().to_owned();
        let ca = TestCa::new(&folder.join("tls"));
        let started = Self {
            server,
            security: options.security,
            cluster_id: cluster_id(),
            clients: Port::claim(),
            administration: Port::claim(),
            controller: Port::claim(),
            client_certificate: ca.client("mindweave"),
            ca,
        };
        fs::write(folder.join(PROPERTIES), properties::text(&started, options)).expect("a folder of ours");
        formatted(&folder.join("data"), &started.cluster_id);
        started.start_again();
        started
    }

    /// `host:port` of the listener for clients, the same after each start.
    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.clients.number())
    }

    /// The id that Kafka gives to clients as its cluster's; each server has its own.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// One of Kafka's command line tools by the name of its class, as `org.apache.kafka.tools.TopicCommand`.
    pub fn tool(&self, class: &str) -> Command {
        let mut command = Command::new("java");
        command.args(QUICK).args(LOGGING).arg("-cp").arg(class_path()).arg(class);
        command
    }

    /// Makes a topic; one replica, as there is one broker.
    ///
    /// # Panics
    /// When Kafka refuses it.
    pub fn create_topic(&self, name: &str, partitions: u32) {
        admin::create_topic(self.administration.number(), name, partitions);
    }

    /// Deletes a topic with everything in it.
    ///
    /// # Panics
    /// When Kafka refuses it.
    pub fn delete_topic(&self, name: &str) {
        admin::delete_topic(self.administration.number(), name);
    }

    /// What a client has to trust, on TLS listeners.
    pub fn ca_file(&self) -> PathBuf {
        self.ca.file()
    }

    /// What a client shows to a listener with mutual TLS.
    pub fn client_certificate(&self) -> &Certificate {
        &self.client_certificate
    }

    /// Ends the server at once, as a crash does.
    pub fn kill(&self) {
        self.server.kill();
    }

    /// Stops the server in an orderly way.
    pub fn stop(&self) {
        self.server.stop(Signal::TERM);
    }

    /// Starts the server again after [`Kafka::kill`] or [`Kafka::stop`]: the same data, the same port.
    pub fn start_again(&self) {
        self.server.start(ADVICE, |log| log.contains(STARTED));
    }

    /// Stops the server where it is: connections stay open and nothing answers.
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

    /// The id of the server's process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }
}

fn class_path() -> OsString {
    libraries().join("*").into()
}

/// A cluster's id has the form of a UUID in base64: 22 characters. Process and count make it this server's.
fn cluster_id() -> String {
    static SERVERS: AtomicU32 = AtomicU32::new(0);
    let count = SERVERS.fetch_add(1, Ordering::Relaxed);
    let id = format!("mw{:0>10}{:0>9}A", std::process::id(), count);
    debug_assert_eq!(id.len(), 22, "{id}");
    id
}
