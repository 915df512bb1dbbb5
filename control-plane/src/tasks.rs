//! Background tasks: started by name, stopped together, joined before the process goes on.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// Tells a task when to end. Ends too when the [`Tasks`] that made it are dropped.
#[derive(Clone, Debug)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Waits for the stop; at once when it was given before.
    pub(crate) async fn stopped(&mut self) {
        drop(self.0.wait_for(|stop| *stop).await); // an error means that the sender is gone: the same thing
    }
}

/// The running tasks. Dropping them aborts them.
#[derive(Debug)]
pub(crate) struct Tasks {
    running: JoinSet<&'static str>,
    stop: watch::Sender<bool>,
}

impl Tasks {
    /// No task yet.
    pub(crate) fn new() -> Self {
        Self { running: JoinSet::new(), stop: watch::Sender::new(false) }
    }

    /// The signal that the tasks watch.
    pub(crate) fn stop(&self) -> Stop {
        Stop(self.stop.subscribe())
    }

    /// Starts a task.
    pub(crate) fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.running.spawn(async move {
            task.await;
            name
        });
    }

    /// Runs work at once and then at every period until the stop. A run is never interrupted; a late one is not made up for.
    pub(crate) fn spawn_periodic<F>(
        &mut self,
        name: &'static str,
        period: Duration,
        mut run: impl FnMut() -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut stop = self.stop();
        self.spawn(name, async move {
            let mut ticks = tokio::time::interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = stop.stopped() => return,
                    _ = ticks.tick() => run().await,
                }
            }
        });
    }

    /// Tells all tasks to end and waits until they have.
    pub(crate) async fn shutdown(mut self) {
        self.stop.send_replace(true);
        while let Some(ended) = self.running.join_next().await {
            match ended {
                Ok(name) => tracing::debug!(task = name, "task ended"),
                Err(error) => tracing::error!(%error, "task failed"),
            }
        }
    }
}
