//! `/auth/me`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::passwords::{RequestAccepted, no_mail};
use super::person::SignedIn;
use super::registration::read_email;
use super::requests::Request;
use super::second_factor::{self, FactorKind};
use super::throttle::{self, Action, Attempt};
use super::users::{self, User, email_key};
use crate::access::{Actor, Caller, Role, Scopes};
use crate::app::App;
use crate::audit::{self, Chain, Change};
use crate::db::{Connection, Doing, StoreError};
use crate::http::body::Fields;
use crate::http::etag::{IfMatch, Tagged};
use crate::http::problem::Problem;

/// Whoever asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(super) struct Me {
    /// `user`, `service_account` or `admin_token`.
    kind: &'static str,
    /// Their id; `admin-token` for the token of the configuration.
    id: String,
    /// Who they are, if they are a person.
    user: Option<User>,
    /// The session that asks, if it is one.
    session_id: Option<String>,
    /// Whether they may also do what belongs to the installation, and everything in every organisation.
    installation_admin: bool,
    /// Which roles they have, and where.
    roles: Vec<MyRole>,
    /// What the token that asks is limited to; `*` is everything that its holder may.
    scopes: Vec<String>,
    /// What a sign-in with their password wants besides it.
    second_factors: Vec<FactorKind>,
}

/// A role somewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
struct MyRole {
    org_id: String,
    /// `org`, `team` or `project`.
    place: &'static str,
    /// Of the organisation, team or project.
    place_id: String,
    role: Role,
}

/// Who you are and what you may.
#[utoipa::path(
    get, path = "/auth/me", tag = "auth", operation_id = "me_view",
    responses((status = 200, body = Me)),
    extensions(("x-access" = json!("self"))),
)]
pub(super) async fn me_view(State(app): State<App>, caller: Caller) -> Result<Tagged<Me>, Problem> {
    let mut tx = app.db.begin_read().await?;
    Ok(Tagged(me(&mut tx, &caller).await?))
}

async fn me(tx: &mut Connection, caller: &Caller) -> Result<Me, Problem> {
    let actor = caller.actor();
    let (user, second_factors, session_id) = match actor {
        Actor::User { id, session_id, .. } => {
            let user = users::user_view(tx, id).await?;
            (user, second_factor::wanted(tx, id).await?, session_id.as_deref().map(str::to_owned))
        }
        Actor::AdminToken | Actor::ServiceAccount { .. } | Actor::Anonymous | Actor::System => {
            (None, Vec::new(), None)
        }
    };
    let role = |grant: &crate::access::Grant| MyRole {
        org_id: grant.org_id.clone(),
        place: grant.place.kind(),
        place_id: grant.place.id(&grant.org_id).to_owned(),
        role: grant.role,
    };
    Ok(Me {
        kind: actor.kind(),
        id: actor.id().to_owned(),
        user,
        session_id,
        installation_admin: caller.is_installation_admin(),
        roles: caller.grants().0.iter().map(role).collect(),
        scopes: match caller.scopes() {
            Scopes::All => vec!["*".to_owned()],
            Scopes::Only(scopes) => scopes.iter().map(ToString::to_string).collect(),
        },
        second_factors,
    })
}

/// What you can change of yourself. What is not given stays.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `me_change` reads")]
struct MeChange {
    #[schema(min_length = 1, max_length = 200, required = false)]
    name: String,
    /// Is changed once the link in a mail to the new address was opened.
    #[schema(min_length = 3, max_length = 200, format = "email", required = false)]
    email: String,
}

/// Changes your name, or begins to change your address, which is answered with 202.
#[utoipa::path(
    patch, path = "/auth/me", tag = "auth", operation_id = "me_change",
    request_body = MeChange,
    responses((status = 200, body = Me), (status = 202, body = RequestAccepted)),
    extensions(("x-access" = json!("self"))),
)]
pub(super) async fn me_change(
    State(app): State<App>,
    caller: Caller,
    if_match: IfMatch,
    mut fields: Fields,
) -> Result<Response, Problem> {
    let person = SignedIn::of(&caller)?;
    let name = if fields.given("name") { Some(fields.required_text("name")) } else { None };
    let email = if fields.given("email") { Some(read_email(&mut fields)) } else { None };
    fields.finish()?;
    let mut tx = app.db.begin_write().await?;
    let shown = me(&mut tx, &caller).await?;
    if_match.check(&shown)?;
    let before = shown.user.ok_or(StoreError::Corrupt { what: "the user of a session" })?;
    let email = email.filter(|email| email_key(email) != email_key(&before.email));
    if email.is_some() && !app.identity.mailer().is_configured() {
        return Err(no_mail());
    }
    if let Some(name) = name.filter(|name| *name != before.name) {
        users::user_rename(&mut tx, &person.user_id, &name).await?;
        let after = users::user_view(&mut tx, &person.user_id).await?;
        let change = Change::new(Chain::Installation, "user.updated", "user", &person.user_id);
        audit::record(&mut tx, &caller, change.before(&before).after(&after).identifying()).await?;
    }
    let changed = me(&mut tx, &caller).await?;
    tx.commit().await.doing("changing a user")?;
    let Some(email) = email else { return Ok(Tagged(changed).into_response()) };
    throttle::check(&app.db, &Attempt::new(Action::Mail, Some(&email_key(&email)), caller.origin())).await?;
    let user_id = person.user_id.to_string();
    app.identity.requests.leave(Request::ChangeEmail { user_id, email, caller })?;
    let message = "open the link in the mail to the new address; until then the old one stays";
    Ok((StatusCode::ACCEPTED, Json(RequestAccepted { message })).into_response())
}
