//! How an organisation begins and ends.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use mindweave_metering::OrgId;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::routes::read_zone;
use super::store::{self, Org};
use crate::access::{Access, Actor, Area, Caller, Place, Role};
use crate::app::App;
use crate::audit::{self, Chain, Change};
use crate::db::Doing;
use crate::governance::commit;
use crate::http::body::Fields;
use crate::http::etag::{IfMatch, Tagged};
use crate::http::problem::{Code, Fault, Problem};
use crate::http::query::Parameters;
use crate::members::{self, Source};
use crate::{clock, entropy};

/// The zone of an organisation that names none.
const DEFAULT_ZONE: &str = "UTC";

/// The routes of this module.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(org_create)).routes(routes!(org_delete))
}

/// An organisation to be made.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `org_create` reads")]
struct OrgCreate {
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// IANA name of the zone in which budgets' days, weeks and months begin; UTC unless given.
    #[schema(min_length = 1, max_length = 200, example = "Europe/Berlin", required = false)]
    time_zone: String,
}

/// Makes an organisation. A person who makes one is its owner; with the admin token, invite the owner afterwards.
#[utoipa::path(
    post, path = "/orgs", tag = "orgs", operation_id = "org_create",
    request_body = OrgCreate,
    responses((status = 201, body = Org)),
    extensions(("x-access" = json!("installation:write"))),
)]
async fn org_create(
    State(app): State<App>,
    caller: Caller,
    mut fields: Fields,
) -> Result<impl IntoResponse, Problem> {
    let permit = caller.installation(Access::write(Area::Installation))?;
    let name = fields.required_text("name");
    let time_zone = if fields.given("time_zone") { read_zone(&mut fields) } else { DEFAULT_ZONE.to_owned() };
    fields.finish()?;
    let now = clock::now();
    let random = entropy::bytes().map_err(|error| Problem::internal(&error))?;
    let id = OrgId::generate(now, random).to_string();
    let org = Org { id, name, time_zone, created_at: now, updated_at: now };
    let mut tx = app.db.begin_write().await?;
    store::org_insert(&mut tx, &permit, &org).await?;
    let change = Change::new(Chain::Org(&org.id), "org.created", "org", &org.id);
    audit::record(&mut tx, &caller, change.after(&org)).await?;
    if let Actor::User { id: user_id, .. } = caller.actor() {
        let owned = caller.org(&mut tx, &org.id, Access::write(Area::Members)).await?;
        members::role_bind(&mut tx, &owned, user_id, &Place::Org, Role::Owner, Source::Manual).await?;
    }
    tx.commit().await.doing("making an organisation")?;
    Ok((StatusCode::CREATED, [(LOCATION, format!("/orgs/{}", org.id))], Tagged(org)))
}

/// Ends an organisation: its keys stop working in every proxy, its members see it no more, its invitations are revoked. What it used stays
/// in the ledger. Only an owner may, and there is no way back. `confirm` must be its name.
#[utoipa::path(
    delete, path = "/orgs/{org_id}", tag = "orgs", operation_id = "org_delete",
    params(
        ("org_id" = String, Path, description = "`org_..`"),
        ("confirm" = String, Query, description = "The name of the organisation, as it is written"),
    ),
    responses((status = 204)),
    extensions(("x-access" = json!("org:write")), ("x-role" = json!("owner"))),
)]
async fn org_delete(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    if_match: IfMatch,
    mut query: Parameters,
) -> Result<StatusCode, Problem> {
    let mut tx = app.db.begin_write().await?;
    let permit = caller.org(&mut tx, &id, Access::write(Area::Org)).await?;
    let confirmed = query.text("confirm");
    query.finish()?;
    let before = store::org_view(&mut tx, &permit).await?;
    if_match.check(&before)?;
    if confirmed.as_ref() != Some(&before.name) {
        let fault =
            Fault::new("confirm", "must be the name of the organisation, which nobody types by accident");
        return Err(Problem::faults(Code::InvalidParameter, vec![fault]));
    }
    if !caller.authority(&mut tx, permit.org_id(), &Place::Org).await?.covers(Role::Owner) {
        return Err(Problem::new(Code::Forbidden, "only an owner may end an organisation"));
    }
    if permit.org_id() == app.home.org_id.as_str() {
        let detail =
            "this is the installation's own organisation, to which belongs what belongs to none; it stays";
        return Err(Problem::new(Code::HomeOrganisation, detail));
    }
    store::org_delete(&mut tx, &permit, clock::now()).await?;
    let change = Change::new(Chain::Org(permit.org_id()), "org.deleted", "org", permit.org_id());
    audit::record(&mut tx, &caller, change.before(&before)).await?;
    commit(&app, tx).await?;
    Ok(StatusCode::NO_CONTENT)
}
