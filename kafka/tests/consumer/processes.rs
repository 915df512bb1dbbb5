//! Members that are processes of their own: killed, frozen, and measured. They book through a socket into the test's ledger.

use std::io::Read as _;
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mindweave_eventlog::{Batch, EventSink, Origin, ReadLimits, Record, Sequence, SinkError};
use mindweave_kafka::Consumer;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

use crate::cluster::{Load, Topic, event, shared};
use crate::ledger::{Ledger, PATIENCE};
use crate::{eventually, has, member};

/// Tells the test binary that it is the child, with what it must know.
const CHILD_SETTINGS: &str = "MINDWEAVE_KAFKA_CHILD";
const CHILD: &str = "processes::child_that_consumes_until_its_parent_is_gone";

/// A process that is a member of the group. Ends with the test.
struct Member {
    process: Child,
}

impl Member {
    /// Its sinks are the ledger's of the name `child`.
    async fn start(topic: &Topic, ledger: &Ledger) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let port = listener.local_addr().expect("a port").port();
        let ledger = ledger.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(BufStream::new(stream), ledger.clone()));
            }
        });
        let settings = json!([topic.brokers, topic.name, topic.dead_letters, port]);
        let process = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", CHILD, "--nocapture", "--test-threads=1"])
            .env(CHILD_SETTINGS, settings.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("the child starts");
        Self { process }
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw).expect("a process");
        kill_process(pid, signal).expect("it is ours and lives");
    }

    /// Memory in use, in bytes.
    fn memory(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("it lives");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says it");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

async fn answer(mut stream: BufStream<TcpStream>, ledger: Ledger) {
    let mut sink = ledger.sink("child");
    let mut line = String::new();
    while matches!(stream.read_line(&mut line).await, Ok(1..)) {
        let request: Value = serde_json::from_str(&line).expect("a request");
        line.clear();
        let source = request["source"].as_str().expect("a source").to_owned();
        let answer = if request["records"].is_null() {
            match sink.position(&source).await {
                Ok(position) => json!({ "position": position.map(Sequence::get) }),
                Err(error) => json!({ "error": error.to_string() }),
            }
        } else {
            let sequence = |value: &Value| Sequence::new(value.as_u64().expect("a number"));
            let record = |record: &Value| Record {
                sequence: sequence(&record[0]),
                origin: record[2]
                    .as_str()
                    .map(|journal| Origin { journal: journal.into(), sequence: sequence(&record[3]) }),
                payload: record[1].as_str().expect("text").as_bytes().to_vec(),
            };
            let records = request["records"].as_array().expect("records").iter().map(record).collect();
            let (first, last) = (sequence(&request["first"]), sequence(&request["last"]));
            match sink.deliver(&Batch { source, first, last, records }).await {
                Ok(()) => json!({}),
                Err(error) => json!({ "error": error.to_string() }),
            }
        };
        // A child that is killed or frozen does not read its answer.
        if stream.write_all(format!("{answer}\n").as_bytes()).await.is_err() || stream.flush().await.is_err()
        {
            return;
        }
    }
}

/// The child's side of it.
struct Remote {
    port: u16,
    stream: Option<BufStream<TcpStream>>,
}

impl Remote {
    async fn ask(&mut self, request: Value) -> Result<Value, SinkError> {
        let answer = self.exchange(request).await.map_err(|error| SinkError::Retry(error.into()))?;
        let answer: Value = serde_json::from_str(&answer).map_err(|error| SinkError::Retry(error.into()))?;
        match answer["error"].as_str() {
            Some(error) => Err(SinkError::Retry(error.into())),
            None => Ok(answer),
        }
    }

    async fn exchange(&mut self, request: Value) -> std::io::Result<String> {
        // Taken, so that an exchange that breaks off leaves no half of it for the next one.
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => BufStream::new(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await?),
        };
        stream.write_all(format!("{request}\n").as_bytes()).await?;
        stream.flush().await?;
        let mut answer = String::new();
        stream.read_line(&mut answer).await?;
        self.stream = Some(stream);
        Ok(answer)
    }
}

impl EventSink for Remote {
    async fn position(&mut self, source: &str) -> Result<Option<Sequence>, SinkError> {
        self.stream = None; // a claim is the connection's
        let answer = self.ask(json!({ "source": source })).await?;
        Ok(answer["position"].as_u64().map(Sequence::new))
    }

    async fn deliver(&mut self, batch: &Batch) -> Result<(), SinkError> {
        let record = |record: &Record| {
            let origin = record.origin.as_ref();
            json!([
                record.sequence.get(),
                String::from_utf8_lossy(&record.payload),
                origin.map(|origin| &*origin.journal),
                origin.map(|origin| origin.sequence.get()),
            ])
        };
        let records: Vec<Value> = batch.records.iter().map(record).collect();
        let (first, last) = (batch.first.get(), batch.last.get());
        self.ask(json!({ "source": batch.source, "first": first, "last": last, "records": records }))
            .await
            .map(drop)
    }
}

