//! Events of other producers than our proxies: `POST /v1/events` and `POST /v1/track`.
//!
//! Wrappers of SDKs, batch jobs and other gateways say what they used. What they send is checked, completed from their
//! credential, priced where it has no price, and written into a journal of its own before it is answered. From there on it goes
//! the way of every event. Nothing of it is admitted by a proxy: budgets move when it is in the ledger.

mod settings;

pub use settings::EventIntake;
