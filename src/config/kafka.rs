//! The types that settings of Kafka have. They exist in builds without Kafka too, so that one configuration fits all.

use std::fmt;
use std::num::NonZeroU16;

use super::Config;
use super::fault::Fault;
use super::setting::{Setting, choices};

/// Where a cluster is found: `host:port`, with commas between several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Brokers(String);

#[cfg(any(feature = "kafka", test))]
impl Brokers {
    /// As librdkafka takes it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Setting for Brokers {
    fn allowed() -> String {
        "hosts with their ports and commas between them, for example `kafka-1:9092,kafka-2:9092`".to_owned()
    }

    fn read(text: &str) -> Option<Self> {
        let brokers: Vec<&str> = text.split(',').map(str::trim).collect();
        brokers.iter().all(|broker| is_broker(broker)).then(|| Self(brokers.join(",")))
    }
}

/// A name or address and a port: no scheme, no user, no path.
fn is_broker(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let host_is_sound = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            !host.is_empty() && host.bytes().all(allowed)
        }
    };
    host_is_sound && port.parse::<NonZeroU16>().is_ok()
}

/// A password. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct HiddenText(String);

impl HiddenText {
    /// Itself, for the one place that needs it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    fn has_nul(&self) -> bool {
        self.0.contains('\0')
    }
}

impl fmt::Debug for HiddenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl Setting for HiddenText {
    fn allowed() -> String {
        "a text that is not empty".to_owned()
    }

    fn read(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }
}

impl Setting for String {
    fn allowed() -> String {
        "a text that is not empty".to_owned()
    }

    fn read(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| text.to_owned())
    }
}

impl Setting for NonZeroU16 {
    fn allowed() -> String {
        "a whole number from 1 to 65535".to_owned()
    }

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// What protects the way to the brokers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KafkaSecurity {
    /// Nothing.
    Plaintext,
    /// Encryption.
    Tls,
    /// A login, in the clear.
    SaslPlaintext,
    /// A login, encrypted.
    SaslTls,
}

impl KafkaSecurity {
    /// Whether connections are encrypted.
    pub(crate) fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::SaslTls)
    }

    /// Whether clients log in.
    pub(crate) fn is_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslTls)
    }
}

/// How a login is proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KafkaMechanism {
    /// By the password itself.
    Plain,
    /// By a proof that one knows it.
    ScramSha256,
    /// The same, with the longer hash.
    ScramSha512,
}

/// How messages are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KafkaCompression {
    /// Quick.
    Lz4,
    /// Small.
    Zstd,
    /// Old.
    Gzip,
    /// Not at all.
    None,
}

/// What is done about missing topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KafkaTopics {
    /// They are created.
    Create,
    /// They are somebody else's to create.
    Check,
}

choices!(KafkaSecurity {
    "plaintext" => Plaintext, "tls" => Tls, "sasl_plaintext" => SaslPlaintext, "sasl_tls" => SaslTls
});
choices!(KafkaMechanism { "PLAIN" => Plain, "SCRAM-SHA-256" => ScramSha256, "SCRAM-SHA-512" => ScramSha512 });
choices!(KafkaCompression { "lz4" => Lz4, "zstd" => Zstd, "gzip" => Gzip, "none" => None });
choices!(KafkaTopics { "create" => Create, "check" => Check });

