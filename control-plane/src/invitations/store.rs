//! All SQL of invitations.

mod open;

use jiff::Timestamp;
use mindweave_policy::Fingerprint;
use serde::Serialize;
use sqlx::FromRow;

use crate::access::{OrgPermit, Place, PlacePermit, Role};
use crate::db::sql::QueryBuilder;
use crate::db::{Connection, Doing, StoreError, sql};
use crate::http::sorting::Sorting;
use crate::identity::users::email_key;
use crate::stored::timestamp;

pub(super) use open::{Mine, Open, accepted_set, address_of, mine_list, open_find};

/// What has become of an invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = InvitationStatus)]
pub(super) enum Status {
    /// It can be accepted.
    Pending,
    Accepted,
    /// Nobody accepted it in time. It can be sent again.
    Expired,
    Revoked,
}

impl Status {
    pub(super) const ALL: [Self; 4] = [Self::Pending, Self::Accepted, Self::Expired, Self::Revoked];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Accepted => "accepted",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

/// An invitation as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(super) struct Invitation {
    #[schema(example = "inv_0198c0ffee")]
    pub(super) id: String,
    pub(super) org_id: String,
    pub(super) email: String,
    /// `org`, `team` or `project`.
    pub(super) place: &'static str,
    /// The organisation, team or project.
    pub(super) place_id: String,
    pub(super) role: Role,
    pub(super) status: Status,
    /// Whether the link went to the address by mail. Otherwise whoever made it was shown it.
    pub(super) mailed: bool,
    /// Whoever sent it last. What they may not give any more when it is accepted, it does not give.
    pub(super) invited_by: String,
    pub(super) created_at: Timestamp,
    pub(super) sent_at: Timestamp,
    pub(super) expires_at: Timestamp,
    pub(super) accepted_at: Option<Timestamp>,
    pub(super) accepted_by: Option<String>,
    pub(super) revoked_at: Option<Timestamp>,
}

#[derive(FromRow)]
struct Row {
    id: String,
    org_id: String,
    email: String,
    place: String,
    place_id: String,
    role: String,
    mailed: i64,
    invited_by: String,
    created_at: i64,
    sent_at: i64,
    expires_at: i64,
    accepted_at: Option<i64>,
    accepted_by: Option<String>,
    revoked_at: Option<i64>,
}

const COLUMNS: &str = "SELECT i.id, i.org_id, i.email, i.place, i.place_id, i.role, i.mailed, i.invited_by, i.created_at, i.sent_at,
    i.expires_at, i.accepted_at, i.accepted_by, i.revoked_at FROM invitations i";

impl Row {
    fn shown(self, now: Timestamp) -> Result<Invitation, StoreError> {
        let expires_at = timestamp(self.expires_at)?;
        let status = match (self.accepted_at, self.revoked_at) {
            (Some(_), _) => Status::Accepted,
            (None, Some(_)) => Status::Revoked,
            (None, None) if expires_at > now => Status::Pending,
            (None, None) => Status::Expired,
        };
        Ok(Invitation {
            place: place(&self.place, self.place_id.clone())?.kind(),
            role: role(&self.role)?,
            id: self.id,
            org_id: self.org_id,
            email: self.email,
            place_id: self.place_id,
            status,
            mailed: self.mailed != 0,
            invited_by: self.invited_by,
            created_at: timestamp(self.created_at)?,
            sent_at: timestamp(self.sent_at)?,
            expires_at,
            accepted_at: self.accepted_at.map(timestamp).transpose()?,
            accepted_by: self.accepted_by,
            revoked_at: self.revoked_at.map(timestamp).transpose()?,
        })
    }
}

fn place(kind: &str, id: String) -> Result<Place, StoreError> {
    Place::from_stored(kind, id).ok_or(StoreError::Corrupt { what: "the place of an invitation" })
}

fn role(text: &str) -> Result<Role, StoreError> {
    Role::from_text(text).ok_or(StoreError::Corrupt { what: "the role of an invitation" })
}

/// Which invitations are wanted.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    pub(super) status: Option<Status>,
    /// However it is written.
    pub(super) email: Option<String>,
    pub(super) now: Timestamp,
}

/// Invitations of an organisation.
pub(super) async fn invitation_list(
    tx: &mut Connection,
    permit: &OrgPermit,
    filter: &Filter,
    sorting: &Sorting,
    limit: u64,
) -> Result<Vec<Invitation>, StoreError> {
    let now = filter.now.as_microsecond();
    let mut sql = QueryBuilder::new(format!("{COLUMNS} WHERE i.org_id = "));
    sql.push_bind(permit.org_id());
    let open = " AND i.accepted_at IS NULL AND i.revoked_at IS NULL AND i.expires_at ";
    match filter.status {
        None => {}
        Some(Status::Pending) => drop(sql.push(open).push("> ").push_bind(now)),
        Some(Status::Expired) => drop(sql.push(open).push("<= ").push_bind(now)),
        Some(Status::Accepted) => drop(sql.push(" AND i.accepted_at IS NOT NULL")),
        Some(Status::Revoked) => drop(sql.push(" AND i.accepted_at IS NULL AND i.revoked_at IS NOT NULL")),
    }
    if let Some(email) = &filter.email {
        sql.push(" AND i.email_key = ").push_bind(email_key(email));
    }
    sorting.push(&mut sql, "i.id", limit);
    let rows: Vec<Row> = sql.build_query_as().fetch_all(tx).await.doing("listing invitations")?;
    rows.into_iter().map(|row| row.shown(filter.now)).collect()
}

