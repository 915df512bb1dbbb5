//! Every metric of the control plane: names, units, labels.

use std::time::Duration;

use jiff::Timestamp;

/// Events delivered by proxies. Label `result`: `new`, or `repeated` for those that were booked before.
const EVENTS_INGESTED: &str = "mindweave_control_plane_ingested_events_total";
/// Time of one ingest transaction, the wait for the write lock included.
const INGEST_TRANSACTION: &str = "mindweave_control_plane_ingest_transaction_seconds";
/// Events that a live subscriber missed because it read too slowly.
const LIVE_LAGGED: &str = "mindweave_control_plane_live_lagged_events_total";
/// Failed runs of a background task. Label `task`.
const TASK_FAILURES: &str = "mindweave_control_plane_task_failures_total";
/// Whether this control plane runs the jobs that run once for all control planes of a database: 1 or 0.
const LEADS: &str = "mindweave_control_plane_leader";
/// Whether the database can be reached: 1 or 0.
const DATABASE_UP: &str = "mindweave_control_plane_database_up";
/// When a certificate expires, in seconds since 1970; infinite where there is none. Label `certificate`: `server`, or
/// `client_ca` for the first of the authorities.
const CERTIFICATE_EXPIRY: &str = "mindweave_control_plane_certificate_expiry_timestamp_seconds";
/// Reloads of changed certificate files. Label `result`.
const TLS_RELOADS: &str = "mindweave_control_plane_tls_reloads_total";
/// Connections whose TLS handshake failed. Label `reason`.
const HANDSHAKE_FAILURES: &str = "mindweave_control_plane_tls_handshake_failures_total";
/// Requests of proxies that were refused. Label `reason`.
const PROXIES_REFUSED: &str = "mindweave_control_plane_refused_proxy_requests_total";

/// Events that other producers sent. Label `result`: `accepted`; `duplicate`, twice in a request; `rejected`.
const EVENTS_RECEIVED: &str = "mindweave_control_plane_received_events_total";
/// Requests with events of other producers that were refused as a whole. Label `reason`.
const EVENT_REQUESTS_REFUSED: &str = "mindweave_control_plane_refused_event_requests_total";

/// Why a request with events was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventRefusal {
    /// It has no credential that opens this.
    Unauthorized,
    /// Its body cannot be read.
    Malformed,
    /// Its body is too large, or has too many events.
    TooLarge,
    /// The journal has no room.
    JournalFull,
    /// The journal does not work, or something else here.
    Failed,
    /// The process is about to end.
    Stopping,
}

impl EventRefusal {
    const ALL: [Self; 6] = [
        Self::Unauthorized,
        Self::Malformed,
        Self::TooLarge,
        Self::JournalFull,
        Self::Failed,
        Self::Stopping,
    ];

    fn text(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::JournalFull => "journal_full",
            Self::Failed => "failed",
            Self::Stopping => "stopping",
        }
    }
}

/// Why a TLS handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HandshakeFailure {
    /// It took too long.
    Deadline,
    /// The client showed a certificate that nobody here vouches for, or that has expired.
    ClientCertificate,
    /// Anything else: what is no TLS, versions that do not meet, a client that does not believe ours.
    Other,
}

impl HandshakeFailure {
    const ALL: [Self; 3] = [Self::Deadline, Self::ClientCertificate, Self::Other];

    fn text(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::ClientCertificate => "client_certificate",
            Self::Other => "other",
        }
    }
}

/// Why a proxy was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProxyRefusal {
    /// There is no certificate, or it is not vouched for any more.
    Certificate,
    /// The token is for another certificate.
    CertificateName,
    /// There is no token, or nobody knows it, or it was revoked or has expired.
    Token,
    /// The token is not for this.
    Scope,
}

impl ProxyRefusal {
    const ALL: [Self; 4] = [Self::Certificate, Self::CertificateName, Self::Token, Self::Scope];

    fn text(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::CertificateName => "certificate_name",
            Self::Token => "token",
            Self::Scope => "scope",
        }
    }
}

/// The background tasks that can fail, as their label names them.
pub(crate) const TASKS: [&str; 5] = ["rollup", "key_uses", "retention", "usage_feed", "proxy_tokens"];

