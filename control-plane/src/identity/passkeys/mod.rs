//! Passkeys: made by who is signed in, shown as a second factor, or enough alone.

mod assertion;
mod registration;
mod routes;
mod sign_in;
mod store;

use mindweave_identity::passkeys::{PasskeyError, RelyingParty};

pub(crate) use assertion::assertion_take;
pub(crate) use routes::{public_routes, routes};

use crate::app::App;
use crate::http::problem::{Code, Problem};

/// Who we are to authenticators.
///
/// # Errors
/// 409 `passkeys_unavailable` where the address of this installation is none for which there can be passkeys.
fn relying_party(app: &App) -> Result<RelyingParty, Problem> {
    RelyingParty::new(app.identity.public_url()).map_err(|error| {
        let detail = format!("{error}; whoever runs this installation sets its public_url");
        Problem::new(Code::PasskeysUnavailable, detail)
    })
}

/// What an authenticator's answer is refused with where that has no consequence but the refusal.
fn refused(error: PasskeyError) -> Problem {
    match error {
        PasskeyError::Malformed | PasskeyError::Refused => {
            Problem::new(Code::InvalidField, format!("credential: {error}; begin again"))
        }
        PasskeyError::Stored => Problem::internal(&error),
    }
}
