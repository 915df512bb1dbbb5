use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use super::*;
use crate::journal::JournalConfig;

const PATIENCE: Duration = Duration::from_secs(20);

/// What a sink does with the next delivery.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Retry,
    /// The payload that it cannot take.
    PoisonWhere(&'static [u8]),
    Hang,
}

/// A ledger in memory that stores each sequence once, and the position with it.
#[derive(Clone, Default)]
struct Ledger {
    state: Arc<Mutex<LedgerState>>,
}

#[derive(Default)]
struct LedgerState {
    stored: Vec<(Sequence, Vec<u8>)>,
    position: Option<Sequence>,
    script: VecDeque<Answer>,
    deliveries: Vec<usize>,
    again: usize,
}

impl Ledger {
    fn scripted(script: impl IntoIterator<Item = Answer>) -> Self {
        let ledger = Self::default();
        ledger.state.lock().unwrap().script.extend(script);
        ledger
    }

    fn payloads(&self) -> Vec<Vec<u8>> {
        self.state.lock().unwrap().stored.iter().map(|(_, payload)| payload.clone()).collect()
    }

    async fn holds(&self, count: usize) {
        let wait = async {
            while self.state.lock().unwrap().stored.len() < count {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, wait).await.expect("the events arrive");
    }
}

impl EventSink for Ledger {
    async fn position(&mut self, _source: &str) -> Result<Option<Sequence>, SinkError> {
        Ok(self.state.lock().unwrap().position)
    }

    async fn deliver(&mut self, batch: &Batch) -> Result<(), SinkError> {
        let answer = {
            let mut state = self.state.lock().unwrap();
            state.deliveries.push(batch.records.len());
            let poison_is_here = |answer: &Answer| match answer {
                Answer::PoisonWhere(poison) => batch.records.iter().any(|record| record.payload == *poison),
                Answer::Retry | Answer::Hang => true,
            };
            if state.script.front().is_some_and(poison_is_here) { state.script.pop_front() } else { None }
        };
        match answer {
            Some(Answer::Retry) => return Err(SinkError::Retry("busy".into())),
            Some(Answer::Hang) => std::future::pending::<()>().await,
            Some(Answer::PoisonWhere(poison)) => {
                let Record { sequence, .. } =
                    batch.records.iter().find(|record| record.payload == *poison).unwrap();
                return Err(SinkError::Poison { sequence: *sequence, reason: "not an event".to_owned() });
            }
            None => {}
        }
        let mut state = self.state.lock().unwrap();
        for Record { sequence, payload, .. } in &batch.records {
            if state.position.is_none_or(|position| *sequence > position) {
                state.stored.push((*sequence, payload.clone()));
            } else {
                state.again += 1;
            }
        }
        state.position = state.position.max(Some(batch.last));
        Ok(())
    }
}

fn journal(dir: &Path) -> Journal {
    Journal::open(JournalConfig { segment_bytes: 64 << 10, ..JournalConfig::new(dir) })
        .expect("the journal opens")
        .0
}

/// Ships until the returned sender is used or dropped.
fn start(
    config: ShipConfig,
    journal: &Journal,
    ledger: &Ledger,
) -> (oneshot::Sender<()>, tokio::task::JoinHandle<ShipEnd>) {
    let (stop, stopped) = oneshot::channel();
    let (journal, ledger) = (journal.clone(), ledger.clone());
    let task =
        tokio::spawn(async move { ship_with(config, journal, ledger, async { drop(stopped.await) }).await });
    (stop, task)
}

async fn finish(stop: oneshot::Sender<()>, task: tokio::task::JoinHandle<ShipEnd>) -> ShipEnd {
    drop(stop);
    timeout(PATIENCE, task).await.expect("it ends in time").expect("it does not panic")
}

#[tokio::test]
async fn events_arrive_in_order_and_are_released_in_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ledger) = (journal(dir.path()), Ledger::default());
    let (stop, task) = start(ShipConfig::default(), &journal, &ledger);
    let mut sent = Vec::new();
    for number in 0..2_000_u32 {
        let payload = number.to_be_bytes().repeat(50);
        journal.append_event(&payload).unwrap();
        sent.push(payload);
    }
    ledger.holds(sent.len()).await;
    assert_eq!(ledger.payloads(), sent);
    assert_eq!(finish(stop, task).await, ShipEnd::Drained);
    assert_eq!(journal.stats().released, ledger.state.lock().unwrap().position.unwrap());
}