/// Where an invitation is to, for whoever asks for the permit.
pub(super) async fn place_of(tx: &mut Connection, id: &str) -> Result<Option<(String, Place)>, StoreError> {
    let row: Option<(String, String, String)> =
        sql::query_as("SELECT org_id, place, place_id FROM invitations WHERE id = ?")
            .bind(id)
            .fetch_optional(tx)
            .await
            .doing("looking for an invitation")?;
    row.map(|(org_id, kind, id)| Ok((org_id, place(&kind, id)?))).transpose()
}

/// An invitation to the place of the permit.
pub(super) async fn invitation_view(
    tx: &mut Connection,
    permit: &PlacePermit,
    id: &str,
    now: Timestamp,
) -> Result<Option<Invitation>, StoreError> {
    let place = permit.place();
    let mut sql = QueryBuilder::new(format!("{COLUMNS} WHERE i.id = "));
    sql.push_bind(id).push(" AND i.org_id = ").push_bind(permit.org_id());
    sql.push(" AND i.place_id = ").push_bind(place.id(permit.org_id()));
    let row: Option<Row> = sql.build_query_as().fetch_optional(tx).await.doing("reading an invitation")?;
    row.map(|row| row.shown(now)).transpose()
}

/// Whether this address has an invitation to the place of the permit that it can accept.
pub(super) async fn is_pending(
    tx: &mut Connection,
    permit: &PlacePermit,
    email: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    sql::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM invitations WHERE email_key = ? AND org_id = ? AND place_id = ? AND expires_at > ?
             AND accepted_at IS NULL AND revoked_at IS NULL)",
    )
    .bind(email_key(email))
    .bind(permit.org_id())
    .bind(permit.place().id(permit.org_id()))
    .bind(now.as_microsecond())
    .fetch_one(tx)
    .await
    .doing("looking for an invitation")
}

/// How many invitations of the organisation can be accepted now.
pub(super) async fn pending_count(
    tx: &mut Connection,
    permit: &PlacePermit,
    now: Timestamp,
) -> Result<i64, StoreError> {
    sql::query_scalar(
        "SELECT count(*) FROM invitations
         WHERE org_id = ? AND expires_at > ? AND accepted_at IS NULL AND revoked_at IS NULL",
    )
    .bind(permit.org_id())
    .bind(now.as_microsecond())
    .fetch_one(tx)
    .await
    .doing("counting invitations")
}

/// How many invitations the organisation sent since then.
pub(super) async fn count_since(
    tx: &mut Connection,
    permit: &PlacePermit,
    since: Timestamp,
) -> Result<i64, StoreError> {
    sql::query_scalar("SELECT count(*) FROM invitations WHERE org_id = ? AND sent_at > ?")
        .bind(permit.org_id())
        .bind(since.as_microsecond())
        .fetch_one(tx)
        .await
        .doing("counting invitations")
}

/// What the organisation is called.
pub(super) async fn org_name(tx: &mut Connection, permit: &PlacePermit) -> Result<String, StoreError> {
    sql::query_scalar("SELECT name FROM orgs WHERE id = ?")
        .bind(permit.org_id())
        .fetch_one(tx)
        .await
        .doing("reading the name of an organisation")
}

/// Writes a new invitation.
pub(super) async fn invitation_insert(
    tx: &mut Connection,
    permit: &PlacePermit,
    new: &Invitation,
    fingerprint: &Fingerprint,
) -> Result<(), StoreError> {
    sql::query(
        "INSERT INTO invitations (id, org_id, email, email_key, place, place_id, role, fingerprint, mailed, invited_by,
             created_at, sent_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&new.id)
    .bind(permit.org_id())
    .bind(&new.email)
    .bind(email_key(&new.email))
    .bind(permit.place().kind())
    .bind(permit.place().id(permit.org_id()))
    .bind(new.role.as_str())
    .bind(fingerprint.as_bytes().as_slice())
    .bind(new.mailed)
    .bind(&new.invited_by)
    .bind(new.created_at.as_microsecond())
    .bind(new.sent_at.as_microsecond())
    .bind(new.expires_at.as_microsecond())
    .execute(tx)
    .await
    .doing("making an invitation")
    .map(drop)
}

/// Writes what sending it again changed. The token before opens nothing from then on.
pub(super) async fn invitation_renew(
    tx: &mut Connection,
    permit: &PlacePermit,
    again: &Invitation,
    fingerprint: &Fingerprint,
) -> Result<(), StoreError> {
    sql::query(
        "UPDATE invitations SET fingerprint = ?, mailed = ?, invited_by = ?, sent_at = ?, expires_at = ?
         WHERE id = ? AND org_id = ?",
    )
    .bind(fingerprint.as_bytes().as_slice())
    .bind(again.mailed)
    .bind(&again.invited_by)
    .bind(again.sent_at.as_microsecond())
    .bind(again.expires_at.as_microsecond())
    .bind(&again.id)
    .bind(permit.org_id())
    .execute(tx)
    .await
    .doing("sending an invitation again")
    .map(drop)
}

/// Notes that it was revoked.
pub(super) async fn invitation_revoke(
    tx: &mut Connection,
    permit: &PlacePermit,
    revoked: &Invitation,
) -> Result<(), StoreError> {
    sql::query("UPDATE invitations SET revoked_at = ? WHERE id = ? AND org_id = ?")
        .bind(revoked.revoked_at.map(Timestamp::as_microsecond))
        .bind(&revoked.id)
        .bind(permit.org_id())
        .execute(tx)
        .await
        .doing("revoking an invitation")
        .map(drop)
}
