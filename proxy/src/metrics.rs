//! Every metric of this crate: name, labels and help text.
//!
//! Names are `mindweave_<area>_<what>_<unit>[_total]`; labels are closed sets, never a principal, a key or text from a
//! request. Handles are looked up once. They live in one recorder of our own, so that a program that embeds the proxy may keep
//! its own; [`install_process_metrics`] makes it the process-wide one.

mod control_plane;
mod governance;
mod requests;
mod server;
mod upstream;
mod usage;

use std::sync::{LazyLock, Once};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::error::ProxyError;
use control_plane::ControlPlaneMetrics;
use governance::{DECISION_BUCKETS, DECISION_SECONDS, GovernanceMetrics};
use requests::{
    LATENCY_BUCKETS, OVERHEAD_BUCKETS, OVERHEAD_SECONDS, REQUEST_SECONDS, RequestMetrics,
    TIME_TO_FIRST_CONTENT_SECONDS,
};
use server::ServerMetrics;
use upstream::UpstreamMetrics;
use usage::UsageMetrics;

/// For what happens inside the machine, like a sync to disk, in seconds.
const INTERNAL_BUCKETS: [f64; 14] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// How often histogram samples are folded into their buckets, which bounds what they take between two scrapes: 16 bytes a
/// sample, 3 samples a request.
pub(crate) const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

/// Apart, so that they are not shown, at zero, by a process that has no proxy: somebody would be woken up by them.
static PROXY: LazyLock<ProxyMetrics> = LazyLock::new(ProxyMetrics::new);

/// Of every process.
#[derive(Debug)]
struct Metrics {
    recorder: PrometheusRecorder,
    rendering: PrometheusHandle,
    server: ServerMetrics,
}

/// Of a process with a proxy.
#[derive(Debug)]
struct ProxyMetrics {
    upstream: UpstreamMetrics,
    control_plane: ControlPlaneMetrics,
    exchanges: ExchangeMetrics,
    own_answers: OwnAnswers,
    requests: RequestMetrics,
    usage: UsageMetrics,
    governance: GovernanceMetrics,
}

/// Answers of our own by reason.
#[derive(Debug)]
struct OwnAnswers {
    reasons: Vec<(&'static str, Counter)>,
    other: Counter,
}

/// What becomes of exchanges.
#[derive(Debug)]
struct ExchangeMetrics {
    admissions_dropped: Counter,
    events_lost: Counter,
}

/// Makes `/metrics` of the proxy's admin port show what everything in this process reports through the `metrics` crate.
///
/// To be called before whatever looks its handles up at its start: the journal and the control plane. Calling it again does
/// nothing. A program that has installed a recorder of its own keeps it; `/metrics` then shows the proxy's metrics only.
pub fn install_process_metrics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if ::metrics::set_global_recorder(&METRICS.recorder).is_err() {
            tracing::warn!("another metrics recorder is installed: /metrics shows the proxy's metrics only");
        }
    });
}

/// From here on `/metrics` shows what a proxy measures, at zero where nothing has happened.
pub(crate) fn show_proxy() {
    LazyLock::force(&PROXY);
}

/// Folds histogram samples into their buckets for ever, at this interval.
pub(crate) async fn upkeep(every: Duration) {
    let mut ticks = tokio::time::interval(every);
    loop {
        ticks.tick().await;
        METRICS.rendering.run_upkeep();
    }
}

/// The metrics of requests that somebody is charged with.
pub(crate) fn requests() -> &'static RequestMetrics {
    &PROXY.requests
}

/// The metrics of what is metered.
pub(crate) fn usage() -> &'static UsageMetrics {
    &PROXY.usage
}

/// The metrics of policies, limits and budgets.
pub(crate) fn governance() -> &'static GovernanceMetrics {
    &PROXY.governance
}

/// The listeners' metrics.
pub(crate) fn server() -> &'static ServerMetrics {
    &METRICS.server
}

/// The upstream client's metrics.
pub(crate) fn upstream() -> &'static UpstreamMetrics {
    &PROXY.upstream
}

/// The metrics of the way to the control plane.
pub(crate) fn control_plane() -> &'static ControlPlaneMetrics {
    &PROXY.control_plane
}

/// The proxy answered a request itself.
pub(crate) fn own_answer(reason: &'static str) {
    PROXY.own_answers.of(reason).increment(1);
}

/// A request was forwarded although the journal had no room for it.
pub(crate) fn admission_dropped() {
    PROXY.exchanges.admissions_dropped.increment(1);
}

