//! The upstream client.

use metrics::{Counter, Gauge};

use super::Registry;

/// What the upstream client reports.
#[derive(Debug)]
pub(crate) struct UpstreamMetrics {
    pub(crate) http1_connections_opened: Counter,
    pub(crate) http2_connections_opened: Counter,
    pub(crate) connections_idle: Gauge,
    /// A pooled connection was found closed before anything was sent on it; another was taken.
    pub(crate) stale_connections: Counter,
    /// 0 closed, 1 on trial, 2 open.
    pub(crate) breaker_state: Gauge,
    pub(crate) breaker_opened: Counter,
    pub(crate) failures: UpstreamFailures,
}

/// Failed requests by reason.
#[derive(Debug)]
pub(crate) struct UpstreamFailures {
    pub(crate) breaker_open: Counter,
    pub(crate) connect_timeout: Counter,
    pub(crate) connect: Counter,
    pub(crate) tls: Counter,
    pub(crate) response_timeout: Counter,
    pub(crate) request_stalled: Counter,
    pub(crate) closed_early: Counter,
    pub(crate) malformed: Counter,
    pub(crate) cut: Counter,
    pub(crate) idle_timeout: Counter,
    pub(crate) request_body: Counter,
    pub(crate) target: Counter,
}

impl UpstreamMetrics {
    pub(super) fn new(registry: &Registry<'_>) -> Self {
        let opened = |protocol| {
            registry.labelled(
                "mindweave_upstream_connections_opened_total",
                "connections opened to the upstream, by protocol",
                &[("protocol", protocol)],
            )
        };
        Self {
            http1_connections_opened: opened("http1"),
            http2_connections_opened: opened("http2"),
            connections_idle: registry
                .gauge("mindweave_upstream_connections_idle", "http1 connections waiting to be used again"),
            stale_connections: registry.counter(
                "mindweave_upstream_connections_stale_total",
                "pooled connections found closed before a request was sent on them",
            ),
            breaker_state: registry
                .gauge("mindweave_upstream_breaker_state", "the circuit: 0 closed, 1 on trial, 2 open"),
            breaker_opened: registry
                .counter("mindweave_upstream_breaker_opened_total", "times that the circuit opened"),
            failures: UpstreamFailures::new(registry),
        }
    }
}

impl UpstreamFailures {
    fn new(registry: &Registry<'_>) -> Self {
        let failed = |reason| {
            registry.labelled(
                "mindweave_upstream_failures_total",
                "requests without a complete answer from the upstream, by reason",
                &[("reason", reason)],
            )
        };
        Self {
            breaker_open: failed("breaker_open"),
            connect_timeout: failed("connect_timeout"),
            connect: failed("connect"),
            tls: failed("tls"),
            response_timeout: failed("response_timeout"),
            request_stalled: failed("request_stalled"),
            closed_early: failed("closed_early"),
            malformed: failed("malformed"),
            cut: failed("cut"),
            idle_timeout: failed("idle_timeout"),
            request_body: failed("request_body"),
            target: failed("target"),
        }
    }
}
