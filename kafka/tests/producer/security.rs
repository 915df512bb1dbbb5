use mindweave_kafka::{
    ClientCertificate, KafkaConfig, KafkaError, Password, Sasl, SaslMechanism, Tls, TopicCare, prepare_topics,
};
use mindweave_test_servers::{Kafka, KafkaOptions, SASL_PASSWORD, SASL_USER, Security};

use crate::journals::Events;

fn start(security: Security) -> Kafka {
    Kafka::with_options(&KafkaOptions { security, ..KafkaOptions::default() })
}

fn tls(kafka: &Kafka) -> Option<Tls> {
    Some(Tls { ca_file: Some(kafka.ca_file()), certificate: None })
}

fn login(mechanism: SaslMechanism, password: Password) -> Option<Sasl> {
    Some(Sasl { mechanism, username: SASL_USER.to_owned(), password })
}

/// The error of somebody who is not let in.
async fn refused(config: &KafkaConfig) -> KafkaError {
    prepare_topics(config).await.expect_err("this must not be let in")
}

#[tokio::test(flavor = "multi_thread")]
async fn events_arrive_through_tls_and_only_the_right_authority_is_trusted() {
    let kafka = start(Security::Tls { mutual: false });
    let good = KafkaConfig { tls: tls(&kafka), ..KafkaConfig::new(kafka.brokers()) };
    let mut events = Events::new();
    events.append(200);
    events.ship_all(&good).await;

    let stranger = start(Security::Tls { mutual: false });
    let wrong_ca = KafkaConfig { tls: tls(&stranger), ..good.clone() };
    let error = refused(&wrong_ca).await;
    assert!(matches!(error, KafkaError::Tls { .. }), "{error}");
    assert!(error.to_string().contains("certificate verify failed"), "{error}");

    let machines_own = KafkaConfig { tls: Some(Tls::default()), ..good.clone() };
    assert!(matches!(refused(&machines_own).await, KafkaError::Tls { .. }));

    let in_the_clear = KafkaConfig { tls: None, ..good.clone() };
    let error = refused(&in_the_clear).await.to_string();
    assert!(error.contains("does this port ask for TLS"), "{error}");

    let no_file =
        KafkaConfig { tls: Some(Tls { ca_file: Some("/nowhere/ca.pem".into()), certificate: None }), ..good };
    let error = refused(&no_file).await.to_string();
    assert!(error.contains("cannot read /nowhere/ca.pem"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mutual_tls_lets_those_in_who_show_a_certificate() {
    let kafka = start(Security::Tls { mutual: true });
    let shown = kafka.client_certificate();
    let certificate =
        ClientCertificate { cert_file: shown.cert_file.clone(), key_file: shown.key_file.clone() };
    let good = KafkaConfig {
        tls: Some(Tls { ca_file: Some(kafka.ca_file()), certificate: Some(certificate) }),
        ..KafkaConfig::new(kafka.brokers())
    };
    let mut events = Events::new();
    events.append(200);
    events.ship_all(&good).await;
    let error = refused(&KafkaConfig { tls: tls(&kafka), ..good }).await;
    assert!(matches!(error, KafkaError::Tls { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_login_works_over_tls_and_a_wrong_password_is_called_so() {
    let kafka = start(Security::SaslTls);
    let base = KafkaConfig { tls: tls(&kafka), ..KafkaConfig::new(kafka.brokers()) };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, format!("{SASL_PASSWORD}\n")).unwrap();
    for mechanism in [SaslMechanism::Plain, SaslMechanism::ScramSha256, SaslMechanism::ScramSha512] {
        for password in [Password::Text(SASL_PASSWORD.to_owned()), Password::File(file.clone())] {
            let config = KafkaConfig { sasl: login(mechanism, password), ..base.clone() };
            let mut events = Events::new();
            events.append(20);
            events.ship_all(&config).await;
        }
        let wrong = login(mechanism, Password::Text("hunter2-but-wrong".to_owned()));
        let config = KafkaConfig { sasl: wrong, ..base.clone() };
        let error = refused(&config).await;
        assert!(matches!(error, KafkaError::Authentication { .. }), "{mechanism:?}: {error}");
        assert!(!format!("{error} {error:?} {config:?}").contains("hunter2"), "{error}");
    }
    let nobody = refused(&base).await;
    assert!(matches!(nobody, KafkaError::Unreachable { .. } | KafkaError::Authentication { .. }), "{nobody}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_mended_in_its_file_works_without_restart() {
    let kafka = start(Security::SaslPlaintext);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "not-yet").unwrap();
    let sasl = login(SaslMechanism::ScramSha512, Password::File(file.clone()));
    let config = KafkaConfig { sasl, ..KafkaConfig::new(kafka.brokers()) };
    let mut events = Events::new();
    events.append(20);
    let shipping = events.ship(&config);
    assert!(matches!(refused(&config).await, KafkaError::Authentication { .. }));
    std::fs::write(&file, SASL_PASSWORD).unwrap();
    assert_eq!(shipping.stop().await, mindweave_eventlog::ShipEnd::Drained);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_rights_is_told_which_it_lacks() {
    let kafka = Kafka::with_options(&KafkaOptions {
        security: Security::SaslPlaintext,
        settings: vec![
            ("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer".to_owned()),
            ("super.users", "User:ANONYMOUS".to_owned()), // the harness's own way in
        ],
        ..KafkaOptions::default()
    });
    let sasl = login(SaslMechanism::ScramSha256, Password::Text(SASL_PASSWORD.to_owned()));
    let create = KafkaConfig { sasl, ..KafkaConfig::new(kafka.brokers()) };
    let error = refused(&create).await;
    assert!(matches!(error, KafkaError::NotAuthorized { action: "create", .. }), "{error}");
    for topic in mindweave_kafka::TOPICS {
        kafka.create_topic(topic.name, 1);
    }
    let error = refused(&KafkaConfig { topics: TopicCare::Check, ..create.clone() }).await.to_string();
    assert!(error.contains("usage.events") && error.contains("does not show them to this client"), "{error}");
    let error = refused(&create).await;
    assert!(matches!(error, KafkaError::NotAuthorized { .. }), "{error}");
}
