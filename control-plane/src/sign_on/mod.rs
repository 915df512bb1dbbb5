//! Sign-on at providers of OpenID Connect: which ones an organisation has, and how people come in by them.
//!
//! What a provider says counts within its organisation only. Whoever administers one could have it say anything, so its word about an
//! e-mail address never opens an account that somebody may already use elsewhere: see `person`.

mod calls;
mod code;
mod cookie;
mod flow;
mod flow_routes;
mod person;
mod person_store;
mod provider;
mod read;
mod refusal;
mod return_to;
mod routes;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use calls::SignOn;
pub(crate) use flow_routes::routes as public_routes;
pub(crate) use routes::routes;
pub(crate) use store::is_enabled;
