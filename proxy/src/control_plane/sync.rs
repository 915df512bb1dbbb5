//! From what is heard of the control plane to what requests are judged by.
//!
//! At first nothing is in force, until three things are there: a snapshot, the ledger's figures of budgets, and this
//! proxy's own events that those figures do not have yet (from its journal). Later snapshots and figures are put in force
//! as they come.

use std::sync::Arc;

use jiff::Timestamp;
use mindweave_eventlog::{Journal, Sequence};
use mindweave_policy::{AdmissionControl, Snapshot, SnapshotStore, UsageFeed, WatchLine};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Duration, Instant};

use super::cache::Cache;
use super::client::CallError;
use super::replay::restore_counters;
use super::saver::Saver;
use super::sealed::Kind;
use crate::clock;

/// More figures than these are taken off the threads that serve requests: each takes a fraction of a microsecond.
const FEW_COUNTERS: usize = 1_000;

/// How often figures are kept on disk while they do not change, for the sake of their age.
const QUIET_SAVE: Duration = Duration::from_secs(15);

/// What a proxy knows of its control plane's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing: no request can be served.
    Nothing,
    /// What it said before this proxy was restarted.
    Cached,
    /// What it says.
    Current,
}

/// From where on a watch wants to hear of changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// The control plane's name for its line of revisions.
    pub(super) lineage: Arc<str>,
    /// The last revision that is known.
    pub(super) revision: u64,
}

/// What one proxy has heard so far.
pub(super) struct Sync {
    snapshots: Arc<SnapshotStore>,
    admission: Arc<AdmissionControl>,
    journal: Journal,
    /// Where the journal ended before this process wrote to it.
    journal_end: Sequence,
    pub(super) saver: Saver,
    state: tokio::sync::Mutex<State>,
    known: watch::Sender<Known>,
    last_heard: Mutex<Option<Timestamp>>,
}

#[derive(Default)]
struct State {
    /// The lineage of the snapshot in force; `None` asks for a whole one.
    lineage: Option<Arc<str>>,
    /// The first snapshot with its lineage, until the first figures are there.
    waiting: Option<(Snapshot, Arc<str>)>,
    /// Whether the own journal's tail is counted.
    replayed: bool,
    /// When figures were last given to be kept.
    kept: Option<Instant>,
}

impl Sync {
    pub(super) fn new(
        snapshots: Arc<SnapshotStore>,
        admission: Arc<AdmissionControl>,
        journal: Journal,
        saver: Saver,
    ) -> Self {
        Self {
            snapshots,
            admission,
            journal_end: journal.stats().next_sequence,
            journal,
            saver,
            state: tokio::sync::Mutex::default(),
            known: watch::Sender::new(Known::Nothing),
            last_heard: Mutex::new(None),
        }
    }

    pub(super) fn admission(&self) -> &Arc<AdmissionControl> {
        &self.admission
    }

    /// What is known, and every change of that.
    pub(super) fn known(&self) -> watch::Receiver<Known> {
        self.known.subscribe()
    }

    /// How long ago the control plane last spoke, this process's or an earlier one's life long.
    pub(super) fn silence(&self) -> Option<jiff::SignedDuration> {
        self.last_heard.lock().map(|heard| clock::now().duration_since(heard))
    }

    /// Where a new watch goes on. What an earlier one left unfinished is forgotten.
    pub(super) async fn position(&self) -> Option<Position> {
        let mut state = self.state.lock().await;
        state.waiting = None;
        let lineage = state.lineage.clone()?;
        Some(Position { lineage, revision: self.snapshots.load().revision })
    }

    /// The next watch asks for a whole snapshot.
    pub(super) async fn ask_for_all(&self) {
        self.state.lock().await.lineage = None;
    }

    /// Takes one line. On an error nothing has changed.
    ///
    /// # Errors
    ///
    /// When the line does not fit what was heard before.
    pub(super) async fn hear(&self, line: WatchLine) -> Result<(), CallError> {
        let mut state = self.state.lock().await;
        match line {
            WatchLine::Snapshot(wire) => {
                let (previous, lineage) = (self.snapshots.load(), Arc::clone(&wire.lineage));
                let next = off_the_runtime(move || wire.into_snapshot(Some(&previous))).await?;
                self.take(&mut state, next, lineage);
            }
            WatchLine::Change(diff) => match state.waiting.take() {
                Some((base, lineage)) => {
                    let next =
                        off_the_runtime(move || diff.apply(&base)).await?.map_err(CallError::Change)?;
                    state.waiting = Some((next, lineage));
                }
                None => {
                    let base = self.snapshots.load();
                    let lineage = state.lineage.clone().unwrap_or_default();
                    let next =
                        off_the_runtime(move || diff.apply(&base)).await?.map_err(CallError::Change)?;
                    self.take(&mut state, next, lineage);
                }
            },
            WatchLine::Usage(feed) => self.usage(&mut state, feed).await?,
            WatchLine::Heartbeat(_) | WatchLine::Unknown => {}
        }
        *self.last_heard.lock() = Some(clock::now());
        Ok(())
    }

