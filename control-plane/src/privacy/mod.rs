//! What is known of one person, for them to have, and its erasure: their identity is replaced by a pseudonym everywhere, and all figures
//! stay. docs/privacy.md says of every column what it holds.
//!
//! A person is who keys, credentials and events name as their user, and whoever has an account of that id. An erasure takes effect at once:
//! keys, roles, the account, sums and what governs change in its own transaction, and events that arrive later are changed as they are
//! booked ([`arrivals`]). The events that are there already are changed behind it, in steps ([`events`]), because there may be millions.

mod account;
mod arrivals;
mod erase;
mod events;
mod export;
mod routes;
mod store;

pub(crate) use arrivals::{Erased, ErasedCache};
pub(crate) use events::{ERASURE_PERIOD, erasures_run, with_user};
pub(crate) use routes::routes;
