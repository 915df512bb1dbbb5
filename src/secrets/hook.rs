//! Runs the program that gives a key: how a key management service is asked.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use mindweave_policy::Secret;
use rustix::process::{Pid, Signal, kill_process_group};
use zeroize::Zeroizing;

use crate::config::{ADMIN_TOKEN, CommandLine, MASTER_KEY, MASTER_KEY_PREVIOUS, PROXY_TOKEN};

/// A service far away answers within seconds; a start must not hang for ever.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How often is looked whether the program has ended.
const GLANCE: Duration = Duration::from_millis(10);
/// Keys are far shorter.
const MAX_STDOUT_BYTES: usize = 4_096;
/// What of the program's own words goes to the log.
const MAX_STDERR_BYTES: usize = 4_096;
/// Stands for what must not be in the log.
const HIDDEN: &str = "(hidden)";
/// What the program has no business to know.
const OURS: [&str; 4] = [ADMIN_TOKEN, MASTER_KEY, MASTER_KEY_PREVIOUS, PROXY_TOKEN];

/// What the program prints. Its stderr goes to the log, without what it printed.
///
/// # Errors
/// When it cannot be started, does not end in time or does not end well, or prints nothing or too much.
pub(super) fn output_of(hook: &CommandLine) -> anyhow::Result<Secret> {
    output_within(hook, TIMEOUT)
}

fn output_within(hook: &CommandLine, timeout: Duration) -> anyhow::Result<Secret> {
    let mut command = Command::new(&hook.program);
    command.args(&hook.arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for name in OURS {
        command.env_remove(name);
    }
    command.process_group(0); // so that what it started ends with it
    let mut child = command.spawn().with_context(|| format!("cannot start `{}`", hook.program))?;
    let stdout = child.stdout.take().map(|pipe| read(pipe, MAX_STDOUT_BYTES));
    let stderr = child.stderr.take().map(|pipe| read(pipe, MAX_STDERR_BYTES));
    let deadline = Instant::now() + timeout;
    let ended = loop {
        match child.try_wait().with_context(|| format!("cannot wait for `{}`", hook.program))? {
            Some(status) => break Some(status),
            None if Instant::now() >= deadline => break None,
            None => std::thread::sleep(GLANCE),
        }
    };
    end_group(&mut child);
    let printed = stdout.and_then(|read| read.recv_timeout(timeout).ok()).unwrap_or_default();
    tell(hook, stderr, &printed);
    let Some(status) = ended else {
        bail!("`{}` did not end within {} s", hook.program, timeout.as_secs());
    };
    ensure!(status.success(), "`{}` ended with {status}; the log has what it said", hook.program);
    ensure!(printed.len() <= MAX_STDOUT_BYTES, "`{}` printed more than a key", hook.program);
    let text = std::str::from_utf8(&printed).ok().map(str::trim).filter(|text| !text.is_empty());
    let text = text.with_context(|| format!("`{}` printed no key", hook.program))?;
    Ok(Secret::new(text.to_owned()))
}

/// Ends whatever the program left running, which could keep its pipes open.
fn end_group(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw)
        && let Err(error) = kill_process_group(group, Signal::KILL)
    {
        tracing::debug!(%error, "nobody is left of the program that gives a key");
    }
    drop(child.wait()); // it has ended, or was ended just now
}

/// Reads in a thread of its own: a full pipe would keep the program from ending. One byte more than fits says that there was more.
fn read(pipe: impl Read + Send + 'static, most: usize) -> Receiver<Zeroizing<Vec<u8>>> {
    let (done, result) = mpsc::channel();
    std::thread::spawn(move || {
        let room = most.saturating_add(1);
        let mut bytes = Zeroizing::new(Vec::with_capacity(room)); // one that grows leaves copies behind
        let limit = u64::try_from(room).unwrap_or(u64::MAX);
        drop(pipe.take(limit).read_to_end(&mut bytes)); // what came until then is all there is
        drop(done.send(bytes)); // nobody waits any more
    });
    result
}

fn tell(hook: &CommandLine, stderr: Option<Receiver<Zeroizing<Vec<u8>>>>, printed: &[u8]) {
    let said = stderr.and_then(|read| read.recv_timeout(TIMEOUT).ok()).unwrap_or_default();
    for line in without(&String::from_utf8_lossy(&said), &String::from_utf8_lossy(printed)).lines() {
        tracing::warn!(program = hook.program, "{}", line.escape_debug());
    }
}

/// The text without any word of what must not be told.
fn without(said: &str, printed: &str) -> String {
    printed.split_whitespace().fold(said.to_owned(), |said, word| said.replace(word, HIDDEN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> CommandLine {
        CommandLine { program: "sh".to_owned(), arguments: vec!["-c".to_owned(), script.to_owned()] }
    }

    fn fails(script: &str, timeout: Duration) -> String {
        format!("{:#}", output_within(&shell(script), timeout).unwrap_err())
    }

    #[test]
    fn what_the_program_prints_is_the_key() {
        let key = output_of(&shell("echo '  abc  '")).unwrap();
        assert_eq!(key.expose_secret(), "abc");
    }

    #[test]
    fn arguments_go_to_the_program_as_they_stand() {
        let line =
            CommandLine { program: "printf".to_owned(), arguments: vec!["%s".into(), "$HOME; x".into()] };
        assert_eq!(output_of(&line).unwrap().expose_secret(), "$HOME; x");
    }

    #[test]
    fn a_program_that_fails_says_nothing_or_too_much_gives_no_key_and_its_output_is_not_repeated() {
        assert!(fails("echo s3cret; exit 3", TIMEOUT).contains("exit status: 3"));
        assert!(!fails("echo s3cret; exit 3", TIMEOUT).contains("s3cret"));
        assert!(fails("true", TIMEOUT).contains("printed no key"));
        assert!(fails("head -c 5000 /dev/zero | tr '\\0' a", TIMEOUT).contains("more than a key"));
        let missing = CommandLine { program: "/no/such/program".to_owned(), arguments: Vec::new() };
        assert!(format!("{:#}", output_of(&missing).unwrap_err()).contains("cannot start"));
    }

    #[test]
    fn a_program_that_hangs_is_ended_with_whatever_it_started() {
        let begun = Instant::now();
        let error = fails("sleep 600 & sleep 600", Duration::from_millis(200));
        assert!(error.contains("did not end within"), "{error}");
        assert!(begun.elapsed() < TIMEOUT, "its pipes were kept open");
    }

    #[test]
    fn a_program_that_leaves_something_running_does_not_hold_up_the_start() {
        let begun = Instant::now();
        assert_eq!(output_of(&shell("sleep 600 & echo abc")).unwrap().expose_secret(), "abc");
        assert!(begun.elapsed() < TIMEOUT);
    }

    #[test]
    fn what_it_says_is_told_without_the_key() {
        assert_eq!(without("using abc123 now\nabc123", "abc123\n"), "using (hidden) now\n(hidden)");
        assert_eq!(without("nothing to hide", ""), "nothing to hide");
    }
}
