//! Every metric of this crate: its name and what it means. Handles are looked up once.

use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, Label, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};

use crate::journal::JournalStats;

const DISK_BYTES: &str = "mindweave_journal_disk_bytes";
const SEGMENTS: &str = "mindweave_journal_segments";
const OPEN_ADMISSIONS: &str = "mindweave_journal_open_admissions";
const UNSYNCED_RECORDS: &str = "mindweave_journal_unsynced_records";
const FULL: &str = "mindweave_journal_full";
const FAILED: &str = "mindweave_journal_failed";
const APPENDED_RECORDS: &str = "mindweave_journal_appended_records_total";
const APPENDED_BYTES: &str = "mindweave_journal_appended_bytes_total";
const REFUSED: &str = "mindweave_journal_refused_records_total";
const DAMAGED_RECORDS: &str = "mindweave_journal_damaged_records_total";
const DROPPED_ADMISSIONS: &str = "mindweave_journal_dropped_admissions_total";
const SYNC_SECONDS: &str = "mindweave_journal_sync_seconds";
const SHIPPED_RECORDS: &str = "mindweave_journal_shipped_records_total";
const SHIP_RETRIES: &str = "mindweave_journal_ship_retries_total";
const DEAD_LETTERS: &str = "mindweave_journal_dead_letters_total";
const GAPS: &str = "mindweave_journal_ship_gaps_total";

/// Figures of the journal. Set from its stats by its own threads, so that an append pays nothing for them.
pub(crate) struct JournalMetrics {
    disk_bytes: Gauge,
    segments: Gauge,
    open_admissions: Gauge,
    unsynced_records: Gauge,
    full: Gauge,
    failed: Gauge,
    appended_records: Counter,
    appended_bytes: Counter,
    refused: Counter,
    damaged_records: Counter,
    dropped_admissions: Counter,
    sync_seconds: Histogram,
}

impl JournalMetrics {
    pub(crate) fn new(journal: Option<&'static str>) -> Self {
        describe_gauge!(DISK_BYTES, "Disk that the journal takes, in bytes");
        describe_gauge!(SEGMENTS, "Files of the journal");
        describe_gauge!(OPEN_ADMISSIONS, "Requests admitted and not finished");
        describe_gauge!(UNSYNCED_RECORDS, "Records that a power cut would take");
        describe_gauge!(FULL, "1 while the journal cannot get another segment");
        describe_gauge!(FAILED, "1 after a write to disk failed: restart needed");
        describe_counter!(APPENDED_RECORDS, "Records appended");
        describe_counter!(APPENDED_BYTES, "Bytes appended, headers included");
        describe_counter!(REFUSED, "Appends refused because the journal was full");
        describe_counter!(DAMAGED_RECORDS, "Records lost to damage on the disk");
        describe_counter!(DROPPED_ADMISSIONS, "Admissions that were dropped without a finished record");
        describe_histogram!(SYNC_SECONDS, "Time of a sync, in seconds");
        let labels = labels(journal);
        Self {
            disk_bytes: gauge!(DISK_BYTES, labels.iter()),
            segments: gauge!(SEGMENTS, labels.iter()),
            open_admissions: gauge!(OPEN_ADMISSIONS, labels.iter()),
            unsynced_records: gauge!(UNSYNCED_RECORDS, labels.iter()),
            full: gauge!(FULL, labels.iter()),
            failed: gauge!(FAILED, labels.iter()),
            appended_records: counter!(APPENDED_RECORDS, labels.iter()),
            appended_bytes: counter!(APPENDED_BYTES, labels.iter()),
            refused: counter!(REFUSED, labels.iter()),
            damaged_records: counter!(DAMAGED_RECORDS, labels.iter()),
            dropped_admissions: counter!(DROPPED_ADMISSIONS, labels.iter()),
            sync_seconds: histogram!(SYNC_SECONDS, labels.iter()),
        }
    }

    pub(crate) fn synced(&self, took: Duration) {
        self.sync_seconds.record(took);
    }

    pub(crate) fn publish(&self, stats: &JournalStats) {
        let unsynced = stats.next_sequence.previous().since(stats.synced);
        self.disk_bytes.set(figure(stats.disk_bytes));
        self.segments.set(figure(u64::try_from(stats.segments).unwrap_or(u64::MAX)));
        self.open_admissions.set(figure(stats.open_admissions));
        self.unsynced_records.set(figure(unsynced));
        self.full.set(if stats.full.is_some() { 1.0 } else { 0.0 });
        self.failed.set(if stats.failed { 1.0 } else { 0.0 });
        self.appended_records.absolute(stats.appended_records);
        self.appended_bytes.absolute(stats.appended_bytes);
        self.refused.absolute(stats.refused_full);
        self.damaged_records.absolute(stats.damaged_records);
        self.dropped_admissions.absolute(stats.dropped_admissions);
    }
}

/// Figures of the shipper.
pub(crate) struct ShipMetrics {
    pub(crate) shipped_records: Counter,
    pub(crate) retries: Counter,
    pub(crate) dead_letters: Counter,
    pub(crate) gaps: Counter,
}

impl ShipMetrics {
    pub(crate) fn new(journal: Option<&'static str>) -> Self {
        describe_counter!(SHIPPED_RECORDS, "Events that the sink has taken");
        describe_counter!(SHIP_RETRIES, "Deliveries that the sink could not take and that are tried again");
        describe_counter!(DEAD_LETTERS, "Events that the sink cannot take at all, put aside");
        describe_counter!(GAPS, "Times that events were gone before the sink had them");
        let labels = labels(journal);
        Self {
            shipped_records: counter!(SHIPPED_RECORDS, labels.iter()),
            retries: counter!(SHIP_RETRIES, labels.iter()),
            dead_letters: counter!(DEAD_LETTERS, labels.iter()),
            gaps: counter!(GAPS, labels.iter()),
        }
    }
}

/// What tells the series of one journal from those of another.
fn labels(journal: Option<&'static str>) -> Vec<Label> {
    journal.map(|journal| Label::from_static_parts("journal", journal)).into_iter().collect()
}

#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "a gauge is a float, and exact to 2^53 is plenty"
)]
fn figure(number: u64) -> f64 {
    number as f64
}
