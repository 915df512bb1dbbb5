//! News: that something changed, and that it is worth reading now.
//!
//! Between the control planes of a server they travel by LISTEN and NOTIFY. News say nothing else, and may be lost: whoever
//! waits for them reads now and then without. After a connection was made anew everything counts as changed.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::postgres::PostgresDb;
use super::{Db, Pools};
use crate::tasks::Stop;

/// Least time between two messages to the others. A consumer may commit a hundred times a second.
const LEAST_PAUSE: Duration = Duration::from_millis(10);
/// Silence after which the server is asked whether it is still there.
const SILENCE: Duration = Duration::from_secs(10);
/// An answer of the server that takes longer counts as none.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause before a lost connection is made anew.
const RETRY: Duration = Duration::from_millis(500);

/// What there can be news of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topic {
    /// Events were booked, and somebody watches.
    Events,
    /// Counters of budgets moved.
    Counters,
    /// The revision of what is in force rose.
    Revision,
}

impl Topic {
    const ALL: [Self; 3] = [Self::Events, Self::Counters, Self::Revision];

    /// Its channel, which a transaction may notify itself.
    pub(crate) const fn channel(self) -> &'static str {
        match self {
            Self::Events => "mindweave_events",
            Self::Counters => "mindweave_counters",
            Self::Revision => "mindweave_revision",
        }
    }
}

/// Tells news and hears them. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct News(Arc<Channels>);

#[derive(Debug, Default)]
struct Channels {
    events: Channel,
    counters: Channel,
    revision: Channel,
}

/// How often there were news: of anybody, and of ours, which the others have to be told.
#[derive(Debug, Default)]
struct Channel {
    heard: watch::Sender<u64>,
    told: watch::Sender<u64>,
}

impl News {
    fn channel(&self, topic: Topic) -> &Channel {
        match topic {
            Topic::Events => &self.0.events,
            Topic::Counters => &self.0.counters,
            Topic::Revision => &self.0.revision,
        }
    }

    /// Tells everybody that something changed. Only to be called once the change is committed. Never waits.
    pub(crate) fn tell(&self, topic: Topic) {
        self.hear(topic);
        raise(&self.channel(topic).told);
    }

    fn hear(&self, topic: Topic) {
        raise(&self.channel(topic).heard);
    }

    /// Changes whenever there are news, or some may have been missed.
    pub(crate) fn of(&self, topic: Topic) -> watch::Receiver<u64> {
        self.channel(topic).heard.subscribe()
    }

    /// Carries news to and from the other control planes, until the stop. A file has none.
    pub(crate) async fn carry(self, db: Db, mut stop: Stop) {
        let Pools::Postgres(server) = &db.engine else { return };
        loop {
            tokio::select! {
                () = stop.stopped() => return,
                Err(error) = self.connected(server) => {
                    tracing::debug!(%error, "no news from other control planes; connecting again");
                }
            }
            tokio::select! {
                () = stop.stopped() => return,
                () = sleep(RETRY) => {}
            }
        }
    }

    /// Until the connection is lost.
    async fn connected(&self, server: &PostgresDb) -> Result<(), sqlx::Error> {
        // A pool of one: that is how the listener wants its connection.
        let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(ANSWER_TIMEOUT);
        let pool = pool.connect_lazy_with((*server.readers.connect_options()).clone());
        let mut listener = in_time(PgListener::connect_with(&pool)).await?;
        in_time(listener.listen_all(Topic::ALL.map(Topic::channel))).await?;
        let mut told = Topic::ALL.map(|topic| (topic, self.channel(topic).told.subscribe()));
        for (topic, told) in &mut told {
            self.hear(*topic);
            told.mark_changed(); // what could not be told meanwhile
        }
        let [(_, events), (_, counters), (_, revision)] = &mut told;
        loop {
            let topic = tokio::select! {
                heard = listener.try_recv() => {
                    let Some(heard) = heard? else { return Err(sqlx::Error::PoolClosed) };
                    let topic = Topic::ALL.into_iter().find(|topic| topic.channel() == heard.channel());
                    if let Some(topic) = topic {
                        self.hear(topic);
                    }
                    continue;
                }
                Ok(()) = events.changed() => Topic::Events,
                Ok(()) = counters.changed() => Topic::Counters,
                Ok(()) = revision.changed() => Topic::Revision,
                () = sleep(SILENCE) => {
                    in_time(sqlx::query("SELECT 1").execute(&mut listener)).await?;
                    continue;
                }
            };
            let notify = sqlx::query("SELECT pg_notify($1, '')").bind(topic.channel());
            in_time(notify.execute(&mut listener)).await?;
            sleep(LEAST_PAUSE).await;
        }
    }
}

fn raise(count: &watch::Sender<u64>) {
    count.send_modify(|count| *count = count.wrapping_add(1));
}

async fn in_time<T>(answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    timeout(ANSWER_TIMEOUT, answer).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::Tasks;
    use crate::testing::Ledger;

    /// Longer than anything here takes.
    const PATIENCE: Duration = Duration::from_secs(30);

    fn carrying(ledger: &Ledger) -> Tasks {
        let mut tasks = Tasks::new();
        tasks.spawn("news", ledger.db.news().clone().carry(ledger.db.clone(), tasks.stop()));
        tasks
    }

    /// Tells until it is heard: a listener that is not there yet hears nothing.
    async fn heard_by(other: &Ledger, from: &Ledger, topic: Topic) {
        let mut news = other.db.news().of(topic);
        let heard = async {
            loop {
                from.db.news().tell(topic);
                if timeout(Duration::from_millis(200), news.changed()).await.is_ok() {
                    return;
                }
            }
        };
        timeout(PATIENCE, heard).await.expect("news are heard");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn news_of_one_control_plane_are_heard_by_another_also_after_their_sessions_were_ended() {
        let ledger = Ledger::on_postgres().await;
        let other = ledger.another_process().await;
        let (_here, _there) = (carrying(&ledger), carrying(&other));
        for topic in Topic::ALL {
            heard_by(&other, &ledger, topic).await;
            heard_by(&ledger, &other, topic).await;
        }
        let mut anything = other.db.news().of(Topic::Revision);
        anything.mark_unchanged();
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()";
        assert!(ledger.number(sql).await > 0);
        timeout(PATIENCE, anything.changed()).await.expect("whatever was missed counts as news").unwrap();
        heard_by(&other, &ledger, Topic::Counters).await;
    }

    #[tokio::test]
    async fn news_stay_in_the_process_with_a_file() {
        let ledger = Ledger::new().await;
        let mut news = ledger.db.news().of(Topic::Events);
        let tasks = carrying(&ledger);
        ledger.db.news().tell(Topic::Events);
        news.changed().await.unwrap();
        tasks.shutdown().await;
    }
}
