//! What the routes of members share, wherever they are members of.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::bind::{self, MANUAL, Seat, Source};
use super::list::{Member, MemberFilter, MemberKind, member_list, member_view};
use super::store::bindings_of;
use crate::access::{Place, ROLES, Role};
use crate::db::{Connection, Doing, Transaction};
use crate::http::Page;
use crate::http::body::Fields;
use crate::http::etag::{IfMatch, Tagged};
use crate::http::problem::{Code, Problem};
use crate::http::query::Parameters;
use crate::http::sorting::SortField;

/// The kind of list in cursors.
const LIST: &str = "members";

const BY_NAME: SortField = SortField { name: "name", column: "name", is_number: false };
const BY_JOINING: SortField = SortField { name: "joined_at", column: "joined_at", is_number: true };

/// A page of the members of a place.
pub(super) async fn list(
    tx: &mut Connection,
    seat: &Seat<'_>,
    mut query: Parameters,
) -> Result<Json<Page<Member>>, Problem> {
    let limit = query.limit();
    let roles = ROLES.map(|role| (role.as_str(), Some(role)));
    let kinds = MemberKind::ALL.map(|kind| (kind.as_str(), Some(kind)));
    let filter = MemberFilter {
        principal_id: None,
        role: query.choice("role", &roles, None),
        kind: query.choice("kind", &kinds, None),
        text: query.text("q"),
    };
    let list = format!("{LIST}.{}", seat.place_id());
    let sorting = query.sorting(&list, BY_NAME, [BY_JOINING])?;
    query.finish()?;
    let rows = member_list(tx, seat, &filter, &sorting, limit.saturating_add(1)).await?;
    Ok(Json(Page::of(rows, limit, |member| {
        if sorting.is_by(BY_JOINING) {
            sorting.cursor(member.joined_at.as_microsecond(), &member.id)
        } else {
            sorting.cursor(member.name.as_str(), &member.id)
        }
    })))
}

/// One member of a place.
pub(super) async fn view(
    tx: &mut Connection,
    seat: &Seat<'_>,
    principal_id: &str,
) -> Result<Tagged<Member>, Problem> {
    let member = member_view(tx, seat, principal_id).await?;
    member.map(Tagged).ok_or_else(|| Problem::not_found("member", principal_id))
}

/// Gives somebody a role in a place.
pub(super) async fn set(
    mut tx: Transaction,
    seat: &Seat<'_>,
    principal_id: &str,
    if_match: &IfMatch,
    mut fields: Fields,
) -> Result<Tagged<Member>, Problem> {
    let before = member_view(&mut tx, seat, principal_id).await?;
    if_match.check(&before)?;
    let role = read_role(&mut fields);
    fields.finish()?;
    bind::bind(&mut tx, seat, principal_id, role, Source::Manual).await?;
    let member = view(&mut tx, seat, principal_id).await?;
    tx.commit().await.doing("giving a role")?;
    Ok(member)
}

/// The role of a body. When it was refused, [`Fields::finish`] fails, and what is returned here means nothing.
pub(crate) fn read_role(fields: &mut Fields) -> Role {
    let role = fields.choice("role", &ROLES.map(|role| (role.as_str(), role)));
    if role.is_none() {
        fields.require_if_absent("role");
    }
    role.unwrap_or(Role::Auditor)
}

/// Takes the roles that were given by hand: in an organisation all of those in it, elsewhere those of the place. What is left are roles of
/// sign-on groups.
pub(super) async fn remove(
    mut tx: Transaction,
    seat: &Seat<'_>,
    principal_id: &str,
    if_match: &IfMatch,
) -> Result<Response, Problem> {
    let missing = || Problem::not_found("member", principal_id);
    let before = member_view(&mut tx, seat, principal_id).await?.ok_or_else(missing)?;
    if_match.check(&before)?;
    let mut taken = false;
    for binding in bindings_of(&mut tx, seat.org_id, principal_id).await? {
        let here = seat.place == Place::Org || seat.place == binding.place;
        if here && binding.source == MANUAL {
            let seat = Seat { place: binding.place, ..seat.clone() };
            taken |= bind::unbind(&mut tx, &seat, principal_id, Source::Manual).await?;
        }
    }
    if !taken {
        let detail = "every role of this member comes from the groups of a sign-on provider; take them out of the groups there";
        return Err(Problem::new(Code::ManagedBySignOn, detail));
    }
    let after = member_view(&mut tx, seat, principal_id).await?;
    tx.commit().await.doing("taking roles")?;
    Ok(after.map_or_else(|| StatusCode::NO_CONTENT.into_response(), |member| Tagged(member).into_response()))
}
