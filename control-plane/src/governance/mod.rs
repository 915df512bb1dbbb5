//! What admins put in force: policies with their versions, rate limits, budgets; and what came of it.

mod stored_specs;

pub(crate) use stored_specs::{governance_read, quotas_read};
