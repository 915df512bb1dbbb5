//! The way to a control plane in another process.

use jiff::Timestamp;
use metrics::{Counter, Gauge};

use mindweave_policy::ShareAnswer;

use super::{Registry, figure};
use crate::control_plane::CallError;

/// What the watch reports.
#[derive(Debug)]
pub(crate) struct ControlPlaneMetrics {
    /// 1 while the watch stands.
    pub(crate) connected: Gauge,
    /// Since the control plane last spoke, in seconds.
    pub(crate) age: Gauge,
    revision: Gauge,
    certificate_expiry: Gauge,
    pub(crate) certificate_reloads: Counter,
    pub(crate) certificate_reload_failures: Counter,
    unreachable: Counter,
    unauthorized: Counter,
    refused: Counter,
    broken_off: Counter,
    malformed: Counter,
    certificate: Counter,
    demand_answered: Counter,
    demand_failed: Counter,
    /// How many proxies divide limits among them.
    pub(crate) live_proxies: Gauge,
    divided_limits: Gauge,
}

impl ControlPlaneMetrics {
    pub(super) fn new(registry: &Registry<'_>) -> Self {
        let failed = |reason| {
            registry.labelled(
                "mindweave_control_plane_watch_failures_total",
                "times that the watch of the control plane could not begin or broke off, by reason",
                &[("reason", reason)],
            )
        };
        let reloads = |result| {
            registry.labelled(
                "mindweave_control_plane_client_certificate_reloads_total",
                "reloads of changed certificate files of the way to the control plane, by result",
                &[("result", result)],
            )
        };
        let reports = |result| {
            registry.labelled(
                "mindweave_control_plane_demand_reports_total",
                "reports of what this proxy asks for of limits, by result",
                &[("result", result)],
            )
        };
        let shown = Self {
            connected: registry.gauge(
                "mindweave_control_plane_connected",
                "1 while this proxy hears from its control plane",
            ),
            age: registry.gauge(
                "mindweave_control_plane_snapshot_age_seconds",
                "time since the control plane last confirmed what is in force",
            ),
            revision: registry
                .gauge("mindweave_control_plane_snapshot_revision", "revision of the snapshot in force"),
            certificate_expiry: registry.gauge(
                "mindweave_control_plane_client_certificate_expiry_timestamp_seconds",
                "when the certificate for the control plane expires, in seconds since 1970",
            ),
            certificate_reloads: reloads("loaded"),
            certificate_reload_failures: reloads("kept_old"),
            unreachable: failed("unreachable"),
            unauthorized: failed("unauthorized"),
            refused: failed("refused"),
            broken_off: failed("broken_off"),
            malformed: failed("malformed"),
            certificate: failed("certificate"),
            demand_answered: reports("answered"),
            demand_failed: reports("failed"),
            live_proxies: registry.gauge(
                "mindweave_control_plane_live_proxies",
                "proxies that divide limits among them, as the control plane last said",
            ),
            divided_limits: registry.gauge(
                "mindweave_control_plane_divided_limits",
                "limits of which this proxy was told its portion, by recent demand; all others are divided evenly",
            ),
        };
        shown.certificate_expires(None);
        shown
    }

    /// The snapshot of this revision is in force.
    pub(crate) fn in_force(&self, revision: u64) {
        self.revision.set(figure(revision));
    }

    /// The certificate for the control plane expires then; without one, never.
    pub(crate) fn certificate_expires(&self, at: Option<Timestamp>) {
        self.certificate_expiry.set(at.map_or(f64::INFINITY, |at| at.as_duration().as_secs_f64()));
    }

    /// A report of demand was answered with this.
    pub(crate) fn demand_answered(&self, answer: &ShareAnswer) {
        self.demand_answered.increment(1);
        self.live_proxies.set(answer.live_proxies);
        self.divided_limits.set(figure(u64::try_from(answer.shares.len()).unwrap_or(u64::MAX)));
    }

    /// A report of demand was not answered.
    pub(crate) fn demand_failed(&self) {
        self.demand_failed.increment(1);
    }

    /// The watch ended with this.
    pub(crate) fn failed(&self, error: &CallError) {
        let counter = match error {
            CallError::Connect(_) | CallError::Tls(_) => &self.unreachable,
            CallError::Unauthorized | CallError::Scope => &self.unauthorized,
            CallError::CertificateRequired
            | CallError::CertificateRefused(_)
            | CallError::CertificateName => &self.certificate,
            CallError::Status(_) | CallError::Fenced => &self.refused,
            CallError::Http(_) | CallError::TimedOut | CallError::Ended => &self.broken_off,
            CallError::LineTooLong
            | CallError::Malformed(_)
            | CallError::Line(_)
            | CallError::Change(_)
            | CallError::Compile
            | CallError::Request => &self.malformed,
        };
        counter.increment(1);
    }
}
