//! What a client of librdkafka says about its connections: a quiet log, and the reason behind a timeout.
//!
//! Requests to brokers that are away only time out. Why they are away is told beside, by log lines and events; the last of
//! it is kept here, to be put into the errors that people read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryResult, ProducerContext};

use crate::error::KafkaError;

/// How long after a failure its reason may still be on its way from librdkafka's threads.
const HINDSIGHT: Duration = Duration::from_millis(500);
/// How often it is looked for.
const GLANCE: Duration = Duration::from_millis(10);
/// What OpenSSL's errors have in their text, also where librdkafka only says that a connection failed.
const OF_OPENSSL: &str = "SSL routines";

/// The facility of log lines about connections that failed.
const FAILED_CONNECTION: &str = "FAIL";
/// Where a connection ends that a broker hangs up on at the first words: they were of another protocol.
const FIRST_WORDS: &str = "in state APIVERSION_QUERY";

/// How often the log of a process is told of trouble: librdkafka tells of every attempt to connect.
const REMINDER: Duration = Duration::from_secs(60);

/// What is wrong with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nobody there, or gone.
    Unreachable,
    /// The login is refused.
    Authentication,
    /// No encrypted connection.
    Tls,
}

impl Trouble {
    /// What a failed connection is about, by its text.
    fn of_transport(reason: &str) -> Self {
        if reason.contains(OF_OPENSSL) { Self::Tls } else { Self::Unreachable }
    }
}

/// What is known of one client's connections. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    brokers: String,
    last: Mutex<Option<(Trouble, String)>>,
}

impl Link {
    pub(crate) fn new(brokers: &str) -> Self {
        Self { shared: Arc::new(Shared { brokers: brokers.to_owned(), last: Mutex::default() }) }
    }

    /// Forgets what was: something worked.
    pub(crate) fn works(&self) {
        *self.shared.last.lock() = None;
    }

    /// What is wrong, as far as is known.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.shared.last.lock().as_ref().map(|(trouble, _)| *trouble)
    }

    /// The error to report in place of a timeout.
    pub(crate) fn explain(&self, timeout: &str) -> KafkaError {
        let brokers = self.shared.brokers.clone();
        match self.shared.last.lock().clone() {
            Some((Trouble::Authentication, reason)) => KafkaError::Authentication { reason },
            Some((Trouble::Tls, reason)) => KafkaError::Tls { reason },
            Some((Trouble::Unreachable, mut reason)) => {
                if reason.contains(FIRST_WORDS) {
                    reason.push_str("; does this port ask for TLS or for a login?");
                }
                KafkaError::Unreachable { brokers, reason }
            }
            None => KafkaError::Unreachable { brokers, reason: timeout.to_owned() },
        }
    }

    /// An error of librdkafka, with what is known of the connections where it only says that nothing came.
    pub(crate) fn explained(&self, error: ClientError) -> KafkaError {
        let code = match &error {
            ClientError::AdminOp(code) => Some(*code), // the one that its own look-up leaves out
            other => other.rdkafka_error_code(),
        };
        match code {
            Some(
                code @ (RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::MessageTimedOut
                | RDKafkaErrorCode::RequestTimedOut
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::Authentication
                | RDKafkaErrorCode::SSL),
            ) => self.explain(&code.to_string()),
            _ => error.into(),
        }
    }

    /// Waits a moment for the reason of a failure. Blocks.
    pub(crate) fn await_reason(&self) {
        let deadline = Instant::now() + HINDSIGHT;
        while self.trouble().is_none() && Instant::now() < deadline {
            std::thread::sleep(GLANCE);
        }
    }

    fn note(&self, trouble: Trouble, reason: &str) {
        let mut last = self.shared.last.lock();
        // A connection that fails for a reason also fails; the reason is what helps.
        if trouble == Trouble::Unreachable && last.as_ref().is_some_and(|(known, _)| *known != trouble) {
            return;
        }
        *last = Some((trouble, reason.to_owned()));
    }
}

/// Whether trouble may be told at the level that people see. A process has several clients, and they come and go.
fn may_tell() -> bool {
    static TOLD: Mutex<Option<Instant>> = Mutex::new(None);
    let mut told = TOLD.lock();
    let due = told.is_none_or(|at| at.elapsed() >= REMINDER);
    if due {
        *told = Some(Instant::now());
    }
    due
}

impl ClientContext for Link {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, log_message: &str) {
        // It begins with the thread's name in brackets.
        let reason = log_message.split_once("]: ").map_or(log_message, |(_, reason)| reason);
        if fac == FAILED_CONNECTION {
            self.note(Trouble::of_transport(reason), reason); // some failures are told in the log alone
        }
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning
                if may_tell() =>
            {
                tracing::warn!("Kafka client: {reason}");
            }
            _ => tracing::debug!(?level, facility = fac, "Kafka client: {reason}"),
        }
    }

    fn error(&self, error: ClientError, reason: &str) {
        tracing::debug!(%error, "Kafka client: {reason}"); // what matters of it comes as a log line too
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed) => {
                self.note(Trouble::Authentication, reason);
            }
            Some(RDKafkaErrorCode::SSL) => self.note(Trouble::Tls, reason),
            Some(
                RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::OperationTimedOut,
            ) => self.note(Trouble::of_transport(reason), reason),
            _ => {}
        }
    }
}

impl ProducerContext for Link {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hears(link: &Link, code: RDKafkaErrorCode, reason: &str) {
        ClientContext::error(link, ClientError::Global(code), reason);
    }

    #[test]
    fn a_timeout_is_explained_by_what_went_wrong_before() {
        let timeout = || ClientError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut);
        let link = Link::new("kafka:9092");
        let plain = link.explained(timeout()).to_string();
        assert!(plain.starts_with("Kafka does not answer at kafka:9092: "), "{plain}");
        hears(&link, RDKafkaErrorCode::BrokerTransportFailure, "Connect failed: Connection refused");
        assert!(link.explained(timeout()).to_string().contains("Connection refused"));
        hears(&link, RDKafkaErrorCode::Authentication, "invalid credentials");
        hears(&link, RDKafkaErrorCode::AllBrokersDown, "1/1 brokers are down");
        hears(&link, RDKafkaErrorCode::BrokerTransportFailure, "Disconnected");
        assert!(matches!(link.explained(timeout()), KafkaError::Authentication { .. }), "the reason stays");
        link.works();
        assert_eq!(link.trouble(), None);
    }

    #[test]
    fn broken_tls_is_known_by_its_text_and_by_the_log_alone() {
        let link = Link::new("kafka:9092");
        link.log(
            RDKafkaLogLevel::Info,
            "FAIL",
            "[thrd:ssl://kafka:9092/bootstrap]: ssl://kafka:9092/bootstrap: error:0A000086:SSL routines::certificate verify failed",
        );
        let error = link.explain("no answer").to_string();
        assert!(error.starts_with("TLS with Kafka fails: ssl://kafka:9092/bootstrap: error:"), "{error}");
    }

    #[test]
    fn other_errors_are_told_as_they_are() {
        let link = Link::new("kafka:9092");
        hears(&link, RDKafkaErrorCode::BrokerTransportFailure, "Connection refused");
        let error = link.explained(ClientError::MetadataFetch(RDKafkaErrorCode::InvalidArgument));
        assert!(matches!(error, KafkaError::Client { .. }), "{error}");
    }
}
