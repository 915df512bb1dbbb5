//! `POST /governance/evaluate`: what would be decided about a request that nobody sends.
//!
//! Policies are compiled anew for the answer, with empty caches: what it says is what the texts say, and its timing is that of
//! an evaluation, not of a look-up. Proxies notice nothing.

mod answer;
mod budgets;
mod judge;
mod principal;
mod request;
mod routes;
mod shown;

pub(super) use judge::on_policies;
pub(super) use routes::routes;