    /// Goes on with what an earlier process cached, unless the control plane has spoken meanwhile.
    ///
    /// # Errors
    ///
    /// When the compiler of policies breaks down.
    pub(super) async fn go_on_with_cached(&self, cache: &Arc<Cache>) -> Result<(), CallError> {
        let from = Arc::clone(cache);
        let cached = off_the_runtime(move || Cached::load(&from)).await?;
        let Some(Cached { snapshot, lineage, counters }) = cached else { return Ok(()) };
        let mut state = self.state.lock().await;
        if state.replayed {
            return Ok(());
        }
        self.admission.apply(&snapshot, Instant::now().into_std());
        if let Some(counters) = &counters {
            self.admission.load(counters);
            *self.last_heard.lock() = Some(counters.as_of);
        }
        self.replay(&mut state).await?;
        tracing::warn!(
            revision = snapshot.revision,
            figures_of = counters.map(|counters| tracing::field::display(counters.as_of)),
            "the control plane does not answer: going on with what it said last"
        );
        self.put_in_force(&mut state, snapshot, lineage);
        self.known.send_if_modified(|known| {
            let first = *known == Known::Nothing;
            if first {
                *known = Known::Cached;
            }
            first
        });
        Ok(())
    }

    /// A later snapshot goes in force at once, the first one with the first figures.
    fn take(&self, state: &mut State, next: Snapshot, lineage: Arc<str>) {
        if state.replayed {
            self.put_in_force(state, next, lineage);
        } else {
            state.waiting = Some((next, lineage));
        }
    }

    async fn usage(&self, state: &mut State, feed: UsageFeed) -> Result<(), CallError> {
        let first = state.waiting.take();
        if let Some((snapshot, _)) = &first {
            self.admission.apply(snapshot, Instant::now().into_std()); // figures of budgets that nobody knows would be lost
        }
        let (admission, at) = (Arc::clone(&self.admission), Instant::now().into_std());
        let changed = feed.full || !feed.counters.is_empty();
        if feed.counters.len() <= FEW_COUNTERS {
            admission.feed(&feed, at);
        } else {
            off_the_runtime(move || admission.feed(&feed, at)).await?;
        }
        if let Some((snapshot, lineage)) = first {
            self.replay(state).await?;
            self.put_in_force(state, snapshot, lineage);
        }
        if changed || state.kept.is_none_or(|kept| kept.elapsed() >= QUIET_SAVE) {
            state.kept = Some(Instant::now());
            self.saver.counters();
        }
        if state.replayed {
            self.known.send_if_modified(|known| std::mem::replace(known, Known::Current) != Known::Current);
        }
        Ok(())
    }

    async fn replay(&self, state: &mut State) -> Result<(), CallError> {
        if !state.replayed {
            let (journal, admission) = (self.journal.clone(), Arc::clone(&self.admission));
            let end = self.journal_end;
            off_the_runtime(move || restore_counters(&journal, &admission, end)).await?;
            state.replayed = true;
        }
        Ok(())
    }

    fn put_in_force(&self, state: &mut State, next: Snapshot, lineage: Arc<str>) {
        let (before, revision) = (self.snapshots.load().revision, next.revision);
        if revision < before {
            tracing::warn!(
                before,
                revision,
                "the control plane went back: was its database put back from a copy?"
            );
        }
        for (policy, fault) in next.policies.faults() {
            tracing::error!(%policy, %fault, "policy does not compile here: its on_error applies");
        }
        self.snapshots.replace(next);
        tracing::debug!(revision, "snapshot in force");
        self.saver.snapshot(self.snapshots.load(), Arc::clone(&lineage));
        state.lineage = Some(lineage);
    }
}

/// A file's worth of an earlier process.
struct Cached {
    snapshot: Snapshot,
    lineage: Arc<str>,
    counters: Option<UsageFeed>,
}

impl Cached {
    /// Reads both files; without a snapshot there is nothing to go on with. Blocks.
    fn load(cache: &Cache) -> Option<Self> {
        let wire = match read(cache, Kind::Snapshot)? {
            WatchLine::Snapshot(wire) => wire,
            _ => return None, // sealed as a snapshot by us, and is none
        };
        let counters = match read(cache, Kind::Counters) {
            Some(WatchLine::Usage(feed)) => Some(feed),
            _ => None,
        };
        let lineage = Arc::clone(&wire.lineage);
        Some(Self { snapshot: wire.into_snapshot(None), lineage, counters })
    }
}

fn read(cache: &Cache, kind: Kind) -> Option<WatchLine> {
    let content = cache.load(kind)?;
    match WatchLine::decode(&content) {
        Ok(line) => Some(line),
        Err(error) => {
            cache.set_aside(kind, &error); // of another version
            None
        }
    }
}

/// Runs what blocks, above all the compiler of policies, apart from the threads that serve requests.
async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, CallError> {
    spawn_blocking(work).await.map_err(|_| CallError::Compile)
}
