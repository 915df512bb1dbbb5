//! A batch into the sink, until it is in: around what is poisonous, and over every failure.

use std::sync::Arc;

use mindweave_eventlog::{Batch, EventSink, Record, Sequence, SinkError};
use tokio::time::timeout;

use super::collector::Gathered;
use super::dead_letters::{Letter, Reason};
use super::message::Aside;
use super::worker::{BoxError, Ended, Worker, chain};

/// Records that are still to be delivered together.
struct Portion {
    records: Vec<Record>,
    /// What belongs to each of the records.
    asides: Vec<Aside>,
    /// The position that they bring the ledger to.
    through: Sequence,
}

/// What the sink said to a portion.
enum Answer {
    Taken,
    Poison { index: usize, reason: String },
    Failed(BoxError),
}

impl<S: EventSink> Worker<S> {
    /// Returns once the ledger has all of it, but for what is in the topic of dead letters.
    pub(super) async fn deliver(&mut self, source: &str, gathered: Gathered) -> Result<(), Ended> {
        let Gathered { records, asides, unfit, last, .. } = gathered;
        self.put_aside(unfit).await?;
        // Poison cuts a portion in two. What is before it comes off the stack first: the ledger's position never passes a
        // record that it does not have. No record is in more than two deliveries for all the poison there is.
        let mut portions = vec![Portion { records, asides, through: last }];
        while let Some(mut portion) = portions.pop() {
            if portion.records.is_empty() {
                continue;
            }
            match self.offer(source, &mut portion).await {
                Answer::Taken => self.stored(portion.through, portion.records.len()),
                Answer::Poison { index, reason } => {
                    let (before, letter, after) = portion.split(index, reason);
                    self.put_aside(letter.into_iter().collect()).await?;
                    portions.extend([after, before]);
                }
                Answer::Failed(error) => {
                    self.wait(chain(&*error)).await?;
                    if self.reclaim(source, &mut portion).await? {
                        portions.push(portion);
                    }
                }
            }
        }
        self.pass(source, last).await
    }

    /// Takes the ledger past dead letters that no event came after.
    async fn pass(&mut self, source: &str, last: Sequence) -> Result<(), Ended> {
        let mut nothing = Portion { records: Vec::new(), asides: Vec::new(), through: last };
        while self.ledger < Some(last) {
            match self.offer(source, &mut nothing).await {
                Answer::Taken => self.stored(last, 0),
                Answer::Poison { .. } => return Ok(()), // there is nothing that could be
                Answer::Failed(error) => {
                    self.wait(chain(&*error)).await?;
                    self.reclaim(source, &mut nothing).await?;
                }
            }
        }
        Ok(())
    }

    async fn offer(&mut self, source: &str, portion: &mut Portion) -> Answer {
        let first = portion.records.first().map_or(portion.through, |record| record.sequence);
        let records = std::mem::take(&mut portion.records);
        let batch = Batch { source: source.to_owned(), first, last: portion.through, records };
        let delivered = timeout(self.parts.config.sink_timeout, self.sink.deliver(&batch)).await;
        portion.records = batch.records;
        match delivered {
            Ok(Ok(())) => Answer::Taken,
            Ok(Err(SinkError::Retry(error))) => Answer::Failed(error),
            Ok(Err(SinkError::Poison { sequence, reason })) => {
                let index = portion.records.binary_search_by_key(&sequence, |record| record.sequence);
                index.map_or_else(
                    |_| Answer::Failed("the ledger names a poisonous record that it was not given".into()),
                    |index| Answer::Poison { index, reason },
                )
            }
            Err(_) => Answer::Failed("the ledger does not answer".into()),
        }
    }

    /// Takes the partition over anew, because a failure may mean that somebody else has; this is called only while the group
    /// says that it is ours. `false`: the ledger has all of the portion, though its answer was lost.
    async fn reclaim(&mut self, source: &str, portion: &mut Portion) -> Result<bool, Ended> {
        let position = loop {
            match self.claim(source).await {
                Ok(position) => break position,
                Err(error) => self.wait(chain(&*error)).await?,
            }
        };
        if position == self.ledger {
            return Ok(true);
        }
        let first = portion.records.first().map(|record| record.sequence);
        let Some(through) =
            position.filter(|position| Some(*position) >= first && *position <= portion.through)
        else {
            // Another consumer went further, or the ledger was put back from a copy.
            tracing::warn!(
                partition = self.partition,
                expected = %self.ledger.unwrap_or_default(),
                found = %position.unwrap_or_default(),
                "ledger is elsewhere in the partition than it was left"
            );
            return Err(Ended::Again);
        };
        let booked = portion.records.partition_point(|record| record.sequence <= through);
        portion.records.drain(..booked);
        portion.asides.drain(..booked);
        self.stored(through, booked);
        Ok(!portion.records.is_empty())
    }

    /// Returns once the brokers have the letters.
    async fn put_aside(&mut self, mut letters: Vec<Letter>) -> Result<(), Ended> {
        let Some(first) = letters.first() else { return Ok(()) };
        let (count, offset, reason) = (letters.len(), first.offset(), first.reason);
        let detail = first.detail.clone();
        let parts = Arc::clone(&self.parts);
        while !letters.is_empty() {
            let before = counts(&letters);
            let written = parts.dead_letters.write(self.partition, &mut letters).await;
            for ((reason, before), (_, left)) in before.into_iter().zip(counts(&letters)) {
                parts.board.metrics.dead_letters(reason, before.saturating_sub(left));
            }
            if let Err(error) = written {
                self.wait(chain(&error)).await?;
            }
        }
        let partition = self.partition;
        let reason = reason.name();
        tracing::error!(partition, count, offset, reason, detail, "messages put aside as dead letters");
        Ok(())
    }
}

impl Portion {
    /// What is before a record, the record as a dead letter, and what is after it.
    fn split(mut self, index: usize, reason: String) -> (Self, Option<Letter>, Self) {
        let after = Self {
            records: self.records.split_off(index.saturating_add(1)),
            asides: self.asides.split_off(index.saturating_add(1)),
            through: self.through,
        };
        let poison = self.records.pop().zip(self.asides.pop());
        let letter = poison.map(|(record, aside)| aside.letter(record, reason));
        self.through = self.records.last().map_or(Sequence::ZERO, |record| record.sequence);
        (self, letter, after)
    }
}

/// How many letters there are for each reason.
fn counts(letters: &[Letter]) -> [(Reason, usize); 3] {
    Reason::ALL.map(|reason| (reason, letters.iter().filter(|letter| letter.reason == reason).count()))
}
