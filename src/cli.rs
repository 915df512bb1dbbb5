//! The command line's grammar. What each command does is in the file of its name.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::Timestamp;
use mindweave_simulator::Seed;

use crate::config::{Database, Role, Setting};
use crate::profiles::{Profile, Profiles};

mod account;
mod audit;
mod governance;
mod projects;
mod tenancy;

pub(crate) use account::{Login, ProfileAction, TokenAction, WhoAmI};
pub(crate) use audit::{AuditAction, AuditVerify, SecretsAction};
pub(crate) use governance::{LimitAction, PoliciesAction, PolicyText, QuotaAction, QuotaTerms, Scope};
pub(crate) use projects::{KeyAction, NewKey, ProjectAction};
pub(crate) use tenancy::{MemberAction, OrgAction, TeamAction, Where};

const SECONDS_A_DAY: u64 = 86_400;

/// Meters Claude API traffic: a transparent proxy and the ledger of what every call cost.
///
/// Without a command it serves.
#[derive(Debug, Parser)]
#[command(name = "mindweave", version, max_term_width = 110)]
pub(crate) struct Cli {
    /// Configuration file [default: ./mindweave.toml if there is one]
    #[arg(long, global = true, value_name = "FILE", env = "MINDWEAVE_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the proxy and its control plane in one process (what `mindweave` alone does)
    Serve,
    /// Run a proxy alone, for the control plane that `proxy.control_plane` names
    Proxy,
    /// Run the control plane alone, for proxies on this and other machines
    ControlPlane,
    /// Show live metered traffic against a simulated API; needs no Claude key
    Demo(Demo),
    /// Run a simulated Claude API
    Simulate(Simulate),
    /// Sign in at a server, for the commands that follow
    Login(Login),
    /// Sign out: revoke the token that `login` made, and forget the server
    Logout {
        /// Which profile [default: the current one]
        #[arg(long, value_name = "NAME", env = "MINDWEAVE_PROFILE")]
        profile: Option<String>,
    },
    /// Say who you are at a server, and what your token may be used for
    Whoami(WhoAmI),
    /// The servers that you are signed in at
    Profiles {
        #[command(subcommand)]
        action: ProfileAction,
    },
    /// Your own access tokens
    Tokens {
        #[command(flatten)]
        server: Server,
        #[command(subcommand)]
        action: TokenAction,
    },
    /// Organisations
    Orgs {
        #[command(flatten)]
        server: Server,
        #[command(subcommand)]
        action: OrgAction,
    },
    /// Teams of an organisation
    Teams {
        #[command(flatten)]
        server: Server,
        #[command(subcommand)]
        action: TeamAction,
    },
    /// Who has which role, and invitations
    Members {
        #[command(flatten)]
        server: Server,
        #[command(subcommand)]
        action: MemberAction,
    },
    /// List and change projects
    Projects {
        #[command(flatten)]
        server: Server,
        #[command(subcommand)]
        action: ProjectAction,
    },
    /// List, create and revoke a project's MindWeave keys
    Keys {
        #[command(flatten)]
        server: Server,
        #[command(subcommand)]
        action: KeyAction,
    },
    /// The policies of a server
    Policies {
        #[command(flatten)]
        server: Server,
        #[command(subcommand)]
        action: PoliciesAction,
    },
    /// Budgets
    Quotas {
        #[command(flatten)]
        server: Server,
        #[command(subcommand)]
        action: QuotaAction,
    },
    /// Rate limits
    Limits {
        #[command(flatten)]
        server: Server,
        #[command(subcommand)]
        action: LimitAction,
    },
    /// Show what was used and what it cost
    Usage(Box<Usage>),
    /// Test and try policies, and print the bundled ones; needs no server
    Policy {
        #[command(subcommand)]
        action: PolicyAction,
    },
    /// Verify an export of the audit log; needs no server
    Audit {
        #[command(subcommand)]
        action: AuditAction,
    },
    /// Master keys, and what is sealed under which
    Secrets {
        #[command(subcommand)]
        action: SecretsAction,
    },
    /// Show and change the schema of the ledger's database
    Migrate {
        #[command(subcommand)]
        action: MigrateAction,
    },
    /// Print a configuration file with every setting, its meaning and its default
    Config,
    /// Print what completes commands in a shell, for example: mindweave completions bash > /etc/bash_completion.d/mindweave
    Completions {
        /// Which shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Check configuration, folders, ports, clock and the way to the API
    Doctor {
        /// For which command [default: proxy where `proxy.control_plane` is set, else serve]
        #[arg(long = "for", value_enum, value_name = "COMMAND")]
        role: Option<Role>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// How to reach the control plane.
#[derive(Clone, Debug, Args)]
pub(crate) struct Server {
    /// URL of the control plane [default: that of the profile, else the one running on this machine]
    #[arg(long, global = true, value_name = "URL", env = "MINDWEAVE_SERVER")]
    pub(crate) server: Option<String>,
    /// Access token, or the admin token [default: that of the profile, else the admin token in the data folder]
    #[arg(long, global = true, value_name = "TOKEN", env = "MINDWEAVE_ADMIN_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// Which profile of `mindweave login` [default: the current one]
    #[arg(long, global = true, value_name = "NAME", env = "MINDWEAVE_PROFILE")]
    pub(crate) profile: Option<String>,
    /// PEM file of certificate authorities to trust in front of it, beside the machine's own
    #[arg(long, global = true, value_name = "FILE", env = "MINDWEAVE_CA_FILE")]
    pub(crate) ca_file: Option<PathBuf>,
}

impl Server {
    /// The profile that is meant. Without a name, the current one stands in only where neither server nor token is given: a token
    /// must not go to a server that it is not for.
    ///
    /// # Errors
    /// When there is no such profile, or they cannot be read.
    pub(crate) fn remembered(&self) -> anyhow::Result<Option<Profile>> {
        if self.profile.is_none() && (self.server.is_some() || self.token.is_some()) {
            return Ok(None);
        }
        Ok(Profiles::read()?.chosen(self.profile.as_deref())?.cloned())
    }
}

/// Options of `demo`.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Stop after this time, for example 10s
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    pub(crate) stop_after: Option<Duration>,
    /// Keep the ledger of the demo instead of deleting it at the end
    #[arg(long)]
    pub(crate) keep: bool,
}

/// Options of `simulate`.
#[derive(Debug, Args)]
pub(crate) struct Simulate {
    /// Address to listen on; port 0 takes any free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8787")]
    pub(crate) listen: SocketAddr,
    /// Where answers come from: a number gives the same answer to the same request, `random` never does
    #[arg(long, value_name = "NUMBER|random", default_value = "1", value_parser = seed)]
    pub(crate) seed: Seed,
    /// Steering for every answer, as in the header x-simulate, for example `chunk_delay_ms=20`
    #[arg(long, value_name = "KEY=VALUE;..", default_value = "", hide_default_value = true)]
    pub(crate) defaults: String,
    /// Serve TLS with this PEM file of the certificate chain
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// And this PEM file of its private key
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
}

/// What to do with the schema.
#[derive(Debug, Subcommand)]
pub(crate) enum MigrateAction {
    /// Show the schema's version, what it lacks and how the big tables are divided; exits with 1 unless it is up to date
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Bring the schema up to date; safe while servers start or run, also several times at once
    Up {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Move the ledger of a stopped `mindweave serve` into the empty PostgreSQL database that `control_plane.database` names
    ///
    /// Wholly or not at all; the file stays as it is.
    Import {
        /// The ledger: `sqlite:PATH`, or `sqlite:` for the one in the data folder
        #[arg(long, value_name = "sqlite:PATH", value_parser = ledger_file)]
        from: Database,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// What to do with policies.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyAction {
    /// Run policies on their cases; exits with 1 when one fails
    ///
    /// `x.rego` is tested by `x_cases.toml` beside it. `policies/README.md` explains the format.
    Test {
        /// Folders, policies (*.rego) or cases (*_cases.toml) [default: the bundled policies]
        #[arg(value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// Show every case, not only those that fail
        #[arg(long, short = 'v')]
        verbose: bool,
    },
    /// Ask a policy about one made-up request
    Eval(PolicyEval),
    /// List the policies that come with MindWeave, or print one
    Bundled {
        /// Which one
        name: Option<String>,
        /// Print an example of its data instead of its text
        #[arg(long, requires = "name")]
        data: bool,
    },
    /// Check the policy on standard input (what the server starts to check policies in)
    #[command(hide = true)]
    CompileWorker,
}

/// Options of `policy eval`.
#[derive(Debug, Args)]
pub(crate) struct PolicyEval {
    /// The policy, a Rego module
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: PathBuf,
    /// JSON with what differs from an ordinary request [default: nothing]
    #[arg(long, value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,
    /// JSON with the policy's data [default: {}]
    #[arg(long, value_name = "FILE")]
    pub(crate) data: Option<PathBuf>,
    /// Show the whole input as the policy saw it
    #[arg(long)]
    pub(crate) show_input: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `usage`.
#[derive(Debug, Args)]
pub(crate) struct Usage {
    #[command(flatten)]
    pub(crate) server: Server,
    /// Print calls as they land, until interrupted
    #[arg(long, short = 'f', conflicts_with_all = ["from", "to", "group_by", "interval", "events"])]
    pub(crate) follow: bool,
    /// List single calls instead of sums; of the last 24 hours unless --from says otherwise
    #[arg(long, conflicts_with_all = ["group_by", "interval"])]
    pub(crate) events: bool,
    /// Print JSON, one object a line when following
    #[arg(long, conflicts_with = "csv")]
    pub(crate) json: bool,
    /// Print CSV
    #[arg(long)]
    pub(crate) csv: bool,
    /// From when on: `2026-11-21`, `2026-11-21T08:00:00Z` or `24h` ago [default: 30 days ago]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) from: Option<Timestamp>,
    /// Until when, in the same forms
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) to: Option<Timestamp>,
    /// Only this project, by name or id
    #[arg(long, value_name = "PROJECT")]
    pub(crate) project: Option<String>,
    /// Only this model
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// What to sum by; several with commas [default: project,model]
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) group_by: Vec<GroupBy>,
    /// One row for each minute, hour or day
    #[arg(long, value_enum)]
    pub(crate) interval: Option<Interval>,
}

/// What usage can be summed by. Without further words: help then lists the values in one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GroupBy {
    Project,
    Model,
    Key,
    User,
    Team,
}

/// How usage can be split over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Interval {
    Minute,
    Hour,
    Day,
}

fn time(text: &str) -> Result<Duration, String> {
    Duration::read(text).ok_or_else(|| format!("must be {}", Duration::allowed()))
}

fn ledger_file(text: &str) -> Result<Database, String> {
    let read = Database::read(text).filter(|database| !matches!(database, Database::Server(_)));
    read.ok_or_else(|| "must be `sqlite:PATH`, or `sqlite:` for the ledger in the data folder".to_owned())
}

fn seed(text: &str) -> Result<Seed, String> {
    match text {
        "random" => Ok(Seed::PerRequest),
        number => number.parse().map(Seed::Fixed).map_err(|_| "must be a number or `random`".to_owned()),
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn moment(text: &str) -> Result<Timestamp, String> {
    moment_before(Timestamp::now(), text).ok_or_else(|| {
        "must be a day (2026-11-21), a time (2026-11-21T08:00:00Z) or a time ago (90m, 24h, 7d)".to_owned()
    })
}

/// A timestamp, the start of a day (UTC), or a time before `now`.
fn moment_before(now: Timestamp, text: &str) -> Option<Timestamp> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at);
    }
    if let Ok(day) = text.parse::<jiff::civil::Date>() {
        return day.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|start| start.timestamp());
    }
    let ago = match text.strip_suffix('d') {
        Some(days) => Duration::from_secs(SECONDS_A_DAY.checked_mul(days.parse().ok()?)?),
        None => Duration::read(text)?,
    };
    now.checked_sub(jiff::SignedDuration::try_from(ago).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn moments_are_days_times_or_times_ago() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        for (text, at) in [
            ("2026-11-20", "2026-11-20T00:00:00Z"),
            ("2026-11-21T08:30:00+02:00", "2026-11-21T06:30:00Z"),
            ("2d", "2026-11-19T12:00:00Z"),
            ("90m", "2026-11-21T10:30:00Z"),
        ] {
            assert_eq!(moment_before(now, text).unwrap().to_string(), at, "{text}");
        }
        for text in ["yesterday", "", "-3d", "d", "2026-13-01", "999999999999d"] {
            assert_eq!(moment_before(now, text), None, "{text}");
        }
    }

    #[test]
    fn global_options_may_follow_the_action() {
        let cli = Cli::try_parse_from(["mindweave", "projects", "list", "--server", "http://x"]).unwrap();
        let Some(Command::Projects { server, .. }) = cli.command else { panic!("not projects") };
        assert_eq!(server.server.as_deref(), Some("http://x"));
    }
}
