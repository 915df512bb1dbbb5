//! The processes under test: built beside this program, on free ports, with their own folder.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;

/// The admin token of the server under test.
const ADMIN_TOKEN: &str = "admin-token-of-the-bench";
/// How long a process may take to be ready.
const START_DEADLINE: Duration = Duration::from_secs(20);

/// The simulated API.
#[derive(Debug)]
pub(crate) struct Simulator {
    child: Child,
    /// Its base URL.
    pub(crate) url: String,
}

/// A server under test.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    folder: tempfile::TempDir,
    /// Where requests go.
    pub(crate) proxy: SocketAddr,
    api: String,
    agent: ureq::Agent,
}

impl Simulator {
    /// Starts it on a free port.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let address = format!("127.0.0.1:{port}");
        let child = command()?.args(["simulate", "--listen", &address]).spawn().context("the simulator")?;
        let simulator = Self { child, url: format!("http://{address}") };
        await_condition("the simulator listens", || std::net::TcpStream::connect(&address).ok())?;
        Ok(simulator)
    }
}

impl Server {
    /// Starts `mindweave serve` in front of this upstream.
    pub(crate) fn start(upstream: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let data = folder.path().join("data");
        let child = command()?
            .arg("serve")
            .env("MINDWEAVE_DATA_DIR", &data)
            .env("MINDWEAVE_PROXY__LISTEN", "127.0.0.1:0")
            .env("MINDWEAVE_PROXY__ADMIN_LISTEN", "127.0.0.1:0")
            .env("MINDWEAVE_CONTROL_PLANE__LISTEN", "127.0.0.1:0")
            .env("MINDWEAVE_PROXY__UPSTREAM", upstream)
            .env("MINDWEAVE_ADMIN_TOKEN", ADMIN_TOKEN)
            .spawn()
            .context("mindweave serve")?;
        let endpoints = await_condition("mindweave is ready", || endpoints(&data))?;
        let address = |name: &str| endpoints.get(name).and_then(Value::as_str).map(str::to_owned);
        let proxy = address("proxy").context("no proxy address")?.parse()?;
        let api = format!("http://{}", address("control_plane").context("no API address")?);
        Ok(Self { child, folder, proxy, api, agent: ureq::Agent::new_with_defaults() })
    }

    /// POSTs to the API.
    pub(crate) fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.agent.post(format!("{}{path}", self.api));
        let answer = request.header("authorization", format!("Bearer {ADMIN_TOKEN}")).send_json(body);
        let mut answer = answer.with_context(|| format!("POST {path}"))?;
        Ok(serde_json::from_str(&answer.body_mut().read_to_string()?)?)
    }

    /// PUTs to the API.
    pub(crate) fn put(&self, path: &str, body: &Value) -> anyhow::Result<()> {
        let request = self.agent.put(format!("{}{path}", self.api));
        let answer = request.header("authorization", format!("Bearer {ADMIN_TOKEN}")).send_json(body);
        answer.map(drop).with_context(|| format!("PUT {path}"))
    }

    /// CPU time that the process has used, user and system, of all its threads.
    pub(crate) fn cpu_time(&self) -> anyhow::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // Fields 14 and 15, proc(5); the second field may hold blanks and parentheses.
        let fields: Vec<_> = stat.rsplit_once(')').context("a stat line")?.1.split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
        let (user, system) = ticks(11).zip(ticks(12)).context("times in a stat line")?;
        let a_second = rustix::param::clock_ticks_per_second();
        Ok(Duration::from_micros(user.saturating_add(system).saturating_mul(1_000_000) / a_second.max(1)))
    }

    /// Resident memory in bytes.
    pub(crate) fn resident_bytes(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib.saturating_mul(1_024))
    }

    /// Where its data lies.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Already ended is fine.
fn end(child: &mut Child) {
    drop(child.kill());
    drop(child.wait());
}

/// The binary that was built together with this one.
fn command() -> anyhow::Result<Command> {
    let own = std::env::current_exe()?;
    let binary: PathBuf = own.with_file_name("mindweave");
    if !binary.exists() {
        bail!("{} is missing: build it with `cargo build --release --workspace`", binary.display());
    }
    let mut command = Command::new(binary);
    for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("MINDWEAVE_")) {
        command.env_remove(key);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command)
}

fn endpoints(data: &Path) -> Option<Value> {
    serde_json::from_str(&fs::read_to_string(data.join("endpoints.json")).ok()?).ok()
}

fn await_condition<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
    let end = Instant::now() + START_DEADLINE;
    loop {
        if let Some(value) = condition() {
            return Ok(value);
        }
        if Instant::now() > end {
            bail!("gave up waiting until {what}");
        }
        std::thread::sleep(Duration::from_millis(10)); // the pause between two looks
    }
}
