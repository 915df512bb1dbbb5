//! What can go wrong with Kafka, in words that say where to look. No variant holds a secret or any part of an event.

use std::io;

use rdkafka::error::KafkaError as ClientError;

/// Why something that needs Kafka did not work.
#[derive(Debug, thiserror::Error)]
pub enum KafkaError {
    /// A setting cannot be used.
    #[error("the settings of Kafka cannot be used: {reason}")]
    Config {
        /// What is wrong with it.
        reason: String,
    },
    /// No broker answers.
    #[error("Kafka does not answer at {brokers}: {reason}")]
    Unreachable {
        /// The brokers that were asked.
        brokers: String,
        /// What the last attempt came to.
        reason: String,
    },
    /// The login failed.
    #[error("Kafka refuses the login: {reason}")]
    Authentication {
        /// What the broker said.
        reason: String,
    },
    /// No encrypted connection comes about: a certificate is not trusted, not shown or not valid, or the port speaks no TLS.
    #[error("TLS with Kafka fails: {reason}")]
    Tls {
        /// What OpenSSL said.
        reason: String,
    },
    /// The login is fine and its rights are not.
    #[error(
        "Kafka does not allow to {action} topic `{topic}`: give the client the right, or see to the topic yourself"
    )]
    NotAuthorized {
        /// What was not allowed.
        action: &'static str,
        /// Where.
        topic: String,
    },
    /// Topics are missing, and it is not ours to create them, or that failed.
    #[error("Kafka has no topics {}, or does not show them to this client", .topics.join(", "))]
    TopicsMissing {
        /// Their names.
        topics: Vec<String>,
    },
    /// A topic cannot be created.
    #[error("topic `{topic}` cannot be created: {reason}")]
    TopicNotCreated {
        /// Which one.
        topic: String,
        /// What the broker said.
        reason: String,
    },
    /// Messages were not acknowledged.
    #[error("Kafka did not take {count} events into topic `{topic}`: {reason}")]
    NotDelivered {
        /// Where to.
        topic: &'static str,
        /// How many.
        count: usize,
        /// Why, of the first of them.
        reason: String,
    },
    /// A file of this side cannot be written or read.
    #[error("{what}")]
    File {
        /// What was done with which file.
        what: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// Something else.
    #[error("Kafka cannot be asked: {reason}")]
    Client {
        /// What librdkafka said.
        reason: String,
    },
}

impl From<ClientError> for KafkaError {
    fn from(error: ClientError) -> Self {
        match error {
            // Its own text would show the value, which may be the password.
            ClientError::ClientConfig(_, reason, key, _) => {
                Self::Config { reason: format!("{key}: {reason}") }
            }
            ClientError::ClientCreation(reason) => Self::Config { reason },
            other => Self::Client { reason: other.to_string() },
        }
    }
}
