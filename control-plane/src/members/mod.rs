//! Who has which role where: in an organisation, its teams and its projects. Roles are given by hand, by an invitation, or by the groups
//! of a sign-on provider; each stands for itself, and the strongest holds.

mod bind;
mod edit;
mod id;
mod list;
mod routes;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use bind::{MANUAL, Source, may_give, role_accept, role_bind, role_unbind, roles_from_sign_on};
pub(crate) use edit::read_role;
pub(crate) use id::generate as id_generate;
pub(crate) use routes::routes;
pub(crate) use store::bindings_of;
