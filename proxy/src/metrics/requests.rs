//! How requests end and how long they take.

use metrics::{Counter, Histogram};
use mindweave_metering::{EndpointKind, Outcome};

use super::Registry;
use crate::settle::Ending;

pub(super) const REQUEST_SECONDS: &str = "mindweave_proxy_request_seconds";
pub(super) const TIME_TO_FIRST_CONTENT_SECONDS: &str = "mindweave_proxy_time_to_first_content_seconds";
pub(super) const OVERHEAD_SECONDS: &str = "mindweave_proxy_overhead_seconds";
const REQUESTS: &str = "mindweave_proxy_requests_total";
const RESPONSES: &str = "mindweave_proxy_responses_total";

/// From a refusal of the API to the longest answers that clients wait for, in seconds.
pub(super) const LATENCY_BUCKETS: [f64; 15] =
    [0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0];
/// From what is expected of us to what somebody would notice, in seconds.
pub(super) const OVERHEAD_BUCKETS: [f64; 13] = [
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1,
];

/// What becomes of requests that are known to belong to somebody.
#[derive(Debug)]
pub(crate) struct RequestMetrics {
    ended: PerEndpoint,
    answered: PerStatusClass,
    seconds: Histogram,
    time_to_first_content: Histogram,
    overhead: Histogram,
}

/// Requests by endpoint and outcome.
#[derive(Debug)]
struct PerEndpoint {
    messages: PerOutcome,
    count_tokens: PerOutcome,
    batches: PerOutcome,
    batch_results: PerOutcome,
    complete: PerOutcome,
    chat_completions: PerOutcome,
    models: PerOutcome,
    files: PerOutcome,
    skills: PerOutcome,
    user_profiles: PerOutcome,
    session_stream: PerOutcome,
    managed_agents: PerOutcome,
    organization: PerOutcome,
    oauth: PerOutcome,
    other: PerOutcome,
}

#[derive(Debug)]
struct PerOutcome {
    complete: Counter,
    upstream_error: Counter,
    client_gone: Counter,
    upstream_cut: Counter,
    deadline: Counter,
    denied: Counter,
    interrupted: Counter,
}

#[derive(Debug)]
struct PerStatusClass {
    informational: Counter,
    success: Counter,
    redirection: Counter,
    client_error: Counter,
    server_error: Counter,
    none: Counter,
}

impl RequestMetrics {
    pub(super) fn new(registry: &Registry<'_>) -> Self {
        Self {
            ended: PerEndpoint::new(registry),
            answered: PerStatusClass::new(registry),
            seconds: registry
                .seconds(REQUEST_SECONDS, "time from the request's head to the end of its answer"),
            time_to_first_content: registry.seconds(
                TIME_TO_FIRST_CONTENT_SECONDS,
                "time from the request's head to the first content of its answer",
            ),
            overhead: registry
                .seconds(OVERHEAD_SECONDS, "the part of a request's time that is the proxy's own"),
        }
    }

    /// A request has ended. Three samples of 30 ns and two counters of 5 ns.
    pub(crate) fn ended(&self, endpoint: EndpointKind, ending: &Ending) {
        self.ended.of(endpoint).of(ending.outcome).increment(1);
        self.answered.of(ending.status).increment(1);
        match ending.outcome {
            // Found after a crash: nobody saw the times.
            Outcome::Interrupted => return,
            // Refusals take no time and would hide how long answers take.
            Outcome::Denied => {}
            Outcome::Complete
            | Outcome::UpstreamError
            | Outcome::ClientGone
            | Outcome::UpstreamCut
            | Outcome::Deadline => self.seconds.record(ending.latency),
        }
        self.overhead.record(ending.overhead);
        if let Some(time) = ending.time_to_first_content {
            self.time_to_first_content.record(time);
        }
    }
}

impl PerEndpoint {
    fn new(registry: &Registry<'_>) -> Self {
        let of = |endpoint: &'static str| PerOutcome::new(registry, endpoint);
        Self {
            messages: of("messages"),
            count_tokens: of("count_tokens"),
            batches: of("batches"),
            batch_results: of("batch_results"),
            complete: of("complete"),
            chat_completions: of("chat_completions"),
            models: of("models"),
            files: of("files"),
            skills: of("skills"),
            user_profiles: of("user_profiles"),
            session_stream: of("session_stream"),
            managed_agents: of("managed_agents"),
            organization: of("organization"),
            oauth: of("oauth"),
            other: of("other"),
        }
    }

