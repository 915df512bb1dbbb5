//! Listeners and client connections.

use jiff::Timestamp;
use metrics::{Counter, Gauge};

use super::Registry;

/// What the listeners and client connections report.
#[derive(Debug)]
pub(crate) struct ServerMetrics {
    pub(crate) connections_open: Gauge,
    pub(crate) connections_accepted: Counter,
    /// The accept loop waited because the limit was reached.
    pub(crate) connections_limited: Counter,
    pub(crate) accept_errors: Counter,
    pub(crate) tls_handshake_failures: Counter,
    pub(crate) header_timeouts: Counter,
    pub(crate) idle_closes: Counter,
    pub(crate) stalled_closes: Counter,
    pub(crate) drain_aborts: Counter,
    pub(crate) requests_in_flight: Gauge,
    tls_certificate_expiry: Gauge,
    pub(crate) tls_reloads: Counter,
    pub(crate) tls_reload_failures: Counter,
}

impl ServerMetrics {
    pub(super) fn new(registry: &Registry<'_>) -> Self {
        let closed = |reason| {
            registry.labelled(
                "mindweave_server_connections_closed_total",
                "client connections that the proxy closed, by reason",
                &[("reason", reason)],
            )
        };
        let reloads = |result| {
            registry.labelled(
                "mindweave_server_tls_reloads_total",
                "reloads of changed certificate files, by result",
                &[("result", result)],
            )
        };
        let shown = Self {
            connections_open: registry
                .gauge("mindweave_server_connections_open", "client connections that are open"),
            connections_accepted: registry
                .counter("mindweave_server_connections_accepted_total", "client connections accepted"),
            connections_limited: registry.counter(
                "mindweave_server_connections_limited_total",
                "times that accepting paused because the connection limit was reached",
            ),
            accept_errors: registry
                .counter("mindweave_server_accept_errors_total", "connections that could not be accepted"),
            tls_handshake_failures: closed("tls_handshake"),
            header_timeouts: closed("header_timeout"),
            idle_closes: closed("idle"),
            stalled_closes: closed("stalled"),
            drain_aborts: closed("drain_deadline"),
            requests_in_flight: registry
                .gauge("mindweave_server_requests_in_flight", "requests whose answer has not ended"),
            tls_reloads: reloads("loaded"),
            tls_reload_failures: reloads("kept_old"),
            tls_certificate_expiry: registry.gauge(
                "mindweave_server_tls_certificate_expiry_timestamp_seconds",
                "when the certificate shown to clients expires, in seconds since 1970",
            ),
        };
        shown.certificate_expires(None);
        shown
    }

    /// The certificate in force expires then; without one, never.
    pub(crate) fn certificate_expires(&self, at: Option<Timestamp>) {
        self.tls_certificate_expiry.set(at.map_or(f64::INFINITY, |at| at.as_duration().as_secs_f64()));
    }
}
