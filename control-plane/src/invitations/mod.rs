//! Invitations: a role for whoever has an e-mail address, given when they accept it.

mod accept;
mod invite;
mod mail;
mod routes;
mod store;

pub(crate) use accept::{accept, invited};
pub(crate) use routes::routes;
