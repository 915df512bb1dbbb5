//! Rate limits as admins write them. Proxies count; nothing is counted here.

mod answer;
mod read;
mod routes;
mod store;

pub(super) use routes::routes;
