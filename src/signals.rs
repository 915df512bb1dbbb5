//! How a process is asked to stop: once for an orderly end, twice for an immediate one.

use std::io;
use std::process;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What shells report for a process that Ctrl-C ended.
const EXIT_INTERRUPTED: i32 = 130;

/// SIGTERM and SIGINT.
pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Takes the signals over from the system's default, which would end the process at once.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the first signal and says which it was. A second one, from then on, ends the process at once: whoever
    /// sends it does not want to wait for open answers, and what was admitted is safe in the journal.
    pub(crate) async fn first(mut self) -> &'static str {
        let name = self.next().await;
        tokio::spawn(async move {
            let name = self.next().await;
            tracing::warn!(signal = name, "second signal: ending at once");
            process::exit(EXIT_INTERRUPTED)
        });
        name
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
