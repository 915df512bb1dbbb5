//! Tokens of programs: personal access tokens, which act as the person who made them, and those of service accounts. Each may do what its
//! holder may and its scopes name; it is shown once, ends by itself, and dies at once when it is revoked.

mod holder;
mod make;
mod routes;
mod store;
mod uses;
mod view;

pub(crate) use holder::Holder;
pub(crate) use make::{TokenCreate, answer, make};
pub(crate) use routes::routes;
pub(crate) use store::{token_find, token_list, token_revoke, tokens_revoke_all};
pub(crate) use uses::{USES_PERIOD, USES_TASK, Uses};
pub(crate) use view::{ApiToken, NewApiToken};
