//! Checks a policy's text before it is stored: away from the threads that serve requests, and few at a time.

use std::sync::Arc;

use mindweave_policy::{CheckError, PolicyCompiler, PolicyFault, PolicyReport, PolicySource};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::problem::{Code, Fault, Problem};

/// Checks and trials at a time. Each is a process or a thread with a core of its own for up to seconds: further ones wait, and the machine goes on
/// serving requests.
const CONCURRENT_CHECKS: usize = 2;

/// Where the text stands in requests.
const FIELD: &str = "rego";

/// Checks policies; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Checker {
    compiler: PolicyCompiler,
    turns: Arc<Semaphore>,
}

impl Checker {
    /// Checks with this compiler.
    pub(crate) fn new(compiler: PolicyCompiler) -> Self {
        Self { compiler, turns: Arc::new(Semaphore::new(CONCURRENT_CHECKS)) }
    }

    /// Waits for a turn to compile.
    pub(in crate::governance) async fn turn(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.turns).acquire_owned().await.map_err(|error| Problem::internal(&error))
    }
}

/// A text that may be put in force.
pub(in crate::governance) struct Checked {
    pub(in crate::governance) rego: Arc<str>,
    pub(in crate::governance) data: Value,
    pub(in crate::governance) report: PolicyReport,
}

/// Checks a text and its data.
pub(in crate::governance) async fn policy_check(
    checker: &Checker,
    rego: Arc<str>,
    data: Value,
) -> Result<Checked, Problem> {
    let turn = checker.turn().await?;
    let compiler = checker.compiler.clone();
    let source = PolicySource { rego: Arc::clone(&rego), data: data.clone() };
    let check = move || {
        let _turn = turn; // kept until the check is over, also when the client has gone
        compiler.check(&source)
    };
    let checked = tokio::task::spawn_blocking(check).await.map_err(|error| Problem::internal(&error))?;
    let report = checked.map_err(refusal)?;
    Ok(Checked { rego, data, report })
}

fn refusal(error: CheckError) -> Problem {
    let message = error.to_string();
    let errors = match error {
        CheckError::Faults(faults) => faults.into_iter().map(fault).collect(),
        CheckError::TimedOut | CheckError::TooLarge => vec![Fault::new(FIELD, message)],
        CheckError::Failed(error) => return Problem::internal(&error),
    };
    Problem::faults(Code::InvalidPolicy, errors)
}

fn fault(PolicyFault { line, column, message }: PolicyFault) -> Fault {
    Fault { line, column, ..Fault::new(FIELD, message) }
}