/// Shows every series from the start, at zero: an alert on a counter that appears with its first failure misses that one.
pub(crate) fn register() {
    metrics::describe_counter!(
        EVENTS_INGESTED,
        "events delivered to the ledger, by whether they were booked before"
    );
    metrics::describe_histogram!(INGEST_TRANSACTION, "time to book a batch of events");
    metrics::describe_counter!(LIVE_LAGGED, "events that a watcher missed because it read too slowly");
    metrics::describe_counter!(TASK_FAILURES, "failed runs of a background task");
    metrics::describe_gauge!(LEADS, "whether this control plane runs the jobs that run once");
    metrics::describe_gauge!(DATABASE_UP, "whether the database can be reached");
    metrics::describe_gauge!(CERTIFICATE_EXPIRY, "when a certificate expires, in seconds since 1970");
    metrics::describe_counter!(TLS_RELOADS, "reloads of changed certificate files, by result");
    metrics::describe_counter!(HANDSHAKE_FAILURES, "connections whose TLS handshake failed, by reason");
    metrics::describe_counter!(PROXIES_REFUSED, "requests of proxies that were refused, by reason");
    for certificate in ["server", "client_ca"] {
        certificate_expiry(certificate, None);
    }
    for result in ["loaded", "kept_old"] {
        metrics::counter!(TLS_RELOADS, "result" => result).increment(0);
    }
    for reason in HandshakeFailure::ALL {
        metrics::counter!(HANDSHAKE_FAILURES, "reason" => reason.text()).increment(0);
    }
    for reason in ProxyRefusal::ALL {
        metrics::counter!(PROXIES_REFUSED, "reason" => reason.text()).increment(0);
    }
    metrics::describe_counter!(EVENTS_RECEIVED, "events that other producers sent, by what became of them");
    metrics::describe_counter!(EVENT_REQUESTS_REFUSED, "requests with events that were refused, by reason");
    for reason in EventRefusal::ALL {
        metrics::counter!(EVENT_REQUESTS_REFUSED, "reason" => reason.text()).increment(0);
    }
    events_received(0, 0, 0);
    events_ingested(0, 0);
    live_lagged(0);
    for task in TASKS {
        metrics::counter!(TASK_FAILURES, "task" => task).increment(0);
    }
}

/// Counts delivered events.
pub(crate) fn events_ingested(new: usize, repeated: usize) {
    let count = |events: usize| u64::try_from(events).unwrap_or(u64::MAX);
    metrics::counter!(EVENTS_INGESTED, "result" => "new").increment(count(new));
    metrics::counter!(EVENTS_INGESTED, "result" => "repeated").increment(count(repeated));
}

/// Counts events that other producers sent.
pub(crate) fn events_received(accepted: usize, duplicates: usize, rejected: usize) {
    for (result, events) in [("accepted", accepted), ("duplicate", duplicates), ("rejected", rejected)] {
        metrics::counter!(EVENTS_RECEIVED, "result" => result)
            .increment(u64::try_from(events).unwrap_or(u64::MAX));
    }
}

/// Counts a refused request with events.
pub(crate) fn events_refused(reason: EventRefusal) {
    metrics::counter!(EVENT_REQUESTS_REFUSED, "reason" => reason.text()).increment(1);
}

/// Records the time of an ingest transaction.
pub(crate) fn ingest_transaction(took: Duration) {
    metrics::histogram!(INGEST_TRANSACTION).record(took.as_secs_f64());
}

/// Counts what a live subscriber missed.
pub(crate) fn live_lagged(events: u64) {
    metrics::counter!(LIVE_LAGGED).increment(events);
}

/// Counts a failed run of a background task.
pub(crate) fn task_failed(task: &'static str) {
    metrics::counter!(TASK_FAILURES, "task" => task).increment(1);
}

/// Shows whether this control plane leads.
pub(crate) fn leads(leads: bool) {
    metrics::gauge!(LEADS).set(f64::from(u8::from(leads)));
}

/// Shows whether the database can be reached.
pub(crate) fn reaches_database(reaches: bool) {
    metrics::gauge!(DATABASE_UP).set(f64::from(u8::from(reaches)));
}

/// Shows when a certificate expires.
pub(crate) fn certificate_expiry(certificate: &'static str, at: Option<Timestamp>) {
    let seconds = at.map_or(f64::INFINITY, |at| at.as_duration().as_secs_f64());
    metrics::gauge!(CERTIFICATE_EXPIRY, "certificate" => certificate).set(seconds);
}

/// Counts changed certificate files that are in force.
pub(crate) fn tls_reloaded() {
    metrics::counter!(TLS_RELOADS, "result" => "loaded").increment(1);
}

/// Counts changed certificate files that cannot be used.
pub(crate) fn tls_reload_failed() {
    metrics::counter!(TLS_RELOADS, "result" => "kept_old").increment(1);
}

/// Counts a failed handshake.
pub(crate) fn handshake_failed(reason: HandshakeFailure) {
    metrics::counter!(HANDSHAKE_FAILURES, "reason" => reason.text()).increment(1);
}

/// Counts a refused request of a proxy.
pub(crate) fn proxy_refused(reason: ProxyRefusal) {
    metrics::counter!(PROXIES_REFUSED, "reason" => reason.text()).increment(1);
}
