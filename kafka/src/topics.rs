//! The topics, and what is done at the start so that they are there.

use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use mindweave_eventlog::MAX_PAYLOAD_BYTES;
use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, OwnedResourceSpecifier, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::metadata::Metadata;
use rdkafka::producer::{Producer, ThreadedProducer};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use crate::config::{KafkaConfig, TopicCare};
use crate::error::KafkaError;
use crate::link::Link;

/// Where proxies and other producers put events for the ledger.
pub const USAGE_EVENTS: &str = "usage.events";
/// Where messages go that the ledger can never take, with the reason.
pub const USAGE_EVENTS_DEAD_LETTER: &str = "usage.events.dead-letter";

/// Where control planes tell entries of the audit log.
pub const AUDIT_LOG: &str = "audit.log";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Long enough for a weekend in which no ledger runs, short enough for a disk.
const RETENTION: Duration = DAY.saturating_mul(7);
/// A person has to look at dead letters, and people have holidays.
const DEAD_LETTER_RETENTION: Duration = DAY.saturating_mul(30);
/// The largest message: an event as large as a journal takes one, with as much again for key, headers and framing, as a dead
/// letter has them.
pub(crate) const MAX_MESSAGE_BYTES: usize = 2 * MAX_PAYLOAD_BYTES;
/// Replicas where the setting names no number: one may be lost while another is being replaced.
const USUAL_REPLICATION: usize = 3;
/// How long one question to the brokers may take. Many times what they need, and as long as an end waits for it.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long brokers may take to tell each other of new topics.
const SPREADING_TIMEOUT: Duration = Duration::from_secs(10);
/// How often they are asked meanwhile.
const SPREADING_PAUSE: Duration = Duration::from_millis(100);

/// A topic of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: &'static str,
    /// How long messages stay.
    pub retention: Duration,
    /// `None`: as many partitions as the settings say.
    pub partitions: Option<NonZeroU16>,
    /// Whether events reach the ledger only if it is there.
    pub needed: bool,
}

/// Every topic.
pub const TOPICS: [Topic; 6] = [
    Topic { name: USAGE_EVENTS, retention: RETENTION, partitions: None, needed: true },
    // Its order is the order in which somebody reads it.
    Topic {
        name: USAGE_EVENTS_DEAD_LETTER,
        retention: DEAD_LETTER_RETENTION,
        partitions: Some(NonZeroU16::MIN),
        needed: true,
    },
    Topic { name: "analytics.results", retention: RETENTION, partitions: None, needed: false },
    Topic { name: "notifications", retention: RETENTION, partitions: None, needed: false },
    Topic { name: AUDIT_LOG, retention: RETENTION, partitions: None, needed: false },
    Topic { name: "billing.events", retention: RETENTION, partitions: None, needed: false },
];

/// What was found of a cluster whose topics can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// What the cluster calls itself.
    pub id: String,
    /// Partitions of [`USAGE_EVENTS`].
    pub partitions: i32,
    /// The largest message that [`USAGE_EVENTS`] takes, in bytes, where this client may know it.
    pub message_bytes: Option<usize>,
    /// What works and is not as the settings say, in sentences for people.
    pub shortcomings: Vec<String>,
}

/// Creates the topics that are missing, or only looks, as the settings say. Any number of processes may do so at once.
///
/// # Errors
/// When brokers cannot be reached or do not let us in, and when a needed topic is missing and stays so.
pub async fn prepare_topics(config: &KafkaConfig) -> Result<Cluster, KafkaError> {
    let config = config.clone();
    let handle = Handle::current();
    // librdkafka's questions block, and so does giving up its clients.
    let prepared = spawn_blocking(move || Preparation::new(&config, handle)?.run()).await;
    prepared.unwrap_or_else(|error| Err(KafkaError::Client { reason: error.to_string() }))
}

struct Preparation<'a> {
    config: &'a KafkaConfig,
    link: Link,
    /// Only asks; it is a producer because that is the client that costs a broker least.
    client: ThreadedProducer<Link>,
    handle: Handle,
    shortcomings: Vec<String>,
}

impl<'a> Preparation<'a> {
    fn new(config: &'a KafkaConfig, handle: Handle) -> Result<Self, KafkaError> {
        let link = Link::new(&config.brokers);
        let client = config.client()?.create_with_context(link.clone())?;
        Ok(Self { config, link, client, handle, shortcomings: Vec::new() })
    }

