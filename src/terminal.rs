//! Reading a secret from a person without showing it.

use std::io::{self, BufRead, Write};

use anyhow::{Context, bail};
use mindweave_policy::Secret;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// Asks on the terminal with echo off. The prompt goes to stderr, so that stdout stays clean for scripts.
///
/// # Errors
/// When the terminal cannot be set, or nothing was typed.
pub(crate) fn ask_unseen(prompt: &str) -> anyhow::Result<Secret> {
    let echo = EchoOff::set().context("cannot turn the terminal's echo off; pipe the key in instead")?;
    let mut stderr = io::stderr();
    write!(stderr, "{prompt}")?;
    stderr.flush()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    drop(echo);
    match line.trim() {
        "" => bail!("no key was given"),
        key => Ok(Secret::new(key.to_owned())),
    }
}

/// Gives the terminal its echo back when dropped.
struct EchoOff {
    before: Termios,
}

impl EchoOff {
    fn set() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        silent.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Self { before })
    }
}

impl Drop for EchoOff {
    fn drop(&mut self) {
        if let Err(error) = tcsetattr(io::stdin(), OptionalActions::Now, &self.before) {
            tracing::warn!(%error, "cannot turn the terminal's echo on again; run `stty echo`");
        }
    }
}
