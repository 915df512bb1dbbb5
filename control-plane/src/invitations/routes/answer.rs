//! `/invitations` and `/invitations/accept`: what whoever is invited asks for.

use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::BY_AGE;
use crate::access::Caller;
use crate::app::App;
use crate::clock;
use crate::db::Doing;
use crate::http::Page;
use crate::http::body::Fields;
use crate::http::problem::{Code, Problem};
use crate::http::query::Parameters;
use crate::identity::SignedIn;
use crate::invitations::accept::{self, Accepted};
use crate::invitations::store::{self, Mine};

/// The kind of list in cursors.
const LIST: &str = "my-invitations";

/// The routes of this module.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(my_invitations)).routes(routes!(invitation_accept))
}

/// The invitations to your verified e-mail address that you can accept. Their links are in your mail.
#[utoipa::path(
    get, path = "/invitations", tag = "invitations", operation_id = "my_invitations",
    params(
        ("sort" = Option<String>, Query, description = "`created_at`; with a minus before it the reverse", pattern = "^(|-?(created_at))$"),
        ("limit" = Option<u64>, Query, description = "Most entries of a page"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, body = Page<Mine>)),
    extensions(("x-access" = json!("self"))),
)]
async fn my_invitations(
    State(app): State<App>,
    caller: Caller,
    mut query: Parameters,
) -> Result<Json<Page<Mine>>, Problem> {
    let user_id = SignedIn::of(&caller)?.user_id;
    let limit = query.limit();
    let sorting = query.sorting(LIST, BY_AGE, [])?;
    query.finish()?;
    let mut tx = app.db.begin_read().await?;
    let Some(address) = store::address_of(&mut tx, &user_id).await? else {
        return Ok(Json(Page { data: Vec::new(), next_cursor: None }));
    };
    let rows = store::mine_list(&mut tx, &address, clock::now(), &sorting, limit.saturating_add(1)).await?;
    Ok(Json(Page::of(rows, limit, |last| sorting.cursor(last.created_at.as_microsecond(), &last.id))))
}

/// The token of a link.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `invitation_accept` reads")]
struct InvitationAccept {
    /// `mwo_..`
    #[schema(min_length = 1, max_length = 200, pattern = "^[!-~]+$")]
    token: String,
}

/// Accepts an invitation to your verified e-mail address, once.
#[utoipa::path(
    post, path = "/invitations/accept", tag = "invitations", operation_id = "invitation_accept",
    request_body = InvitationAccept,
    responses((status = 200, body = Accepted)),
    extensions(("x-access" = json!("self"))),
)]
async fn invitation_accept(
    State(app): State<App>,
    caller: Caller,
    mut fields: Fields,
) -> Result<Json<Accepted>, Problem> {
    let user_id = SignedIn::of(&caller)?.user_id;
    let token = fields.required_secret("token");
    fields.finish()?;
    let mut tx = app.db.begin_write().await?;
    let accepted = accept::accept(&mut tx, &caller, token.expose_secret(), &user_id).await?;
    // Without mail nobody can prove an address. Whoever has the token then got it from the inviter by hand.
    let provable = app.identity.mailer().is_configured();
    let address = store::address_of(&mut tx, &user_id).await?;
    if provable && !address.is_some_and(|address| address.verified) {
        let detail = "verify your e-mail address first; then accept the invitation";
        return Err(Problem::new(Code::EmailNotVerified, detail)); // nothing was committed
    }
    tx.commit().await.doing("accepting an invitation")?;
    Ok(Json(accepted))
}
