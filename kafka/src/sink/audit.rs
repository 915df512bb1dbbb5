//! Where entries of the audit log are told, when that is Kafka.
//!
//! A batch is safe when every message of it is acknowledged by all replicas in sync. A batch that fails is given up with its
//! producer, and whoever sends it begins anew with another one: messages may come twice, and never in another order.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode;
use tokio::time::{Instant, sleep, timeout};

use super::connection::{Connection, Packing};
use super::flight::{Flight, Landed};
use crate::config::KafkaConfig;
use crate::error::KafkaError;
use crate::topics::{AUDIT_LOG, prepare_topics};

/// After this long without acknowledgement a batch is given up.
const PATIENCE: Duration = Duration::from_secs(15);
/// Pause while the producer's memory is full.
const FULL_PAUSE: Duration = Duration::from_millis(5);

/// An entry on its way.
#[derive(Clone, Copy, Debug)]
pub struct AuditRecord<'a> {
    /// Whose entry it is; the key of the message, so that a chain stays in one partition.
    pub chain: &'a str,
    /// Its number in the chain.
    pub sequence: i64,
    /// The envelope.
    pub payload: &'a [u8],
}

/// Sends entries to [`AUDIT_LOG`].
pub struct AuditProducer {
    config: KafkaConfig,
    connection: Option<Connection>,
}

impl AuditProducer {
    /// Connects when it is first given something.
    pub fn new(config: KafkaConfig) -> Self {
        Self { config, connection: None }
    }

    /// Sends a batch in its order, and returns when all of it is acknowledged.
    ///
    /// # Errors
    /// When a part of it is not; any part may have arrived.
    pub async fn send(&mut self, batch: &[AuditRecord<'_>]) -> Result<(), KafkaError> {
        let sent = self.sent(batch).await;
        if sent.is_err() {
            self.connection = None; // with everything that is still under way
        }
        sent
    }

    async fn sent(&mut self, batch: &[AuditRecord<'_>]) -> Result<(), KafkaError> {
        if self.connection.is_none() {
            // Before the first message: brokers may make a topic by themselves, with settings of their own.
            prepare_topics(&self.config).await?;
        }
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(Connection::open(&self.config, Packing::Together { largest: None }).await?),
        };
        let flight = hand_over(connection, batch).await?;
        let not_delivered =
            |count, reason: String| KafkaError::NotDelivered { topic: AUDIT_LOG, count, reason };
        match timeout(PATIENCE, flight.landed()).await {
            Ok(Landed::All { .. }) => {
                connection.link().works();
                Ok(())
            }
            Ok(Landed::Failed { count, first }) => match first.code {
                RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed => {
                    Err(KafkaError::NotAuthorized { action: "write to", topic: AUDIT_LOG.to_owned() })
                }
                code => Err(not_delivered(count, code.to_string())),
            },
            Err(_) => {
                let silence = format!("no acknowledgement within {} s", PATIENCE.as_secs());
                Err(match connection.link().trouble() {
                    Some(_) => connection.link().explain(&silence),
                    None => not_delivered(flight.waiting(), silence),
                })
            }
        }
    }
}

async fn hand_over(connection: &Connection, batch: &[AuditRecord<'_>]) -> Result<Arc<Flight>, KafkaError> {
    let flight = Flight::of(batch.len());
    let begun = Instant::now();
    for record in batch {
        while let Err(error) = connection.send_entry(record, &flight) {
            let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
            if !full || begun.elapsed() >= PATIENCE {
                return Err(connection.link().explained(error));
            }
            sleep(FULL_PAUSE).await;
        }
    }
    Ok(flight)
}