/// An event could not be recorded.
pub(crate) fn event_lost() {
    PROXY.exchanges.events_lost.increment(1);
}

/// All metrics in Prometheus' text format.
pub fn render() -> String {
    METRICS.rendering.run_upkeep();
    METRICS.rendering.render()
}

/// A number as gauges take it; exact below 2^53.
fn figure(number: u64) -> f64 {
    let halves =
        [number >> 32, number & u64::from(u32::MAX)].map(|half| u32::try_from(half).unwrap_or(u32::MAX));
    let [high, low] = halves.map(f64::from);
    high.mul_add(4_294_967_296.0, low)
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
        labels: &[(&'static str, &'static str)],
    ) -> Counter {
        self.0.describe_counter(name.into(), Some(Unit::Count), SharedString::const_str(help));
        let labels: Vec<_> =
            labels.iter().map(|(name, value)| Label::from_static_parts(name, value)).collect();
        let key = Key::from_parts(name, labels);
        self.0.register_counter(&key, &METADATA)
    }

    fn gauge(&self, name: &'static str, help: &'static str) -> Gauge {
        self.0.describe_gauge(name.into(), Some(Unit::Count), SharedString::const_str(help));
        self.0.register_gauge(&Key::from_static_name(name), &METADATA)
    }

    fn seconds(&self, name: &'static str, help: &'static str) -> Histogram {
        self.0.describe_histogram(name.into(), Some(Unit::Seconds), SharedString::const_str(help));
        self.0.register_histogram(&Key::from_static_name(name), &METADATA)
    }
}

impl Metrics {
    fn new() -> Self {
        let recorder = with_buckets(PrometheusBuilder::new()).build_recorder();
        let registry = Registry(&recorder);
        Self { server: ServerMetrics::new(&registry), rendering: recorder.handle(), recorder }
    }
}

impl ProxyMetrics {
    fn new() -> Self {
        let registry = Registry(&METRICS.recorder);
        Self {
            upstream: UpstreamMetrics::new(&registry),
            control_plane: ControlPlaneMetrics::new(&registry),
            exchanges: ExchangeMetrics::new(&registry),
            own_answers: OwnAnswers::new(&registry),
            requests: RequestMetrics::new(&registry),
            usage: UsageMetrics::new(&registry),
            governance: GovernanceMetrics::new(&registry),
        }
    }
}

/// Histograms have buckets: unlike quantiles, those of several proxies can be added up.
fn with_buckets(builder: PrometheusBuilder) -> PrometheusBuilder {
    let own: [(&str, &[f64]); 4] = [
        (REQUEST_SECONDS, &LATENCY_BUCKETS),
        (TIME_TO_FIRST_CONTENT_SECONDS, &LATENCY_BUCKETS),
        (OVERHEAD_SECONDS, &OVERHEAD_BUCKETS),
        (DECISION_SECONDS, &DECISION_BUCKETS),
    ];
    let builder = own.into_iter().try_fold(builder, |builder, (name, buckets)| {
        builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), buckets)
    });
    let builder = builder.and_then(|builder| builder.set_buckets(&INTERNAL_BUCKETS));
    builder.unwrap_or_default() // only a list without buckets is refused
}

impl OwnAnswers {
    fn new(registry: &Registry<'_>) -> Self {
        let counter = |reason| {
            registry.labelled(
                "mindweave_proxy_own_answers_total",
                "requests answered by the proxy itself, by reason",
                &[("reason", reason)],
            )
        };
        let reasons = ProxyError::reasons().map(|reason| (reason, counter(reason))).collect();
        Self { reasons, other: counter("other") }
    }

    fn of(&self, reason: &str) -> &Counter {
        self.reasons.iter().find(|(one, _)| *one == reason).map_or(&self.other, |(_, counter)| counter)
    }
}

impl ExchangeMetrics {
    fn new(registry: &Registry<'_>) -> Self {
        Self {
            admissions_dropped: registry.counter(
                "mindweave_proxy_unrecorded_requests_total",
                "requests forwarded without a record because the journal had no room",
            ),
            events_lost: registry
                .counter("mindweave_proxy_lost_events_total", "events that could not be recorded"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_count_is_shown_once_installed_and_installing_twice_does_no_harm() {
        install_process_metrics();
        ::metrics::counter!("test_of_the_process_wide_recorder_total").increment(1);
        install_process_metrics();
        ::metrics::counter!("test_of_the_process_wide_recorder_total").increment(1);
        let shown = render();
        assert!(shown.contains("\ntest_of_the_process_wide_recorder_total 2\n"), "{shown}");
    }
}
