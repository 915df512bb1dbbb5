//! The grammar of projects and their keys.

use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::{label, moment, time};

/// What to do with projects.
#[derive(Debug, Subcommand)]
pub(crate) enum ProjectAction {
    /// List projects
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a project with its settings
    Show {
        /// Name or id of the project
        project: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Create a project
    Create {
        /// Its name
        name: String,
        /// The organisation, by name or id [default: yours, if there is only one]
        #[arg(long, value_name = "ORG")]
        org: Option<String>,
        /// The team that it belongs to, by id
        #[arg(long, value_name = "TEAM")]
        team: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Rename a project
    Rename {
        /// Name or id of the project
        project: String,
        /// Its new name
        name: String,
    },
    /// Delete a project: its keys stop working at once, what it used stays in the ledger
    Delete {
        /// Id of the project
        project: String,
    },
    /// Store the Claude API key that a project's MindWeave keys are exchanged for
    ///
    /// The key is asked for on a terminal, or read from standard input, or from the variable that --from-env names. It
    /// is never an argument: other users of the machine can read those.
    SetUpstream {
        /// Name or id of the project
        project: String,
        /// Read the key from this environment variable
        #[arg(long, value_name = "VARIABLE")]
        from_env: Option<String>,
    },
}

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyAction {
    /// List a project's keys
    List {
        /// Name or id of the project
        project: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Create a key; its secret is shown this once
    Create {
        /// Name or id of the project
        project: String,
        #[command(flatten)]
        key: NewKey,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Give a key a new secret, shown this once; the old one goes on working for a while
    Rotate {
        /// Name or id of the project
        project: String,
        /// Id of the key (`key_...`)
        key: String,
        /// How long the old secret goes on working, for example 1h; 0s ends it at once [default: 24h]
        #[arg(long, value_name = "TIME", value_parser = time)]
        overlap: Option<Duration>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Let a key not work until it is enabled again
    Disable {
        /// Name or id of the project
        project: String,
        /// Id of the key (`key_...`)
        key: String,
    },
    /// Let a disabled key work again
    Enable {
        /// Name or id of the project
        project: String,
        /// Id of the key (`key_...`)
        key: String,
    },
    /// Revoke a key at once
    Revoke {
        /// Name or id of the project
        project: String,
        /// Id of the key (`key_...`)
        key: String,
    },
}

/// A key to create.
#[derive(Debug, Args)]
pub(crate) struct NewKey {
    /// What the key is for
    pub(crate) name: String,
    /// The person or service account that gets it
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// The team that gets it
    #[arg(long)]
    pub(crate) team: Option<String>,
    /// A role of its holder, for policies to decide by; may be repeated
    #[arg(long = "role", value_name = "ROLE")]
    pub(crate) roles: Vec<String>,
    /// A label that every call of the key carries; may be repeated
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    pub(crate) labels: Vec<(String, String)>,
    /// When the key stops working: `2027-01-31` or `2027-01-31T18:00:00Z`
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) expires: Option<Timestamp>,
}
