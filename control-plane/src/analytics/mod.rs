//! Questions over the sums.

mod routes;
mod store;

pub(crate) use routes::routes;

#[cfg(test)]
mod tests;
