//! Real servers for tests: [`Kafka`], [`Postgres`] and [`Smtp`], each in a private folder on ports of its own.
//!
//! A test starts them, kills, stops, freezes and starts them again, and they are gone with the process that started them,
//! whatever ended it. A server that cannot start fails the test and says what to install: no test is skipped quietly. The
//! functions block, and may be called from plain tests and from asynchronous ones.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and all of this crate is for tests"
)]

mod cache;
mod certificates;
mod kafka;
mod passkeys;
mod ports;
mod postgres;
mod process;
mod smtp;

pub use certificates::{Certificate, TestCa};
pub use kafka::{Kafka, KafkaOptions, SASL_PASSWORD, SASL_USER, Security};
pub use passkeys::PasskeyBrowser;
pub use postgres::{Postgres, PostgresOptions, Tls, timescale};
pub use smtp::{ReceivedMail, Smtp};
