//! The control plane's side of Kafka.

use std::time::Duration;

use anyhow::Context;
use mindweave_control_plane::UsageSinks;
use mindweave_kafka::{Consumer, ConsumerConfig, KafkaConfig, prepare_topics};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::settings_of;
use crate::config::Config;

/// Pause before topics are seen to again.
const TOPICS_PAUSE: Duration = Duration::from_secs(2);
/// How often the log is told that there is nothing to read from.
const REMINDER: Duration = Duration::from_secs(60);

/// What takes events from Kafka into the ledger, if it is configured.
pub(crate) struct Consuming {
    consumer: Option<Consumer>,
    /// Sees to the topics; aborted when dropped.
    preparing: JoinSet<()>,
}

impl Consuming {
    /// Starts in the background; brokers may be away for as long as they like.
    ///
    /// # Errors
    /// When the settings cannot be used, as certificates that are not there.
    pub(crate) fn start(config: &Config, sinks: UsageSinks) -> anyhow::Result<Self> {
        let mut preparing = JoinSet::new();
        let Some(settings) = settings_of(config) else { return Ok(Self { consumer: None, preparing }) };
        let consumer = Consumer::start(&settings, ConsumerConfig::default(), move || sinks.sink());
        let consumer = consumer.context("events cannot be taken from Kafka")?;
        preparing.spawn(prepare(settings));
        Ok(Self { consumer: Some(consumer), preparing })
    }

    /// Ends what is under way, and leaves the rest to others or to the next start.
    pub(crate) async fn shutdown(self) {
        drop(self.preparing);
        if let Some(consumer) = self.consumer {
            consumer.shutdown().await;
        }
    }
}

/// Sees to the topics until they are there.
async fn prepare(settings: KafkaConfig) {
    let mut told: Option<Instant> = None;
    loop {
        match prepare_topics(&settings).await {
            Ok(cluster) => {
                for shortcoming in &cluster.shortcomings {
                    tracing::warn!("{shortcoming}");
                }
                tracing::info!(
                    cluster = cluster.id,
                    partitions = cluster.partitions,
                    "events come from Kafka"
                );
                return;
            }
            Err(error) if told.is_none_or(|at| at.elapsed() >= REMINDER) => {
                told = Some(Instant::now());
                tracing::warn!(%error, "no events come from Kafka; trying again");
            }
            Err(_) => {}
        }
        sleep(TOPICS_PAUSE).await;
    }
}
