//! The processes under test: built beside this program, on free ports, with their own folder.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::cpu;

/// The admin token of the processes under test.
const ADMIN_TOKEN: &str = "admin-token-of-the-bench";
/// The token between them.
const PROXY_TOKEN: &str = "proxy-token-of-the-bench";
/// How long a process may take to be ready.
const START_DEADLINE: Duration = Duration::from_secs(20);

/// The simulated API.
#[derive(Debug)]
pub(crate) struct Simulator {
    child: Child,
    /// Its base URL.
    pub(crate) url: String,
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

/// One command of the binary with its own folder.
#[derive(Debug)]
pub(crate) struct Part {
    child: Child,
    folder: tempfile::TempDir,
    endpoints: Value,
    agent: ureq::Agent,
}

impl Part {
    /// Starts it and waits until it listens.
    pub(crate) fn start(part: &str, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let data = folder.path().join("data");
        let mut child = command()?
            .arg(part)
            .env("MINDWEAVE_DATA_DIR", &data)
            .env("MINDWEAVE_PROXY__LISTEN", "127.0.0.1:0")
            .env("MINDWEAVE_PROXY__ADMIN_LISTEN", "127.0.0.1:0")
            .env("MINDWEAVE_CONTROL_PLANE__LISTEN", "127.0.0.1:0")
            .env("MINDWEAVE_CONTROL_PLANE__ADMIN_LISTEN", "127.0.0.1:0")
            .env("MINDWEAVE_ADMIN_TOKEN", ADMIN_TOKEN)
            .env("MINDWEAVE_PROXY_TOKEN", PROXY_TOKEN)
            .envs(settings.iter().copied())
            .spawn()
            .with_context(|| format!("mindweave {part}"))?;
        let ready = await_condition("mindweave is ready", || endpoints(&data));
        if ready.is_err() {
            end(&mut child);
        }
        Ok(Self { child, folder, endpoints: ready?, agent: ureq::Agent::new_with_defaults() })
    }

    /// Where requests go.
    pub(crate) fn proxy(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.address("proxy")?.parse()?)
    }

    /// The base URL of the API.
    pub(crate) fn api_url(&self) -> anyhow::Result<String> {
        Ok(format!("http://{}", self.address("control_plane")?))
    }

    fn address(&self, name: &str) -> anyhow::Result<&str> {
        self.endpoints.get(name).and_then(Value::as_str).with_context(|| format!("no address of {name}"))
    }

    /// GETs from the API.
    pub(crate) fn get(&self, path: &str) -> anyhow::Result<Value> {
        let request = self.agent.get(format!("{}{path}", self.api_url()?));
        let mut answer = request.header("authorization", format!("Bearer {ADMIN_TOKEN}")).call()?;
        Ok(serde_json::from_str(&answer.body_mut().read_to_string()?)?)
    }

    /// POSTs to the API.
    pub(crate) fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.agent.post(format!("{}{path}", self.api_url()?));
        let answer = request.header("authorization", format!("Bearer {ADMIN_TOKEN}")).send_json(body);
        let mut answer = answer.with_context(|| format!("POST {path}"))?;
        Ok(serde_json::from_str(&answer.body_mut().read_to_string()?)?)
    }

    /// PUTs to the API.
    pub(crate) fn put(&self, path: &str, body: &Value) -> anyhow::Result<()> {
        let request = self.agent.put(format!("{}{path}", self.api_url()?));
        let answer = request.header("authorization", format!("Bearer {ADMIN_TOKEN}")).send_json(body);
        answer.map(drop).with_context(|| format!("PUT {path}"))
    }

    /// CPU time that the process has used, user and system, of all its threads.
    pub(crate) fn cpu_time(&self) -> anyhow::Result<Duration> {
        cpu::of(self.child.id())
    }

    /// Resident memory in bytes.
    pub(crate) fn resident_bytes(&self) -> anyhow::Result<u64> {
        cpu::resident_bytes(self.child.id())
    }

    /// Where its data lies.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

impl Drop for Simulator {
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
