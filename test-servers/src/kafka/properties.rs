//! The text of `server.properties`.

use std::fs;
use std::path::Path;

use super::{Kafka, KafkaOptions, SASL_PASSWORD, SASL_USER, Security};

/// What differs from Kafka's defaults, beside names, places and listeners.
const SETTINGS: [(&str, &str); 19] = [
    ("process.roles", "broker,controller"),
    ("node.id", "1"),
    ("auto.create.topics.enable", "false"), // a topic that nobody made must be seen, as in production
    ("group.initial.rebalance.delay.ms", "0"),
    ("group.min.session.timeout.ms", "1000"), // lets a test's consumer be missed sooner than after six seconds
    // One broker holds each partition alone.
    ("offsets.topic.replication.factor", "1"),
    ("transaction.state.log.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
    ("share.coordinator.state.topic.replication.factor", "1"),
    ("share.coordinator.state.topic.min.isr", "1"),
    // Few partitions of Kafka's own and few threads: many servers share the machine.
    ("offsets.topic.num.partitions", "1"),
    ("transaction.state.log.num.partitions", "1"),
    ("share.coordinator.state.topic.num.partitions", "1"),
    ("num.network.threads", "2"),
    ("num.io.threads", "2"),
    ("background.threads", "2"),
    ("log.cleaner.dedupe.buffer.size", "4194304"),
    // After a kill the controller refuses the broker until the session of its former life has ended.
    ("broker.session.timeout.ms", "2000"),
    ("broker.heartbeat.interval.ms", "500"),
];

pub(super) fn text(kafka: &Kafka, options: &KafkaOptions) -> String {
    let mut lines: Vec<String> = SETTINGS.iter().map(|(name, value)| format!("{name}={value}")).collect();
    lines.extend(listeners(kafka));
    if matches!(kafka.security, Security::Tls { .. } | Security::SaslTls) {
        lines.extend(tls(kafka));
    }
    if matches!(kafka.security, Security::SaslPlaintext | Security::SaslTls) {
        lines.extend(sasl());
    }
    lines.extend(options.settings.iter().map(|(name, value)| format!("{name}={value}")));
    lines.join("\n") + "\n"
}

fn listeners(kafka: &Kafka) -> Vec<String> {
    let clients = format!("CLIENTS://127.0.0.1:{}", kafka.clients.number());
    let administration = format!("ADMIN://127.0.0.1:{}", kafka.administration.number());
    let controller = kafka.controller.number();
    let protocol = match kafka.security {
        Security::Plaintext => "PLAINTEXT",
        Security::Tls { .. } => "SSL",
        Security::SaslPlaintext => "SASL_PLAINTEXT",
        Security::SaslTls => "SASL_SSL",
    };
    vec![
        format!("log.dirs={}", kafka.folder().join("data").display()),
        format!("listeners={clients},{administration},CONTROLLER://127.0.0.1:{controller}"),
        format!("advertised.listeners={clients},{administration}"),
        format!("listener.security.protocol.map=CLIENTS:{protocol},ADMIN:PLAINTEXT,CONTROLLER:PLAINTEXT"),
        "inter.broker.listener.name=ADMIN".to_owned(),
        "controller.listener.names=CONTROLLER".to_owned(),
        format!("controller.quorum.voters=1@127.0.0.1:{controller}"),
    ]
}

fn tls(kafka: &Kafka) -> Vec<String> {
    let certificate = kafka.ca.server();
    let store = kafka.folder().join("tls/keystore.pem");
    let read = |file: &Path| fs::read_to_string(file).expect("a file of ours");
    let both = read(&certificate.key_file) + &read(&certificate.cert_file); // Kafka wants key and certificates in one file
    fs::write(&store, both).expect("a folder of ours");
    let wanted = if kafka.security == (Security::Tls { mutual: true }) { "required" } else { "none" };
    let settings = [
        ("keystore.type", "PEM".to_owned()),
        ("keystore.location", store.display().to_string()),
        ("truststore.type", "PEM".to_owned()),
        ("truststore.location", kafka.ca.file().display().to_string()),
        ("client.auth", wanted.to_owned()),
    ];
    settings.map(|(name, value)| format!("listener.name.clients.ssl.{name}={value}")).to_vec()
}

fn sasl() -> Vec<String> {
    let plain = format!("plain.PlainLoginModule required user_{SASL_USER}=\"{SASL_PASSWORD}\";");
    let scram = "scram.ScramLoginModule required;".to_owned();
    let modules = [("plain", plain), ("scram-sha-256", scram.clone()), ("scram-sha-512", scram)];
    let mut lines = modules
        .map(|(mechanism, module)| {
            let login = "org.apache.kafka.common.security";
            format!("listener.name.clients.{mechanism}.sasl.jaas.config={login}.{module}")
        })
        .to_vec();
    lines.push("listener.name.clients.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512".to_owned());
    lines
}
