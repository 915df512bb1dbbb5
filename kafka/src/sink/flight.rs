//! What became of the messages of one batch.

use std::sync::Arc;

use mindweave_eventlog::Sequence;
use parking_lot::Mutex;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedHeaders, Headers};
use rdkafka::producer::{DeliveryResult, ProducerContext};
use rdkafka::{ClientContext, Message};
use tokio::sync::Notify;

use crate::SEQUENCE_HEADER;
use crate::link::Link;

/// The messages of one batch until all are acknowledged or given up.
pub(super) struct Flight {
    expected: usize,
    reports: Mutex<Reports>,
    complete: Notify,
}

#[derive(Default)]
struct Reports {
    count: usize,
    failed: usize,
    /// The highest acknowledged.
    offset: Option<i64>,
    first_failure: Option<Failure>,
}

/// Why a message was given up.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// Which one.
    pub(super) sequence: Option<Sequence>,
    pub(super) code: RDKafkaErrorCode,
}

/// How a flight ended.
#[derive(Debug)]
pub(super) enum Landed {
    /// Everything is acknowledged; the last message has this offset.
    All { offset: Option<i64> },
    /// Some messages were given up.
    Failed { count: usize, first: Failure },
}

impl Flight {
    pub(super) fn of(expected: usize) -> Arc<Self> {
        Arc::new(Self { expected, reports: Mutex::default(), complete: Notify::new() })
    }

    /// Waits for the last report. Safe to cancel.
    pub(super) async fn landed(&self) -> Landed {
        loop {
            let complete = self.complete.notified(); // knows of a report from here on
            if let Some(landed) = self.result() {
                return landed;
            }
            complete.await;
        }
    }

    fn result(&self) -> Option<Landed> {
        let reports = self.reports.lock();
        if reports.count < self.expected {
            return None;
        }
        Some(match &reports.first_failure {
            None => Landed::All { offset: reports.offset },
            Some(first) => Landed::Failed { count: reports.failed, first: first.clone() },
        })
    }

    /// Messages that brokers have not answered for.
    pub(super) fn waiting(&self) -> usize {
        self.expected.saturating_sub(self.reports.lock().count)
    }

    fn report(&self, result: Result<i64, Failure>) {
        let mut reports = self.reports.lock();
        reports.count += 1;
        match result {
            Ok(offset) => reports.offset = reports.offset.max(Some(offset)),
            Err(failure) => {
                reports.failed += 1;
                reports.first_failure.get_or_insert(failure);
            }
        }
        if reports.count >= self.expected {
            self.complete.notify_waiters();
        }
    }
}

/// Takes the delivery reports of a producer to their flights.
pub(super) struct Reporting(pub(super) Link);

impl ClientContext for Reporting {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, log_message: &str) {
        self.0.log(level, fac, log_message);
    }

    fn error(&self, error: ClientError, reason: &str) {
        self.0.error(error, reason);
    }
}

impl ProducerContext for Reporting {
    type DeliveryOpaque = Arc<Flight>;

    fn delivery(&self, result: &DeliveryResult<'_>, flight: Arc<Flight>) {
        flight.report(match result {
            Ok(message) => Ok(message.offset()),
            Err((error, message)) => Err(Failure {
                sequence: message.headers().and_then(sequence_of),
                code: error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail),
            }),
        });
    }
}

fn sequence_of(headers: &BorrowedHeaders) -> Option<Sequence> {
    let header = headers.iter().find(|header| header.key == SEQUENCE_HEADER)?;
    let number = std::str::from_utf8(header.value?).ok()?.parse().ok()?;
    Some(Sequence::new(number))
}
