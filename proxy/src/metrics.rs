//! Every metric of this crate: name, labels and help text.
//!
//! Names are `mindweave_<area>_<what>_<unit>[_total]`; labels are closed sets, never a principal, a key or text from a
//! request. Handles are looked up once. They live in one recorder of our own, not in the process-wide one, so that a program
//! that embeds the proxy keeps its own.

use std::sync::LazyLock;

use metrics::{Counter, Gauge, Key, Label, Level, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

const OWN_ANSWERS: &str = "mindweave_proxy_own_answers_total";

static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

#[derive(Debug)]
struct Metrics {
    recorder: PrometheusRecorder,
    rendering: PrometheusHandle,
    server: ServerMetrics,
    upstream: UpstreamMetrics,
    exchanges: ExchangeMetrics,
}

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
    pub(crate) tls_reloads: Counter,
    pub(crate) tls_reload_failures: Counter,
}

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

/// What becomes of exchanges.
#[derive(Debug)]
struct ExchangeMetrics {
    admissions_dropped: Counter,
    events_lost: Counter,
}

/// The listeners' metrics.
pub(crate) fn server() -> &'static ServerMetrics {
    &METRICS.server
}

/// The upstream client's metrics.
pub(crate) fn upstream() -> &'static UpstreamMetrics {
    &METRICS.upstream
}

/// The proxy answered a request itself.
pub(crate) fn own_answer(reason: &'static str) {
    let key = Key::from_parts(OWN_ANSWERS, vec![Label::from_static_parts("reason", reason)]);
    METRICS.recorder.register_counter(&key, &METADATA).increment(1);
}

/// A request was forwarded although the journal had no room for it.
pub(crate) fn admission_dropped() {
    METRICS.exchanges.admissions_dropped.increment(1);
}

/// An event could not be recorded.
pub(crate) fn event_lost() {
    METRICS.exchanges.events_lost.increment(1);
}

/// All metrics in Prometheus' text format.
pub(crate) fn render() -> String {
    METRICS.rendering.run_upkeep();
    METRICS.rendering.render()
}

/// Unused by the recorder, but asked for.
const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

/// Registers handles under one recorder.
struct Registry<'a>(&'a PrometheusRecorder);

impl Registry<'_> {
    fn counter(&self, name: &'static str, help: &'static str) -> Counter {
        self.0.describe_counter(name.into(), Some(Unit::Count), SharedString::const_str(help));
        self.0.register_counter(&Key::from_static_name(name), &METADATA)
    }

    fn labelled(
        &self,
        name: &'static str,
        help: &'static str,
        label: (&'static str, &'static str),
    ) -> Counter {
        self.0.describe_counter(name.into(), Some(Unit::Count), SharedString::const_str(help));
        let key = Key::from_parts(name, vec![Label::from_static_parts(label.0, label.1)]);
        self.0.register_counter(&key, &METADATA)
    }

    fn gauge(&self, name: &'static str, help: &'static str) -> Gauge {
        self.0.describe_gauge(name.into(), Some(Unit::Count), SharedString::const_str(help));
        self.0.register_gauge(&Key::from_static_name(name), &METADATA)
    }
}

impl Metrics {
    fn new() -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        let registry = Registry(&recorder);
        registry.0.describe_counter(
            OWN_ANSWERS.into(),
            Some(Unit::Count),
            "requests answered by the proxy itself, by reason".into(),
        );
        Self {
            server: ServerMetrics::new(&registry),
            upstream: UpstreamMetrics::new(&registry),
            exchanges: ExchangeMetrics::new(&registry),
            rendering: recorder.handle(),
            recorder,
        }
    }
}

impl ServerMetrics {
    fn new(registry: &Registry<'_>) -> Self {
        let closed = |reason| {
            registry.labelled(
                "mindweave_server_connections_closed_total",
                "client connections that the proxy closed, by reason",
                ("reason", reason),
            )
        };
        let reloads = |result| {
            registry.labelled(
                "mindweave_server_tls_reloads_total",
                "reloads of changed certificate files, by result",
                ("result", result),
            )
        };
        Self {
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
        }
    }
}

impl UpstreamMetrics {
    fn new(registry: &Registry<'_>) -> Self {
        let opened = |protocol| {
            registry.labelled(
                "mindweave_upstream_connections_opened_total",
                "connections opened to the upstream, by protocol",
                ("protocol", protocol),
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
                ("reason", reason),
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

impl ExchangeMetrics {
    fn new(registry: &Registry<'_>) -> Self {
        Self {
            admissions_dropped: registry.counter(
                "mindweave_journal_admissions_dropped_total",
                "requests forwarded without a record because the journal had no room",
            ),
            events_lost: registry
                .counter("mindweave_journal_events_lost_total", "events that could not be recorded"),
        }
    }
}
