//! Proxy and control plane as processes of their own, with a way between them that a test can cut.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tempfile::TempDir;

use super::ledger::Ledger;
use super::server::ADMIN_TOKEN;
use super::{eventually, http};

/// The proxy token of every control plane that the tests start.
pub const PROXY_TOKEN: &str = "proxy-token-of-the-tests-0123456789";

/// One command of the binary with its own data folder. Killed when dropped.
pub struct Process {
    command: &'static str,
    settings: Vec<(String, String)>,
    child: Child,
    _folder: Option<TempDir>,
    data: PathBuf,
}

impl Process {
    fn start(command: &'static str, settings: Vec<(String, String)>) -> Self {
        Self::start_on(command, settings, |_| {})
    }

    /// On a data folder that `prepare` makes.
    fn start_on(command: &'static str, settings: Vec<(String, String)>, prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = folder.path().join("data");
        prepare(&data);
        let child = spawn(command, &data, &settings);
        Self { command, settings, child, _folder: Some(folder), data }
    }

    /// Waits until it says where it listens.
    fn endpoints(&mut self) -> Value {
        eventually("the process says where it listens", || {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                panic!("{} ended with {status} before it was ready:\n{}", self.command, self.log());
            }
            let text = std::fs::read_to_string(self.data.join("endpoints.json")).ok()?;
            let endpoints: Value = serde_json::from_str(&text).ok()?;
            (endpoints["pid"].as_u64() == Some(u64::from(self.child.id()))).then_some(endpoints)
        })
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&mut self) {
        self.child.kill().expect("the process can be killed");
        self.child.wait().expect("the killed process can be waited for");
    }

    /// Starts it again on the same data folder.
    fn start_again(&mut self) {
        self.child = spawn(self.command, &self.data, &self.settings);
    }

    /// Asks it to stop and waits for its exit; returns whether it ended well.
    pub fn stop(&mut self) -> bool {
        self.signal(rustix::process::Signal::TERM);
        self.child.wait().expect("the process can be waited for").success()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid =
            i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
        rustix::process::kill_process(pid, signal).expect("the process can be signalled");
    }

    /// Everything it wrote to its log so far, over all its starts.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.data.with_extension("log")).unwrap_or_default()
    }

    /// Where its data lies.
    pub fn data_dir(&self) -> &Path {
        &self.data
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill()); // already dead is fine
        drop(self.child.wait());
    }
}

fn spawn(command: &str, data: &Path, settings: &[(String, String)]) -> Child {
    std::fs::create_dir_all(data).expect("the data folder can be made");
    let log = data.with_extension("log");
    let log = std::fs::File::options().create(true).append(true).open(log).expect("a log file");
    let mut process = Command::new(env!("CARGO_BIN_EXE_mindweave"));
    for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("MINDWEAVE_")) {
        process.env_remove(key);
    }
    process
        .arg(command)
        .env("MINDWEAVE_DATA_DIR", data)
        .env("MINDWEAVE_PROXY__LISTEN", "127.0.0.1:0")
        .env("MINDWEAVE_PROXY__ADMIN_LISTEN", "127.0.0.1:0")
        .env("MINDWEAVE_CONTROL_PLANE__LISTEN", "127.0.0.1:0")
        .env("MINDWEAVE_CONTROL_PLANE__ADMIN_LISTEN", "127.0.0.1:0")
        .envs(settings.iter().map(|(key, value)| (key, value)))
        .current_dir(data)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a file handle can be cloned"))
        .stderr(log)
        .spawn()
        .expect("the binary starts")
}

fn address(endpoints: &Value, name: &str) -> SocketAddr {
    endpoints[name].as_str().and_then(|addr| addr.parse().ok()).expect("an address in endpoints.json")
}

/// A running `mindweave control-plane`, reached by proxies through a gate that stays where it is over restarts.
pub struct ControlPlane {
    pub process: Process,
    /// The way for proxies.
    pub gate: Gate,
    /// The API, without the gate.
    pub api: SocketAddr,
    /// Health and metrics.
    pub admin: SocketAddr,
}

impl ControlPlane {
    /// Starts one with the tokens of the tests.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with further settings.
    pub fn start_with(settings: &[(&str, &str)]) -> Self {
        Self::start_on(settings, |_| {})
    }

    /// Starts one on a copy of a data folder whose server is gone.
    pub fn taking_over(left: &Path) -> Self {
        Self::taking_over_with(left, &[])
    }

    /// The same with further settings.
    pub fn taking_over_with(left: &Path, settings: &[(&str, &str)]) -> Self {
        Self::start_on(settings, |data| copy(left, data))
    }

    fn start_on(settings: &[(&str, &str)], prepare: impl FnOnce(&Path)) -> Self {
        let mut all =
            owned(&[("MINDWEAVE_ADMIN_TOKEN", ADMIN_TOKEN), ("MINDWEAVE_PROXY_TOKEN", PROXY_TOKEN)]);
        all.extend(owned(settings));
        let process = Process::start_on("control-plane", all, prepare);
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut started = Self { process, gate: Gate::start(), api: nowhere, admin: nowhere };
        started.await_ready();
        started
    }

    fn await_ready(&mut self) {
        let endpoints = self.process.endpoints();
        self.api = address(&endpoints, "control_plane");
        self.admin = address(&endpoints, "admin");
        self.gate.lead_to(Some(self.api));
    }

    /// Starts it again after a kill or a stop.
    pub fn start_again(&mut self) {
        self.process.start_again();
        self.await_ready();
    }

