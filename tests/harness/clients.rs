//! Where the official clients lie that `tests/run` installs.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// The folder of an installed client, for example `python-new`.
///
/// A missing client fails the test: a skipped promise is not a kept one.
pub fn installed(name: &str) -> PathBuf {
    let root = std::env::var_os("MINDWEAVE_TEST_CLIENTS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/clients"), PathBuf::from);
    let folder = root.join(name);
    assert!(folder.is_dir(), "{} is missing: run `tests/run`, which installs it", folder.display());
    folder
}

/// A script in `tests/clients`.
pub fn script(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

/// Runs a client with no settings of this machine that it would heed; see [`run_with`].
pub fn run(command: &mut Command) -> Output {
    run_with(command, &[])
}

/// Runs a client with these settings and no others that it would heed, and returns its output; fails the test with
/// everything it printed when it did not succeed.
pub fn run_with(command: &mut Command, environment: &[(&str, &str)]) -> Output {
    let output = output_with(command, environment);
    assert!(
        output.status.success(),
        "{command:?} ended with {}\n--- stdout\n{}\n--- stderr\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    output
}

/// The same for a client that may fail.
pub fn output_with(command: &mut Command, environment: &[(&str, &str)]) -> Output {
    for (key, _) in std::env::vars_os() {
        let name = key.to_string_lossy().to_uppercase();
        if name.starts_with("ANTHROPIC_") || name.starts_with("CLAUDE") || name.ends_with("_PROXY") {
            command.env_remove(&key);
        }
    }
    command.envs(environment.iter().copied());
    command.stdin(Stdio::null()).output().expect("the client starts")
}
