//! Who people and programs are, and how they prove it: tokens of sessions, personal access tokens, those of service accounts.

pub(crate) mod api_tokens;
mod cleanup;
mod login;
mod mails;
mod me;
pub(crate) mod mfa;
pub(crate) mod one_time;
pub(crate) mod passkeys;
mod passwords;
mod person;
mod reclaim;
mod registration;
mod requests;
mod resolve;
mod routes;
pub(crate) mod second_factor;
mod service;
pub(crate) mod session;
mod session_routes;
mod session_store;
mod settings;
mod setup;
mod start;
pub(crate) mod throttle;
mod token;
pub(crate) mod users;

pub(crate) use cleanup::{PERIOD as CLEANUP_PERIOD, identity_prune};
pub(crate) use person::SignedIn;
pub(crate) use resolve::{Resolved, resolve};
pub(crate) use routes::{public_routes, routes};
pub(crate) use service::Identity;
pub use settings::{IdentitySettings, Registration};
pub use start::IdentityError;
pub(crate) use start::{Started, start};
pub(crate) use token::TokenKind;
