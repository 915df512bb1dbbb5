//! What was used of each budget, moved in the transaction that books the events.

mod seed;

pub(crate) use seed::{CounterRow, counter_delete, counter_seed, counters_reseed, counters_view};
