//! How people prove who they are. No SQL and no routes: those are the control plane's.

pub mod oidc;
pub mod passkeys;
pub mod recovery;
pub mod totp;
