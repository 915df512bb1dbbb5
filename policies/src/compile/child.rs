//! The parent's side of the child process.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::worker::{Answer, read_message, write_message};
use super::{CheckError, PolicyReport, PolicySource};

/// How long a check may take, on a machine that has other things to do as well. The child's own limit of processor time is
/// lower.
const DEADLINE: Duration = Duration::from_secs(5);

/// Children at the same time. Each may take a gigabyte for a moment.
const MAX_CHILDREN: usize = 2;

static RUNNING: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

/// A place among the children.
struct Place;

impl Place {
    fn wait() -> Self {
        let (count, freed) = &RUNNING;
        let mut count = count.lock();
        freed.wait_while(&mut count, |count| *count >= MAX_CHILDREN);
        *count += 1;
        Self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let (count, freed) = &RUNNING;
        *count.lock() -= 1;
        freed.notify_one();
    }
}

/// A child that does not outlive its check.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // Fails only when it has ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Checks a policy in a child process.
pub(super) fn check(
    program: &Path,
    args: &[OsString],
    source: &PolicySource,
) -> Result<PolicyReport, CheckError> {
    let _place = Place::wait();
    let mut command = Command::new(program);
    // Nothing of ours: the environment holds the master key and tokens.
    command.args(args).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = Killed(command.spawn().map_err(CheckError::Failed)?);
    let (Some(stdin), Some(stdout)) = (child.0.stdin.take(), child.0.stdout.take()) else {
        return Err(CheckError::Failed(io::Error::other("the child has no pipes")));
    };
    let (answered, answer) = mpsc::sync_channel(1);
    let source = source.clone();
    thread::Builder::new()
        .name("policy-check".to_owned())
        .spawn(move || drop(answered.send(converse(stdin, stdout, &source))))
        .map_err(CheckError::Failed)?;
    match answer.recv_timeout(DEADLINE) {
        Ok(Ok(Answer::Sound(report))) => Ok(report),
        Ok(Ok(Answer::Faults(faults))) => Err(CheckError::Faults(faults)),
        Ok(Err(error)) => Err(ended(&mut child.0, error)),
        // The pipes break when the child is killed, which ends the thread.
        Err(_) => Err(CheckError::TimedOut),
    }
}

fn converse(mut stdin: ChildStdin, mut stdout: ChildStdout, source: &PolicySource) -> io::Result<Answer> {
    write_message(&mut stdin, source)?;
    drop(stdin);
    read_message(&mut stdout)
}

/// Why a child ended without an answer: the limits of time, memory and stack end it by a signal.
fn ended(child: &mut Child, error: io::Error) -> CheckError {
    use std::os::unix::process::ExitStatusExt;
    match child.wait() {
        Ok(status) if status.signal().is_some() => CheckError::TimedOut,
        _ => CheckError::Failed(error),
    }
}
