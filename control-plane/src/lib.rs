//! Everything an admin or finance touches: projects, keys, ingest, usage queries.
//!
//! One folder a domain: `routes.rs` (the API), `store.rs` (all of its SQL). What they share: `http` (problem details, the
//! reading of requests, the listener), `db` (one writer, a few readers), `snapshot` (what proxies know, published at every
//! change), `rollup` (sums by minute, hour and day), `secrets` (sealing), `tasks` (background work).
//!
//! The data plane meets this crate in three places only: it reads [`ControlPlane::snapshots`] and [`ControlPlane::usage_feed`],
//! and delivers events to [`ControlPlane::usage_sink`]. For proxies in other processes, `watch` is all three over HTTP.

mod access;
mod analytics;
mod app;
mod audit;
mod clock;
mod config;
mod control_plane;
mod credentials;
mod db;
mod entropy;
mod governance;
mod http;
mod identity;
mod import;
mod intake;
mod invitations;
mod keys;
mod leadership;
mod members;
mod metrics;
mod orgs;
mod privacy;
mod projects;
mod proxies;
mod rollup;
mod secrets;
mod service_accounts;
mod shares;
mod sign_on;
mod snapshot;
mod stored;
mod tasks;
mod teams;
#[cfg(test)]
mod testing;
mod usage;
mod watch;

pub use audit::{
    Anchor, AuditFault, AuditFaultKind, AuditMessage, AuditSink, AuditTopic, ExportError, ExportReport,
    NotTold, export_verify,
};
pub use config::ControlPlaneConfig;
pub use control_plane::{ControlPlane, StartError};
pub use db::{
    Database, DatabaseOptions, DividedTable, LEAST_CONNECTIONS, MigrateMode, OpenError, PendingMigration,
    SchemaError, SchemaState, SchemaStatus, StoreError,
};
pub use entropy::NoEntropy;
pub use governance::ReservedView;
pub use http::rates::{DEFAULT_ADDRESS_RATE, DEFAULT_CALLER_RATE, RateLimits};
pub use http::settings::HttpSettings;
pub use http::tls::{DEFAULT_TLS_RELOAD_INTERVAL, TlsConfig, TlsError};
pub use identity::{IdentityError, IdentitySettings, Registration};
pub use import::{ImportError, ImportProgress, ImportReport, ImportedTable, ledger_import};
pub use intake::EventIntake;
pub use mindweave_identity::mail::{MailSettings, MailStartError, Sender, SmtpUrl, SmtpUrlFault};
pub use mindweave_identity::password::PasswordParameters;
pub use rollup::Retention;
pub use secrets::{
    MasterKey, MasterKeyError, RotationError, SecretsReport, SecretsTable, UnsealError, secrets_check,
    secrets_rotate,
};
pub use usage::{UsageFeeds, UsageSink, UsageSinks, UsageSubscription};
