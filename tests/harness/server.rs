//! The real binary as a process of its own, with its own data folder, on free ports.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::{eventually, ledger::Ledger};

/// The admin token of every server that the tests start.
pub const ADMIN_TOKEN: &str = "admin-token-of-the-tests";

/// A running `mindweave serve`. Killed when dropped.
pub struct MindWeave {
    child: Child,
    data: DataDir,
    settings: Vec<(String, String)>,
    /// Where apps send their traffic.
    pub proxy: SocketAddr,
    /// Health and metrics.
    pub admin: SocketAddr,
    /// The API.
    pub control_plane: SocketAddr,
}

/// The folder a server keeps its state in. Outlives the process, so that a restart finds it.
struct DataDir {
    _folder: TempDir,
    path: PathBuf,
}

impl MindWeave {
    /// Starts a server in front of `upstream` with default settings and waits until it is ready.
    pub fn start(upstream: &str) -> Self {
        Self::start_with(upstream, &[])
    }

    /// Starts a server with further settings, given as environment variables.
    pub fn start_with(upstream: &str, settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = DataDir { path: folder.path().join("data"), _folder: folder };
        let mut all = vec![("MINDWEAVE_PROXY__UPSTREAM".to_owned(), upstream.to_owned())];
        all.extend(settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let child = spawn(&data.path, &all);
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server =
            Self { child, data, settings: all, proxy: nowhere, admin: nowhere, control_plane: nowhere };
        server.await_ready();
        server
    }

    fn await_ready(&mut self) {
        let endpoints = eventually("the server says where it listens", || {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                panic!("the server ended with {status} before it was ready:\n{}", self.log());
            }
            let text = std::fs::read_to_string(self.data.path.join("endpoints.json")).ok()?;
            let endpoints: serde_json::Value = serde_json::from_str(&text).ok()?;
            (endpoints["pid"].as_u64() == Some(u64::from(self.child.id()))).then_some(endpoints)
        });
        let addr = |name: &str| -> SocketAddr {
            endpoints[name].as_str().and_then(|addr| addr.parse().ok()).expect("an address in endpoints.json")
        };
        self.proxy = addr("proxy");
        self.admin = addr("admin");
        self.control_plane = addr("control_plane");
    }

    /// Kills the process as `kill -9` does: nothing in it gets to run any more.
    pub fn kill(&mut self) {
        self.child.kill().expect("the server can be killed");
        self.child.wait().expect("the killed server can be waited for");
    }

    /// Kills the process and starts it again on the same data folder; the ports are new.
    pub fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.data.path, &self.settings);
        self.await_ready();
    }

    /// Asks the process to stop and waits for its exit; returns whether it ended well.
    pub fn stop(&mut self) -> bool {
        let pid = i32::try_from(self.child.id()).expect("a pid fits");
        let pid = rustix::process::Pid::from_raw(pid).expect("a child has a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)
            .expect("the server can be signalled");
        self.child.wait().expect("the server can be waited for").success()
    }

    /// The base URL for apps.
    pub fn url(&self) -> String {
        format!("http://{}", self.proxy)
    }

    /// The API with the admin's token.
    pub fn ledger(&self) -> Ledger {
        Ledger::new(self.control_plane, ADMIN_TOKEN)
    }

    /// Everything the process wrote to its log so far.
    pub fn log(&self) -> String {
        log_of(&self.data.path)
    }

    /// Where its data lies.
    pub fn data_dir(&self) -> &Path {
        &self.data.path
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for MindWeave {
    fn drop(&mut self) {
        // Already dead is fine: a test may have killed it.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Starts the binary with every port free and its log in a file.
fn spawn(data: &Path, settings: &[(String, String)]) -> Child {
    std::fs::create_dir_all(data).expect("the data folder can be made");
    let log = std::fs::File::options().create(true).append(true).open(log_path(data)).expect("a log file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_mindweave"));
    for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("MINDWEAVE_")) {
        command.env_remove(key);
    }
    command
        .arg("serve")
        .env("MINDWEAVE_DATA_DIR", data)
        .env("MINDWEAVE_PROXY__LISTEN", "127.0.0.1:0")
        .env("MINDWEAVE_PROXY__ADMIN_LISTEN", "127.0.0.1:0")
        .env("MINDWEAVE_CONTROL_PLANE__LISTEN", "127.0.0.1:0")
        .env("MINDWEAVE_ADMIN_TOKEN", ADMIN_TOKEN)
        .envs(settings.iter().map(|(key, value)| (key, value)))
        .current_dir(data)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a file handle can be cloned"))
        .stderr(log)
        .spawn()
        .expect("the binary starts")
}

fn log_path(data: &Path) -> PathBuf {
    data.with_extension("log")
}

fn log_of(data: &Path) -> String {
    std::fs::read_to_string(log_path(data)).unwrap_or_default()
}
