//! Questions over the sums.

mod routes;
mod schema;
mod store;

pub(crate) use routes::routes;
#[cfg(test)]
pub(crate) use store::{Answer, GroupBy, UsageQuery, usage_query};

#[cfg(test)]
mod tests;
