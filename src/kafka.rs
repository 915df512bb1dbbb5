//! Where Kafka comes in: what the settings mean to its clients, which way a journal takes, and who takes events from there.
//!
//! A build without Kafka has the same functions. They do nothing, unless Kafka is configured: that is an error then.

#[cfg(feature = "kafka")]
mod consuming;
#[cfg(feature = "kafka")]
mod settings;
#[cfg(feature = "kafka")]
mod telling;
mod way;
#[cfg(not(feature = "kafka"))]
mod without;

#[cfg(feature = "kafka")]
pub(crate) use consuming::Consuming;
#[cfg(feature = "kafka")]
pub(crate) use settings::of as settings_of;
#[cfg(feature = "kafka")]
pub(crate) use telling::audit_topic;
pub(crate) use way::{way_of_events, way_of_journal};
#[cfg(not(feature = "kafka"))]
pub(crate) use without::{Consuming, audit_topic, refuse};
