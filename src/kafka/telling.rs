//! The way of the audit log to its topic.

use std::pin::Pin;

use mindweave_control_plane::{AuditMessage, AuditSink, AuditTopic, NotTold};
use mindweave_kafka::{AuditProducer, AuditRecord};
use tokio::sync::Mutex;

use super::settings_of;
use crate::config::Config;

/// Where entries of the audit log are told, if Kafka is configured.
pub(crate) fn audit_topic(config: &Config) -> Option<AuditTopic> {
    let settings = settings_of(config)?;
    Some(AuditTopic::new(Telling(Mutex::new(AuditProducer::new(settings)))))
}

struct Telling(Mutex<AuditProducer>);

impl AuditSink for Telling {
    fn tell<'a>(
        &'a self,
        batch: &'a [AuditMessage],
    ) -> Pin<Box<dyn Future<Output = Result<(), NotTold>> + Send + 'a>> {
        Box::pin(async move {
            let record = |message: &'a AuditMessage| AuditRecord {
                chain: &message.chain,
                sequence: message.sequence,
                payload: &message.payload,
            };
            let records: Vec<AuditRecord<'_>> = batch.iter().map(record).collect();
            Ok(self.0.lock().await.send(&records).await?)
        })
    }
}
