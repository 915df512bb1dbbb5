//! The grammar of `audit` and of `secrets`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use mindweave_control_plane::Anchor;

/// What to do with an audit log.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditAction {
    /// Verify an export (`GET /audit/export`), offline; exits with 1 when it was tampered with, and with 2 when it cannot be read
    Verify(AuditVerify),
}

/// Options of `audit verify`.
#[derive(Debug, Args)]
pub(crate) struct AuditVerify {
    /// The export; `-` reads standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// An entry that it must have, from a log line, a message or an earlier run; may be repeated
    #[arg(long = "head", value_name = "SEQUENCE:HASH", value_parser = anchor)]
    pub(crate) heads: Vec<Anchor>,
    /// An older export of the same chain, which it must go on from
    #[arg(long, value_name = "FILE")]
    pub(crate) against: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

fn anchor(text: &str) -> Result<Anchor, String> {
    text.parse().map_err(str::to_owned)
}

/// What to do with what is sealed in the database.
#[derive(Debug, Subcommand)]
pub(crate) enum SecretsAction {
    /// Seal everything under the present master key that is under a previous one; servers may run meanwhile
    ///
    /// Needs both keys. docs/secrets.md has the steps. May be broken off and run again. Exits with 1 unless everything is under the
    /// present key then.
    Rotate {
        /// Only say what is under which key
        #[arg(long)]
        check: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print a new master key
    NewKey,
}
