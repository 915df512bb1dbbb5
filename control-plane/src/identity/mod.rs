//! Who people and programs are, and how they prove it: tokens of sessions, personal access tokens, those of service accounts.

mod resolve;
mod token;

pub(crate) use resolve::{Resolved, resolve};
