//! A faithful fake Claude API for the demo, the tests and the benches.
//!
//! ```text
//! wire (socket that can be cut)
//!   server    accept, TLS, HTTP/1.1 and HTTP/2
//!   service   receive the body, judge the head, log the ending
//!   endpoint  one file per resource of the API
//!   shape     what a message says; sse and message write it down
//!   answer    encoding, framing, cutting up; body sends it at its pace
//! ```
//!
//! Every answer is drawn from a seed and the request's bytes: the same request gets the same bytes back. One header
//! steers an answer (`x-simulate: shape=tools; output_tokens=50`); the keys are listed in the crate's README.
//! The simulator knows nothing of the other crates: it and the meter check each other.

mod answer;
mod body;
mod clock;
mod config;
mod dice;
mod encoding;
mod endpoint;
mod exchange;
mod fault;
mod heads;
mod inquiry;
mod inspect;
mod intake;
mod message;
mod models;
mod prose;
mod request_log;
mod server;
mod service;
mod shape;
mod sse;
mod state;
mod steering;
mod wire;

pub use config::{ResultsOrigin, Seed, SimulatorConfig, TlsFiles};
pub use request_log::{Ending, LoggedRequest, RequestCounts};
pub use server::{Simulator, StartError};
pub use steering::SteeringError;
