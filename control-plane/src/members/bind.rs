//! Gives and takes roles. Every way to a role leads through here: who gives it, whether they may, what the audit log says of it, and that
//! an organisation keeps an owner.

use serde::Serialize;

use super::id;
use super::store::{self, Binding, Principal};
use crate::access::{
    Access, Area, Authority, Caller, OrgPermit, Place, PlacePermit, ProjectPermit, Role, TeamPermit,
    place_exists,
};
use crate::audit::{self, Chain, Change};
use crate::clock;
use crate::db::Connection;
use crate::http::problem::{Code, Problem};

/// Who gave a role. Each source has its own: taking what one gave leaves what another gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source<'a> {
    /// Somebody, through the API or an invitation.
    Manual,
    /// The groups of a sign-on provider with this id.
    SignOn(&'a str),
}

/// What ids of roles start with.
const ID_PREFIX: &str = "rol_";
/// How [`Source::Manual`] is stored. No provider may have this id.
pub(crate) const MANUAL: &str = "manual";

impl<'a> Source<'a> {
    /// As it is stored.
    pub(crate) fn as_str(self) -> &'a str {
        match self {
            Self::Manual => MANUAL,
            Self::SignOn(provider_id) => provider_id,
        }
    }
}

/// A place of an organisation in which the caller may give and take roles: what a permit proves.
#[derive(Clone, Debug)]
pub(super) struct Seat<'a> {
    pub(super) caller: &'a Caller,
    pub(super) org_id: &'a str,
    pub(super) place: Place,
}

impl<'a> Seat<'a> {
    /// Any place of an organisation in which everything is permitted.
    pub(super) async fn anywhere(
        tx: &mut Connection,
        permit: &'a OrgPermit,
        place: &Place,
    ) -> Result<Self, Problem> {
        if !place_exists(tx, permit.org_id(), place).await? {
            return Err(Problem::not_found(place.kind(), place.id(permit.org_id())));
        }
        Ok(Self { caller: permit.caller(), org_id: permit.org_id(), place: place.clone() })
    }

    pub(super) fn place_id(&self) -> &str {
        self.place.id(self.org_id)
    }
}

impl<'a> From<&'a OrgPermit> for Seat<'a> {
    fn from(permit: &'a OrgPermit) -> Self {
        Self { caller: permit.caller(), org_id: permit.org_id(), place: Place::Org }
    }
}

impl<'a> From<&'a TeamPermit> for Seat<'a> {
    fn from(permit: &'a TeamPermit) -> Self {
        let place = Place::Team(permit.team_id().to_owned());
        Self { caller: permit.caller(), org_id: permit.org_id(), place }
    }
}

impl<'a> From<&'a ProjectPermit> for Seat<'a> {
    fn from(permit: &'a ProjectPermit) -> Self {
        let place = Place::Project(permit.project_id().to_owned());
        Self { caller: permit.caller(), org_id: permit.org_id(), place }
    }
}

impl<'a> From<&'a PlacePermit> for Seat<'a> {
    fn from(permit: &'a PlacePermit) -> Self {
        Self { caller: permit.caller(), org_id: permit.org_id(), place: permit.place() }
    }
}

/// Refuses when the caller may not give this role here now.
///
/// # Errors
/// 403 `forbidden` without a role that gives roles, 403 `role_too_powerful` when this one is more than the caller's own.
pub(crate) async fn may_give(tx: &mut Connection, permit: &PlacePermit, role: Role) -> Result<(), Problem> {
    let authority = authorise(tx, &Seat::from(permit)).await?;
    if authority.covers(role) { Ok(()) } else { Err(too_powerful(role)) }
}

/// Gives a person or a service account a role in a place of the organisation, instead of the one that the same source gave there. Writes
/// the audit log. The permit must be one to write [`Area::Members`], and the transaction one of [`crate::db::Db::begin_write`].
///
/// # Errors
/// When there is no such place or nobody of this id here (404), when the role or the one it replaces is more than the giver's (403), when
/// the organisation would have no owner left (409).
pub(crate) async fn role_bind(
    tx: &mut Connection,
    permit: &OrgPermit,
    principal_id: &str,
    place: &Place,
    role: Role,
    source: Source<'_>,
) -> Result<(), Problem> {
    let seat = Seat::anywhere(tx, permit, place).await?;
    bind(tx, &seat, principal_id, role, source).await
}

