//! Invitations: a role for whoever has an e-mail address, given when they accept it.

mod accept;
mod store;

pub(crate) use accept::{Accepted, accept, invited};
