//! Every metric of the way into Kafka: its name and what it means. Handles are looked up once.

use metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};

const DELIVERED_RECORDS: &str = "mindweave_kafka_delivered_records_total";
const DELIVERED_BYTES: &str = "mindweave_kafka_delivered_bytes_total";
const DELIVERY_SECONDS: &str = "mindweave_kafka_delivery_seconds";
const DELIVERY_FAILURES: &str = "mindweave_kafka_delivery_failures_total";
const PRODUCERS: &str = "mindweave_kafka_producers_total";
const CONNECTED: &str = "mindweave_kafka_connected";

/// Figures of the sink.
pub(crate) struct SinkMetrics {
    pub(crate) delivered_records: Counter,
    pub(crate) delivered_bytes: Counter,
    pub(crate) delivery_seconds: Histogram,
    pub(crate) delivery_failures: Counter,
    pub(crate) producers: Counter,
    /// 1 from the first acknowledgement until brokers keep one from us.
    pub(crate) connected: Gauge,
}

impl SinkMetrics {
    pub(crate) fn new() -> Self {
        describe_counter!(DELIVERED_RECORDS, "Events that Kafka has acknowledged");
        describe_counter!(DELIVERED_BYTES, "Bytes of their payloads, before compression");
        describe_histogram!(
            DELIVERY_SECONDS,
            "Time from the first event of a batch to the acknowledgement of its last, in seconds"
        );
        describe_counter!(DELIVERY_FAILURES, "Attempts to deliver a batch that failed or are still waiting");
        describe_counter!(
            PRODUCERS,
            "Producers made; more than one a start means that one had to be replaced"
        );
        describe_gauge!(CONNECTED, "1 while Kafka takes events");
        Self {
            delivered_records: counter!(DELIVERED_RECORDS),
            delivered_bytes: counter!(DELIVERED_BYTES),
            delivery_seconds: histogram!(DELIVERY_SECONDS),
            delivery_failures: counter!(DELIVERY_FAILURES),
            producers: counter!(PRODUCERS),
            connected: gauge!(CONNECTED),
        }
    }
}
