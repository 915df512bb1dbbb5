//! An Apache Kafka of the test's own: one process that is broker and controller (KRaft).

mod admin;
mod distribution;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rustix::process::Signal;

use crate::certificates::{Certificate, TestCa};
use crate::ports::Port;
use crate::process::{Server, private_folder, run};
use distribution::{ADVICE, libraries};

/// The name that SASL listeners know, with every mechanism.
pub const SASL_USER: &str = "mindweave";

/// Its password. It guards nothing: the servers listen on loopback for the length of a test.
pub const SASL_PASSWORD: &str = "for-tests-only";

/// What Kafka writes when it serves: after it has registered with its controller and its listeners answer.
const STARTED: &str = "Kafka Server started";

/// What differs from Kafka's defaults, beside names, places and listeners.
const SETTINGS: [(&str, &str); 19] = [
    ("process.roles", "broker,controller"),
    ("node.id", "1"),
    ("auto.create.topics.enable", "false"), // a topic that nobody made must be seen, as in production
    ("group.initial.rebalance.delay.ms", "0"),
    // One broker holds each partition alone.
    ("offsets.topic.replication.factor", "1"),
    ("transaction.state.log.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
    ("share.coordinator.state.topic.replication.factor", "1"),
    ("share.coordinator.state.topic.min.isr", "1"),
    // Few partitions of Kafka's own and few threads: many servers share the machine.
    ("offsets.topic.num.partitions", "1"),
    ("transaction.state.log.num.partitions", "1"),
    ("share.coordinator.state.topic.num.partitions", "1"),
    ("num.network.threads", "2"),
    ("num.io.threads", "2"),
    ("background.threads", "2"),
    ("log.cleaner.dedupe.buffer.size", "4194304"),
    // After a kill the controller refuses the broker until the session of its former life has ended.
    ("broker.session.timeout.ms", "2000"),
    ("broker.heartbeat.interval.ms", "500"),
    ("controlled.shutdown.enable", "true"),
];

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
        let libraries = libraries();
        let folder = private_folder("mw-kafka-");
        let properties = folder.join("server.properties");
        let class_path = libraries.join("*");
        let mut command: Vec<OsString> = vec!["java".into()];
        command.extend(options.jvm.iter().map(OsString::from));
        command.extend([
            "-cp".into(),
            class_path.clone().into(),
            "kafka.Kafka".into(),
            properties.clone().into(),
        ]);
        let server = Server::guarded("Kafka", folder.clone(), &command);
        let ca = TestCa::new(&folder.join("tls"));
        let client_certificate = ca.client("mindweave");
        let started = Self {
            server,
            security: options.security,
            clients: Port::claim(),
            administration: Port::claim(),
            controller: Port::claim(),
            ca,
            client_certificate,
        };
        fs::write(&properties, started.properties(options)).expect("a folder of ours");
        run(
            Command::new("java")
                .args(["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"])
                .arg(&class_path)
                .args(["kafka.tools.StorageTool", "format", "-c"])
                .arg(&properties)
                .args(["-t", &cluster_id(started.clients.number())])
                .args(["--add-scram", &scram("SCRAM-SHA-256"), "--add-scram", &scram("SCRAM-SHA-512")]),
            ADVICE,
        );
        started.start_again();
        started
    }

    /// `host:port` of the listener for clients, the same after each start.
    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.clients.number())
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

    fn properties(&self, options: &KafkaOptions) -> String {
        let (clients, administration, controller) =
            (self.clients.number(), self.administration.number(), self.controller.number());
        let protocol = match self.security {
            Security::Plaintext => "PLAINTEXT",
            Security::Tls { .. } => "SSL",
            Security::SaslPlaintext => "SASL_PLAINTEXT",
            Security::SaslTls => "SASL_SSL",
        };
        let mut text = String::new();
        for (name, value) in SETTINGS {
            let _ = writeln!(text, "{name}={value}");
        }
        let folder = self.folder().display();
        let _ = write!(
            text,
            "log.dirs={folder}/data\n\
             listeners=CLIENTS://127.0.0.1:{clients},ADMIN://127.0.0.1:{administration},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=CLIENTS://127.0.0.1:{clients},ADMIN://127.0.0.1:{administration}\n\
             listener.security.protocol.map=CLIENTS:{protocol},ADMIN:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             inter.broker.listener.name=ADMIN\n\
             controller.listener.names=CONTROLLER\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n"
        );
        if matches!(self.security, Security::Tls { .. } | Security::SaslTls) {
            text.push_str(&self.tls_properties());
        }
        if matches!(self.security, Security::SaslPlaintext | Security::SaslTls) {
            text.push_str(&sasl_properties());
        }
        for (name, value) in &options.settings {
            let _ = writeln!(text, "{name}={value}");
        }
        text
    }

    fn tls_properties(&self) -> String {
        let certificate = self.ca.server();
        let store = self.folder().join("tls/keystore.pem");
        let read = |file: &Path| fs::read_to_string(file).expect("a file of ours");
        let both = read(&certificate.key_file) + &read(&certificate.cert_file);
        fs::write(&store, both).expect("a folder of ours");
        let wanted = if self.security == (Security::Tls { mutual: true }) { "required" } else { "none" };
        format!(
            "listener.name.clients.ssl.keystore.type=PEM\nlistener.name.clients.ssl.keystore.location={}\n\
             listener.name.clients.ssl.truststore.type=PEM\nlistener.name.clients.ssl.truststore.location={}\n\
             listener.name.clients.ssl.client.auth={wanted}\n",
            store.display(),
            self.ca.file().display(),
        )
    }
}

fn sasl_properties() -> String {
    let login = "org.apache.kafka.common.security";
    format!(
        "listener.name.clients.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n\
         listener.name.clients.plain.sasl.jaas.config={login}.plain.PlainLoginModule required \
         user_{SASL_USER}=\"{SASL_PASSWORD}\";\n\
         listener.name.clients.scram-sha-256.sasl.jaas.config={login}.scram.ScramLoginModule required;\n\
         listener.name.clients.scram-sha-512.sasl.jaas.config={login}.scram.ScramLoginModule required;\n"
    )
}

fn scram(mechanism: &str) -> String {
    format!("{mechanism}=[name={SASL_USER},password={SASL_PASSWORD}]")
}

/// A cluster id has the form of a UUID in base64: 22 characters. The port and the process make it this server's.
fn cluster_id(port: u16) -> String {
    format!("mw{port:05}p{:0>13}A", std::process::id())
}