/// Not a test of its own: does nothing unless a test below started it.
#[test]
fn child_that_consumes_until_its_parent_is_gone() {
    let Some(settings) = std::env::var_os(CHILD_SETTINGS) else { return };
    let settings: Value = serde_json::from_str(settings.to_str().expect("text")).expect("settings");
    let text = |index: usize| settings[index].as_str().expect("text").to_owned();
    let topic = Topic { brokers: text(0), name: text(1), dead_letters: text(2) };
    let port = u16::try_from(settings[3].as_u64().expect("a number")).expect("a port");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let mut config = topic.config();
    config.queue_bytes = 1 << 20;
    config.batch = ReadLimits { max_records: 200, max_bytes: 1 << 20 };
    let _guard = runtime.enter();
    let consumer = Consumer::start(&topic.kafka(), config, move || Remote { port, stream: None });
    let mut end = Vec::new();
    std::io::stdin().read_to_end(&mut end).expect("the parent holds the other end");
    drop(consumer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_killed_amid_load_is_replaced_and_nothing_is_lost_or_doubled() {
    let topic = Topic::new(shared()).await;
    let ledger = Ledger::new();
    let load = Load::start(&topic, "a");
    let one = member(&topic, topic.config(), &ledger, "one");
    has(&one, 4).await;
    for _ in 0..2 {
        let child = Member::start(&topic, &ledger).await;
        has(&one, 2).await;
        let before = by_child(&ledger);
        eventually("the child books", || {
            let booked = by_child(&ledger);
            if booked >= before + 200 { Ok(()) } else { Err(format!("{booked}")) }
        })
        .await;
        child.signal(Signal::KILL);
        has(&one, 4).await;
    }
    let truth = load.end().await;
    ledger.equals(&truth).await;
    one.shutdown().await;
}

fn by_child(ledger: &Ledger) -> usize {
    ledger.read(|state| state.booked_by.get("child").copied().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_frozen_is_fenced_and_shares_again_once_it_goes_on() {
    let topic = Topic::new(shared()).await;
    let ledger = Ledger::new();
    ledger.set(|mode| {
        mode.held.insert("child");
    });
    let mut truth = topic.fill("a", 0..2_000).await;
    let child = Member::start(&topic, &ledger).await;
    eventually("the child has a batch of each partition in the ledger", || {
        let deliveries = ledger.read(|state| state.deliveries);
        if deliveries == 4 { Ok(()) } else { Err(format!("{deliveries}")) }
    })
    .await;
    child.signal(Signal::STOP);
    let one = member(&topic, topic.config(), &ledger, "one");
    has(&one, 4).await;
    ledger.equals(&truth).await;
    ledger.set(|mode| mode.held.clear());
    eventually("the late transactions are refused", || {
        let fenced = ledger.read(|state| state.fenced);
        if fenced == 4 { Ok(()) } else { Err(format!("{fenced} are")) }
    })
    .await;
    child.signal(Signal::CONT);
    has(&one, 2).await;
    truth.extend(topic.fill("b", 0..2_000).await);
    ledger.equals(&truth).await;
    assert!(by_child(&ledger) > 0, "the child works again");
    one.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_bounded_while_the_ledger_takes_nothing() {
    const MIB: u64 = 1 << 20;
    const WAITING: u64 = 200 * MIB;
    /// Four partitions with two batches, a full queue and a fetch of 1 MiB each; their messages as text on the way through
    /// the socket, twice; and what a process of two clients with their threads takes.
    const BOUND: u64 = 100 * MIB;
    let topic = Topic::new(shared()).await;
    let ledger = Ledger::new();
    ledger.set(|mode| {
        mode.held.insert("child");
    });
    let producer = topic.producer();
    let mut events = 0;
    let filler = "y".repeat(20_000);
    while events * u64::try_from(filler.len()).unwrap() < WAITING {
        let mut sent = Vec::new();
        for _ in 0..200 {
            let event = event("a", i64::try_from(events).unwrap()) + &filler;
            sent.push(producer.send(Some(i32::try_from(events % 4).unwrap()), event.as_bytes(), None));
            events += 1;
        }
        for sent in sent {
            sent.await.unwrap().unwrap();
        }
    }
    let child = Member::start(&topic, &ledger).await;
    eventually("the child has a batch of each partition in the ledger", || {
        let deliveries = ledger.read(|state| state.deliveries);
        if deliveries == 4 { Ok(()) } else { Err(format!("{deliveries}")) }
    })
    .await;
    // Until it takes nothing more.
    let deadline = Instant::now() + PATIENCE;
    let (mut last, mut same) = (0, 0);
    while same < 10 {
        assert!(Instant::now() < deadline, "still growing at {last}");
        let now = child.memory();
        same = if now.abs_diff(last) < MIB / 4 { same + 1 } else { 0 };
        last = now;
        assert!(now < BOUND, "{} MiB", now / MIB);
        sleep(Duration::from_millis(200)).await;
    }
    ledger.set(|mode| mode.held.clear());
    ledger.holds(usize::try_from(events).unwrap()).await;
    assert!(child.memory() < BOUND, "{} MiB", child.memory() / MIB);
}
