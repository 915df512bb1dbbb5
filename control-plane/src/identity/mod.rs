//! Who people and programs are, and how they prove it: tokens of sessions, personal access tokens, those of service accounts.

mod mails;
pub(crate) mod one_time;
mod person;
mod requests;
mod resolve;
pub(crate) mod second_factor;
mod service;
pub(crate) mod session;
mod session_store;
mod settings;
mod start;
pub(crate) mod throttle;
mod token;
pub(crate) mod users;

pub(crate) use person::SignedIn;
pub(crate) use resolve::{Resolved, resolve};
pub(crate) use service::Identity;
pub use settings::{IdentitySettings, Registration};
pub use start::IdentityError;
pub(crate) use start::start;
pub(crate) use token::TokenKind;
