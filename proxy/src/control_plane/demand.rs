//! What this proxy asks for of limits, reported to the control plane, and the portions that it is told in return.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http::header::HeaderValue;
use mindweave_policy::{AdmissionControl, DemandReport, ShareAnswer};
use tokio::sync::watch;
use tokio::time::{Duration, Instant, MissedTickBehavior, interval, sleep, timeout};

use super::client::{CallError, Client, Connection};
use super::sync::Known;
use crate::clock;
use crate::error::chain;
use crate::metrics;

const DEMAND_PATH: &str = "/internal/v1/demand";
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Between two reports.
const PERIOD: Duration = Duration::from_secs(1);
/// After an answer that took something away: others wait to be told that it is free.
const SOON: Duration = Duration::from_millis(50);
/// A control plane that does not know this path is an older one. It is asked from time to time, for it may be replaced.
const OLDER_PERIOD: Duration = Duration::from_secs(10);
/// An answer takes as long as a transaction and half a second. Another control plane may be asked with the next report.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a stop waits for its farewell to be heard: without one, others wait for the end of the lease.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);
/// How often portions that nobody confirms are looked at.
const EXPIRY_PERIOD: Duration = Duration::from_millis(250);

/// Reports until `stop`, from when anything is known on, and says farewell.
pub(super) async fn run(
    client: Arc<Client>,
    admission: Arc<AdmissionControl>,
    mut known: watch::Receiver<Known>,
    mut stop: watch::Receiver<bool>,
) {
    tokio::select! {
        known = known.wait_for(|known| *known != Known::Nothing) => if known.is_err() { return },
        _ = stop.wait_for(|stop| *stop) => return,
    }
    let mut reporter = Reporter { client, admission, connection: None, number: 0 };
    loop {
        let pause = tokio::select! {
            pause = reporter.turn() => pause,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        tokio::select! {
            () = sleep(pause) => {}
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    reporter.farewell().await;
}

/// Gives up portions that nobody confirms, until `stop`.
pub(super) async fn expire(admission: Arc<AdmissionControl>, mut stop: watch::Receiver<bool>) {
    let mut ticks = interval(EXPIRY_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => admission.expire_shares(Instant::now().into_std()),
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

struct Reporter {
    client: Arc<Client>,
    admission: Arc<AdmissionControl>,
    connection: Option<Connection>,
    number: u64,
}

impl Reporter {
    /// One report and its answer. Returns how long to wait until the next.
    async fn turn(&mut self) -> Duration {
        let report = self.report();
        let sent_at = Instant::now();
        match timeout(ANSWER_TIMEOUT, self.ask(&report)).await.unwrap_or(Err(CallError::TimedOut)) {
            Ok(answer) => {
                metrics::control_plane().demand_answered(&answer);
                let now = Instant::now().into_std();
                if self.admission.take_shares(&answer, sent_at.into_std(), now) { SOON } else { PERIOD }
            }
            Err(error) => {
                self.connection = None; // a late answer is no answer to the next report
                metrics::control_plane().demand_failed();
                tracing::debug!(
                    error = chain(&error),
                    "demand not reported; going by the portions of before"
                );
                match error {
                    CallError::Status(StatusCode::NOT_FOUND) => OLDER_PERIOD,
                    _ => PERIOD,
                }
            }
        }
    }

    fn report(&mut self) -> DemandReport {
        let now = u64::try_from(clock::now().as_microsecond()).unwrap_or(0);
        self.number = now.max(self.number.saturating_add(1));
        self.admission.demand_report(self.number, Instant::now().into_std())
    }

    async fn ask(&mut self, report: &DemandReport) -> Result<ShareAnswer, CallError> {
        let body = serde_json::to_vec(report).map_err(|_| CallError::Request)?;
        let mut connection = match self.connection.take().filter(|open| self.client.keeps(open)) {
            Some(connection) => connection,
            None => self.client.connect().await?,
        };
        let (status, answer): (_, Bytes) = self.client.post(&mut connection, DEMAND_PATH, JSON, body).await?;
        if !status.is_success() {
            return Err(CallError::refusal(status, &answer));
        }
        let answer = serde_json::from_slice(&answer);
        let answer = answer.map_err(|_| CallError::Malformed("an answer of another form"))?;
        self.connection = Some(connection);
        Ok(answer)
    }

    async fn farewell(&mut self) {
        let report = DemandReport { leaving: true, limits: Vec::new(), ..self.report() };
        if let Ok(Err(error)) = timeout(FAREWELL_TIMEOUT, self.ask(&report)).await {
            tracing::debug!(
                error = chain(&error),
                "no farewell: this proxy's portions are free when its lease is over"
            );
        }
    }
}
