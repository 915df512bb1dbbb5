//! Files of policies, and the check that the API would make of them.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use mindweave_policy::{CheckError, PolicyCompiler, PolicyFault, PolicyReport, PolicySource};

/// Reads a text file.
///
/// # Errors
/// When it cannot be read, named.
pub(super) fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Checks a policy as the API does before it stores one: in a child process with limits of time and memory.
///
/// # Errors
/// When the policy is refused; the message names each place as `file:line:column`.
pub(super) fn check(path: &Path, source: &PolicySource) -> anyhow::Result<PolicyReport> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let compiler = PolicyCompiler::child(program, ["policy", "compile-worker"].map(OsString::from).into());
    match compiler.check(source) {
        Ok(report) => Ok(report),
        Err(CheckError::Faults(faults)) => bail!("the policy would be refused{}", listed(path, &faults)),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

/// Faults, one a line.
pub(super) fn listed(path: &Path, faults: &[PolicyFault]) -> String {
    let line = |fault: &PolicyFault| {
        let numbers = [fault.line, fault.column].into_iter().flatten();
        let place: String = numbers.map(|number| format!(":{number}")).collect();
        format!("\n  {}{place}: {}", path.display(), fault.message)
    };
    faults.iter().map(line).collect()
}
