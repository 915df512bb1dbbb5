//! Who may call `/internal/v1`, with what, and for how long that holds.
//!
//! A proxy proves itself by a token: the one that the control plane was started with, which may do everything a proxy does, or
//! one that was made through the API, which may be for some of it, until some time, and from a certificate of some name only.
//! Where the listener has authorities for clients, a certificate of theirs is needed beside the token, whichever it is.
//!
//! Tokens are looked up in what was last read of the database, which is read again twice a second: a token that was made or
//! revoked through another control plane is known here within a second. An answer that does not end, as the watch, carries a
//! [`Pass`] and ends when that does not hold any more.

mod door;
mod routes;
mod scope;
mod secret;
mod store;
mod tokens;

pub(crate) use door::{Door, Pass, require};
pub(crate) use routes::routes;
pub(crate) use tokens::{REFRESH_PERIOD, REFRESH_TASK, Tokens, TokensError};

#[cfg(test)]
pub(crate) mod tests;
