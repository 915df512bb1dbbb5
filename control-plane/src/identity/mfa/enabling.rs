//! Switches the codes of an authenticator app on and off.

use mindweave_identity::totp::{TOTP_SECRET_BYTES, Totp};
use mindweave_policy::Secret;
use serde::Serialize;
use zeroize::Zeroizing;

use super::store::{self, TotpRow};
use crate::access::Caller;
use crate::app::App;
use crate::audit::{self, Chain, Change};
use crate::db::{Connection, StoreError};
use crate::http::problem::{Code, Problem};
use crate::identity::SignedIn;
use crate::identity::users;
use crate::secrets::totp_owner;
use crate::{clock, entropy};

/// What apps show above the code.
const ISSUER: &str = "MindWeave";

/// A secret for an app, not yet in force.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct TotpSetup {
    /// Base32, for apps that cannot scan.
    #[schema(example = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")]
    pub(super) secret: String,
    /// For a QR code.
    #[schema(example = "otpauth://totp/MindWeave:ada%40example.com?secret=GEZDG..&issuer=MindWeave")]
    pub(super) uri: String,
}

/// Makes a secret that is in force once a code of it was shown.
pub(super) async fn begin(
    tx: &mut Connection,
    app: &App,
    caller: &Caller,
    person: &SignedIn,
) -> Result<TotpSetup, Problem> {
    let user_id = &*person.user_id;
    let user = users::user_view(tx, user_id).await?;
    let user = user.ok_or(StoreError::Corrupt { what: "the user of a session" })?;
    let random = entropy::bytes::<TOTP_SECRET_BYTES>().map_err(|error| Problem::internal(&error))?;
    let totp = Totp::new(&Zeroizing::new(random));
    let secret = totp.secret_text();
    let sealed = app.master_key.seal(&totp_owner(user_id), &secret);
    let sealed = sealed.map_err(|error| Problem::internal(&error))?;
    if !store::totp_put(tx, user_id, &sealed, clock::now()).await? {
        let detail = "codes of an app are on already; switch them off first to change to another app";
        return Err(Problem::new(Code::AlreadyEnabled, detail));
    }
    audit::record(tx, caller, Change::new(Chain::Installation, "mfa.setup_begun", "user", user_id)).await?;
    let uri = totp.uri(ISSUER, &user.email).map_err(|error| Problem::internal(&error))?;
    let (secret, uri) = (secret.expose_secret().to_owned(), uri.expose_secret().to_owned());
    Ok(TotpSetup { secret, uri })
}

/// Whether this is a code of somebody's app that is on (or, with `unconfirmed`, is to be switched on) and that nobody has shown yet.
pub(super) async fn code_take(
    tx: &mut Connection,
    app: &App,
    user_id: &str,
    code: &Secret,
    unconfirmed: bool,
) -> Result<bool, Problem> {
    let Some(TotpRow { sealed, confirmed_at }) = store::totp_find(tx, user_id).await? else {
        return Ok(false);
    };
    if confirmed_at.is_none() != unconfirmed {
        return Ok(false);
    }
    let opened = app.master_key.open(&totp_owner(user_id), &sealed);
    let text = opened.map_err(|error| Problem::internal(&error))?;
    let totp = Totp::from_secret_text(&text).map_err(|error| Problem::internal(&error))?;
    let seconds = u64::try_from(clock::now().as_second()).unwrap_or(0); // before 1970: a broken clock, and no code is good
    match totp.step(code.expose_secret(), seconds) {
        Some(step) => Ok(store::totp_step_take(tx, user_id, step).await?),
        None => Ok(false),
    }
}
