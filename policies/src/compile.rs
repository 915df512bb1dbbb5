//! Checking a policy before it is stored, and compiling it.
//!
//! Policies are programs that strangers write: organisations of a shared control plane, or an admin by mistake. What they can
//! cost is bounded in four places, each for what the others cannot see:
//!
//! 1. The *check* before a policy is stored parses, compiles and tries it in a child process with limits of time and memory, since
//!    the parser has none.
//! 2. The *proof* ([`bounds`]) refuses programs in which one instruction, or a chain of calls, could do much by itself.
//! 3. The *meter* ([`builtins`]) charges calls of builtins before they are made.
//! 4. The *machine* ([`crate::eval`]) counts instructions and looks at the clock.

mod agreement;
mod arithmetic;
mod bounds;
mod builtins;
mod charges;
mod child;
mod failure;
mod faults;
mod flow;
mod format;
mod guards;
mod heads;
mod layout;
mod lints;
mod module;
mod nesting;
mod samples;
mod step;
#[cfg(test)]
mod tests;
mod text;
mod worker;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub(crate) use builtins::{begin as begin_evaluation, begin_entry_point};
pub(crate) use failure::last_failure;
pub(crate) use module::{Module, compile};
pub use worker::run_compile_worker;

/// Longest text of a policy, in bytes. The longest bundled one has 3 KB.
pub const MAX_REGO_BYTES: usize = 64 << 10;

/// Largest `data` of a policy, as JSON, in bytes. Every proxy holds it, some ten times as large.
pub const MAX_DATA_BYTES: usize = 512 << 10;

/// A policy as its author wrote it.
#[derive(Clone, Debug, Serialize, Deserialize)]
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
    #[error("the policy takes too long, or too much memory, to compile or to evaluate")]
    TimedOut,
    /// Text or data is over [`MAX_REGO_BYTES`] or [`MAX_DATA_BYTES`].
    #[error("the policy is too large: its text may have {MAX_REGO_BYTES} bytes, its data {MAX_DATA_BYTES}")]
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

    /// Checks in this process, without limits of time and memory: only for policies that were checked before, as bundled
    /// ones, or that the caller's own user wrote.
    pub fn in_process() -> Self {
        Self { place: Place::InProcess }
    }

    /// Checks a policy: that it compiles, keeps within its bounds, and gives well-formed verdicts on sample requests.
    /// Takes some 50 ms, and 5 s at most in a child.
    ///
    /// # Errors
    /// When it cannot be put in force, or could not be checked.
    pub fn check(&self, source: &PolicySource) -> Result<PolicyReport, CheckError> {
        if source.rego.len() > MAX_REGO_BYTES {
            return Err(CheckError::TooLarge);
        }
        let data = serde_json::to_vec(&source.data).map_err(|error| CheckError::Failed(error.into()))?;
        if data.len() > MAX_DATA_BYTES {
            return Err(CheckError::TooLarge);
        }
        match &self.place {
            Place::Child { program, args } => child::check(program, args, source),
            Place::InProcess => report(source).map_err(CheckError::Faults),
        }
    }
}

/// Compiles and tries a policy.
fn report(source: &PolicySource) -> Result<PolicyReport, Vec<PolicyFault>> {
    let module = Arc::new(compile(source)?);
    let mut warnings = module.warnings.clone();
    warnings.extend(samples::try_all(&module)?);
    Ok(PolicyReport { package: module.package.clone(), reads: module.reads.paths(), warnings })
}
