//! The member of the consumer group: which partitions are ours.
//!
//! It has a thread of its own, because librdkafka calls back from within a blocking poll and a rebalance waits for the answer.
//! The thread does nothing else, so that a slow ledger is no reason for the group to throw this member out. It reads no
//! message: the partitions that it gets are paused, and read by the [fetcher](super::fetcher).

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tokio::sync::{mpsc, oneshot};

use super::config::ConsumerConfig;
use super::health::Board;
use super::metrics::Rebalanced;
use crate::config::KafkaConfig;
use crate::error::KafkaError;
use crate::link::Link;

/// How soon the thread notices that it shall end.
const POLL: Duration = Duration::from_millis(100);
/// Rebalances that wait to be followed. They come one after the other, so there is hardly ever a second one.
const COMMANDS: usize = 8;
/// Beyond the time for a handover, how long the answer to it may take.
const HANDOVER_GRACE: Duration = Duration::from_secs(2);

/// Offsets to go on from, by partition.
pub(super) type Offsets = Vec<(i32, i64)>;

/// What the group decided.
#[derive(Debug)]
pub(super) enum Command {
    /// These partitions are ours from now on.
    Assigned(Vec<i32>),
    /// These move away once this is answered, with the offsets to tell to Kafka.
    Revoked { partitions: Vec<i32>, answer: SyncSender<Offsets> },
    /// These are somebody else's already.
    Lost(Vec<i32>),
}

/// Why the member is none any more.
#[derive(Debug)]
pub(super) enum Out {
    /// It was told to leave, or nobody follows it any more.
    Left,
    /// librdkafka cannot go on with this client.
    Fatal(String),
}

/// A member of the group, from the outside.
pub(super) struct Membership {
    pub(super) commands: mpsc::Receiver<Command>,
    /// The last offsets to commit, which are the sign to leave.
    leaving: Arc<Mutex<Option<Offsets>>>,
    out: oneshot::Receiver<Out>,
}

impl Membership {
    /// Joins the group in the background, whenever there is a broker.
    pub(super) fn join(
        kafka: &KafkaConfig,
        config: &ConsumerConfig,
        board: &Arc<Board>,
    ) -> Result<Self, KafkaError> {
        let (sender, commands) = mpsc::channel(COMMANDS);
        let group = Group {
            link: Link::new(&kafka.brokers),
            topic: config.topic.clone(),
            handover: config.handover,
            commands: sender,
            board: Arc::clone(board),
        };
        let consumer: BaseConsumer<Group> = config.membership(kafka)?.create_with_context(group)?;
        consumer.subscribe(&[&config.topic])?;
        let (told, out) = oneshot::channel();
        let leaving = Arc::<Mutex<Option<Offsets>>>::default();
        let thread = Thread {
            consumer,
            leaving: Arc::clone(&leaving),
            board: Arc::clone(board),
            commit_interval: config.commit_interval,
        };
        let spawned = std::thread::Builder::new().name("kafka-group".to_owned()).spawn(move || {
            // Whoever waits for it may be gone.
            drop(told.send(thread.run()));
        });
        spawned.map_err(|error| KafkaError::Client { reason: error.to_string() })?;
        Ok(Self { commands, leaving, out })
    }

    /// Why it ended, once it has.
    pub(super) async fn out(&mut self) -> Out {
        (&mut self.out).await.unwrap_or_else(|_| Out::Fatal("its thread has panicked".to_owned()))
    }

    /// Leaves the group. Partitions that it still has must not be in work any more.
    pub(super) async fn leave(self, offsets: Offsets) {
        let Self { commands, leaving, out } = self;
        *leaving.lock() = Some(offsets);
        drop(commands); // nobody answers to a rebalance from here on
        drop(out.await); // the thread's last word is that it has left
    }
}

struct Thread {
    consumer: BaseConsumer<Group>,
    leaving: Arc<Mutex<Option<Offsets>>>,
    board: Arc<Board>,
    commit_interval: Duration,
}

