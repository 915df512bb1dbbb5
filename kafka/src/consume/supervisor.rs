//! Gives each partition that is ours a worker, and ends it when it is ours no more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mindweave_eventlog::EventSink;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};

use super::membership::{Command, Membership, Offsets, Out};
use super::worker::{Parts, Worker, told};
use crate::config::KafkaConfig;

/// How often it is looked whether a worker has ended by itself, which only a fault in this program makes it do.
const INSPECTION: Duration = Duration::from_secs(1);
/// Pause before a member that librdkafka gave up is made anew.
const REJOIN_PAUSE: Duration = Duration::from_secs(2);

pub(super) struct Supervisor<F> {
    kafka: KafkaConfig,
    parts: Arc<Parts>,
    make_sink: F,
    stop: watch::Receiver<bool>,
    workers: BTreeMap<i32, Running>,
}

struct Running {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// Why the group is not followed any more.
enum Unfollowed {
    Stopping,
    Out,
}

impl<S, F> Supervisor<F>
where
    S: EventSink,
    F: Fn() -> S + Send + Sync + 'static,
{
    pub(super) fn new(
        kafka: KafkaConfig,
        parts: Arc<Parts>,
        make_sink: F,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self { kafka, parts, make_sink, stop, workers: BTreeMap::new() }
    }

    /// Follows the group until it shall stop, then ends what is in work and leaves.
    pub(super) async fn run(mut self, mut membership: Membership) {
        let served = tokio::spawn(serve(Arc::clone(&self.parts)));
        let measured = tokio::spawn(measure(Arc::clone(&self.parts)));
        while let Unfollowed::Out = self.follow(&mut membership).await {
            if let Out::Fatal(reason) = membership.out().await {
                tracing::error!(reason, "member of the group is out, and joins anew");
            }
            self.end_all(Duration::ZERO).await;
            match self.rejoin().await {
                Some(joined) => membership = joined,
                None => break,
            }
        }
        let offsets = self.end_all(self.parts.config.drain_deadline).await;
        membership.leave(offsets).await;
        for task in [served, measured] {
            task.abort();
            drop(task.await); // only so that it holds nothing any more
        }
        let parts = self.parts;
        // Closing the clients waits for their threads.
        if let Err(error) = spawn_blocking(move || drop(parts)).await {
            tracing::error!(%error, "clients of Kafka were not closed");
        }
    }

    async fn follow(&mut self, membership: &mut Membership) -> Unfollowed {
        let mut stop = self.stop.clone();
        let mut inspection = interval(INSPECTION);
        inspection.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let command = tokio::select! {
                biased;
                () = told(&mut stop) => return Unfollowed::Stopping,
                command = membership.commands.recv() => command,
                _ = inspection.tick() => {
                    self.inspect().await;
                    continue;
                }
            };
            match command {
                None => return Unfollowed::Out,
                Some(Command::Assigned(partitions)) => {
                    for partition in partitions {
                        self.begin(partition).await;
                    }
                }
                Some(Command::Revoked { partitions, answer }) => {
                    let offsets = self.end(&partitions, self.parts.config.handover).await;
                    drop(answer.send(offsets)); // it may have waited long enough
                }
                Some(Command::Lost(partitions)) => {
                    self.end(&partitions, Duration::ZERO).await;
                }
            }
        }
    }

    async fn begin(&mut self, partition: i32) {
        if self.workers.contains_key(&partition) {
            self.end(&[partition], Duration::ZERO).await; // never two on one partition
        }
        self.parts.board.assigned(partition);
        let (stop, stopping) = watch::channel(false);
        let worker = Worker::new(Arc::clone(&self.parts), partition, (self.make_sink)(), stopping);
        self.workers.insert(partition, Running { stop, task: tokio::spawn(worker.run()) });
    }

    /// Lets workers end what is in the sink for so long, then drops them. Returns how far their partitions are.
    async fn end(&mut self, partitions: &[i32], wait: Duration) -> Offsets {
        let ending: Vec<_> = partitions
            .iter()
            .filter_map(|partition| Some((*partition, self.workers.remove(partition)?)))
            .collect();
        for (_, running) in &ending {
            running.stop.send_replace(true);
        }
        let deadline = Instant::now() + wait;
        let mut offsets = Offsets::new();
        for (partition, Running { mut task, .. }) in ending {
            let ended = timeout_at(deadline, &mut task).await;
            if ended.is_err() {
                task.abort();
                let aborted = task.await; // it may have ended just now, and must have let go of its queue
                if aborted.is_err_and(|error| error.is_cancelled()) && !wait.is_zero() {
                    tracing::warn!(partition, "a batch did not end in time, and is left to the next owner");
                }
            }
            self.parts.fetcher.end(partition).await;
            offsets.extend(self.parts.board.given_up(partition).map(|next| (partition, next)));
        }
        offsets
    }

    async fn end_all(&mut self, wait: Duration) -> Offsets {
        let partitions: Vec<i32> = self.workers.keys().copied().collect();
        self.end(&partitions, wait).await
    }

    /// Begins anew with partitions whose worker has ended by itself.
    async fn inspect(&mut self) {
        let finished = self.workers.iter().filter(|(_, running)| running.task.is_finished());
        let finished: Vec<i32> = finished.map(|(partition, _)| *partition).collect();
        for partition in finished {
            tracing::error!(partition, "work on a partition ended by itself, and begins anew");
            self.begin(partition).await;
        }
    }

    /// `None`: it shall stop.
    async fn rejoin(&mut self) -> Option<Membership> {
        let mut stop = self.stop.clone();
        loop {
            tokio::select! {
                biased;
                () = told(&mut stop) => return None,
                () = sleep(REJOIN_PAUSE) => {}
            }
            match Membership::join(&self.kafka, &self.parts.config, &self.parts.board) {
                Ok(joined) => return Some(joined),
                Err(error) => tracing::error!(%error, "the group cannot be joined"),
            }
        }
    }
}

async fn serve(parts: Arc<Parts>) {
    match parts.fetcher.serve().await {}
}

/// Asks again and again where the partitions end.
async fn measure(parts: Arc<Parts>) {
    let mut ticks = interval(parts.config.lag_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let mut partitions = parts.board.partitions();
        if partitions.is_empty() {
            partitions.push(0); // to know whether Kafka answers
        }
        let mut trouble = None;
        for partition in partitions {
            match parts.fetcher.held(partition).await {
                Ok(held) => parts.board.ends(partition, held.end),
                Err(error) => {
                    trouble = Some(error.to_string());
                    break; // the others would wait as long
                }
            }
        }
        parts.board.trouble(trouble);
    }
}
