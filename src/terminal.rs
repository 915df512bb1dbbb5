//! Reading a secret from a person without showing it.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::{Context, bail};
use mindweave_policy::Secret;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// Asks on the terminal with echo off. The prompt goes to stderr, so that stdout stays clean for scripts.
///
/// # Errors
/// When the terminal cannot be set, or nothing was typed.
pub(crate) fn ask_unseen(prompt: &str) -> anyhow::Result<Secret> {
    // Where there is no terminal, a script pipes it in, and nothing is echoed.
    let echo = if io::stdin().is_terminal() {
        Some(EchoOff::set().context("cannot turn the terminal's echo off; pipe it in instead")?)
    } else {
        None
    };
    let mut stderr = io::stderr();
    write!(stderr, "{prompt}")?;
    stderr.flush()?;
    let mut line = Zeroizing::new(String::new());
    io::stdin().lock().read_line(&mut line)?;
    drop(echo);
    match line.trim() {
        "" => bail!("nothing was given"),
        key => Ok(Secret::new(key.to_owned())),
    }
}

/// Asks on the terminal; what is typed is seen.
///
/// # Errors
/// When the terminal fails, or nothing was typed.
pub(crate) fn ask(prompt: &str) -> anyhow::Result<String> {
    let mut stderr = io::stderr();
    write!(stderr, "{prompt}")?;
    stderr.flush()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    match line.trim() {
        "" => bail!("nothing was typed"),
        text => Ok(text.to_owned()),
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
