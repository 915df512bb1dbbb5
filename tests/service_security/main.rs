//! Proxy and control plane as two processes over mutual TLS, and the tokens that proxies have.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../harness/mod.rs"]
mod harness;

mod command_line;
mod mutual;
mod pki;
mod replicas;
mod rotation;
mod tokens;
