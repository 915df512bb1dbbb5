//! Who may do what. A request has a [`Caller`]; asking it for access to a thing gives a permit, and store methods of what belongs
//! to somebody take a permit: what was not authorised cannot be read or written.
//!
//! Whoever may not even see a thing is told that there is none (404); whoever may see it and not do this is refused (403).

mod authority;
mod caller;
mod grants;
mod permit;
mod reach;
mod role;
mod scope;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use authority::{Authority, authority_of};
pub(crate) use caller::{Actor, Caller, Origin};
pub(crate) use grants::{Grant, Grants, Place};
pub(crate) use permit::{InstallationPermit, OrgPermit, PlacePermit, ProjectPermit, TeamPermit};
pub(crate) use reach::Reach;
pub(crate) use role::{ROLES, Role};
pub(crate) use scope::{Access, Area, Scopes};
pub(crate) use store::{grants_read, place_exists};
