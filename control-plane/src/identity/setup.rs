//! The first start: a link, printed once, whose opener becomes the owner.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use mindweave_policy::Secret;

use super::one_time::{self, Purpose, TokenError};
use super::passwords::{invalid_link, new_hash};
use super::registration::read_email;
use super::session::{self, Method, NewSession, acting_as};
use super::throttle::{self, Action, Attempt};
use super::users::{self, NewUser};
use crate::access::{Access, Area, Caller, Place, Role};
use crate::app::App;
use crate::db::{Db, Doing};
use crate::http::body::Fields;
use crate::http::problem::Problem;
use crate::members::{Source, role_bind};

/// How long the link is good. A later start gives another one.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The link that makes the first owner, while there is nobody. Links of earlier starts are over: of several control planes that start
/// at a time the last one's is good.
pub(super) async fn owner_link(db: &Db, public_url: &str) -> Result<Option<Secret>, TokenError> {
    let mut tx = db.begin_write().await?;
    if users::user_any(&mut tx).await? {
        return Ok(None);
    }
    one_time::revoke(&mut tx, Purpose::OwnerSetup, None).await?;
    let token = one_time::issue(&mut tx, Purpose::OwnerSetup, None, &(), LIFETIME).await?;
    tx.commit().await.doing("making the owner's link")?;
    Ok(Some(Secret::new(format!("{public_url}/auth/setup?token={}", token.expose_secret()))))
}

/// The first owner.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `setup` reads")]
struct Setup {
    /// Of the link that the first start printed.
    #[schema(min_length = 1, max_length = 1024, pattern = "^[!-~]+$", example = "mwo_..")]
    token: String,
    #[schema(min_length = 3, max_length = 200, format = "email", example = "ada@example.com")]
    email: String,
    #[schema(min_length = 12, max_length = 256, format = Password)]
    password: String,
    #[schema(min_length = 1, max_length = 200)]
    name: String,
}

/// Makes the first user, who is an admin of the installation and owner of its first organisation, and signs them in.
#[utoipa::path(
    post, path = "/auth/setup", tag = "auth", operation_id = "owner_setup",
    request_body = Setup,
    responses((status = 201, body = NewSession)),
    extensions(("x-access" = json!("public"))),
)]
pub(super) async fn setup(
    State(app): State<App>,
    caller: Caller,
    mut fields: Fields,
) -> Result<(StatusCode, Json<NewSession>), Problem> {
    let (token, email) = (fields.required_password("token"), read_email(&mut fields));
    let (password, name) = (fields.required_password("password"), fields.required_text("name"));
    fields.finish()?;
    throttle::check(&app.db, &Attempt::new(Action::Link, None, caller.origin())).await?;
    let token = token.expose_secret();
    let mut tx = app.db.begin_read().await?;
    // First, so that without the link nothing is hashed.
    one_time::look::<()>(&mut tx, Purpose::OwnerSetup, token).await?.ok_or_else(invalid_link)?;
    drop(tx);
    let hash = new_hash(&app, "password", &password, &[&email, &name]).await?;
    let mut tx = app.db.begin_write().await?;
    one_time::take::<()>(&mut tx, Purpose::OwnerSetup, token).await?.ok_or_else(invalid_link)?;
    if users::user_any(&mut tx).await? {
        return Err(invalid_link());
    }
    let new = NewUser {
        email: &email,
        email_verified: false,
        name: &name,
        password_hash: Some(&hash),
        installation_admin: true,
    };
    let user = users::user_create(&mut tx, &caller, new).await?;
    // Whoever has the link may do this, as the person that they are now.
    let owner = acting_as(&caller, &user, None);
    let permit = owner.org(&mut tx, app.home.org_id.as_str(), Access::write(Area::Members)).await?;
    role_bind(&mut tx, &permit, &user.id, &Place::Org, Role::Owner, Source::Manual).await?;
    let session = session::begin(&mut tx, &app.identity, &caller, &user.id, Method::OwnerLink, false).await?;
    tx.commit().await.doing("making the owner")?;
    Ok((StatusCode::CREATED, Json(session)))
}
