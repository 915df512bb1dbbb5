//! The grammar of organisations, teams, members and invitations.

use clap::{Args, Subcommand, ValueEnum};

/// What somebody may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Everything
    Owner,
    /// Everything but what only owners may
    Admin,
    /// Makes and uses keys, sees usage
    Developer,
    /// Sees usage, handles invoices
    Billing,
    /// Sees everything, changes nothing
    Auditor,
}

impl Role {
    /// As the API has it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Developer => "developer",
            Self::Billing => "billing",
            Self::Auditor => "auditor",
        }
    }
}

/// Where a role holds: in an organisation, or in one of its teams or projects.
#[derive(Clone, Debug, Args)]
#[group(multiple = false)]
pub(crate) struct Where {
    /// The organisation, by name or id [default: yours, if there is only one]
    #[arg(long, value_name = "ORG")]
    pub(crate) org: Option<String>,
    /// A team, by id
    #[arg(long, value_name = "TEAM")]
    pub(crate) team: Option<String>,
    /// A project, by name or id
    #[arg(long, value_name = "PROJECT")]
    pub(crate) project: Option<String>,
}

/// What to do with organisations.
#[derive(Debug, Subcommand)]
pub(crate) enum OrgAction {
    /// List your organisations
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one
    Show {
        /// Name or id [default: yours, if there is only one]
        org: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Create one
    Create {
        /// Its name
        name: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Change its name or the zone in which its budgets' days begin
    Set {
        /// Name or id [default: yours, if there is only one]
        org: Option<String>,
        /// New name
        #[arg(long)]
        name: Option<String>,
        /// IANA time zone, for example Europe/Berlin
        #[arg(long, value_name = "ZONE")]
        time_zone: Option<String>,
    },
}

/// What to do with teams.
#[derive(Debug, Subcommand)]
pub(crate) enum TeamAction {
    /// List an organisation's teams
    List {
        /// The organisation, by name or id [default: yours, if there is only one]
        #[arg(long, value_name = "ORG")]
        org: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Create a team
    Create {
        /// Its name
        name: String,
        /// The organisation, by name or id [default: yours, if there is only one]
        #[arg(long, value_name = "ORG")]
        org: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Rename a team
    Rename {
        /// Its id
        team: String,
        /// Its new name
        name: String,
    },
    /// Delete a team
    Delete {
        /// Its id
        team: String,
    },
}

/// What to do with members.
#[derive(Debug, Subcommand)]
pub(crate) enum MemberAction {
    /// List who has which role
    List {
        #[command(flatten)]
        place: Where,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Give somebody a role
    Set {
        /// Id of the person (`usr_..`) or service account (`sva_..`)
        member: String,
        /// The role
        #[arg(value_enum)]
        role: Role,
        #[command(flatten)]
        place: Where,
    },
    /// Take somebody's role away
    Remove {
        /// Id of the person or service account
        member: String,
        #[command(flatten)]
        place: Where,
    },
    /// Invite somebody by e-mail
    Invite {
        /// Their address
        email: String,
        /// The role they get
        #[arg(value_enum)]
        role: Role,
        /// The organisation, by name or id [default: yours, if there is only one]
        #[arg(long, value_name = "ORG")]
        org: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List an organisation's invitations
    Invitations {
        /// The organisation, by name or id [default: yours, if there is only one]
        #[arg(long, value_name = "ORG")]
        org: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Take an invitation back
    Uninvite {
        /// Its id
        invitation: String,
    },
}
