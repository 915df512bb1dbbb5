//! The watch: one long answer of the control plane, line by line, begun again whenever it breaks off.

use std::convert::Infallible;

use hyper::body::Incoming;
use mindweave_policy::WatchLine;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Duration, Instant, sleep};

use super::backoff::Backoff;
use super::client::{CallError, Client, Connection};
use super::lines::Lines;
use super::sync::{Position, Sync};
use crate::error::chain;
use crate::metrics;

const WATCH_PATH: &str = "/internal/v1/watch";
/// Silence after which the connection counts as dead: the control plane speaks every second.
const LONGEST_SILENCE: Duration = Duration::from_secs(10);
/// Longer lines are read off the runtime: a snapshot of many keys takes a second to parse.
const SHORT_LINE_BYTES: usize = 64 * 1024;
/// How often the log says that the control plane is still away. Another reason than those that were said is said at once.
const REMINDER: Duration = Duration::from_secs(60);

/// Who watches.
#[derive(Clone, Debug)]
pub(super) struct Watcher {
    pub(super) proxy_id: String,
    pub(super) journal_id: String,
}

/// Watches until `stop`.
pub(super) async fn run(client: &Client, sync: &Sync, watcher: &Watcher, mut stop: watch::Receiver<bool>) {
    let mut backoff = Backoff::new();
    let mut told = Told::default();
    loop {
        let mut heard = None;
        let ended = tokio::select! {
            ended = session(client, sync, watcher, &mut heard) => ended,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        metrics::control_plane().connected.set(0.0);
        if heard.is_some_and(|since: Instant| backoff.stood(since.elapsed())) {
            told = Told::default();
        }
        let Err(error) = ended;
        metrics::control_plane().failed(&error);
        if matches!(error, CallError::Line(_) | CallError::Change(_)) {
            sync.ask_for_all().await;
        }
        if told.is_news(&error) {
            tracing::warn!(
                error = chain(&error),
                silent_for_s = sync.silence().map(|silence| silence.as_secs()),
                "no word from the control plane; going on with its last one"
            );
        }
        tokio::select! {
            () = sleep(backoff.pause()) => {}
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    metrics::control_plane().connected.set(0.0);
}

/// What the log has said of an absence.
#[derive(Debug, Default)]
struct Told {
    since: Option<Instant>,
    /// A handful: there are as many as there are kinds of errors.
    reasons: Vec<String>,
}

impl Told {
    /// Whether the log should say this, which it then has.
    fn is_news(&mut self, error: &CallError) -> bool {
        if self.since.is_none_or(|since| since.elapsed() >= REMINDER) {
            *self = Self { since: Some(Instant::now()), reasons: Vec::new() };
        }
        let reason = error.to_string();
        let news = !self.reasons.contains(&reason);
        if news {
            self.reasons.push(reason);
        }
        news
    }
}

/// One connection, to its end. `heard` gets when it first spoke.
async fn session(
    client: &Client,
    sync: &Sync,
    watcher: &Watcher,
    heard: &mut Option<Instant>,
) -> Result<Infallible, CallError> {
    let mut renewals = client.renewals();
    let (mut _connection, mut lines) = begin(client, sync, watcher).await?;
    loop {
        let line = tokio::select! {
            line = lines.next(LONGEST_SILENCE) => line?.ok_or(CallError::Ended)?,
            // The connection in use stands for the certificate that was shown on it. It is given up once there is another: a
            // certificate that turns out not to be accepted takes nothing away.
            Ok(()) = renewals.changed() => {
                match begin(client, sync, watcher).await {
                    Ok(begun) => {
                        (_connection, lines) = begun;
                        tracing::info!("watching the control plane on a new connection, by the new certificate files");
                    }
                    Err(error) => {
                        metrics::control_plane().failed(&error);
                        tracing::error!(
                            error = chain(&error),
                            "the control plane cannot be watched by the new certificate files; going on with the open connection"
                        );
                    }
                }
                continue;
            }
        };
        let line = if line.len() <= SHORT_LINE_BYTES {
            WatchLine::decode(&line)
        } else {
            spawn_blocking(move || WatchLine::decode(&line)).await.map_err(|_| CallError::Compile)?
        };
        sync.hear(line.map_err(CallError::Line)?).await?;
        if heard.is_none() {
            *heard = Some(Instant::now());
            metrics::control_plane().connected.set(1.0);
            tracing::info!("watching the control plane");
        }
    }
}

/// Connects and asks for what is not known yet.
async fn begin(
    client: &Client,
    sync: &Sync,
    watcher: &Watcher,
) -> Result<(Connection, Lines<Incoming>), CallError> {
    let mut connection = client.connect().await?;
    let position = sync.position().await;
    let body = client.get(&mut connection, &path(watcher, position.as_ref())).await?;
    Ok((connection, Lines::of(body)))
}

fn path(watcher: &Watcher, position: Option<&Position>) -> String {
    let Watcher { proxy_id, journal_id } = watcher;
    let mut path = format!("{WATCH_PATH}?proxy_id={proxy_id}&journal={journal_id}");
    if let Some(Position { lineage, revision }) = position {
        path.push_str(&format!("&revision={revision}&lineage={lineage}"));
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_absence_is_told_at_once_for_each_reason_and_again_each_minute() {
        let mut told = Told::default();
        let news =
            |told: &mut Told| [&CallError::Ended, &CallError::Unauthorized].map(|error| told.is_news(error));
        assert_eq!(news(&mut told), [true, true]);
        tokio::time::advance(REMINDER / 2).await;
        assert_eq!(news(&mut told), [false, false]);
        tokio::time::advance(REMINDER / 2).await;
        assert_eq!(news(&mut told), [true, true]);
    }
}