    fn run(mut self) -> Result<Cluster, KafkaError> {
        let mut metadata = self.metadata()?;
        let id = self.client.client().fetch_cluster_id(ANSWER_TIMEOUT);
        let id = id.ok_or_else(|| self.link.explain("the brokers do not say which cluster they are"))?;
        let missing = missing(&metadata);
        if !missing.is_empty() {
            match self.config.topics {
                TopicCare::Create => {
                    self.create(&missing, metadata.brokers().len())?;
                    metadata = self.spread(&missing)?;
                }
                TopicCare::Check => self.accept_missing(&missing)?,
            }
        }
        let partitions = self.partitions(&metadata);
        let message_bytes = self.settings();
        Ok(Cluster { id, partitions, message_bytes, shortcomings: self.shortcomings })
    }

    /// Everything that this client may see. Asking for one topic would make brokers that create topics by themselves do so,
    /// with settings of their own.
    fn metadata(&self) -> Result<Metadata, KafkaError> {
        let metadata = self.client.client().fetch_metadata(None, ANSWER_TIMEOUT);
        metadata.map_err(|error| {
            self.link.await_reason();
            self.link.explained(error)
        })
    }

    fn admin(&self) -> Result<AdminClient<Link>, KafkaError> {
        Ok(self.config.client()?.create_with_context(self.link.clone())?)
    }

    fn create(&mut self, topics: &[Topic], brokers: usize) -> Result<(), KafkaError> {
        let replicas = match self.config.replication {
            Some(replicas) => usize::from(replicas.get()),
            None => USUAL_REPLICATION.min(brokers).max(1),
        };
        let settings: Vec<[(&str, String); 3]> =
            topics.iter().map(|topic| topic.settings(replicas)).collect();
        let new = topics.iter().zip(&settings).map(|(topic, settings)| {
            let replication = TopicReplication::Fixed(i32::try_from(replicas).unwrap_or(i32::MAX));
            let new = NewTopic::new(topic.name, topic.partitions(self.config), replication);
            settings.iter().fold(new, |new, (key, value)| new.set(key, value))
        });
        let new: Vec<NewTopic<'_>> = new.collect();
        let options = AdminOptions::new()
            .request_timeout(Some(SPREADING_TIMEOUT))
            .operation_timeout(Some(ANSWER_TIMEOUT));
        let results = self.handle.block_on(self.admin()?.create_topics(&new, &options));
        for result in results.map_err(|error| self.link.explained(error))? {
            match result {
                Ok(topic) => {
                    tracing::info!(topic, replicas, "topic created");
                }
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {} // somebody was faster
                Err((name, code)) => self.not_created(name, code, replicas, brokers)?,
            }
        }
        Ok(())
    }

    fn not_created(
        &mut self,
        topic: String,
        code: RDKafkaErrorCode,
        replicas: usize,
        brokers: usize,
    ) -> Result<(), KafkaError> {
        let needed = is_needed(&topic);
        let error = match code {
            RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed => {
                KafkaError::NotAuthorized { action: "create", topic }
            }
            code => {
                let reason =
                    format!("{code} ({replicas} replicas were asked for, {brokers} brokers are there)");
                KafkaError::TopicNotCreated { topic, reason }
            }
        };
        if needed {
            return Err(error);
        }
        self.shortcomings.push(error.to_string());
        Ok(())
    }

    /// Waits until the brokers know the new topics; some of those that nothing needs may not have come.
    fn spread(&mut self, expected: &[Topic]) -> Result<Metadata, KafkaError> {
        let deadline = Instant::now() + SPREADING_TIMEOUT;
        loop {
            let metadata = self.metadata()?;
            let missing = missing(&metadata);
            let refused = self.shortcomings.len();
            if missing.len() <= refused && !missing.iter().any(|topic| topic.needed) {
                return Ok(metadata);
            }
            if Instant::now() >= deadline {
                return Err(self.hidden(&missing).unwrap_or_else(|| names_of(expected)));
            }
            std::thread::sleep(SPREADING_PAUSE);
        }
    }

    /// A topic that is there and is not shown is one that this client has no rights to.
    fn hidden(&self, topics: &[Topic]) -> Option<KafkaError> {
        topics.iter().find_map(|topic| {
            let metadata = self.client.client().fetch_metadata(Some(topic.name), ANSWER_TIMEOUT).ok()?;
            let error: RDKafkaErrorCode = metadata.topics().first()?.error()?.into();
            let hidden = error == RDKafkaErrorCode::TopicAuthorizationFailed;
            hidden.then(|| KafkaError::NotAuthorized { action: "see", topic: topic.name.to_owned() })
        })
    }

    fn accept_missing(&mut self, missing: &[Topic]) -> Result<(), KafkaError> {
        if missing.iter().any(|topic| topic.needed) {
            return Err(names_of(missing));
        }
        self.shortcomings.push(names_of(missing).to_string());
        Ok(())
    }

