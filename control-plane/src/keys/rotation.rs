//! `/projects/{project_id}/keys/{key_id}/rotate`: a new secret for a key that stays the same.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use jiff::SignedDuration;
use mindweave_policy::Fingerprint;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::routes::{KeyWithSecret, key_found, noted, revoked};
use super::store::{self, Key, ShownKey};
use super::{list, secret};
use crate::access::{Access, Area, Caller};
use crate::app::App;
use crate::audit;
use crate::governance::commit;
use crate::http::body::Fields;
use crate::http::etag::IfMatch;
use crate::http::problem::Problem;
use crate::{clock, stored};

/// How long the old secret stays good when the client does not say: a day, in which deployments come by.
const DEFAULT_OVERLAP_SECONDS: i64 = 24 * 60 * 60;
/// At most. Who needs longer has two keys.
const MAX_OVERLAP_SECONDS: i64 = 30 * 24 * 60 * 60;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(key_rotate))
}

/// How a key gets another secret.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `key_rotate` reads")]
struct Rotation {
    /// How long the old secret stays good: a day unless given, 0 for a secret that somebody else has, at most 30 days.
    #[schema(minimum = 0, maximum = 2_592_000, default = 86_400)]
    overlap_seconds: Option<u32>,
}

/// Gives a key another secret, which is shown this once. The old one stays good for a while, and ends by itself, also while the
/// control plane is away. Of several rotations only the last secret before the present one stays good.
#[utoipa::path(
    post, path = "/projects/{project_id}/keys/{key_id}/rotate", tag = "keys", operation_id = "key_rotate",
    params(
        ("project_id" = String, Path, description = "`prj_..`"),
        ("key_id" = String, Path, description = "`key_..`"),
    ),
    request_body = Rotation,
    responses((status = 200, body = KeyWithSecret)),
    extensions(("x-access" = json!("keys:write"))),
)]
async fn key_rotate(
    State(app): State<App>,
    caller: Caller,
    Path((project_id, key_id)): Path<(String, String)>,
    if_match: IfMatch,
    mut fields: Fields,
) -> Result<impl IntoResponse, Problem> {
    let now = clock::now();
    let overlap =
        fields.number("overlap_seconds", 0..=MAX_OVERLAP_SECONDS).unwrap_or(DEFAULT_OVERLAP_SECONDS);
    let secret = secret::generate().map_err(|error| Problem::internal(&error))?;
    let fingerprint = Fingerprint::of(secret.expose_secret().as_bytes());
    let mut tx = app.db.begin_write().await?;
    let permit = caller.project(&mut tx, &project_id, Access::write(Area::Keys)).await?;
    let before = key_found(&mut tx, &permit, &key_id, now).await?;
    if_match.check(&before.key)?;
    fields.finish()?;
    if before.key.revoked_at.is_some() {
        return Err(revoked());
    }
    // Without an overlap the old secret is forgotten rather than expired: no proxy's clock is asked.
    let ends = (overlap > 0).then(|| now.saturating_add(SignedDuration::from_secs(overlap)));
    let key = Key {
        hint: stored::hint(secret.expose_secret()),
        rotated_at: Some(now),
        previous_expires_at: ends.transpose().ok().flatten(),
        ..before.key.clone()
    };
    store::key_rotate(&mut tx, &permit, &key, &fingerprint).await?;
    let change = noted(&permit, "key.rotated", &key.id).before(&before.key).after(&key);
    audit::record(&mut tx, &caller, change).await?;
    commit(&app, tx).await?;
    let key = ShownKey { state: list::State::of(&key, now), key, ..before };
    let body = KeyWithSecret { key, secret: secret.expose_secret().to_owned() };
    Ok(([(CACHE_CONTROL, "no-store")], Json(body)))
}