/// Faults that only several keys of Kafka together show.
pub(super) fn contradictions(config: &Config, faults: &mut Vec<Fault>) {
    let security = config.events_kafka_security;
    let (cert, key) = (&config.events_kafka_cert_file, &config.events_kafka_key_file);
    let of_tls = [
        ("events.kafka.ca_file", config.events_kafka_ca_file.is_some()),
        ("events.kafka.cert_file", cert.is_some()),
        ("events.kafka.key_file", key.is_some()),
    ];
    let of_sasl = [
        ("events.kafka.sasl_username", config.events_kafka_sasl_username.is_some()),
        ("events.kafka.sasl_password", config.events_kafka_sasl_password.is_some()),
        ("events.kafka.sasl_password_file", config.events_kafka_sasl_password_file.is_some()),
    ];
    let mut fault = |key: &str, problem: &str| faults.push(Fault::together(key, problem));
    if config.events_kafka_brokers.is_none() {
        let protects = security != KafkaSecurity::Plaintext;
        let first = of_tls.into_iter().chain(of_sasl).find_map(|(name, set)| set.then_some(name));
        if let Some(name) = first.or(protects.then_some("events.kafka.security")) {
            fault("events.kafka.brokers", &format!("is missing: `{name}` has no meaning without it"));
        }
        return;
    }
    for (name, _) in of_tls.into_iter().filter(|(_, set)| *set && !security.is_tls()) {
        fault(name, "needs `events.kafka.security` to be `tls` or `sasl_tls`");
    }
    match (cert, key) {
        (Some(_), None) => {
            fault(
                "events.kafka.key_file",
                "is missing: set both it and `events.kafka.cert_file`, or neither",
            );
        }
        (None, Some(_)) => {
            fault(
                "events.kafka.cert_file",
                "is missing: set both it and `events.kafka.key_file`, or neither",
            );
        }
        (Some(_), Some(_)) | (None, None) => {}
    }
    for (name, _) in of_sasl.into_iter().filter(|(_, set)| *set && !security.is_sasl()) {
        fault(name, "needs `events.kafka.security` to be `sasl_plaintext` or `sasl_tls`");
    }
    if config.events_kafka_sasl_password.as_ref().is_some_and(HiddenText::has_nul) {
        fault("events.kafka.sasl_password", "has a NUL in it");
    }
    if !security.is_sasl() {
        return;
    }
    if config.events_kafka_sasl_username.is_none() {
        fault("events.kafka.sasl_username", "is missing: `events.kafka.security` asks for a login");
    }
    match (&config.events_kafka_sasl_password, &config.events_kafka_sasl_password_file) {
        (None, None) => fault(
            "events.kafka.sasl_password",
            "is missing: `events.kafka.security` asks for a login; set it, or `events.kafka.sasl_password_file`",
        ),
        (Some(_), Some(_)) => {
            fault(
                "events.kafka.sasl_password_file",
                "is set beside `events.kafka.sasl_password`: set one of them",
            );
        }
        (Some(_), None) | (None, Some(_)) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    fn faults(settings: &[(&str, &str)]) -> Vec<String> {
        let variables: Vec<(String, std::ffi::OsString)> = settings
            .iter()
            .map(|(key, value)| (format!("MINDWEAVE_EVENTS__KAFKA__{}", key.to_uppercase()), (*value).into()))
            .collect();
        match Config::load(None, &Environment::of(variables)) {
            Ok(_) => Vec::new(),
            Err(error) => error.faults().iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn brokers_are_hosts_with_ports() {
        for (text, read) in [
            ("a:1", "a:1"),
            ("kafka-1.prod_x:9092, 10.0.0.1:9093", "kafka-1.prod_x:9092,10.0.0.1:9093"),
            ("[::1]:9092", "[::1]:9092"),
        ] {
            assert_eq!(Brokers::read(text).unwrap().as_str(), read);
        }
        for text in [
            "",
            "kafka",
            "kafka:",
            ":9092",
            "a:1,",
            "a:0",
            "a:99999",
            "SSL://a:1",
            "u@a:1",
            "a b:1",
            "::1:9",
            "[x]:1",
        ] {
            assert_eq!(Brokers::read(text), None, "{text}");
        }
    }

    #[test]
    fn a_login_over_tls_is_one_sound_configuration() {
        let sound = [
            ("brokers", "kafka:9093"),
            ("security", "sasl_tls"),
            ("ca_file", "ca.pem"),
            ("cert_file", "cert.pem"),
            ("key_file", "key.pem"),
            ("sasl_mechanism", "SCRAM-SHA-256"),
            ("sasl_username", "mindweave"),
            ("sasl_password", "s3cret"),
        ];
        assert_eq!(faults(&sound), Vec::<String>::new());
    }

    #[test]
    fn settings_of_kafka_that_contradict_each_other_are_refused() {
        let brokers = ("brokers", "kafka:9092");
        for (settings, expected) in [
            (&[("ca_file", "ca.pem")][..], "`events.kafka.brokers` is missing: `events.kafka.ca_file`"),
            (&[("security", "tls")], "`events.kafka.brokers` is missing: `events.kafka.security`"),
            (&[brokers, ("ca_file", "ca.pem")], "`events.kafka.ca_file` needs"),
            (&[brokers, ("security", "tls"), ("cert_file", "c")], "`events.kafka.key_file` is missing"),
            (&[brokers, ("security", "tls"), ("key_file", "c")], "`events.kafka.cert_file` is missing"),
            (&[brokers, ("sasl_username", "me")], "`events.kafka.sasl_username` needs"),
            (
                &[brokers, ("security", "sasl_tls"), ("sasl_password", "s3cret")],
                "`events.kafka.sasl_username` is missing",
            ),
            (
                &[brokers, ("security", "sasl_tls"), ("sasl_username", "me")],
                "`events.kafka.sasl_password` is missing",
            ),
        ] {
            let found = faults(settings);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].starts_with(expected), "{found:?}");
        }
        let both = [
            brokers,
            ("security", "sasl_plaintext"),
            ("sasl_username", "me"),
            ("sasl_password", "s3cret"),
            ("sasl_password_file", "f"),
        ];
        let found = faults(&both);
        assert!(found[0].starts_with("`events.kafka.sasl_password_file` is set beside"), "{found:?}");
        assert!(!found[0].contains("s3cret"), "{found:?}");
    }

    #[test]
    fn the_password_is_in_no_debug_output() {
        let password = HiddenText::read("s3cret").unwrap();
        assert_eq!(format!("{password:?}"), "(hidden)");
    }
}