#[tokio::test]
async fn a_backlog_travels_in_full_batches() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ledger) = (journal(dir.path()), Ledger::default());
    for number in 0..250_u32 {
        journal.append_event(&number.to_be_bytes()).unwrap();
    }
    let batch = ReadLimits { max_records: 100, max_bytes: 1 << 20 };
    let (stop, task) = start(ShipConfig { batch, ..ShipConfig::default() }, &journal, &ledger);
    ledger.holds(250).await;
    assert_eq!(finish(stop, task).await, ShipEnd::Drained);
    assert_eq!(ledger.state.lock().unwrap().deliveries, [100, 100, 50]);
}

#[tokio::test]
async fn steady_traffic_is_delivered_once_per_linger_and_not_once_per_event() {
    const EVENTS: usize = 200;
    let dir = tempfile::tempdir().unwrap();
    let (journal, ledger) = (journal(dir.path()), Ledger::default());
    let config = ShipConfig { linger: Duration::from_millis(30), ..ShipConfig::default() };
    let begun = Instant::now();
    let (stop, task) = start(config, &journal, &ledger);
    for number in 0..EVENTS {
        journal.append_event(&number.to_be_bytes()).unwrap();
        sleep(Duration::from_millis(1)).await;
    }
    ledger.holds(EVENTS).await;
    let lingers = begun.elapsed().as_millis().div_ceil(config.linger.as_millis());
    let deliveries = ledger.state.lock().unwrap().deliveries.len();
    assert!(deliveries <= usize::try_from(lingers).unwrap(), "{deliveries} deliveries in {lingers} lingers");
    assert_eq!(finish(stop, task).await, ShipEnd::Drained);
}

#[tokio::test]
async fn a_sink_that_is_down_gets_the_same_events_until_it_takes_them() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ledger) = (journal(dir.path()), Ledger::scripted([Answer::Retry; 6]));
    let config = ShipConfig {
        first_retry: Duration::from_millis(1),
        max_retry: Duration::from_millis(4),
        ..ShipConfig::default()
    };
    let (stop, task) = start(config, &journal, &ledger);
    journal.append_event(b"a").unwrap();
    journal.append_event(b"b").unwrap();
    ledger.holds(2).await;
    assert_eq!(ledger.payloads(), [b"a", b"b"]);
    assert_eq!(finish(stop, task).await, ShipEnd::Drained);
    assert!(ledger.state.lock().unwrap().deliveries.len() >= 7);
}

