//! A server's processes: started, signalled and watched, and never left behind.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};

/// How long a server may take to come up or to go down. Generous: other tests keep the machine busy.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Lines of the server's log that a failure shows.
const LOG_TAIL_LINES: usize = 40;

/// Folders of former processes with the same id that are passed over. A guardian removes its folder: there should be none.
const MAX_FOLDERS_IN_THE_WAY: u32 = 100;

/// The shell script that ends the server when this process ends, in whatever way it does.
const GUARDIAN: &str = include_str!("guardian.sh");

/// One server: a private folder, a guardian process, and the server's own processes while it runs.
///
/// A process and not a destructor watches over it, because statics are never dropped and a killed test runs no code at all.
/// It is not the kernel's parent-death signal either: that one fires when the *thread* ends that started the server.
pub(crate) struct Server {
    name: &'static str,
    folder: PathBuf,
    guardian: Mutex<Guardian>,
}

struct Guardian {
    process: Child,
    /// `None` only while being dropped: closing it is the order to end.
    orders: Option<ChildStdin>,
    replies: BufReader<ChildStdout>,
    /// The server's first process. It stays a zombie until the guardian takes it away, so the number is never another's.
    running: Option<Pid>,
    starts: u32,
}

impl Server {
    /// Sets a guardian over a new folder, whose name begins with `prefix`. `command` says for a folder what
    /// [`Server::start`] runs. The folder goes when the server does.
    pub(crate) fn guarded(
        name: &'static str,
        prefix: &str,
        command: impl Fn(&Path) -> Vec<OsString>,
    ) -> Self {
        static FOLDERS: AtomicU32 = AtomicU32::new(0);
        for _ in 0..MAX_FOLDERS_IN_THE_WAY {
            // Short, because the path of a unix socket holds only 107 bytes.
            let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
            let folder = std::env::temp_dir().join(format!("{prefix}-{}-{number}", std::process::id()));
            if let Some(guardian) = Guardian::over(&folder, &command(&folder)) {
                return Self { name, folder, guardian: Mutex::new(guardian) };
            }
        }
        panic!("no folder for {name} can be made in {}", std::env::temp_dir().display());
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts the server and waits until `ready` holds for its log.
    ///
    /// # Panics
    /// When it runs already, ends early or is not ready in time; with the tail of its log and `advice`.
    pub(crate) fn start(&self, advice: &str, ready: impl Fn(&str) -> bool) {
        let mut guardian = self.guardian.lock();
        assert!(guardian.running.is_none(), "{} runs already", self.name);
        let reply = guardian.order("start");
        let pid = reply.parse().ok().and_then(Pid::from_raw).expect("the guardian answers with a process id");
        guardian.running = Some(pid);
        guardian.starts += 1;
        let log = self.log_file(guardian.starts);
        let end = Instant::now() + DEADLINE;
        while !ready(&read(&log)) {
            let alive = is_alive(pid);
            assert!(
                alive && Instant::now() < end,
                "{} {}. {advice}\nIts log ends with:\n{}",
                self.name,
                if alive {
                    format!("is not ready after {DEADLINE:?}")
                } else {
                    "ended while starting".to_owned()
                },
                tail(&read(&log)),
            );
            pause();
        }
    }

    /// Ends every process of the server at once, as a crash does.
    pub(crate) fn kill(&self) {
        let mut guardian = self.guardian.lock();
        guardian.order("kill");
        guardian.running = None;
    }

    /// Asks the server to end and waits until it has.
    ///
    /// # Panics
    /// When it does not run, or does not end in time.
    pub(crate) fn stop(&self, signal: Signal) {
        let mut guardian = self.guardian.lock();
        let pid = guardian.running.expect("a server that runs");
        signal_all(pid, Signal::CONT);
        kill_process(pid, signal).expect("a server that can be signalled");
        let end = Instant::now() + DEADLINE;
        while is_alive(pid) {
            let log = read(&self.log_file(guardian.starts));
            assert!(Instant::now() < end, "{} does not stop. Its log ends with:\n{}", self.name, tail(&log));
            pause();
        }
        guardian.running = None;
    }

    /// Stops all of the server's processes where they are: connections stay open and nothing answers.
    pub(crate) fn freeze(&self) {
        let guardian = self.guardian.lock();
        let pid = guardian.running.expect("a server that runs");
        kill_process(pid, Signal::STOP).expect("a server that can be signalled");
        // Until the parent really stands still it may make children that the list misses.
        let end = Instant::now() + DEADLINE;
        while state(pid) != Some('T') {
            assert!(Instant::now() < end, "{} does not stand still", self.name);
            std::thread::yield_now();
        }
        signal_all(pid, Signal::STOP);
    }

    /// Lets a frozen server go on.
    pub(crate) fn thaw(&self) {
        let guardian = self.guardian.lock();
        signal_all(guardian.running.expect("a server that runs"), Signal::CONT);
    }

    /// The id of the server's first process, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.guardian.lock().running.map(|pid| pid.as_raw_nonzero().get().unsigned_abs())
    }