    fn of(&self, endpoint: EndpointKind) -> &PerOutcome {
        match endpoint {
            EndpointKind::Messages => &self.messages,
            EndpointKind::CountTokens => &self.count_tokens,
            EndpointKind::Batches(_) => &self.batches,
            EndpointKind::BatchResults => &self.batch_results,
            EndpointKind::Complete => &self.complete,
            EndpointKind::ChatCompletions => &self.chat_completions,
            EndpointKind::Models => &self.models,
            EndpointKind::Files => &self.files,
            EndpointKind::Skills => &self.skills,
            EndpointKind::UserProfiles => &self.user_profiles,
            EndpointKind::SessionStream => &self.session_stream,
            EndpointKind::ManagedAgents => &self.managed_agents,
            EndpointKind::Organization => &self.organization,
            EndpointKind::OAuth => &self.oauth,
            EndpointKind::Other => &self.other,
        }
    }
}

impl PerOutcome {
    fn new(registry: &Registry<'_>, endpoint: &'static str) -> Self {
        let of = |outcome| {
            registry.labelled(
                REQUESTS,
                "requests that ended, by endpoint and outcome",
                &[("endpoint", endpoint), ("outcome", outcome)],
            )
        };
        Self {
            complete: of("complete"),
            upstream_error: of("upstream_error"),
            client_gone: of("client_gone"),
            upstream_cut: of("upstream_cut"),
            deadline: of("deadline"),
            denied: of("denied"),
            interrupted: of("interrupted"),
        }
    }

    fn of(&self, outcome: Outcome) -> &Counter {
        match outcome {
            Outcome::Complete => &self.complete,
            Outcome::UpstreamError => &self.upstream_error,
            Outcome::ClientGone => &self.client_gone,
            Outcome::UpstreamCut => &self.upstream_cut,
            Outcome::Deadline => &self.deadline,
            Outcome::Denied => &self.denied,
            Outcome::Interrupted => &self.interrupted,
        }
    }
}

impl PerStatusClass {
    fn new(registry: &Registry<'_>) -> Self {
        let of = |class| {
            registry.labelled(
                RESPONSES,
                "answers by class of the status that the client saw",
                &[("status_class", class)],
            )
        };
        Self {
            informational: of("1xx"),
            success: of("2xx"),
            redirection: of("3xx"),
            client_error: of("4xx"),
            server_error: of("5xx"),
            none: of("none"),
        }
    }

    fn of(&self, status: u16) -> &Counter {
        match status {
            100..200 => &self.informational,
            200..300 => &self.success,
            300..400 => &self.redirection,
            400..500 => &self.client_error,
            500.. => &self.server_error,
            0..100 => &self.none,
        }
    }
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;
    use mindweave_metering::BatchCall;

    use super::*;

    #[test]
    fn every_endpoint_and_outcome_is_counted_under_its_own_label() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let per_endpoint = PerEndpoint::new(&Registry(&recorder));
        let endpoints = [
            EndpointKind::Messages,
            EndpointKind::CountTokens,
            EndpointKind::Batches(BatchCall::Create),
            EndpointKind::BatchResults,
            EndpointKind::Complete,
            EndpointKind::ChatCompletions,
            EndpointKind::Models,
            EndpointKind::Files,
            EndpointKind::Skills,
            EndpointKind::UserProfiles,
            EndpointKind::SessionStream,
            EndpointKind::ManagedAgents,
            EndpointKind::Organization,
            EndpointKind::OAuth,
            EndpointKind::Other,
        ];
        let outcomes = [
            Outcome::Complete,
            Outcome::UpstreamError,
            Outcome::ClientGone,
            Outcome::UpstreamCut,
            Outcome::Deadline,
            Outcome::Denied,
            Outcome::Interrupted,
        ];
        let mut expected = 0;
        for endpoint in endpoints {
            for outcome in outcomes {
                expected += 1;
                per_endpoint.of(endpoint).of(outcome).increment(expected);
                let name = serde_json::to_value(outcome).unwrap();
                let line = format!(
                    "{REQUESTS}{{endpoint=\"{}\",outcome=\"{}\"}} {expected}",
                    endpoint.label(),
                    name.as_str().unwrap()
                );
                let rendered = recorder.handle().render();
                assert!(rendered.lines().any(|one| one == line), "{line} is missing in\n{rendered}");
            }
        }
    }
}