#[tokio::test(start_paused = true)]
async fn the_pause_between_tries_doubles_up_to_its_limit_and_the_log_is_told_once_a_minute() {
    let dir = tempfile::tempdir().unwrap();
    let journal = journal(dir.path());
    let (_stop, stopping) = watch::channel(Phase::Running);
    let config = ShipConfig::default();
    let dead_letters = DeadLetters::in_folder(dir.path());
    let mut shipper = Shipper {
        config,
        journal,
        sink: Ledger::default(),
        dead_letters,
        metrics: ShipMetrics::new(None),
        stopping,
        warned: None,
    };
    let mut pause = config.first_retry;
    let mut waited = Vec::new();
    let start = Instant::now();
    for _ in 0..8 {
        let begun = Instant::now();
        shipper.pause(&mut pause, &SinkError::Retry("down".into())).await;
        waited.push(begun.elapsed().as_millis());
    }
    assert_eq!(waited, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    assert_eq!(shipper.warned, Some(start), "once for all of these");
    tokio::time::advance(REMINDER).await;
    shipper.pause(&mut pause, &SinkError::Retry("down".into())).await;
    assert!(shipper.warned > Some(start), "and again after a minute");
}

#[tokio::test]
async fn a_poisonous_record_is_put_aside_and_those_around_it_arrive() {
    let dir = tempfile::tempdir().unwrap();
    let poisons = [Answer::PoisonWhere(b"bad"), Answer::PoisonWhere(b"worse")];
    let (journal, ledger) = (journal(dir.path()), Ledger::scripted(poisons));
    let mut sequences = Vec::new();
    for payload in [b"a".as_slice(), b"bad", b"b", b"worse"] {
        sequences.push(journal.append_event(payload).unwrap());
    }
    let (stop, task) = start(ShipConfig::default(), &journal, &ledger);
    ledger.holds(2).await;
    assert_eq!(finish(stop, task).await, ShipEnd::Drained);
    assert_eq!(ledger.payloads(), [b"a", b"b"]);
    assert_eq!(journal.stats().released, sequences[3], "nobody waits for what was put aside");
    let file = std::fs::read_to_string(dir.path().join(DEAD_LETTER_FILE)).unwrap();
    let lines: Vec<serde_json::Value> =
        file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["sequence"], sequences[1].get());
    assert_eq!(lines[0]["reason"], "not an event");
    assert_eq!(lines[0]["payload_base64"], "YmFk");
}

#[tokio::test]
async fn a_restart_goes_on_after_the_position_of_the_sink() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::default();
    for round in 0..3_u8 {
        let journal = journal(dir.path());
        let (stop, task) = start(ShipConfig::default(), &journal, &ledger);
        journal.append_event(&[round]).unwrap();
        assert_eq!(finish(stop, task).await, ShipEnd::Drained, "the shutdown delivers what is there");
    }
    assert_eq!(ledger.payloads(), [[0], [1], [2]]);
    assert_eq!(ledger.state.lock().unwrap().again, 0);
}

#[tokio::test]
async fn a_sink_that_is_ahead_of_the_journal_gets_everything_again() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ledger) = (journal(dir.path()), Ledger::default());
    journal.append_event(b"event").unwrap();
    ledger.state.lock().unwrap().position = Some(Sequence::new(u64::MAX));
    let (stop, task) = start(ShipConfig::default(), &journal, &ledger);
    assert_eq!(finish(stop, task).await, ShipEnd::Drained);
    assert_eq!(ledger.state.lock().unwrap().again, 1);
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_a_sink_that_hangs_and_the_next_start_delivers() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ledger) = (journal(dir.path()), Ledger::scripted([Answer::Hang]));
    journal.append_event(b"event").unwrap();
    let config = ShipConfig { drain_deadline: Duration::from_millis(50), ..ShipConfig::default() };
    let (stop, task) = start(config, &journal, &ledger);
    let delivering = async {
        while ledger.state.lock().unwrap().deliveries.is_empty() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, delivering).await.expect("the delivery begins");
    assert_eq!(finish(stop, task).await, ShipEnd::DeadlinePassed);
    let (stop, task) = start(config, &journal, &ledger);
    ledger.holds(1).await;
    assert_eq!(finish(stop, task).await, ShipEnd::Drained);
}

#[tokio::test]
async fn a_closed_journal_ends_the_shipping_after_its_last_event() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ledger) = (journal(dir.path()), Ledger::default());
    let (_stop, task) = start(ShipConfig::default(), &journal, &ledger);
    journal.append_event(b"last").unwrap();
    journal.close().await.unwrap();
    assert_eq!(timeout(PATIENCE, task).await.expect("in time").unwrap(), ShipEnd::JournalStopped);
    assert_eq!(ledger.payloads(), [b"last"]);
}