    /// The API with the admin's token.
    pub fn ledger(&self) -> Ledger {
        Ledger::new(self.api, ADMIN_TOKEN)
    }
}

/// A running `mindweave proxy`.
pub struct Proxy {
    pub process: Process,
    /// Where apps send their traffic.
    pub addr: SocketAddr,
    /// Health and metrics.
    pub admin: SocketAddr,
}

impl Proxy {
    /// Starts one and waits until it is ready.
    pub fn start(upstream: &str, control_plane: &ControlPlane) -> Self {
        Self::start_with(upstream, control_plane, &[])
    }

    /// The same with further settings.
    pub fn start_with(upstream: &str, control_plane: &ControlPlane, settings: &[(&str, &str)]) -> Self {
        Self::start_behind(upstream, &control_plane.gate, settings)
    }

    /// The same behind a gate.
    pub fn start_behind(upstream: &str, control_planes: &Gate, settings: &[(&str, &str)]) -> Self {
        let proxy = Self::start_unready(upstream, &control_planes.url(), settings);
        proxy.await_ready();
        proxy
    }

    /// Starts one and waits only until it listens.
    pub fn start_unready(upstream: &str, control_plane: &str, settings: &[(&str, &str)]) -> Self {
        let mut all = owned(&[
            ("MINDWEAVE_PROXY__UPSTREAM", upstream),
            ("MINDWEAVE_PROXY__CONTROL_PLANE", control_plane),
            ("MINDWEAVE_PROXY_TOKEN", PROXY_TOKEN),
        ]);
        all.extend(owned(settings));
        let process = Process::start("proxy", all);
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut proxy = Self { process, addr: nowhere, admin: nowhere };
        proxy.await_listening();
        proxy
    }

    /// A second proxy with a copy of this one's data folder, as when a volume is put back on another machine. It listens
    /// when this returns.
    pub fn replacement(&self) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = folder.path().join("data");
        copy(&self.process.data, &data);
        let child = spawn("proxy", &data, &self.process.settings);
        let settings = self.process.settings.clone();
        let process = Process { command: "proxy", settings, child, _folder: Some(folder), data };
        let mut proxy = Self { process, addr: self.addr, admin: self.admin };
        proxy.await_listening();
        proxy
    }

    fn await_listening(&mut self) {
        let endpoints = self.process.endpoints();
        self.addr = address(&endpoints, "proxy");
        self.admin = address(&endpoints, "admin");
    }

    /// Starts it again after a kill or a stop, and waits until it is ready.
    pub fn start_again(&mut self) {
        self.process.start_again();
        self.await_listening();
        self.await_ready();
    }

    /// Waits until it wants traffic.
    pub fn await_ready(&self) {
        eventually("the proxy is ready", || (self.health().0 == 200).then_some(()));
    }

    /// Status and text of `/health/ready`.
    pub fn health(&self) -> (u16, String) {
        self.admin_page("/health/ready")
    }

    /// The value of a metric without labels, or of one series.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let (_, text) = self.admin_page("/metrics");
        text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
    }

    fn admin_page(&self, path: &str) -> (u16, String) {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let answer = http::exchange(self.admin, request.as_bytes()).expect("the admin port answers");
        (answer.status(), String::from_utf8_lossy(&answer.body).into_owned())
    }
}

fn owned(settings: &[(&str, &str)]) -> Vec<(String, String)> {
    settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder can be made");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a file can be copied");
        }
    }
}

/// A port that leads to another one, to several in turn as a load balancer does, or nowhere. Its threads end with the test
/// process.
pub struct Gate {
    addr: SocketAddr,
    way: Arc<Mutex<Way>>,
}

#[derive(Default)]
struct Way {
    to: Vec<SocketAddr>,
    turn: usize,
    open: Vec<TcpStream>,
}

impl Gate {
    /// One that leads nowhere yet.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let way = Arc::new(Mutex::new(Way::default()));
        let ways = Arc::clone(&way);
        std::thread::spawn(move || {
            for from in listener.incoming().flatten() {
                drop(pass(from, &ways)); // one that fails is closed, as by a server that is away
            }
        });
        Self { addr, way }
    }

    /// The base URL of the gate.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Leads new connections there, or closes them at once; cuts those that are open.
    pub fn lead_to(&self, to: Option<SocketAddr>) {
        self.share_among(to.into_iter().collect());
    }

    /// Leads new connections to these in turn, passing over those that do not accept; cuts those that are open.
    pub fn share_among(&self, to: Vec<SocketAddr>) {
        let mut way = self.way.lock().expect("no thread panics while it holds this");
        way.to = to;
        for stream in way.open.drain(..) {
            drop(stream.shutdown(Shutdown::Both)); // it may be closed already
        }
    }
}

fn pass(from: TcpStream, ways: &Mutex<Way>) -> io::Result<()> {
    let mut way = ways.lock().expect("no thread panics while it holds this");
    way.turn = way.turn.wrapping_add(1);
    let turns = (0..way.to.len()).map(|place| way.to[(way.turn + place) % way.to.len()]);
    let to =
        turns.into_iter().find_map(|to| TcpStream::connect(to).ok()).ok_or(io::ErrorKind::NotConnected)?;
    way.open.extend([from.try_clone()?, to.try_clone()?]);
    for (mut reader, mut writer) in [(from.try_clone()?, to.try_clone()?), (to, from)] {
        std::thread::spawn(move || {
            drop(io::copy(&mut reader, &mut writer)); // ends with either side
            drop(writer.shutdown(Shutdown::Both));
            drop(reader.shutdown(Shutdown::Both));
        });
    }
    Ok(())
}
