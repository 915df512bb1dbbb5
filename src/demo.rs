//! `mindweave demo`: a server in front of the simulated API, apps that call it, and what they cost as it happens.

mod traffic;

use std::fs::{self, DirBuilder};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use mindweave_policy::Secret;
use mindweave_simulator::{Seed, Simulator, SimulatorConfig};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::Notify;

use crate::cli::Demo;
use crate::client::{Client, Query};
use crate::config::{BaseUrl, Config, Environment, LogLevel, Setting};
use crate::data_dir;
use crate::endpoints::local_url;
use crate::logging;
use crate::projects::text;
use crate::serve::Server;
use crate::signals::StopSignals;
use crate::usage::{Follow, Form, Running};

use traffic::{APPS, Traffic};

/// Any text will do: the simulator takes every key.
const CLAUDE_KEY: &str = "sk-ant-api03-of-the-demo";
/// A call that was answered is in the ledger within half a second.
const LANDING_DEADLINE: Duration = Duration::from_secs(5);
/// The pause between two looks at the ledger.
const LANDING_NAP: Duration = Duration::from_millis(20);

/// Runs the demo until it is over or a signal asks for its end.
///
/// # Errors
/// When a part cannot start or the terminal goes away.
pub(crate) fn run(options: &Demo, out: &mut (impl Write + Send)) -> anyhow::Result<()> {
    let folder = DemoFolder::make(options.keep)?;
    let runtime = Runtime::new().context("cannot start the async runtime")?;
    let simulated = SimulatorConfig { seed: Seed::PerRequest, ..SimulatorConfig::default() };
    let simulator = runtime.block_on(Simulator::start(simulated))?;
    let config = configuration(&folder.path, simulator.local_addr())?;
    logging::start(&config);
    let server = runtime.block_on(Server::start(&config, &Environment::default()))?;
    let running = show(options, &runtime, server, &folder.path, out)?;
    runtime.block_on(simulator.shutdown());
    writeln!(out)?;
    writeln!(out, "{}", running.summary())?;
    if options.keep {
        let data_dir = folder.path.display();
        writeln!(
            out,
            "The ledger is kept: `MINDWEAVE_DATA_DIR={data_dir} mindweave` serves it, `mindweave usage` shows it."
        )?;
    }
    Ok(out.flush()?)
}

/// Lets the apps call and prints every call, until it is time to end; stops the server and returns the sum.
fn show(
    options: &Demo,
    runtime: &Runtime,
    server: Server,
    data_dir: &Path,
    out: &mut (impl Write + Send),
) -> anyhow::Result<Running> {
    let (proxy, api) =
        (local_url("http", server.proxy_addr()), local_url("http", server.control_plane_addr()));
    let token = data_dir::stored_admin_token(data_dir).context("the demo's admin token is missing")?;
    let client = Client::at(&api, token);
    let keys =
        APPS.iter().map(|app| project_with_key(&client, app.name)).collect::<anyhow::Result<Vec<_>>>()?;
    greet(&proxy, out)?;
    let mut follow = Follow::start(&client, &Query::new(), Form::Table)?;
    follow.titles(out)?;
    let (traffic, printed, over) = (Traffic::default(), AtomicU64::new(0), Notify::new());
    std::thread::scope(|scope| {
        let apps = APPS.iter().zip(&keys);
        let apps: Vec<_> =
            apps.map(|(app, key)| scope.spawn(|| traffic.run(app, &proxy, key.expose_secret()))).collect();
        let printer = scope.spawn(|| {
            let result = print(&mut follow, &printed, out);
            over.notify_one();
            result
        });
        let waited = runtime.block_on(end(options.stop_after, &over));
        traffic.stop();
        for app in apps {
            drop(app.join()); // an app that panicked has said so on stderr
        }
        let deadline = Instant::now() + LANDING_DEADLINE;
        while printed.load(Ordering::SeqCst) < traffic.answered()
            && Instant::now() < deadline
            && !printer.is_finished()
        {
            std::thread::sleep(LANDING_NAP);
        }
        let stopped = runtime.block_on(server.stop()); // closes the stream that the printer reads
        let running = printer.join().map_err(|_| anyhow!("the printing of calls broke off"))?;
        waited.and(stopped)?;
        running
    })
}

fn greet(proxy: &str, out: &mut impl Write) -> io::Result<()> {
    let apps = APPS.len();
    writeln!(out, "{apps} apps call Claude through MindWeave. The API is simulated, the metering is real.")?;
    writeln!(out, "Join in with any SDK and any key: export ANTHROPIC_BASE_URL={proxy}")?;
    writeln!(out, "Ctrl-C ends the demo.")?;
    writeln!(out)
}

/// Prints calls until the stream ends, and counts them for whoever waits.
fn print<R: Read>(
    follow: &mut Follow<'_, R>,
    printed: &AtomicU64,
    out: &mut impl Write,
) -> anyhow::Result<Running> {
    while follow.next(out)? {
        printed.store(follow.running().calls, Ordering::SeqCst);
    }
    Ok(follow.running())
}

/// Waits for the end: the time is up, somebody asks for it, or nobody can read what is printed any more.
async fn end(stop_after: Option<Duration>, over: &Notify) -> anyhow::Result<()> {
    let signals = StopSignals::listen().context("cannot take over SIGTERM and SIGINT")?;
    let time = async {
        match stop_after {
            Some(time) => tokio::time::sleep(time).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = time => {}
        () = over.notified() => {}
        _ = signals.first() => {}
    }
    Ok(())
}

/// Makes a project with a Claude key and a MindWeave key; returns the latter's secret.
fn project_with_key(client: &Client, name: &str) -> anyhow::Result<Secret> {
    let project = client.post("/projects", &json!({ "name": name }))?;
    let id = text(&project, "id");
    client.put(&format!("/projects/{id}/upstream"), &json!({ "api_key": CLAUDE_KEY }))?;
    let key: Value = client.post(&format!("/projects/{id}/keys"), &json!({ "name": name }))?;
    Ok(Secret::new(text(&key, "secret").to_owned()))
}

/// The defaults in front of the simulator. Addresses that are taken, perhaps by a real server, become free ones.
fn configuration(data_dir: &Path, simulator: SocketAddr) -> anyhow::Result<Config> {
    let mut config = Config::defaults().context("the default settings are broken")?;
    config.data_dir = data_dir.to_path_buf();
    config.proxy_upstream =
        BaseUrl::read(&format!("http://{simulator}")).context("the simulator has no address")?;
    config.log_level = LogLevel::Warn;
    for addr in [&mut config.proxy_listen, &mut config.proxy_admin_listen, &mut config.control_plane_listen] {
        if TcpListener::bind(*addr).is_err() {
            addr.set_port(0);
        }
    }
    Ok(config)
}

/// A folder of this demo alone; removed at its end unless it is to be kept.
struct DemoFolder {
    path: PathBuf,
    keep: bool,
}

impl DemoFolder {
    fn make(keep: bool) -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("mindweave-demo-{}", std::process::id()));
        // Fails if it is there already: in a folder that all users share it could be somebody else's.
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { path, keep })
    }
}

impl Drop for DemoFolder {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(folder = %self.path.display(), %error, "cannot remove the demo's folder");
        }
    }
}
