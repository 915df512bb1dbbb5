//! What the control plane needs to start.

use std::net::SocketAddr;

use mindweave_policy::{PolicyCompiler, Secret};

use crate::audit::AuditTopic;
use crate::db::{Database, DatabaseOptions};
use crate::http::settings::HttpSettings;
use crate::http::tls::TlsConfig;
use crate::identity::IdentitySettings;
use crate::intake::EventIntake;
use crate::rollup::Retention;
use crate::secrets::MasterKey;

/// Settings, already checked for form by whoever read them.
#[derive(Clone, Debug)]
pub struct ControlPlaneConfig {
    /// Where the API listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Serves the API over TLS; without it, in the clear.
    pub tls: Option<TlsConfig>,
    /// The ledger.
    pub database: Database,
    /// How it is opened.
    pub database_options: DatabaseOptions,
    /// Whoever presents it as a bearer token may do everything.
    pub admin_token: Secret,
    /// Whoever presents it as a bearer token gets what proxies get, upstream keys included, and may deliver events. Without one
    /// this control plane takes no proxies of other processes.
    pub proxy_token: Option<Secret>,
    /// Checks policies before they are stored. The parser of Rego can be made to take exponential time and memory, so
    /// whatever serves more than trusted input checks in a child process.
    pub policy_compiler: PolicyCompiler,
    /// Seals stored secrets.
    pub master_key: MasterKey,
    /// Takes events of other producers than our proxies; without it, there are no such requests.
    pub events: Option<EventIntake>,
    /// Where entries of the audit log are told, beside their table.
    pub audit_topic: Option<AuditTopic>,
    /// Who may register, how long sessions last, how mails are sent.
    pub identity: IdentitySettings,
    /// Writes what this process measures in Prometheus' text format, for `GET /v1/metrics`; without it, there is no such answer.
    pub metrics: Option<fn() -> String>,
    /// How long usage is kept.
    pub retention: Retention,
    /// Load balancers, browsers, rates.
    pub http: HttpSettings,
}

impl ControlPlaneConfig {
    /// Settings with the defaults for everything that has one.
    pub fn new(listen: SocketAddr, database: Database, admin_token: Secret, master_key: MasterKey) -> Self {
        Self {
            listen,
            tls: None,
            database,
            database_options: DatabaseOptions::default(),
            admin_token,
            proxy_token: None,
            policy_compiler: PolicyCompiler::in_process(),
            master_key,
            events: None,
            audit_topic: None,
            identity: IdentitySettings::default(),
            metrics: None,
            retention: Retention::default(),
            http: HttpSettings::default(),
        }
    }
}
