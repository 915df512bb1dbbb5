//! Every metric of consumption: its name and what it means. Handles are looked up once, but for those by partition.

use std::fmt;

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};

use super::dead_letters::Reason;
use super::start::Fault;

const LAG: &str = "mindweave_kafka_consumer_lag_messages";
const ASSIGNED: &str = "mindweave_kafka_consumer_assigned_partitions";
const REBALANCES: &str = "mindweave_kafka_consumer_rebalances_total";
const BATCHES: &str = "mindweave_kafka_consumer_batches_total";
const RECORDS: &str = "mindweave_kafka_consumer_records_total";
const RETRIES: &str = "mindweave_kafka_consumer_retries_total";
const DEAD_LETTERS: &str = "mindweave_kafka_consumer_dead_letters_total";
const FAULTS: &str = "mindweave_kafka_consumer_position_faults_total";
const MISSED: &str = "mindweave_kafka_consumer_missed_messages_total";

/// What a rebalance did to this member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rebalanced {
    /// It got partitions.
    Assigned,
    /// It gave partitions up in order.
    Revoked,
    /// It was out of the group before it knew.
    Lost,
}

/// Figures of a consumer.
pub(super) struct ConsumerMetrics {
    assigned: Gauge,
    rebalances: [Counter; 3],
    pub(super) batches: Counter,
    pub(super) records: Counter,
    pub(super) retries: Counter,
    dead_letters: [Counter; 3],
    faults: [Counter; 2],
    pub(super) missed: Counter,
}

impl ConsumerMetrics {
    pub(super) fn new() -> Self {
        describe_gauge!(
            LAG,
            "Messages of a partition that are not in the ledger yet; 0 where another member has it"
        );
        describe_gauge!(ASSIGNED, "Partitions that this process reads");
        describe_counter!(REBALANCES, "Times that the group gave or took partitions");
        describe_counter!(BATCHES, "Batches that the ledger has taken");
        describe_counter!(RECORDS, "Events that the ledger has taken");
        describe_counter!(
            RETRIES,
            "Deliveries that the ledger or the dead letters could not take and that are tried again"
        );
        describe_counter!(DEAD_LETTERS, "Messages put aside into the topic of dead letters");
        describe_counter!(FAULTS, "Times that the ledger's position was not in the partition");
        describe_counter!(MISSED, "Messages that Kafka deleted before the ledger had them");
        Self {
            assigned: gauge!(ASSIGNED),
            rebalances: ["assigned", "revoked", "lost"].map(|event| counter!(REBALANCES, "event" => event)),
            batches: counter!(BATCHES),
            records: counter!(RECORDS),
            retries: counter!(RETRIES),
            dead_letters: Reason::ALL.map(|reason| counter!(DEAD_LETTERS, "reason" => reason.name())),
            faults: ["expired", "replaced"].map(|fault| counter!(FAULTS, "fault" => fault)),
            missed: counter!(MISSED),
        }
    }

    pub(super) fn assigned(&self, partitions: usize) {
        self.assigned.set(figure(u64::try_from(partitions).unwrap_or(u64::MAX)));
    }

    pub(super) fn lag(&self, partition: i32, messages: u64) {
        gauge!(LAG, "partition" => partition.to_string()).set(figure(messages));
    }

    pub(super) fn rebalanced(&self, event: Rebalanced) {
        let [assigned, revoked, lost] = &self.rebalances;
        match event {
            Rebalanced::Assigned => assigned.increment(1),
            Rebalanced::Revoked => revoked.increment(1),
            Rebalanced::Lost => lost.increment(1),
        }
    }

    pub(super) fn dead_letters(&self, reason: Reason, count: usize) {
        let [refused, empty, too_long] = &self.dead_letters;
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        match reason {
            Reason::Refused => refused.increment(count),
            Reason::Empty => empty.increment(count),
            Reason::TooLong => too_long.increment(count),
        }
    }

    pub(super) fn fault(&self, fault: Fault) {
        let [expired, replaced] = &self.faults;
        match fault {
            Fault::Expired { missed } => {
                expired.increment(1);
                self.missed.increment(missed);
            }
            Fault::Replaced => replaced.increment(1),
        }
    }
}

impl fmt::Debug for ConsumerMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConsumerMetrics")
    }
}

#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "a gauge is a float, and exact to 2^53 is plenty"
)]
fn figure(number: u64) -> f64 {
    number as f64
}