impl Thread {
    fn run(self) -> Out {
        let mut committed = Instant::now();
        let out = loop {
            if let Some(offsets) = self.leaving.lock().take() {
                self.consumer.context().commit(&self.consumer, &offsets);
                break Out::Left;
            }
            if self.consumer.context().commands.is_closed() {
                break Out::Left; // its runtime is gone: a member that reads nothing keeps partitions from others
            }
            match self.consumer.poll(POLL) {
                None | Some(Ok(_)) => {}
                Some(Err(ClientError::MessageConsumptionFatal(code))) => break Out::Fatal(code.to_string()),
                Some(Err(error)) => {
                    let error = self.consumer.context().link.explained(error);
                    tracing::debug!(%error, "Kafka client: group");
                    self.board.trouble(Some(error.to_string()));
                }
            }
            if committed.elapsed() >= self.commit_interval {
                committed = Instant::now();
                self.consumer.context().commit(&self.consumer, &self.board.to_commit());
            }
        };
        drop(self.consumer); // leaves the group and waits until that is done
        out
    }
}

/// What librdkafka calls back.
struct Group {
    link: Link,
    topic: String,
    handover: Duration,
    commands: mpsc::Sender<Command>,
    board: Arc<Board>,
}

impl ClientContext for Group {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, log_message: &str) {
        self.link.log(level, fac, log_message);
    }

    fn error(&self, error: ClientError, reason: &str) {
        self.link.error(error, reason);
    }
}

impl ConsumerContext for Group {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, what: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let ours = list.elements_for_topic(&self.topic);
        let partitions: Vec<i32> = ours.iter().map(|element| element.partition()).collect();
        let followed = if what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.assigned(consumer, list, partitions)
        } else {
            self.revoked(consumer, list, partitions)
        };
        if let Err(error) = followed {
            tracing::error!(%error, "a rebalance cannot be followed");
        }
    }

    fn commit_callback(&self, result: Result<(), ClientError>, _: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!(%error, "offsets were not committed to Kafka, which only its tools miss");
        }
    }
}

impl Group {
    fn assigned(
        &self,
        consumer: &BaseConsumer<Self>,
        list: &mut TopicPartitionList,
        partitions: Vec<i32>,
    ) -> Result<(), ClientError> {
        // With an offset of its own the client asks for no committed one. It reads nothing anyway.
        list.set_all_offsets(Offset::End)?;
        consumer.incremental_assign(list)?;
        if partitions.is_empty() {
            return Ok(()); // a rebalance that changes nothing here
        }
        consumer.pause(list)?;
        tracing::info!(?partitions, "partitions assigned");
        self.board.metrics.rebalanced(Rebalanced::Assigned);
        self.tell(Command::Assigned(partitions));
        Ok(())
    }

    fn revoked(
        &self,
        consumer: &BaseConsumer<Self>,
        list: &TopicPartitionList,
        partitions: Vec<i32>,
    ) -> Result<(), ClientError> {
        if partitions.is_empty() {
            // Nothing to give.
        } else if consumer.assignment_lost() {
            tracing::warn!(?partitions, "partitions lost: the group went on without this member");
            self.board.metrics.rebalanced(Rebalanced::Lost);
            self.tell(Command::Lost(partitions));
        } else {
            tracing::info!(?partitions, "partitions revoked");
            self.board.metrics.rebalanced(Rebalanced::Revoked);
            let (answer, answered) = sync_channel(1);
            if self.tell(Command::Revoked { partitions, answer }) {
                match answered.recv_timeout(self.handover.saturating_add(HANDOVER_GRACE)) {
                    Ok(offsets) => self.commit(consumer, &offsets),
                    Err(RecvTimeoutError::Disconnected) => {} // the consumer is ending
                    Err(RecvTimeoutError::Timeout) => {
                        tracing::error!("partitions move away while they are still in work here");
                    }
                }
            }
        }
        consumer.incremental_unassign(list)
    }

    /// `false`: the consumer is ending and has given up its partitions.
    fn tell(&self, command: Command) -> bool {
        self.commands.blocking_send(command).is_ok()
    }

    fn commit(&self, consumer: &BaseConsumer<Self>, offsets: &Offsets) {
        let mut list = TopicPartitionList::new();
        for (partition, next) in offsets {
            if let Err(error) = list.add_partition_offset(&self.topic, *partition, Offset::Offset(*next)) {
                tracing::debug!(%error, "an offset is none that Kafka takes");
            }
        }
        if list.count() > 0
            && let Err(error) = consumer.commit(&list, CommitMode::Async)
        {
            tracing::debug!(%error, "offsets were not committed to Kafka, which only its tools miss");
        }
    }
}
