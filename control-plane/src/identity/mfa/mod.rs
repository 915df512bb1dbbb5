//! Second factors: codes of an authenticator app, recovery codes for when it is lost, and what proves that whoever changes them is the
//! person whose they are. Passkeys are next door.

mod enabling;
mod proof;
mod recovery;
mod routes;
mod store;
mod verify;

pub(crate) use proof::{Demand, PasskeyAnswer, PasskeyAnswerBody, Proof, ProofBody, confirm, wrong};
pub(crate) use recovery::{codes_end_if_useless, codes_make_if_none};
pub(crate) use routes::{public_routes, routes};
