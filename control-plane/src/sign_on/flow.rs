//! A sign-on from the browser's first request to the person it is.

use std::time::Duration;

use axum::Json;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use mindweave_identity::oidc::{Binding, Callback, Person};
use mindweave_policy::Secret;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::code::{self, Admitted};
use super::cookie;
use super::person;
use super::provider::Provider;
use super::refusal::{Refusal, declined};
use super::return_to::ReturnTo;
use super::store::{self, Stored};
use crate::access::Caller;
use crate::app::App;
use crate::audit::{self, Chain, Change};
use crate::clock;
use crate::db::Doing;
use crate::entropy::NoEntropy;
use crate::http::problem::{Code, Problem};
use crate::identity::one_time::{self, Purpose};
use crate::identity::throttle::{self, Action, Attempt};

/// How long a sign-on may take: time to type a password and find a phone.
pub(super) const STATE_LIFETIME: Duration = Duration::from_secs(15 * 60);
/// Where the provider sends the browser back to.
const CALLBACK_PATH: &str = "/auth/oauth/callback";

/// A sign-on that has begun. Nothing in it is secret.
#[derive(Debug, Serialize, Deserialize)]
struct Pending {
    provider_id: String,
    /// Of the browser's cookie.
    binding: String,
    return_to: Option<ReturnTo>,
    challenge: Option<String>,
    /// Whoever is signed in and wants to link an identity.
    links_to: Option<String>,
}

/// How a sign-on begins.
#[derive(Debug, Default)]
pub(super) struct Start {
    pub(super) return_to: Option<ReturnTo>,
    pub(super) challenge: Option<String>,
    pub(super) links_to: Option<String>,
}

/// Where to send the browser, and what it has to keep.
pub(super) struct Begun {
    pub(super) location: String,
    pub(super) cookie: Option<(HeaderName, HeaderValue)>,
}

/// What the provider sent the browser back with.
#[derive(Debug, Default)]
pub(super) struct Returned {
    pub(super) state: Option<String>,
    pub(super) code: Option<Secret>,
    pub(super) error: Option<String>,
    pub(super) issuer: Option<String>,
}

fn redirect_uri(app: &App) -> String {
    format!("{}{CALLBACK_PATH}", app.identity.public_url())
}

fn is_https(app: &App) -> bool {
    app.identity.public_url().starts_with("https://")
}

/// Begins a sign-on.
pub(super) async fn begin(app: &App, provider_id: &str, start: Start) -> Result<Begun, Problem> {
    let mut tx = app.db.begin_read().await?;
    let stored = store::provider_enabled(&mut tx, provider_id).await?;
    drop(tx);
    let Stored { provider, .. } =
        stored.ok_or_else(|| Problem::not_found("sign-on provider", provider_id))?;
    let registration = provider.registration(None)?;
    let issuer = registration.issuer.clone();
    let endpoint = app.sign_on.call(move |oidc| oidc.authorization_endpoint(&issuer)).await?;
    let endpoint = endpoint.map_err(|error| {
        tracing::warn!(provider = provider.id, error = %error, "a sign-on provider cannot be used");
        Refusal::from(error)
    })?;
    let binding = Binding::generate().ok_or_else(|| Problem::internal(&NoEntropy))?;
    let pending = Pending {
        provider_id: provider.id,
        binding: binding.fingerprint(),
        return_to: start.return_to,
        challenge: start.challenge,
        links_to: start.links_to,
    };
    let mut tx = app.db.begin_apart().await?;
    let state = one_time::issue(&mut tx, Purpose::SignOn, None, &pending, STATE_LIFETIME).await?;
    tx.commit().await.doing("beginning a sign-on")?;
    let state = state.expose_secret();
    let location = registration.authorization_url(&endpoint, &binding, state, &redirect_uri(app));
    Ok(Begun { location: location.into(), cookie: cookie::set(state, &binding, is_https(app)) })
}

/// Ends a sign-on.
pub(super) async fn end(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    returned: Returned,
) -> Result<Response, Problem> {
    let state = returned.state.clone().ok_or_else(lost)?;
    let binding = cookie::read(headers, &state, is_https(app)).ok_or_else(lost)?;
    let mut tx = app.db.begin_apart().await?;
    let taken = one_time::take::<Pending>(&mut tx, Purpose::SignOn, &state).await?;
    tx.commit().await.doing("ending a sign-on")?;
    let pending = taken.ok_or_else(lost)?.data;
    if pending.binding != binding.fingerprint() {
        return Err(lost());
    }
    let mut tx = app.db.begin_read().await?;
    let stored = store::provider_enabled(&mut tx, &pending.provider_id).await?.ok_or_else(lost)?;
    drop(tx);
    let provider = stored.provider.clone();
    let person = match ask(app, stored, binding, returned).await? {
        Ok(person) => person,
        Err(refusal) => return refuse(app, caller, &provider, &pending, &state, refusal).await,
    };
    let response = match &pending.links_to {
        Some(user_id) => linked(app, caller, &provider, &person, &pending, user_id).await?,
        None => admitted(app, caller, &provider, &person, &pending).await?,
    };
    match response {
        Ok(response) => Ok(forgetting(app, &state, response)),
        Err(refusal) => refuse(app, caller, &provider, &pending, &state, refusal).await,
    }
}