    /// What the server wrote since its last start.
    pub(crate) fn log(&self) -> String {
        read(&self.log_file(self.guardian.lock().starts))
    }

    fn log_file(&self, start: u32) -> PathBuf {
        self.folder.join(format!("log.{start}"))
    }
}

impl Guardian {
    /// A guardian that has made `folder`, or `None` when it could not. Not this process makes it: it may end at any moment,
    /// and what it has made by then would stay.
    fn over(folder: &Path, command: &[OsString]) -> Option<Self> {
        let mut process = Command::new("sh")
            .args(["-c", GUARDIAN, "guardian"])
            .arg(folder)
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null()) // whoever reads the tests' output must not wait for the guardian
            .current_dir("/")
            .process_group(0) // an interrupt at the terminal is for the tests, which then close the pipe
            .spawn()
            .expect("sh starts");
        let orders = process.stdin.take();
        let replies = BufReader::new(process.stdout.take().expect("its output is a pipe"));
        let mut guardian = Self { process, orders, replies, running: None, starts: 0 };
        (guardian.reply() == "made").then_some(guardian)
    }

    fn order(&mut self, order: &str) -> String {
        let orders = self.orders.as_mut().expect("a guardian that is not being dropped");
        writeln!(orders, "{order}").expect("a guardian that lives");
        self.reply()
    }

    fn reply(&mut self) -> String {
        let mut reply = String::new();
        self.replies.read_line(&mut reply).expect("a guardian that answers");
        reply.trim().to_owned()
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        self.orders = None;
        let _ended = self.process.wait(); // so that the folder is gone when the value is
    }
}

/// Signals a process and its children, the children first: the parent must not see them change before it does.
fn signal_all(pid: Pid, signal: Signal) {
    for process in children(pid).into_iter().chain([pid]) {
        let _gone_meanwhile = kill_process(process, signal);
    }
}

fn children(pid: Pid) -> Vec<Pid> {
    let tasks = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())).into_iter().flatten().flatten();
    let lists: Vec<String> = tasks.map(|task| read(&task.path().join("children"))).collect();
    lists
        .iter()
        .flat_map(|list| list.split_whitespace())
        .filter_map(|id| Pid::from_raw(id.parse().ok()?))
        .collect()
}

/// The kernel's letter for what a process does; `Z` is one that has ended and was not taken away yet.
fn state(pid: Pid) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    stat.rsplit_once(") ")?.1.chars().next() // the name before it may hold anything
}

fn is_alive(pid: Pid) -> bool {
    state(pid).is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

fn read(file: &Path) -> String {
    fs::read(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// The last lines of a log, or of a command's output.
pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
}

/// The pause between two looks at a condition.
fn pause() {
    std::thread::sleep(Duration::from_millis(10));
}

/// Runs a command to its end and returns what it wrote to its standard output.
///
/// # Panics
/// When it cannot be started or fails; with the end of its output and `advice`.
pub(crate) fn run(command: &mut Command, advice: &str) -> String {
    run_with_input(command, "", advice)
}

/// As [`run`], with a standard input. It must fit a pipe: nothing reads the output before all of it is written.
pub(crate) fn run_with_input(command: &mut Command, input: &str, advice: &str) -> String {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}. {advice}"));
    let mut stdin = child.stdin.take().expect("its input is a pipe");
    let _told_by_its_status = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("a child that can be waited for");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(
        output.status.success(),
        "{program}: {}. {advice}\n{}\n{}",
        output.status,
        tail(&out),
        tail(&err)
    );
    out.into_owned()
}

#[cfg(test)]
mod tests;
