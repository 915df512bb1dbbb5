//! What every server does first, and how it words that an address is taken.

use std::io::{self, Write};
use std::net::SocketAddr;

use anyhow::Context;
use mindweave_proxy::install_process_metrics;
use rustix::fs::Mode;

use crate::config::{Config, Role};
use crate::data_dir::{DataDir, DataDirError};
use crate::hardening::{keep_memory_private, keep_panics_quiet};
use crate::logging;
use crate::signals::StopSignals;

/// Runs a server on a runtime of its own, with its log, until `serve` returns; it is given the signals that stop it.
///
/// # Errors
/// When the process cannot be set up, and what `serve` fails with.
pub(crate) fn run<F>(config: &Config, serve: impl FnOnce(StopSignals) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    logging::start(config);
    keep_panics_quiet();
    keep_memory_private(config.process_core_dumps);
    let runtime = tokio::runtime::Runtime::new().context("cannot start the async runtime")?;
    runtime.block_on(async {
        let signals = StopSignals::listen().context("cannot take over SIGTERM and SIGINT")?;
        serve(signals).await
    })
}

/// Takes the data folder. Before that: files become private, and whatever looks up its counters finds the recorder.
///
/// # Errors
/// When the folder cannot be used.
pub(crate) fn take_data_dir(config: &Config) -> Result<DataDir, DataDirError> {
    rustix::process::umask(Mode::from_raw_mode(0o077)); // ledger and journal are nobody else's business
    install_process_metrics();
    DataDir::open(&config.data_dir)
}

/// Prints lines for whoever watches the start; a daemon may have no stdout.
pub(crate) fn tell(out: &mut impl Write, print: impl FnOnce(&mut dyn Write) -> io::Result<()>) {
    if let Err(error) = print(out) {
        tracing::debug!(%error, "nobody reads the banner");
    }
}

/// Adds to the failure to bind an address which setting it comes from and what to do.
pub(crate) fn explain(config: &Config, role: Role, error: anyhow::Error) -> anyhow::Error {
    let bind = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>());
    let in_use = bind.is_some_and(|cause| cause.kind() == io::ErrorKind::AddrInUse);
    let text = format!("{error:#}");
    let names = |addr: SocketAddr| text.contains(&addr.to_string());
    match config.listeners(role).into_iter().find(|(_, addr)| in_use && names(*addr)) {
        Some((key, addr)) => error.context(format!(
            "{addr} is in use: is another mindweave running? Stop it, or set {key} to another address"
        )),
        None => error,
    }
}
