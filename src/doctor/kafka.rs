//! The way to Kafka.

use super::Check;
use crate::config::Config;

const NAME: &str = "kafka";

/// Every check of Kafka; none where it is not configured.
#[cfg(feature = "kafka")]
pub(super) fn checks(config: &Config) -> Vec<Check> {
    use mindweave_kafka::{TopicCare, prepare_topics};

    let Some(settings) = crate::kafka::settings_of(config) else { return Vec::new() };
    let created = settings.topics == TopicCare::Create;
    let looking = mindweave_kafka::KafkaConfig { topics: TopicCare::Check, ..settings };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return vec![Check::skipped(NAME, format!("cannot be asked: {error}"))],
    };
    match runtime.block_on(prepare_topics(&looking)) {
        Ok(cluster) => {
            let found = format!(
                "{} answers as cluster {}; topic `{}` has {} partitions",
                looking.brokers,
                cluster.id,
                mindweave_kafka::USAGE_EVENTS,
                cluster.partitions
            );
            let advice = "events travel as it is; change the topic, or the setting it is held to";
            let shortcomings = cluster.shortcomings.into_iter();
            let warnings = shortcomings.map(|shortcoming| Check::warn("kafka topics", shortcoming, advice));
            std::iter::once(Check::ok(NAME, found)).chain(warnings).collect()
        }
        Err(error) => vec![fault(&error, created)],
    }
}

#[cfg(feature = "kafka")]
fn fault(error: &mindweave_kafka::KafkaError, created: bool) -> Check {
    use mindweave_kafka::KafkaError;

    let advice = match error {
        KafkaError::TopicsMissing { .. } if created => {
            return Check::ok(NAME, format!("{error}: the first start creates them"));
        }
        KafkaError::TopicsMissing { .. } => {
            "create them, give this client the right to see them, or set events.kafka.topics to `create`"
        }
        KafkaError::Unreachable { .. } => {
            "start Kafka, or check events.kafka.brokers and events.kafka.security; until then events wait in the journal"
        }
        KafkaError::Authentication { .. } => {
            "check events.kafka.sasl_username, sasl_password and sasl_mechanism against the brokers'"
        }
        KafkaError::Tls { .. } => {
            "check events.kafka.ca_file, cert_file and key_file, and that the brokers' certificates have their names"
        }
        KafkaError::NotAuthorized { .. } => {
            "give this user the rights to describe, create, write and read the topics (docs/operations.md)"
        }
        KafkaError::Config { .. } | KafkaError::File { .. } => "check the settings under events.kafka",
        KafkaError::TopicNotCreated { .. } | KafkaError::NotDelivered { .. } | KafkaError::Client { .. } => {
            "look into the brokers' logs"
        }
    };
    Check::fail(NAME, error.to_string(), advice)
}

/// This build cannot check what it does not have.
#[cfg(not(feature = "kafka"))]
pub(super) fn checks(config: &Config) -> Vec<Check> {
    match crate::kafka::refuse(config) {
        Ok(()) => Vec::new(),
        Err(error) => vec![Check::fail(NAME, error.to_string(), "or unset events.kafka.brokers")],
    }
}
