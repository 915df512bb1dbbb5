//! The grammar of policies, rate limits and budgets of a server.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// Whom it is about.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Scope {
    /// Whom it is about: org=ID, team=ID, project=ID, and for limits and budgets user=ID or key=ID, or `*` for each one [default: the organisation]
    #[arg(long, value_name = "KIND=ID", value_parser = scope)]
    pub(crate) scope: Option<(String, String)>,
    /// The organisation, by name or id [default: yours, if there is only one]
    #[arg(long, value_name = "ORG")]
    pub(crate) org: Option<String>,
}

fn scope(text: &str) -> Result<(String, String), String> {
    let (kind, id) = text.split_once('=').ok_or("must be KIND=ID, for example project=prj_..")?;
    match kind {
        "org" | "team" | "project" | "user" | "key" => Ok((kind.to_owned(), id.to_owned())),
        _ => Err("the kind must be org, team, project, user or key".to_owned()),
    }
}

/// How a policy is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// It decides
    Enforce,
    /// What it would have said is recorded
    Shadow,
    /// Not at all
    Off,
}

impl Mode {
    /// As the API has it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Shadow => "shadow",
            Self::Off => "off",
        }
    }
}

/// What a policy says.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct PolicyText {
    /// File with the Rego module
    #[arg(long, value_name = "FILE", conflicts_with = "bundled")]
    pub(crate) file: Option<PathBuf>,
    /// One of the policies that come with MindWeave: `mindweave policy bundled` lists them
    #[arg(long, value_name = "NAME")]
    pub(crate) bundled: Option<String>,
    /// File with its data, a JSON object
    #[arg(long, value_name = "FILE")]
    pub(crate) data: Option<PathBuf>,
    /// How it is applied
    #[arg(long, value_enum)]
    pub(crate) mode: Option<Mode>,
}

/// What to do with the policies of a server.
#[derive(Debug, Subcommand)]
pub(crate) enum PoliciesAction {
    /// List policies
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a policy with its text
    Show {
        /// Name or id
        policy: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Create a policy
    Create {
        /// Its name
        name: String,
        #[command(flatten)]
        text: PolicyText,
        #[command(flatten)]
        scope: Scope,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Change a policy: what is not given stays
    Set {
        /// Name or id
        policy: String,
        #[command(flatten)]
        text: PolicyText,
    },
    /// List the versions that there were
    Versions {
        /// Name or id
        policy: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Put an old version in force again
    Restore {
        /// Name or id
        policy: String,
        /// Its number
        version: u32,
    },
    /// Delete a policy
    Delete {
        /// Name or id
        policy: String,
    },
}

/// What a budget says.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct QuotaTerms {
    /// What it counts: cost, tokens or requests
    #[arg(long)]
    pub(crate) unit: Option<String>,
    /// For how long: minute, hour, day, week or month
    #[arg(long)]
    pub(crate) window: Option<String>,
    /// How many requests or tokens
    #[arg(long, conflicts_with = "limit_usd")]
    pub(crate) limit: Option<u64>,
    /// How many dollars, for example 49.99
    #[arg(long, value_name = "DOLLARS")]
    pub(crate) limit_usd: Option<String>,
    /// At the limit: block or warn
    #[arg(long)]
    pub(crate) action: Option<String>,
}

/// What to do with budgets.
#[derive(Debug, Subcommand)]
pub(crate) enum QuotaAction {
    /// List budgets with what was used
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a budget
    Show {
        /// Name or id
        quota: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Create a budget
    Create {
        /// Its name
        name: String,
        #[command(flatten)]
        terms: QuotaTerms,
        #[command(flatten)]
        scope: Scope,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Change a budget: what is not given stays
    Set {
        /// Name or id
        quota: String,
        #[command(flatten)]
        terms: QuotaTerms,
    },
    /// Delete a budget
    Delete {
        /// Name or id
        quota: String,
    },
}

/// What to do with rate limits.
#[derive(Debug, Subcommand)]
pub(crate) enum LimitAction {
    /// List rate limits
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Create a rate limit
    Create {
        /// Its name
        name: String,
        /// requests_per_minute, tokens_per_minute, input_tokens_per_minute, output_tokens_per_minute or concurrent_requests
        #[arg(long)]
        metric: String,
        /// How many
        #[arg(long)]
        limit: u64,
        /// How many may come at once [default: a minute's worth]
        #[arg(long)]
        burst: Option<u64>,
        #[command(flatten)]
        scope: Scope,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete a rate limit
    Delete {
        /// Name or id
        limit: String,
    },
}
