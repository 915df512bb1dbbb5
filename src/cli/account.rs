//! The grammar of what concerns oneself: signing in and out, profiles, one's own tokens.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Server;

/// Options of `login`.
#[derive(Debug, Args)]
pub(crate) struct Login {
    /// URL of the control plane [default: that of the profile, else the one running on this machine]
    #[arg(long, value_name = "URL", env = "MINDWEAVE_SERVER")]
    pub(crate) server: Option<String>,
    /// PEM file of certificate authorities to trust in front of it, beside the machine's own
    #[arg(long, value_name = "FILE", env = "MINDWEAVE_CA_FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// The name under which it is remembered
    #[arg(long, value_name = "NAME", default_value = "default", env = "MINDWEAVE_PROFILE")]
    pub(crate) profile: String,
    /// Your e-mail address [default: it is asked for]
    #[arg(long, conflicts_with_all = ["sso", "with_token"])]
    pub(crate) email: Option<String>,
    /// Sign in at this provider, in a browser
    #[arg(long, value_name = "PROVIDER", conflicts_with = "with_token")]
    pub(crate) sso: Option<String>,
    /// Read an access token from standard input instead, for example that of a service account
    #[arg(long)]
    pub(crate) with_token: bool,
}

/// What to do with profiles.
#[derive(Debug, Subcommand)]
pub(crate) enum ProfileAction {
    /// List the servers that are remembered
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Use this one when a command names none
    Use {
        /// Its name
        name: String,
    },
    /// Forget it. Its token stays valid: `mindweave logout` revokes it as well
    Remove {
        /// Its name
        name: String,
    },
}

/// What to do with one's own access tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenAction {
    /// List your personal access tokens
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Create one; it is shown this once
    Create {
        /// What it is for
        name: String,
        /// What it may be used for: `*`, `read`, or an area with a verb, for example keys:write; may be repeated
        #[arg(long = "scope", value_name = "SCOPE", default_value = "read")]
        scopes: Vec<String>,
        /// For how many days it works [default: the server's]
        #[arg(long, value_name = "DAYS")]
        expires_in_days: Option<u16>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Revoke one at once
    Revoke {
        /// Its id
        token: String,
    },
}

/// A command about oneself at a server.
#[derive(Debug, Args)]
pub(crate) struct WhoAmI {
    #[command(flatten)]
    pub(crate) server: Server,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