    /// Holds partitions and replicas to what was asked for; returns the partitions of [`USAGE_EVENTS`].
    fn partitions(&mut self, metadata: &Metadata) -> i32 {
        let mut of_events = 0;
        for topic in TOPICS {
            let Some(found) = metadata.topics().iter().find(|found| found.name() == topic.name) else {
                continue;
            };
            let partitions = i32::try_from(found.partitions().len()).unwrap_or(i32::MAX);
            if topic.name == USAGE_EVENTS {
                of_events = partitions;
            }
            let wanted = topic.partitions(self.config);
            if partitions < wanted {
                self.shortcomings.push(format!(
                    "topic `{}` has {partitions} partitions, fewer than the {wanted} of the settings: fewer readers can share it",
                    topic.name
                ));
            }
            let replicas =
                found.partitions().iter().map(|partition| partition.replicas().len()).min().unwrap_or(0);
            if let Some(wanted) =
                self.config.replication.filter(|wanted| replicas < usize::from(wanted.get()))
            {
                self.shortcomings.push(format!(
                    "topic `{}` has {replicas} replicas, fewer than the {wanted} of the settings: fewer brokers may be lost",
                    topic.name
                ));
            }
        }
        of_events
    }

    /// Holds retention and the largest message to what is needed; returns the largest message of [`USAGE_EVENTS`]. A client
    /// that may not look at settings works as well.
    fn settings(&mut self) -> Option<usize> {
        let topics: Vec<ResourceSpecifier<'_>> =
            TOPICS.iter().map(|topic| ResourceSpecifier::Topic(topic.name)).collect();
        let options = AdminOptions::new().request_timeout(Some(ANSWER_TIMEOUT));
        let results = self.handle.block_on(self.admin().ok()?.describe_configs(&topics, &options)).ok()?;
        let mut of_events = None;
        for found in results.iter().flatten() {
            let OwnedResourceSpecifier::Topic(name) = &found.specifier else { continue };
            let Some(topic) = TOPICS.into_iter().find(|topic| topic.name == name.as_str()) else { continue };
            if let Some(retention) = number(found, "retention.ms")
                && let Ok(millis) = u64::try_from(retention) // -1: for ever
                && Duration::from_millis(millis) < topic.retention
            {
                self.shortcomings.push(format!(
                    "topic `{name}` keeps messages for {} hours, less than the {} of its use: set its retention.ms to {}",
                    millis / 3_600_000,
                    topic.retention.as_secs() / 3_600,
                    topic.retention.as_millis()
                ));
            }
            let largest = number(found, "max.message.bytes").and_then(|bytes| usize::try_from(bytes).ok());
            if largest.is_some_and(|bytes| bytes < MAX_MESSAGE_BYTES) {
                self.shortcomings.push(format!(
                    "topic `{name}` takes no message over {} bytes, and events can be larger: set its max.message.bytes to {MAX_MESSAGE_BYTES}",
                    largest.unwrap_or_default()
                ));
            }
            if topic.name == USAGE_EVENTS {
                of_events = largest;
            }
        }
        of_events
    }
}

impl Topic {
    fn partitions(&self, config: &KafkaConfig) -> i32 {
        self.partitions.unwrap_or(config.partitions).get().into()
    }

    fn settings(&self, replicas: usize) -> [(&'static str, String); 3] {
        // With three replicas, one may be away and every event is still on two disks before it counts as delivered. With
        // fewer, one broker away would stop everything.
        let in_sync = if replicas >= USUAL_REPLICATION { 2 } else { 1 };
        [
            ("retention.ms", self.retention.as_millis().to_string()),
            ("max.message.bytes", MAX_MESSAGE_BYTES.to_string()),
            ("min.insync.replicas", in_sync.to_string()),
        ]
    }
}

fn missing(metadata: &Metadata) -> Vec<Topic> {
    let there = |topic: &Topic| metadata.topics().iter().any(|found| found.name() == topic.name);
    TOPICS.into_iter().filter(|topic| !there(topic)).collect()
}

fn is_needed(name: &str) -> bool {
    TOPICS.iter().any(|topic| topic.needed && topic.name == name)
}

fn names_of(topics: &[Topic]) -> KafkaError {
    KafkaError::TopicsMissing { topics: topics.iter().map(|topic| topic.name.to_owned()).collect() }
}

fn number(found: &ConfigResource, key: &str) -> Option<i64> {
    found.get(key)?.value.as_deref()?.parse().ok()
}
