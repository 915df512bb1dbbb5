//! How Kafka is reached, and what its clients have in common.

use std::fmt;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use crate::error::KafkaError;

/// Partitions of a new topic: room for twelve consumers, and little for a broker to carry.
const DEFAULT_PARTITIONS: NonZeroU16 = NonZeroU16::MIN.saturating_add(11);

/// A request without answer for so long has lost its broker, and its connection is closed. Long beside a broker's pauses,
/// short beside the time in which somebody misses the events.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// Pause before a lost connection is tried again, at first; doubles up to [`LONGEST_RECONNECT_PAUSE`].
const FIRST_RECONNECT_PAUSE: Duration = Duration::from_millis(100);
/// A broker that is back is noticed within this.
const LONGEST_RECONNECT_PAUSE: Duration = Duration::from_secs(2);

/// Everything a client of Kafka has to know. `Debug` shows no secret.
#[derive(Clone, Debug)]
pub struct KafkaConfig {
    /// `host:port`, with commas between them: any that are up lead to the others.
    pub brokers: String,
    /// The name under which brokers log and limit this client.
    pub client_id: String,
    /// `None`: in the clear.
    pub tls: Option<Tls>,
    /// `None`: no login, or the one of a client certificate.
    pub sasl: Option<Sasl>,
    /// How messages are compressed on their way and on the brokers' disks.
    pub compression: Compression,
    /// What is done about topics at the start.
    pub topics: TopicCare,
    /// Partitions of topics that are created.
    pub partitions: NonZeroU16,
    /// Replicas of topics that are created. `None`: three, or as many as there are brokers.
    pub replication: Option<NonZeroU16>,
}

/// Encryption on the way to the brokers, with the check of their certificates and names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// PEM file of the authorities to trust. `None`: those that the machine trusts.
    pub ca_file: Option<PathBuf>,
    /// What this client shows in return.
    pub certificate: Option<ClientCertificate>,
}

/// A certificate chain and its key, both PEM files. Read when a connection is set up anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The chain, the client's own certificate first.
    pub cert_file: PathBuf,
    /// The unencrypted private key.
    pub key_file: PathBuf,
}

/// A login by name and password.
#[derive(Clone, Debug)]
pub struct Sasl {
    /// How the password is proved.
    pub mechanism: SaslMechanism,
    /// Who logs in.
    pub username: String,
    /// With which password.
    pub password: Password,
}

/// How a login is proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaslMechanism {
    /// The password itself travels: only with TLS.
    Plain,
    /// The password never travels.
    ScramSha256,
    /// The same with the longer hash.
    ScramSha512,
}

impl SaslMechanism {
    /// As Kafka spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// A password. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub enum Password {
    /// Itself.
    Text(String),
    /// The file that holds it, read each time that a client is made; white space around it is no part of it.
    File(PathBuf),
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(..)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

impl Password {
    fn read(&self) -> Result<String, KafkaError> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::File(path) => match std::fs::read_to_string(path) {
                Ok(text) if text.trim().is_empty() => Err(unreadable(path, "it is empty")),
                Ok(text) => Ok(text.trim().to_owned()),
                Err(error) => Err(unreadable(path, &error.to_string())),
            },
        }
    }
}

/// How messages are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// Costs least CPU time.
    #[default]
    Lz4,
    /// Smallest.
    Zstd,
    /// For brokers and readers that know nothing newer.
    Gzip,
}

impl Compression {
    /// As Kafka spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }
}

/// What is done about topics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TopicCare {
    /// Missing ones are created.
    #[default]
    Create,
    /// Missing ones are an error: somebody else creates them.
    Check,
}

impl KafkaConfig {
    /// Brokers in the clear, everything else at its default.
    pub fn new(brokers: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            client_id: "mindweave".to_owned(),
            tls: None,
            sasl: None,
            compression: Compression::default(),
            topics: TopicCare::default(),
            partitions: DEFAULT_PARTITIONS,
            replication: None,
        }
    }

    /// What every client of ours begins with. Reads the files, so that a client made later has the newer ones.
    ///
    /// # Errors
    /// [`KafkaError::Config`] when a file cannot be read.
    pub(crate) fn client(&self) -> Result<ClientConfig, KafkaError> {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", &self.client_id)
            .set("security.protocol", self.protocol())
            .set("socket.keepalive.enable", "true")
            .set("socket.timeout.ms", millis(REQUEST_TIMEOUT))
            .set("reconnect.backoff.ms", millis(FIRST_RECONNECT_PAUSE))
            .set("reconnect.backoff.max.ms", millis(LONGEST_RECONNECT_PAUSE))
            .set_log_level(RDKafkaLogLevel::Info);
        if let Some(tls) = &self.tls {
            // Without a file: the usual places of this machine. The OpenSSL that is linked in knows none of its own.
            client.set("ssl.ca.location", tls.ca_file.as_deref().map_or(Ok("probe"), text_of)?);
            if let Some(certificate) = &tls.certificate {
                client
                    .set("ssl.certificate.location", text_of(&certificate.cert_file)?)
                    .set("ssl.key.location", text_of(&certificate.key_file)?);
            }
            for file in tls.files() {
                std::fs::File::open(file).map_err(|error| unreadable(file, &error.to_string()))?;
            }
        }
        if let Some(sasl) = &self.sasl {
            client
                .set("sasl.mechanism", sasl.mechanism.name())
                .set("sasl.username", &sasl.username)
                .set("sasl.password", sasl.password.read()?);
        }
        Ok(client)
    }

    fn protocol(&self) -> &'static str {
        match (&self.tls, &self.sasl) {
            (None, None) => "plaintext",
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        }
    }
}

impl Tls {
    fn files(&self) -> impl Iterator<Item = &Path> {
        let certificate = self.certificate.iter().flat_map(|pair| [&pair.cert_file, &pair.key_file]);
        self.ca_file.iter().chain(certificate).map(PathBuf::as_path)
    }
}

/// A time as librdkafka's settings want it.
pub(crate) fn millis(time: Duration) -> String {
    time.as_millis().to_string()
}

fn text_of(path: &Path) -> Result<&str, KafkaError> {
    path.to_str().ok_or_else(|| unreadable(path, "its name is not UTF-8"))
}

fn unreadable(path: &Path, problem: &str) -> KafkaError {
    KafkaError::Config { reason: format!("cannot read {}: {problem}", path.display()) }
}

#[cfg(test)]
mod tests;
