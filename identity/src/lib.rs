//! How people prove who they are. No SQL and no routes: those are the control plane's.

pub mod mail;
mod metrics;
pub mod oidc;
pub mod passkeys;
pub mod password;
pub mod recovery;
pub mod totp;

pub use metrics::register as register_metrics;