/// Takes the role that this source gave somebody in a place; whether there was one. The rest as [`role_bind`].
///
/// # Errors
/// See [`role_bind`].
pub(crate) async fn role_unbind(
    tx: &mut Connection,
    permit: &OrgPermit,
    principal_id: &str,
    place: &Place,
    source: Source<'_>,
) -> Result<bool, Problem> {
    let seat = Seat { caller: permit.caller(), org_id: permit.org_id(), place: place.clone() };
    unbind(tx, &seat, principal_id, source).await
}

/// Makes the roles that a sign-on provider gave somebody in the organisation exactly these: the strongest where a place is named twice;
/// places that are gone are passed over. The last owner stays one, whatever the groups say.
///
/// # Errors
/// See [`role_bind`].
pub(crate) async fn roles_from_sign_on(
    tx: &mut Connection,
    permit: &OrgPermit,
    user_id: &str,
    provider_id: &str,
    roles: &[(Place, Role)],
) -> Result<(), Problem> {
    let source = Source::SignOn(provider_id);
    for (place, role) in roles {
        let stronger = |(other, more): &(Place, Role)| other == place && more != role && more.covers(*role);
        if roles.iter().any(stronger) || !place_exists(tx, permit.org_id(), place).await? {
            continue;
        }
        let bound = role_bind(tx, permit, user_id, place, *role, source).await;
        unless_last_owner(bound, permit, user_id)?;
    }
    let given = store::bindings_of(tx, permit.org_id(), user_id).await?;
    let gone = |binding: &&Binding| {
        binding.source == provider_id && !roles.iter().any(|(place, _)| *place == binding.place)
    };
    for binding in given.iter().filter(gone) {
        let taken = role_unbind(tx, permit, user_id, &binding.place, source).await;
        unless_last_owner(taken.map(drop), permit, user_id)?;
    }
    Ok(())
}

/// Passes over the refusal to take the last owner, which has changed nothing.
fn unless_last_owner(result: Result<(), Problem>, permit: &OrgPermit, user_id: &str) -> Result<(), Problem> {
    match result {
        Err(problem) if problem.code() == Code::LastOwner => {
            tracing::warn!(
                org_id = permit.org_id(),
                user_id,
                "the last owner left the group of owners, and stays one"
            );
            Ok(())
        }
        result => result,
    }
}

/// A role as the audit log shows it.
#[derive(Serialize)]
struct Noted<'a> {
    place: &'static str,
    place_id: &'a str,
    role: Role,
    source: &'a str,
}

pub(super) async fn bind(
    tx: &mut Connection,
    seat: &Seat<'_>,
    principal_id: &str,
    role: Role,
    source: Source<'_>,
) -> Result<(), Problem> {
    let authority = authorise(tx, seat).await?;
    let missing = || Problem::not_found("member", principal_id);
    let principal = store::principal_find(tx, seat.org_id, principal_id).await?.ok_or_else(missing)?;
    let invited = matches!(source, Source::SignOn(_)) || seat.caller.is_installation_admin();
    if principal == Principal::Stranger && !invited {
        return Err(missing());
    }
    let before = store::binding_find(tx, seat, principal_id, source.as_str()).await?;
    for needed in [Some(role), before].into_iter().flatten() {
        if !authority.covers(needed) {
            return Err(too_powerful(needed));
        }
    }
    put(tx, seat, principal_id, role, source).await
}

