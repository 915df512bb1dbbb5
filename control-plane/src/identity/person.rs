//! A person who is signed in, for what people do about themselves.

use std::sync::Arc;

use crate::access::{Actor, Caller};
use crate::http::problem::{Code, Problem};

/// Whoever signed in, by the session that asks. Tokens for programs are none: they may not change how their holder signs in.
#[derive(Clone, Debug)]
pub(crate) struct SignedIn {
    pub(crate) user_id: Arc<str>,
    pub(crate) session_id: Arc<str>,
}

impl SignedIn {
    /// The person who calls.
    ///
    /// # Errors
    /// 403 `sign_in_required` for tokens of programs and the admin token.
    pub(crate) fn of(caller: &Caller) -> Result<Self, Problem> {
        match caller.actor() {
            Actor::User { id, session_id: Some(session_id), .. } => {
                Ok(Self { user_id: Arc::clone(id), session_id: Arc::clone(session_id) })
            }
            Actor::User { session_id: None, .. }
            | Actor::AdminToken
            | Actor::ServiceAccount { .. }
            | Actor::Anonymous
            | Actor::System => Err(Problem::new(
                Code::SignInRequired,
                "this is for people who have signed in; the token of a program does not do",
            )),
        }
    }
}
