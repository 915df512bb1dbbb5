//! Accepting an invitation, once.

use mindweave_policy::Fingerprint;
use serde::Serialize;

use super::store::{self, Open};
use crate::access::{Access, Area, Caller, Place, Role, authority_of, place_exists};
use crate::audit::{self, Chain, Change};
use crate::clock;
use crate::db::{Connection, StoreError};
use crate::http::problem::{Code, Problem};
use crate::members;

/// What an accepted invitation gave.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = AcceptedInvitation)]
pub(crate) struct Accepted {
    pub(crate) invitation_id: String,
    pub(crate) org_id: String,
    /// `org`, `team` or `project`.
    pub(crate) place: &'static str,
    /// The organisation, team or project.
    pub(crate) place_id: String,
    pub(crate) role: Role,
}

/// An invitation that can still be accepted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Invited {
    /// Whether the token went to this address only: whoever has it then reads mail of it. Otherwise the inviter saw the token.
    pub(crate) mailed: bool,
}

/// The invitation with this token. `None`: there is none that can still be accepted.
pub(crate) async fn invited(tx: &mut Connection, token: &str) -> Result<Option<Invited>, StoreError> {
    let open = store::open_find(tx, &Fingerprint::of(token.as_bytes()), clock::now()).await?;
    Ok(open.map(|open| Invited { mailed: open.mailed != 0 }))
}

/// Accepts an invitation for a person whose address is the invited one; whether it was verified the caller of this has asked. The transaction
/// must be one of [`crate::db::Db::begin_write`]: of two that accept at once the second finds it accepted.
///
/// # Errors
/// When it is unknown, accepted, revoked or expired (404 `invitation_invalid`), or for another address (403 `invitation_for_another`), or
/// the inviter may not give this role any more (404 `invitation_invalid`). Nothing was changed then.
pub(crate) async fn accept(
    tx: &mut Connection,
    caller: &Caller,
    token: &str,
    user_id: &str,
) -> Result<Accepted, Problem> {
    let now = clock::now();
    let open = store::open_find(tx, &Fingerprint::of(token.as_bytes()), now).await?.ok_or_else(invalid)?;
    if store::address_of(tx, user_id).await?.is_none_or(|address| address.key != open.email_key) {
        let detail = "this invitation is for another e-mail address than yours";
        return Err(Problem::new(Code::InvitationForAnother, detail));
    }
    let (place, role) = (open.place()?, open.role()?);
    inviter_still_may(tx, &open, &place, role).await?;
    store::accepted_set(tx, &open.id, user_id, now).await?;
    members::role_accept(tx, caller, &open.org_id, (user_id, &place, role)).await?;
    let accepted = Accepted {
        place: place.kind(),
        place_id: place.id(&open.org_id).to_owned(),
        invitation_id: open.id,
        org_id: open.org_id,
        role,
    };
    let chain = Chain::Org(&accepted.org_id);
    let change = Change::new(chain, "invitation.accepted", "invitation", &accepted.invitation_id);
    audit::record(tx, caller, change.after(&accepted)).await?;
    Ok(accepted)
}

/// An invitation gives no more than its inviter could give now.
async fn inviter_still_may(
    tx: &mut Connection,
    open: &Open,
    place: &Place,
    role: Role,
) -> Result<(), Problem> {
    if !place_exists(tx, &open.org_id, place).await? {
        return Err(void("what this invitation is for is gone"));
    }
    let authority = authority_of(tx, &open.invited_by, &open.org_id, place).await?;
    if authority.allows(Access::write(Area::Members)) && authority.covers(role) {
        return Ok(());
    }
    Err(void("whoever invited you may not give this role any more; ask for a new invitation"))
}

fn invalid() -> Problem {
    void("there is no invitation with this token, or it was accepted, revoked or replaced, or it has expired")
}

fn void(detail: &'static str) -> Problem {
    Problem::new(Code::InvitationInvalid, detail)
}
