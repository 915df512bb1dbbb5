//! What proxies of other processes need, under `/internal/v1`: the watch, and the end of their event log.
//!
//! **`GET /internal/v1/watch?proxy_id=..&journal=..[&revision=N&lineage=..]`** answers without end, one line of JSON after
//! the other: [`mindweave_policy::WatchLine`]. First comes what the proxy lacks: nothing when its `revision` of this `lineage`
//! is in force, a change when this process still has that revision, else a whole snapshot. Then changes as they are
//! published; figures of budgets, all at first, then those that changed, right after the commit that changed them and at
//! least every second; a heartbeat every second. `journal` names the journal whose position comes with the figures, and
//! makes the proxy one of the living while the connection lasts.
//!
//! A `lineage` is one run of a control plane: a revision of an earlier run may have been made of another database, one that was
//! put back from a backup.
//!
//! Lines are made when the connection has room for them, so that a slow reader costs one line, gets several changes as one,
//! and is cut off by the listener when it reads nothing for long.
//!
//! **`POST /internal/v1/demand`** takes what a proxy has to say of limits that are divided, a [`mindweave_policy::DemandReport`],
//! about every second, and answers within another one by which portions it is to go: a [`mindweave_policy::ShareAnswer`]. A report that
//! was overtaken by a later one of its journal is refused with 409, one that cannot be taken at the moment with 503.
//!
//! **`POST /internal/v1/events/claim`** and **`POST /internal/v1/events`** are specified in `mindweave-eventlog`, module
//! `delivery`.
//!
//! All of it is opened by the tokens of proxies alone, see `crate::proxies`, and a watch lasts for as long as its token does. It
//! sends upstream keys: outside one machine it belongs on TLS.

mod deliveries;
mod lines;
mod past;
mod routes;

pub(crate) use deliveries::RemoteSources;
pub(crate) use past::Past;
pub(crate) use routes::routes;