/// Gives a role without asking who gives it: [`bind`] and invitations have asked.
pub(super) async fn put(
    tx: &mut Connection,
    seat: &Seat<'_>,
    principal_id: &str,
    role: Role,
    source: Source<'_>,
) -> Result<(), Problem> {
    let before = store::binding_find(tx, seat, principal_id, source.as_str()).await?;
    if before == Some(role) {
        return Ok(());
    }
    if before == Some(Role::Owner) {
        keep_an_owner(tx, seat, principal_id, source).await?;
    }
    let now = clock::now();
    let id = id::generate(ID_PREFIX, now).map_err(|error| Problem::internal(&error))?;
    store::binding_upsert(tx, seat, principal_id, (role, source.as_str()), (id, now)).await?;
    let action = if before.is_some() { "member.role_changed" } else { "member.added" };
    note(tx, seat, principal_id, action, (before, Some(role)), source).await
}

/// Gives a person the role of an invitation that they accept; what its inviter may, whoever accepts it has asked. Somebody who may already do
/// all that keeps the role they have.
pub(crate) async fn role_accept(
    tx: &mut Connection,
    caller: &Caller,
    org_id: &str,
    (user_id, place, role): (&str, &Place, Role),
) -> Result<(), Problem> {
    let seat = Seat { caller, org_id, place: place.clone() };
    let present = store::binding_find(tx, &seat, user_id, MANUAL).await?;
    if present.is_some_and(|present| present.covers(role)) {
        return Ok(());
    }
    put(tx, &seat, user_id, role, Source::Manual).await
}

pub(super) async fn unbind(
    tx: &mut Connection,
    seat: &Seat<'_>,
    principal_id: &str,
    source: Source<'_>,
) -> Result<bool, Problem> {
    let authority = authorise(tx, seat).await?;
    let Some(before) = store::binding_find(tx, seat, principal_id, source.as_str()).await? else {
        return Ok(false);
    };
    if !authority.covers(before) {
        return Err(too_powerful(before));
    }
    if before == Role::Owner {
        keep_an_owner(tx, seat, principal_id, source).await?;
    }
    store::binding_delete(tx, seat, principal_id, source.as_str()).await?;
    note(tx, seat, principal_id, "member.removed", (Some(before), None), source).await?;
    Ok(true)
}

/// What the caller's roles come to here now: they may have been taken since the request was let in.
async fn authorise(tx: &mut Connection, seat: &Seat<'_>) -> Result<Authority, Problem> {
    let authority = seat.caller.authority(tx, seat.org_id, &seat.place).await?;
    let need = Access::write(Area::Members);
    if authority.allows(need) {
        return Ok(authority);
    }
    Err(Problem::new(Code::Forbidden, format!("your role does not allow this here; it takes {need}")))
}

fn too_powerful(role: Role) -> Problem {
    let detail = format!(
        "nobody may give or take a role that is more than their own: {} is more than yours here",
        role.as_str()
    );
    Problem::new(Code::RoleTooPowerful, detail)
}

/// Refuses to take somebody's ownership when nobody else owns the organisation, nor they by another source. Asked before anything is
/// changed: a sign-on goes on after the refusal, with the same transaction.
async fn keep_an_owner(
    tx: &mut Connection,
    seat: &Seat<'_>,
    principal_id: &str,
    source: Source<'_>,
) -> Result<(), Problem> {
    if seat.place != Place::Org
        || store::has_other_owner(tx, seat.org_id, principal_id, source.as_str()).await?
    {
        return Ok(());
    }
    let detail = "an organisation has at least one person as its owner; make somebody else an owner first";
    Err(Problem::new(Code::LastOwner, detail))
}

async fn note(
    tx: &mut Connection,
    seat: &Seat<'_>,
    principal_id: &str,
    action: &'static str,
    (before, after): (Option<Role>, Option<Role>),
    source: Source<'_>,
) -> Result<(), Problem> {
    let noted =
        |role| Noted { place: seat.place.kind(), place_id: seat.place_id(), role, source: source.as_str() };
    let mut change = Change::new(Chain::Org(seat.org_id), action, "member", principal_id);
    if let Place::Project(id) = &seat.place {
        change = change.in_project(id);
    }
    if let Some(role) = before {
        change = change.before(&noted(role));
    }
    if let Some(role) = after {
        change = change.after(&noted(role));
    }
    Ok(audit::record(tx, seat.caller, change).await?)
}
