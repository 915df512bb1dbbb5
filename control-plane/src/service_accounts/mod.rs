//! Programs of an organisation. They have roles as people do, and sign in with tokens only.

mod account;
mod routes;
mod store;
mod tokens;

pub(crate) use account::ServiceAccount;
pub(crate) use routes::routes;
