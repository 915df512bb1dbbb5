//! Makes an invitation, or its token anew, and sends it.

use jiff::Timestamp;
use mindweave_policy::{Fingerprint, Secret};
use serde::Serialize;

use super::mail;
use super::store::{self, Invitation};
use crate::access::{PlacePermit, Role};
use crate::app::App;
use crate::db::Connection;
use crate::http::problem::{Code, Problem};
use crate::identity::TokenKind;
use crate::members;

/// How long an invitation can be accepted: people are on holiday for a week.
const LIFETIME_SECONDS: i64 = 7 * 24 * 60 * 60;
/// Most invitations of an organisation that can be accepted at a time.
const MAX_PENDING: i64 = 500;
/// Most invitations that an organisation makes in a day: mails to strangers are what an account that fell into wrong hands would send.
const MAX_A_DAY: i64 = 1_000;
const DAY_SECONDS: i64 = 24 * 60 * 60;
/// Seconds between two mails to the same address.
const RESEND_SECONDS: i64 = 60;
/// What ids of invitations start with.
const ID_PREFIX: &str = "inv_";

/// An invitation that was made or sent again.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = SentInvitation)]
pub(super) struct Sent {
    #[serde(flatten)]
    pub(super) invitation: Invitation,
    /// Give it to whoever is invited; it is not shown again. Only where no mails can be sent; otherwise a mail has it.
    pub(super) link: Option<String>,
}

/// What is to be written, and how its token reaches whoever is invited.
pub(super) struct Prepared {
    pub(super) invitation: Invitation,
    token: Secret,
}

impl Prepared {
    /// What is stored of the token.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.token.expose_secret().as_bytes())
    }

    /// Gives it a new token, good from now on.
    pub(super) fn renew(
        app: &App,
        invitation: Invitation,
        by: &str,
        now: Timestamp,
    ) -> Result<Self, Problem> {
        let token = TokenKind::OneTime.generate().map_err(|error| Problem::internal(&error))?;
        let invitation = Invitation {
            mailed: app.identity.mailer().is_configured(),
            invited_by: by.to_owned(),
            sent_at: now,
            expires_at: after(now, LIFETIME_SECONDS),
            ..invitation
        };
        Ok(Self { invitation, token })
    }

    /// Sends it, after it was committed.
    pub(super) fn send(self, app: &App, org_name: &str) -> Result<Sent, Problem> {
        let Self { invitation, token } = self;
        let link = mail::link(app.identity.public_url(), &token);
        if !invitation.mailed {
            return Ok(Sent { invitation, link: Some(link) });
        }
        let words = (org_name, invitation.role.as_str());
        if app.identity.mailer().send(mail::mail(&invitation.email, words, &link)).is_err() {
            let detail =
                "the invitation was made, but too many mails wait to be sent; send it again in a minute";
            return Err(Problem::new(Code::Busy, detail));
        }
        Ok(Sent { invitation, link: None })
    }
}

/// An invitation to a place, which the caller may give.
pub(super) async fn prepare(
    tx: &mut Connection,
    app: &App,
    permit: &PlacePermit,
    (email, role): (String, Role),
    now: Timestamp,
) -> Result<Prepared, Problem> {
    members::may_give(tx, permit, role).await?;
    if store::is_pending(tx, permit, &email, now).await? {
        let detail =
            "this address has an invitation to this place already; send that one again, or revoke it";
        return Err(Problem::new(Code::AlreadyInvited, detail));
    }
    check_bounds(tx, permit, now).await?;
    let place = permit.place();
    let by = permit.caller().actor().id().to_owned();
    let invitation = Invitation {
        id: members::id_generate(ID_PREFIX, now).map_err(|error| Problem::internal(&error))?,
        org_id: permit.org_id().to_owned(),
        email,
        place: place.kind(),
        place_id: place.id(permit.org_id()).to_owned(),
        role,
        status: store::Status::Pending,
        mailed: false,
        invited_by: by.clone(),
        created_at: now,
        sent_at: now,
        expires_at: now,
        accepted_at: None,
        accepted_by: None,
        revoked_at: None,
    };
    Prepared::renew(app, invitation, &by, now)
}

/// The same invitation with a new token; the one before is worth nothing then.
pub(super) async fn prepare_again(
    tx: &mut Connection,
    app: &App,
    permit: &PlacePermit,
    before: &Invitation,
    now: Timestamp,
) -> Result<Prepared, Problem> {
    members::may_give(tx, permit, before.role).await?;
    if matches!(before.status, store::Status::Accepted | store::Status::Revoked) {
        return Err(over());
    }
    let waited = now.as_second().saturating_sub(before.sent_at.as_second());
    if waited < RESEND_SECONDS {
        let detail = "it was sent less than a minute ago";
        let left = u64::try_from(RESEND_SECONDS.saturating_sub(waited)).unwrap_or_default();
        return Err(Problem::new(Code::TooManyRequests, detail).retry_after(left));
    }
    if before.status == store::Status::Expired {
        check_bounds(tx, permit, now).await?;
    }
    let again = Invitation { status: store::Status::Pending, ..before.clone() };
    Prepared::renew(app, again, permit.caller().actor().id(), now)
}

pub(super) fn over() -> Problem {
    Problem::new(Code::InvitationOver, "this invitation was accepted or revoked; make a new one")
}

async fn check_bounds(tx: &mut Connection, permit: &PlacePermit, now: Timestamp) -> Result<(), Problem> {
    if store::pending_count(tx, permit, now).await? >= MAX_PENDING {
        let detail =
            format!("an organisation may have at most {MAX_PENDING} open invitations; revoke some first");
        return Err(Problem::new(Code::TooMany, detail));
    }
    if store::count_since(tx, permit, after(now, -DAY_SECONDS)).await? >= MAX_A_DAY {
        let detail =
            format!("an organisation may make at most {MAX_A_DAY} invitations a day; try again tomorrow");
        return Err(Problem::new(Code::TooManyRequests, detail));
    }
    Ok(())
}

/// A moment so many seconds later. Stays where it is at the end of all times, which no clock shows.
fn after(now: Timestamp, seconds: i64) -> Timestamp {
    now.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap_or(now)
}
