//! `mindweave policy`: runs policies on cases and on made-up requests, and prints the bundled ones. Needs no server.

mod bundled;
mod source;
mod suite;
mod testing;
mod trial;

use std::io::{self, Write};
use std::process::ExitCode;

use crate::cli::PolicyAction;

/// Does what was asked for. The exit code of `test` says whether all cases passed.
///
/// # Errors
/// When a file cannot be read, or is not what it should be.
pub(crate) fn run(action: PolicyAction, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    match action {
        PolicyAction::Test { paths, verbose } => return testing::run(&paths, verbose, out),
        PolicyAction::Eval(options) => trial::run(&options, out)?,
        PolicyAction::Bundled { name, data } => bundled::run(name.as_deref(), data, out)?,
        PolicyAction::CompileWorker => mindweave_policy::run_compile_worker(io::stdin().lock(), out)?,
    }
    Ok(ExitCode::SUCCESS)
}
