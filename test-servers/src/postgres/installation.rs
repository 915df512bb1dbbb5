//! Which PostgreSQL is used, and under which user.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache::made_once;
use crate::process::{run, run_with_input};

/// What to do when the server cannot be had.
pub(super) const ADVICE: &str = "On Debian and Ubuntu: apt-get install postgresql (tests/run does). Another installation \
                                 is used when MINDWEAVE_POSTGRES_BIN names its folder of programs";

/// Names the folder of programs to use instead of the newest that is found.
const BIN_VARIABLE: &str = "MINDWEAVE_POSTGRES_BIN";

/// Where Debian and Ubuntu keep one folder for each version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// Who runs the server when the tests run as root, which PostgreSQL refuses. The first one that exists.
const SERVER_USERS: [&str; 2] = ["postgres", "nobody"];

/// The first version whose `initdb` takes a collation of ICU for the whole server.
const ICU_SINCE: u32 = 15;

/// To be raised when what is made below changes: it is part of the template's name.
const TEMPLATE_REVISION: u32 = 1;

/// One installation of PostgreSQL.
pub(super) struct Installation {
    bin: PathBuf,
    /// The user to become, with its ids, when this process is root's.
    user: Option<(&'static str, u32, u32)>,
}

impl Installation {
    pub(super) fn find() -> Self {
        let bin = bin_folder().unwrap_or_else(|| panic!("no PostgreSQL server found. {ADVICE}"));
        let user = rustix::process::getuid().is_root().then(|| {
            let users = fs::read_to_string("/etc/passwd").expect("a list of users");
            SERVER_USERS.into_iter().find_map(|name| ids(&users, name)).expect("a user postgres or nobody")
        });
        Self { bin, user }
    }

    pub(super) fn bin(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// The command as the server's user.
    pub(super) fn as_server_user<const N: usize>(&self, command: [OsString; N]) -> Vec<OsString> {
        let mut full = Vec::new();
        if let Some((_, uid, gid)) = self.user {
            let drop_root =
                ["setpriv", &format!("--reuid={uid}"), &format!("--regid={gid}"), "--clear-groups", "--"];
            full.extend(drop_root.map(OsString::from));
        }
        full.extend(command);
        full
    }

    /// Copies a file for the server's user alone.
    pub(super) fn hand_over(&self, from: &Path, to: &Path) {
        fs::copy(from, to).expect("a file that can be copied");
        fs::set_permissions(to, fs::Permissions::from_mode(0o600)).expect("a file of ours");
        self.give(to);
    }

    /// A data folder as `initdb` makes it, with both users in it. Made once: it costs more than the start of a server.
    pub(super) fn data_template(&self, admin: &str, owner: &str, password: &str) -> PathBuf {
        let version = run(Command::new(self.bin("postgres")).arg("--version"), ADVICE);
        let version = version.split_whitespace().nth(2).unwrap_or_default().to_owned();
        let user = rustix::process::getuid().as_raw();
        made_once(&format!("postgres-{version}-{user}-{TEMPLATE_REVISION}"), |made| {
            // Made elsewhere and copied: the server's user may not be allowed to reach the cache.
            let temporary = tempfile::tempdir().expect("a folder for temporary files that can be written");
            let folder = temporary.path();
            let data = folder.join("data");
            let password_file = folder.join("password");
            fs::create_dir(&data).expect("a folder of ours");
            fs::write(&password_file, password).expect("a folder of ours");
            for path in [folder, &data, &password_file] {
                self.give(path);
            }
            let mut initdb = self.command([self.bin("initdb").into(), "-D".into(), data.clone().into()]);
            initdb.args(["-E", "UTF8", "--no-sync", "-A", "scram-sha-256", "-U", admin]);
            initdb.arg("--pwfile").arg(&password_file).args(locale(&version));
            run(&mut initdb, ADVICE);
            // A server of one session, which reads statements until the end of its input.
            let mut alone = self.command([
                self.bin("postgres").into(),
                "--single".into(),
                "-D".into(),
                data.clone().into(),
            ]);
            let role = format!("CREATE ROLE {owner} LOGIN PASSWORD '{password}'\n");
            run_with_input(alone.arg("postgres"), &role, ADVICE);
            run(Command::new("cp").arg("-a").arg(&data).arg(made), ADVICE);
        })
    }

    fn command<const N: usize>(&self, command: [OsString; N]) -> Command {
        let full = self.as_server_user(command);
        let mut command = Command::new(&full[0]);
        command.args(&full[1..]).current_dir("/");
        command
    }

    fn give(&self, path: &Path) {
        if let Some((_, uid, gid)) = self.user {
            chown(path, Some(uid), Some(gid)).expect("root may give away its files");
        }
    }
}

/// The default version of TimescaleDB in the server's extension folder, or `None` when it has none.
pub fn timescale() -> Option<String> {
    let bin = bin_folder()?;
    let output = Command::new(bin.join("pg_config")).arg("--sharedir").output().ok()?;
    let share = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    let control = fs::read_to_string(share.join("extension/timescaledb.control")).ok()?;
    let line = control.lines().find(|line| line.starts_with("default_version"))?;
    Some(line.split('\'').nth(1)?.to_owned())
}

fn bin_folder() -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os(BIN_VARIABLE) {
        return Some(PathBuf::from(folder));
    }
    let versions = fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let debian = versions
        .filter_map(|entry| {
            Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin")))
        })
        .filter(|(_, bin)| bin.join("postgres").is_file())
        .max();
    let path = std::env::var_os("PATH").unwrap_or_default();
    debian
        .map(|(_, bin)| bin)
        .or_else(|| std::env::split_paths(&path).find(|folder| folder.join("postgres").is_file()))
}

/// Text in the order of a human language, as most installations have it: nothing may lean on the order of bytes.
fn locale(version: &str) -> Vec<&'static str> {
    let major: u32 = version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or_default();
    if major >= ICU_SINCE {
        vec!["--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US"]
    } else {
        vec!["--locale=C.UTF-8"]
    }
}

fn ids(users: &str, name: &'static str) -> Option<(&'static str, u32, u32)> {
    let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some((name, fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}
