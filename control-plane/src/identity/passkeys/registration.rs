//! `POST /auth/passkeys/register/start` and `finish`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, LOCATION};
use axum::response::IntoResponse;
use mindweave_identity::passkeys::Person;
use serde::{Deserialize, Serialize};

use super::assertion::{CHALLENGE_LIFETIME, Ceremony};
use super::store::{self, PasskeyView};
use super::{refused, relying_party};
use crate::access::Caller;
use crate::app::App;
use crate::audit::{self, Chain, Change};
use crate::db::{Doing, StoreError};
use crate::http::body::Fields;
use crate::http::problem::{Code, Problem};
use crate::identity::mfa::{Demand, PasskeyAnswer, Proof, codes_make_if_none, confirm};
use crate::identity::one_time::{self, Purpose};
use crate::identity::{SignedIn, users};
use crate::{clock, members};

/// What ids of passkeys start with.
const ID_PREFIX: &str = "pky_";
/// Most passkeys of one person: more than anybody has devices.
const MAX_PASSKEYS: usize = 20;

/// What is kept until the authenticator answers.
#[derive(Serialize, Deserialize)]
struct Begun {
    state: String,
}

/// Begins to make a passkey of yours. Takes your password, and a second factor if you have one, unless you have signed in within ten minutes.
#[utoipa::path(
    post, path = "/auth/passkeys/register/start", tag = "auth", operation_id = "passkey_register_start",
    request_body = crate::identity::mfa::ProofBody,
    responses((status = 200, body = Ceremony)),
    extensions(("x-access" = json!("self"))),
)]
pub(super) async fn passkey_register_start(
    State(app): State<App>,
    caller: Caller,
    mut fields: Fields,
) -> Result<impl IntoResponse, Problem> {
    let person = SignedIn::of(&caller)?;
    let proof = Proof::read(&mut fields);
    fields.finish()?;
    let here = relying_party(&app)?;
    let mut tx = confirm(&app, &caller, &person, proof, Demand::Fresh).await?;
    let user = users::user_view(&mut tx, &person.user_id).await?;
    let user = user.ok_or(StoreError::Corrupt { what: "the user of a session" })?;
    let existing = store::passkeys_of(&mut tx, &user.id).await?;
    if existing.len() >= MAX_PASSKEYS {
        let detail = format!("there may be at most {MAX_PASSKEYS} passkeys; delete one first");
        return Err(Problem::new(Code::TooMany, detail));
    }
    let whose = Person { id: &user.id, name: &user.email, display_name: &user.name };
    let started = here.start_registration(whose, &existing).map_err(refused)?;
    let begun = Begun { state: started.state };
    let purpose = Purpose::PasskeyRegistration;
    let token = one_time::issue(&mut tx, purpose, Some(&user.id), &begun, CHALLENGE_LIFETIME).await?;
    tx.commit().await.doing("beginning to make a passkey")?;
    let ceremony = Ceremony { token: token.expose_secret().to_owned(), public_key: started.options };
    Ok(([(CACHE_CONTROL, "no-store")], Json(ceremony)))
}

/// An authenticator's answer, and what the passkey is to be called.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `passkey_register_finish` reads")]
pub(super) struct PasskeyRegister {
    /// Of the start.
    #[schema(min_length = 1, max_length = 1024, pattern = "^[!-~]+$", example = "mwo_..")]
    token: String,
    /// What `PublicKeyCredential.toJSON()` gives.
    #[schema(value_type = Object)]
    credential: serde_json::Value,
    /// By which you recognise it.
    #[schema(min_length = 1, max_length = 200, example = "laptop")]
    name: String,
}

/// A new passkey.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct PasskeyAdded {
    #[serde(flatten)]
    passkey: PasskeyView,
    /// With your first second factor: each stands in for one, once. They are shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    recovery_codes: Option<Vec<String>>,
}

/// Ends the making of a passkey. From then on your password alone is not enough.
#[utoipa::path(
    post, path = "/auth/passkeys/register/finish", tag = "auth", operation_id = "passkey_register_finish",
    request_body = PasskeyRegister,
    responses((status = 201, body = PasskeyAdded)),
    extensions(("x-access" = json!("self"))),
)]
pub(super) async fn passkey_register_finish(
    State(app): State<App>,
    caller: Caller,
    mut fields: Fields,
) -> Result<impl IntoResponse, Problem> {
    let person = SignedIn::of(&caller)?;
    let answer = PasskeyAnswer::read(&mut fields);
    let name = fields.required_text("name");
    fields.finish()?;
    let here = relying_party(&app)?;
    let mut tx = app.db.begin_write().await?;
    let token = answer.token.expose_secret();
    let taken = one_time::take::<Begun>(&mut tx, Purpose::PasskeyRegistration, token).await?;
    let begun = taken.filter(|taken| taken.user_id.as_deref() == Some(&*person.user_id)).ok_or_else(over)?;
    let made = match here.finish_registration(&begun.data.state, &answer.credential) {
        Ok(made) => made,
        Err(error) => {
            tx.commit().await.doing("ending a challenge")?; // it is good once, whatever answers it
            return Err(refused(error));
        }
    };
    let now = clock::now();
    let id = members::id_generate(ID_PREFIX, now).map_err(|error| Problem::internal(&error))?;
    let passkey = PasskeyView { id, name, created_at: now, last_used_at: None };
    store::passkey_insert(&mut tx, &person.user_id, &passkey, &made).await.map_err(known)?;
    let codes = codes_make_if_none(&mut tx, &person.user_id).await?;
    let change = Change::new(Chain::Installation, "passkey.added", "passkey", &passkey.id).after(&passkey);
    audit::record(&mut tx, &caller, change).await?;
    tx.commit().await.doing("storing a passkey")?;
    let location = format!("/auth/passkeys/{}", passkey.id);
    let headers = [(CACHE_CONTROL, "no-store".to_owned()), (LOCATION, location)];
    let recovery_codes = codes.map(|codes| codes.recovery_codes);
    Ok((StatusCode::CREATED, headers, Json(PasskeyAdded { passkey, recovery_codes })))
}

fn over() -> Problem {
    Problem::new(Code::InvalidLink, "this took too long, or was done already: begin anew")
}

fn known(error: StoreError) -> Problem {
    if error.is_unique_violation() {
        return Problem::new(Code::CredentialAlreadyRegistered, "this passkey is registered already");
    }
    error.into()
}
