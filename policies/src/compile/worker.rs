//! The child process in which strangers' policies are parsed.
//!
//! Both directions carry one message: its length in bytes as eight little-endian bytes, then JSON. The child limits itself before it reads
//! anything, so that nothing which comes later can keep it from doing so.

use std::io::{self, Read, Write};

use rustix::process::{Resource, Rlimit, setrlimit};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{MAX_DATA_BYTES, MAX_REGO_BYTES, PolicyFault, PolicyReport, PolicySource, report};

/// Most memory of the child, in bytes: its program's own pages, and room for the largest policy many times over.
const MAX_MEMORY: u64 = 1 << 30;

/// Most processor time of the child, in seconds.
const MAX_PROCESSOR_SECONDS: u64 = 3;

/// Largest message: a policy whose every byte is escaped.
const MAX_MESSAGE: usize = 8 * (MAX_REGO_BYTES + MAX_DATA_BYTES);

/// What the child answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    /// The policy can be put in force.
    Sound(PolicyReport),
    /// It cannot.
    Faults(Vec<PolicyFault>),
}

/// The child's side of [`crate::PolicyCompiler::child`]: reads a policy, answers what the check found. Limits the
/// whole process, so that it is of no other use afterwards.
///
/// # Errors
/// When the limits cannot be set, or reading or writing fails.
pub fn run_compile_worker(mut stdin: impl Read, mut stdout: impl Write) -> io::Result<()> {
    limit(Resource::As, MAX_MEMORY)?;
    limit(Resource::Cpu, MAX_PROCESSOR_SECONDS)?;
    limit(Resource::Core, 0)?;
    let source: PolicySource = read_message(&mut stdin)?;
    let answer = match report(&source) {
        Ok(report) => Answer::Sound(report),
        Err(faults) => Answer::Faults(faults),
    };
    write_message(&mut stdout, &answer)
}

fn limit(resource: Resource, most: u64) -> io::Result<()> {
    setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) }).map_err(io::Error::from)
}

/// Writes a message.
pub(super) fn write_message(out: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let json = serde_json::to_vec(message)?;
    let length = u64::try_from(json.len()).unwrap_or(u64::MAX);
    out.write_all(&length.to_le_bytes())?;
    out.write_all(&json)?;
    out.flush()
}

/// Reads a message.
pub(super) fn read_message<T: DeserializeOwned>(input: &mut impl Read) -> io::Result<T> {
    let mut length = [0; 8];
    input.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if usize::try_from(length).map_or(true, |length| length > MAX_MESSAGE) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the message is too long"));
    }
    let mut json = Vec::new();
    input.take(length).read_to_end(&mut json)?;
    serde_json::from_slice(&json).map_err(io::Error::from)
}
