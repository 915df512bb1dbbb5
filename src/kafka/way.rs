//! Which way a journal takes to the ledger.

use std::path::Path;

use mindweave_eventlog::{Batch, EventSink, Sequence, SinkError};

use crate::config::Config;

/// The way of a journal to the ledger.
pub(crate) enum Way<S> {
    /// To Kafka, from where control planes take the events.
    #[cfg(feature = "kafka")]
    Kafka(Box<mindweave_kafka::KafkaSink>),
    /// Without anything between.
    Direct(S),
}

/// The way of a proxy's journal.
///
/// # Errors
/// See [`way_of_journal`].
pub(crate) fn way_of_events<S>(config: &Config, direct: S) -> anyhow::Result<Way<S>> {
    way_of_journal(config, &config.journal_dir(), direct)
}

/// The way that is configured, for the journal in this folder; `direct` is the one without Kafka.
///
/// # Errors
/// When Kafka is configured and this build has none.
#[cfg_attr(
    feature = "kafka",
    expect(clippy::unnecessary_wraps, reason = "a build without Kafka can fail here")
)]
pub(crate) fn way_of_journal<S>(config: &Config, folder: &Path, direct: S) -> anyhow::Result<Way<S>> {
    #[cfg(feature = "kafka")]
    if let Some(settings) = super::settings_of(config) {
        let sink = mindweave_kafka::KafkaSink::new(settings, folder);
        return Ok(Way::Kafka(Box::new(sink)));
    }
    #[cfg(not(feature = "kafka"))]
    super::refuse(config)?;
    Ok(Way::Direct(direct))
}

impl<S: EventSink + Sync> EventSink for Way<S> {
    async fn position(&mut self, source: &str) -> Result<Option<Sequence>, SinkError> {
        match self {
            #[cfg(feature = "kafka")]
            Self::Kafka(sink) => sink.position(source).await,
            Self::Direct(sink) => sink.position(source).await,
        }
    }

    async fn deliver(&mut self, batch: &Batch) -> Result<(), SinkError> {
        match self {
            #[cfg(feature = "kafka")]
            Self::Kafka(sink) => sink.deliver(batch).await,
            Self::Direct(sink) => sink.deliver(batch).await,
        }
    }
}
