//! What the control plane needs to start.

use std::net::SocketAddr;
use std::path::PathBuf;

use mindweave_policy::{PolicyCompiler, Secret};

use crate::rollup::Retention;
use crate::secrets::MasterKey;

/// Settings, already checked for form by whoever read them.
#[derive(Clone, Debug)]
pub struct ControlPlaneConfig {
    /// Where the API listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The SQLite file. Created, for its owner only, when absent.
    pub database: PathBuf,
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
    /// How long usage is kept.
    pub retention: Retention,
}

impl ControlPlaneConfig {
    /// Settings with the defaults for everything that has one.
    pub fn new(listen: SocketAddr, database: PathBuf, admin_token: Secret, master_key: MasterKey) -> Self {
        Self {
            listen,
            database,
            admin_token,
            proxy_token: None,
            policy_compiler: PolicyCompiler::in_process(),
            master_key,
            retention: Retention::default(),
        }
    }
}