/// Asks the provider who it is.
async fn ask(
    app: &App,
    stored: Stored,
    binding: Binding,
    returned: Returned,
) -> Result<Result<Person, Refusal>, Problem> {
    if let Some(error) = &returned.error {
        return Ok(Err(declined(error)));
    }
    let Some(code) = returned.code else { return Ok(Err(declined("invalid_request"))) };
    let secret = stored
        .sealed
        .as_deref()
        .map(|sealed| super::routes::open(app, &stored.provider.id, sealed))
        .transpose()?;
    let registration = stored.provider.registration(secret)?;
    let callback = Callback { code, issuer: returned.issuer, redirect_uri: redirect_uri(app) };
    let now = clock::now().as_second();
    let answer = app.sign_on.call(move |oidc| oidc.sign_on(&registration, &binding, &callback, now)).await?;
    Ok(answer.map_err(|error| {
        tracing::warn!(provider = stored.provider.id, error = %error, "a sign-on was refused");
        Refusal::from(error)
    }))
}

/// Signs somebody in, whom the provider has named.
async fn admitted(
    app: &App,
    caller: &Caller,
    provider: &Provider,
    person: &Person,
    pending: &Pending,
) -> Result<Result<Response, Refusal>, Problem> {
    let mut tx = app.db.begin_write().await?;
    if !store::is_enabled(&mut tx, &provider.id).await? {
        return Err(lost()); // it was switched off while it was asked
    }
    let user_id = match person::admit(&mut tx, caller, provider, person).await? {
        Ok(user_id) => user_id,
        Err(refusal) => {
            tx.commit().await.doing("refusing a sign-on")?;
            return Ok(Err(refusal));
        }
    };
    let admitted = Admitted {
        provider_id: provider.id.clone(),
        multi_factor: person.multi_factor,
        challenge: pending.challenge.clone(),
    };
    let response = match &pending.return_to {
        Some(place) => {
            let code = code::issue(&mut tx, &user_id, &admitted).await?;
            redirect(&place.with("code", code.expose_secret()))
        }
        None => Json(code::begin(&mut tx, app, caller, &user_id, &admitted).await?).into_response(),
    };
    tx.commit().await.doing("signing on")?;
    Ok(Ok(response))
}

/// Links the identity to whoever wanted that.
async fn linked(
    app: &App,
    caller: &Caller,
    provider: &Provider,
    person: &Person,
    pending: &Pending,
    user_id: &str,
) -> Result<Result<Response, Refusal>, Problem> {
    let mut tx = app.db.begin_write().await?;
    if !store::is_enabled(&mut tx, &provider.id).await? {
        return Err(lost());
    }
    if let Err(refusal) = person::link(&mut tx, caller, provider, person, user_id).await? {
        return Ok(Err(refusal));
    }
    tx.commit().await.doing("linking an identity")?;
    Ok(Ok(match &pending.return_to {
        Some(place) => redirect(&place.with("linked", &provider.id)),
        None => Json(json!({ "linked": provider.id })).into_response(),
    }))
}

/// Notes in the audit log why nobody was signed in, and tells the person, or the program that waits for them.
async fn refuse(
    app: &App,
    caller: &Caller,
    provider: &Provider,
    pending: &Pending,
    state: &str,
    refusal: Refusal,
) -> Result<Response, Problem> {
    // Bounded: each entry costs whoever is refused a place among their attempts.
    throttle::check(&app.db, &Attempt::new(Action::Link, None, caller.origin())).await?;
    let mut tx = app.db.begin_write().await?;
    let change = Change::new(Chain::Org(&provider.org_id), "user.login_failed", "sign_on", &provider.id);
    let shown = json!({ "method": provider.id, "reason": refusal.reason() });
    audit::record(&mut tx, caller, change.after(&shown)).await?;
    tx.commit().await.doing("noting a refused sign-on")?;
    let response = match &pending.return_to {
        Some(place) => redirect(&place.with("error", refusal.reason())),
        None => Problem::from(refusal).into_response(),
    };
    Ok(forgetting(app, state, response))
}

fn lost() -> Problem {
    let detail = "this sign-on was not begun in this browser, took too long, or is over: begin it again";
    Problem::new(Code::InvalidLink, detail)
}

fn redirect(location: &str) -> Response {
    match HeaderValue::from_str(location) {
        Ok(mut value) => {
            value.set_sensitive(true);
            (StatusCode::SEE_OTHER, [(LOCATION, value)]).into_response()
        }
        Err(error) => Problem::internal(&error).into_response(),
    }
}

/// Takes the cookie away, which has done its part.
fn forgetting(app: &App, state: &str, mut response: Response) -> Response {
    if let Some((name, value)) = cookie::clear(state, is_https(app)) {
        response.headers_mut().append(name, value);
    }
    response
}
