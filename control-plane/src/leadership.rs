//! Which of the control planes that share a database runs the jobs that must run once; and, as it asks all the time, whether
//! the database can be reached, and written.
//!
//! The leader holds a lock of its session with the server. The lock ends with the session, however that ends: an orderly stop,
//! a kill, a connection that broke; and the server ends a session that says nothing for a while, so that a leader that hangs
//! is replaced too. A leader that was replaced may not know it yet and finish the job that it is in: every job is right when
//! it runs twice, once is for the load's sake.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::db::{Db, LeaderSession};
use crate::metrics;
use crate::tasks::{Stop, Tasks};

/// How often a control plane asks whether it may lead, and whether it still does.
const PERIOD: Duration = Duration::from_secs(2);
/// An answer of the server that takes longer counts as none.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Tells whether this control plane leads, and whether it reaches its database.
#[derive(Clone, Debug)]
pub(crate) struct Leadership {
    leads: watch::Receiver<bool>,
    reaches: watch::Receiver<bool>,
}

/// What is told.
struct Tell {
    leads: watch::Sender<bool>,
    reaches: watch::Sender<bool>,
}

impl Leadership {
    /// Starts to ask for it. Without others, as with a file, a control plane leads from the start.
    pub(crate) fn seek(tasks: &mut Tasks, db: &Db) -> Self {
        let tell = Tell { leads: watch::Sender::new(false), reaches: watch::Sender::new(true) };
        let leadership = Self { leads: tell.leads.subscribe(), reaches: tell.reaches.subscribe() };
        metrics::leads(false);
        metrics::reaches_database(true);
        tasks.spawn("leadership", seek(db.clone(), tell, tasks.stop()));
        leadership
    }

    /// Whether the database can be reached, as it changes.
    pub(crate) fn reaches_database(&self) -> watch::Receiver<bool> {
        self.reaches.clone()
    }

    async fn until(&mut self, leads: bool) {
        if self.leads.wait_for(|now| *now == leads).await.is_err() {
            std::future::pending::<()>().await; // who tells is gone, as at the end: nothing changes any more
        }
    }

    /// Runs work on the leader: at once when it becomes the leader, and then at every period. A run is never interrupted; a
    /// late one is not made up for.
    pub(crate) fn spawn_periodic<F>(
        &self,
        tasks: &mut Tasks,
        name: &'static str,
        period: Duration,
        mut run: impl FnMut() -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let (mut leadership, mut stop) = (self.clone(), tasks.stop());
        tasks.spawn(name, async move {
            loop {
                tokio::select! {
                    () = stop.stopped() => return,
                    () = leadership.until(true) => {}
                }
                let mut ticks = interval(period);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    tokio::select! {
                        biased;
                        () = stop.stopped() => return,
                        () = leadership.until(false) => break,
                        _ = ticks.tick() => run().await,
                    }
                }
            }
        });
    }
}

async fn seek(db: Db, tell: Tell, mut stop: Stop) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut session = None;
    loop {
        tokio::select! {
            () = stop.stopped() => break,
            _ = ticks.tick() => {}
        }
        let asked = timeout(ANSWER_TIMEOUT, ask(&db, &mut session)).await;
        match asked.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
            Ok(leads) => tell.say(leads, true),
            Err(error) => {
                tracing::debug!(%error, "the database does not say who leads");
                session = None;
                tell.say(false, false);
            }
        }
    }
    if let Some(session) = session.take() {
        tell.leads.send_replace(false);
        metrics::leads(false);
        if timeout(ANSWER_TIMEOUT, session.end()).await.is_err() {
            tracing::debug!("the session of the leader did not end in time"); // the server ends it
        }
    }
}

impl Tell {
    fn say(&self, leads: bool, reaches: bool) {
        if changes(&self.reaches, reaches) {
            metrics::reaches_database(reaches);
            if reaches {
                tracing::info!("the database can be reached and written again");
            } else {
                tracing::error!("the database cannot be reached, or may only be read");
            }
        }
        if changes(&self.leads, leads) {
            metrics::leads(leads);
            tracing::info!(leads, "which control plane runs the jobs");
        }
    }
}

fn changes(told: &watch::Sender<bool>, now: bool) -> bool {
    told.send_if_modified(|before| std::mem::replace(before, now) != now)
}

/// Whether this control plane leads, after taking the lead if it is free.
async fn ask(db: &Db, session: &mut Option<LeaderSession>) -> Result<bool, sqlx::Error> {
    let session = match session {
        Some(session) => session,
        None => session.insert(db.leader_session().await?),
    };
    session.leads().await
}

#[cfg(test)]
mod tests;
