//! What a build without Kafka does where Kafka would come in.

use mindweave_control_plane::{AuditTopic, UsageSinks};

use crate::config::Config;

/// Holds against the configuration that this build has no Kafka.
///
/// # Errors
/// When Kafka is configured.
pub(crate) fn refuse(config: &Config) -> anyhow::Result<()> {
    anyhow::ensure!(
        config.events_kafka_brokers.is_none(),
        "events.kafka.brokers is set, and this build has no Kafka: build with `--features kafka`"
    );
    Ok(())
}

/// There is no topic.
pub(crate) fn audit_topic(_: &Config) -> Option<AuditTopic> {
    None
}

/// Nobody takes events from Kafka.
pub(crate) struct Consuming;

impl Consuming {
    /// Starts nothing.
    ///
    /// # Errors
    /// When Kafka is configured.
    pub(crate) fn start(config: &Config, _: UsageSinks) -> anyhow::Result<Self> {
        refuse(config)?;
        Ok(Self)
    }

    /// Has nothing to stop.
    #[expect(clippy::unused_async, reason = "with Kafka there is something to wait for")]
    pub(crate) async fn shutdown(self) {}
}
