//! Who people and programs are, and how they prove it: tokens of sessions, personal access tokens, those of service accounts.

mod resolve;
pub(crate) mod second_factor;
mod token;

pub(crate) use resolve::{Resolved, resolve};
