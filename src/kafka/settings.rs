//! From the configuration's words to those of Kafka's clients.

use std::path::PathBuf;

use mindweave_kafka::{
    ClientCertificate, Compression, KafkaConfig, Password, Sasl, SaslMechanism, Tls, TopicCare,
};

use crate::config::Config;
use crate::config::kafka::{KafkaCompression, KafkaMechanism, KafkaTopics};

/// The settings of Kafka's clients, where Kafka is configured.
pub(crate) fn of(config: &Config) -> Option<KafkaConfig> {
    let brokers = config.events_kafka_brokers.as_ref()?;
    let security = config.events_kafka_security;
    Some(KafkaConfig {
        tls: security.is_tls().then(|| tls(config)),
        sasl: if security.is_sasl() { sasl(config) } else { None },
        compression: match config.events_kafka_compression {
            KafkaCompression::Lz4 => Compression::Lz4,
            KafkaCompression::Zstd => Compression::Zstd,
            KafkaCompression::Gzip => Compression::Gzip,
            KafkaCompression::None => Compression::None,
        },
        topics: match config.events_kafka_topics {
            KafkaTopics::Create => TopicCare::Create,
            KafkaTopics::Check => TopicCare::Check,
        },
        partitions: config.events_kafka_partitions,
        replication: config.events_kafka_replication,
        ..KafkaConfig::new(brokers.as_str())
    })
}

fn tls(config: &Config) -> Tls {
    let pair = config.events_kafka_cert_file.as_ref().zip(config.events_kafka_key_file.as_ref());
    let certificate = |(cert, key): (&PathBuf, &PathBuf)| ClientCertificate {
        cert_file: cert.clone(),
        key_file: key.clone(),
    };
    Tls { ca_file: config.events_kafka_ca_file.clone(), certificate: pair.map(certificate) }
}

/// Name and password; the configuration is refused before this where one is missing.
fn sasl(config: &Config) -> Option<Sasl> {
    let password = match (&config.events_kafka_sasl_password, &config.events_kafka_sasl_password_file) {
        (Some(password), _) => Password::Text(password.expose().to_owned()),
        (None, Some(file)) => Password::File(file.clone()),
        (None, None) => return None,
    };
    let mechanism = match config.events_kafka_sasl_mechanism {
        KafkaMechanism::Plain => SaslMechanism::Plain,
        KafkaMechanism::ScramSha256 => SaslMechanism::ScramSha256,
        KafkaMechanism::ScramSha512 => SaslMechanism::ScramSha512,
    };
    Some(Sasl { mechanism, username: config.events_kafka_sasl_username.clone()?, password })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    fn config(settings: &[(&str, &str)]) -> Config {
        let variables =
            settings.iter().map(|(key, value)| (format!("MINDWEAVE_EVENTS__KAFKA__{key}"), (*value).into()));
        Config::load(None, &Environment::of(variables)).unwrap()
    }

    #[test]
    fn without_brokers_there_is_no_kafka() {
        assert!(of(&config(&[])).is_none());
    }

    #[test]
    fn the_documented_defaults_are_the_clients_own() {
        let ours = of(&config(&[("BROKERS", "a:1, b:2")])).unwrap();
        assert_eq!(format!("{ours:?}"), format!("{:?}", KafkaConfig::new("a:1,b:2")));
    }

    #[test]
    fn everything_that_is_set_reaches_the_clients() {
        let settings = of(&config(&[
            ("BROKERS", "a:1"),
            ("SECURITY", "sasl_tls"),
            ("CA_FILE", "ca"),
            ("CERT_FILE", "cert"),
            ("KEY_FILE", "key"),
            ("SASL_MECHANISM", "PLAIN"),
            ("SASL_USERNAME", "me"),
            ("SASL_PASSWORD", "s3cret"),
            ("COMPRESSION", "zstd"),
            ("TOPICS", "check"),
            ("PARTITIONS", "5"),
            ("REPLICATION", "2"),
        ]))
        .unwrap();
        let certificate = ClientCertificate { cert_file: "cert".into(), key_file: "key".into() };
        assert_eq!(settings.tls, Some(Tls { ca_file: Some("ca".into()), certificate: Some(certificate) }));
        let sasl = settings.sasl.unwrap();
        assert_eq!((sasl.mechanism, sasl.username.as_str()), (SaslMechanism::Plain, "me"));
        assert_eq!(sasl.password, Password::Text("s3cret".to_owned()));
        assert_eq!((settings.compression, settings.topics), (Compression::Zstd, TopicCare::Check));
        assert_eq!((settings.partitions.get(), settings.replication.map(u16::from)), (5, Some(2)));
    }
}
