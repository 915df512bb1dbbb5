use std::collections::BTreeMap;

use mindweave_kafka::{KafkaConfig, KafkaError, TOPICS, TopicCare, prepare_topics};
use mindweave_test_servers::{Kafka, KafkaOptions};
use rdkafka::admin::{AdminOptions, NewTopic, OwnedResourceSpecifier, ResourceSpecifier, TopicReplication};

use crate::journals::eventually;
use crate::reading::{admin, topics};

async fn settings(brokers: &str, topic: &str) -> BTreeMap<String, String> {
    let results = admin(brokers)
        .describe_configs(&[ResourceSpecifier::Topic(topic)], &AdminOptions::new())
        .await
        .unwrap();
    let found = results.into_iter().next().unwrap().unwrap();
    assert_eq!(found.specifier, OwnedResourceSpecifier::Topic(topic.to_owned()));
    found.entries.into_iter().map(|entry| (entry.name, entry.value.unwrap_or_default())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_created_with_the_stated_settings_by_many_at_once() {
    let kafka = Kafka::start();
    let config = KafkaConfig { partitions: 5.try_into().unwrap(), ..KafkaConfig::new(kafka.brokers()) };
    let clusters = tokio::join!(
        prepare_topics(&config),
        prepare_topics(&config),
        prepare_topics(&config),
        prepare_topics(&config)
    );
    for cluster in [clusters.0, clusters.1, clusters.2, clusters.3] {
        let cluster = cluster.unwrap();
        assert_eq!((cluster.id.as_str(), cluster.partitions), (kafka.cluster_id(), 5));
        assert_eq!(cluster.shortcomings, Vec::<String>::new());
        assert_eq!(cluster.message_bytes, Some(2 << 20));
    }
    let expected = [
        ("analytics.results", 5, "604800000"),
        ("audit.log", 5, "604800000"),
        ("billing.events", 5, "604800000"),
        ("notifications", 5, "604800000"),
        ("usage.events", 5, "604800000"),
        ("usage.events.dead-letter", 1, "2592000000"),
    ];
    assert_eq!(expected.len(), TOPICS.len());
    let found = topics(&kafka.brokers());
    for (name, partitions, retention) in expected {
        assert_eq!(found[name], partitions, "{name}");
        let settings = settings(&kafka.brokers(), name).await;
        assert_eq!(settings["retention.ms"], retention, "{name}");
        assert_eq!(settings["max.message.bytes"], "2097152", "{name}");
        assert_eq!(settings["min.insync.replicas"], "1", "{name}: there is one broker");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_names_every_topic_that_is_missing_and_makes_none_even_where_brokers_would() {
    let would = KafkaOptions {
        settings: vec![("auto.create.topics.enable", "true".to_owned())],
        ..KafkaOptions::default()
    };
    let kafka = Kafka::with_options(&would);
    let config = KafkaConfig { topics: TopicCare::Check, ..KafkaConfig::new(kafka.brokers()) };
    let error = prepare_topics(&config).await.unwrap_err();
    for topic in TOPICS {
        assert!(error.to_string().contains(topic.name), "{error}");
    }
    assert!(matches!(error, KafkaError::TopicsMissing { .. }), "{error:?}");
    kafka.create_topic("usage.events", 12);
    kafka.create_topic("usage.events.dead-letter", 1);
    eventually("the brokers' word of the topics", || topics(&kafka.brokers()).len() == 2).await;
    let cluster = prepare_topics(&config).await.unwrap();
    assert!(cluster.shortcomings.iter().any(|text| text.contains("audit.log")), "{cluster:?}");
    let there: Vec<String> = topics(&kafka.brokers()).into_keys().collect();
    assert_eq!(there, ["usage.events", "usage.events.dead-letter"], "nothing was created");
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_are_not_as_they_should_be_are_used_and_said_to_be_so() {
    let kafka = Kafka::start();
    let poor = NewTopic::new("usage.events", 3, TopicReplication::Fixed(1))
        .set("retention.ms", "3600000")
        .set("max.message.bytes", "1000");
    let forever = NewTopic::new("audit.log", 12, TopicReplication::Fixed(1)).set("retention.ms", "-1");
    let created =
        admin(&kafka.brokers()).create_topics([&poor, &forever], &AdminOptions::new()).await.unwrap();
    assert!(created.iter().all(Result::is_ok), "{created:?}");
    let cluster = prepare_topics(&KafkaConfig::new(kafka.brokers())).await.unwrap();
    let text = cluster.shortcomings.join("\n");
    for part in [
        "topic `usage.events` has 3 partitions, fewer than the 12",
        "topic `usage.events` keeps messages for 1 hours, less than the 168",
        "topic `usage.events` takes no message over 1000 bytes",
    ] {
        assert!(text.contains(part), "missing: {part}\n{text}");
    }
    assert!(!text.contains("`audit.log` keeps"), "for ever is long enough: {text}");
    assert_eq!((cluster.partitions, cluster.message_bytes), (3, Some(1000)));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_replicas_than_brokers_are_a_clear_error() {
    let kafka = Kafka::start();
    let config = KafkaConfig { replication: 3.try_into().ok(), ..KafkaConfig::new(kafka.brokers()) };
    let error = prepare_topics(&config).await.unwrap_err().to_string();
    assert!(error.contains("`usage.events` cannot be created"), "{error}");
    assert!(error.contains("3 replicas were asked for, 1 brokers are there"), "{error}");
}
