//! Passwords: which are taken, and how they are stored.

mod hasher;
mod policy;

pub use hasher::{HashError, PasswordHasher, PasswordParameters, Verified};
pub use policy::{MAX_PASSWORD_CHARS, MIN_PASSWORD_CHARS, PasswordFault, check_password};
