//! Members as the API shows them: people and service accounts, each with the roles that they have.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::Serialize;
use sqlx::FromRow;

use super::bind::Seat;
use super::store::{Binding, BindingRow};
use crate::access::{Place, Role};
use crate::db::sql::QueryBuilder;
use crate::db::{Connection, Doing, StoreError};
use crate::http::sorting::Sorting;
use crate::stored::timestamp;

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum MemberKind {
    User,
    ServiceAccount,
}

impl MemberKind {
    pub(super) const ALL: [Self; 2] = [Self::User, Self::ServiceAccount];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::ServiceAccount => "service_account",
        }
    }
}

/// A role of a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(super) struct MemberRole {
    /// `org`, `team` or `project`.
    #[schema(example = "org")]
    pub(super) place: &'static str,
    /// The organisation, team or project.
    pub(super) place_id: String,
    pub(super) role: Role,
    /// `manual`, or the sign-on provider whose groups gave it.
    #[schema(example = "manual")]
    pub(super) source: String,
    pub(super) given_at: Timestamp,
}

/// A member as the API shows it: in an organisation with every role there, in a team or project with the roles given in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(super) struct Member {
    /// `usr_..` or that of a service account.
    pub(super) id: String,
    pub(super) kind: MemberKind,
    pub(super) name: String,
    /// Of people.
    pub(super) email: Option<String>,
    /// Whether nobody can come as this member now.
    pub(super) disabled: bool,
    /// When the first of its roles here was given.
    pub(super) joined_at: Timestamp,
    pub(super) roles: Vec<MemberRole>,
}

/// Which members are wanted.
#[derive(Clone, Debug, Default)]
pub(super) struct MemberFilter {
    pub(super) principal_id: Option<String>,
    pub(super) role: Option<Role>,
    pub(super) kind: Option<MemberKind>,
    /// A part of the name or of the e-mail address, whatever its letters' case.
    pub(super) text: Option<String>,
}

#[derive(FromRow)]
struct MemberRow {
    id: String,
    kind: String,
    name: String,
    email: Option<String>,
    disabled_at: Option<i64>,
    joined_at: i64,
}

/// One member, or nothing.
pub(super) async fn member_view(
    tx: &mut Connection,
    seat: &Seat<'_>,
    principal_id: &str,
) -> Result<Option<Member>, StoreError> {
    let filter = MemberFilter { principal_id: Some(principal_id.to_owned()), ..MemberFilter::default() };
    let sql = members_sql(seat, &filter);
    Ok(members(tx, seat, sql).await?.pop())
}

/// Members of a place, with those roles that they have in it.
pub(super) async fn member_list(
    tx: &mut Connection,
    seat: &Seat<'_>,
    filter: &MemberFilter,
    sorting: &Sorting,
    limit: u64,
) -> Result<Vec<Member>, StoreError> {
    let mut sql = members_sql(seat, filter);
    sorting.push(&mut sql, "id", limit);
    members(tx, seat, sql).await
}

/// Adds which roles count in a place: ` AND ..` on `role_bindings b`. In an organisation all of those in it.
fn push_roles_of(sql: &mut QueryBuilder, seat: &Seat<'_>) {
    sql.push("b.org_id = ").push_bind(seat.org_id);
    match &seat.place {
        Place::Org => {
            sql.push(
                " AND (b.place = 'org'
                     OR EXISTS (SELECT 1 FROM teams t WHERE t.id = b.place_id AND t.deleted_at IS NULL)
                     OR EXISTS (SELECT 1 FROM projects p WHERE p.id = b.place_id AND p.deleted_at IS NULL))",
            );
        }
        place => {
            sql.push(" AND b.place = ").push_bind(place.kind());
            sql.push(" AND b.place_id = ").push_bind(seat.place_id());
        }
    }
}

fn members_sql(seat: &Seat<'_>, filter: &MemberFilter) -> QueryBuilder {
    let mut sql = QueryBuilder::new(
        "SELECT id, kind, name, email, disabled_at, joined_at FROM (
             SELECT u.id, 'user' AS kind, u.name, u.email, u.disabled_at, min(b.created_at) AS joined_at
             FROM role_bindings b JOIN users u ON u.id = b.principal_id AND u.erased_at IS NULL WHERE ",
    );
    push_roles_of(&mut sql, seat);
    sql.push(
        " GROUP BY u.id, u.name, u.email, u.disabled_at UNION ALL
             SELECT s.id, 'service_account', s.name, NULL, s.disabled_at, min(b.created_at)
             FROM role_bindings b JOIN service_accounts s ON s.id = b.principal_id AND s.deleted_at IS NULL WHERE ",
    );
    push_roles_of(&mut sql, seat);
    sql.push(" GROUP BY s.id, s.name, s.disabled_at) AS members WHERE true");
    if let Some(id) = &filter.principal_id {
        sql.push(" AND id = ").push_bind(id);
    }
    if let Some(kind) = filter.kind {
        sql.push(" AND kind = ").push_bind(kind.as_str());
    }
    if let Some(role) = filter.role {
        sql.push(" AND EXISTS (SELECT 1 FROM role_bindings b WHERE b.principal_id = members.id AND ");
        push_roles_of(&mut sql, seat);
        sql.push(" AND b.role = ").push_bind(role.as_str()).push(")");
    }
    if let Some(text) = &filter.text {
        let pattern = like_part(text);
        sql.push(" AND (lower(name) LIKE lower(").push_bind(&pattern).push(") ESCAPE '!'");
        sql.push(" OR lower(email) LIKE lower(").push_bind(&pattern).push(") ESCAPE '!')");
    }
    sql
}

/// A pattern for what holds this text, whose marks stand for themselves.
fn like_part(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len().saturating_add(2));
    pattern.push('%');
    for char in text.chars() {
        if matches!(char, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(char);
    }
    pattern.push('%');
    pattern
}

async fn members(tx: &mut Connection, seat: &Seat<'_>, sql: QueryBuilder) -> Result<Vec<Member>, StoreError> {
    let rows: Vec<MemberRow> = sql.build_query_as().fetch_all(&mut *tx).await.doing("listing members")?;
    let ids: Vec<_> = rows.iter().map(|row| row.id.clone()).collect();
    let mut roles = roles_of(tx, seat, &ids).await?;
    let member = |row: MemberRow| {
        let kind = MemberKind::ALL.into_iter().find(|kind| kind.as_str() == row.kind);
        Ok(Member {
            roles: roles.remove(&row.id).unwrap_or_default(),
            id: row.id,
            kind: kind.ok_or(StoreError::Corrupt { what: "the kind of a member" })?,
            name: row.name,
            email: row.email,
            disabled: row.disabled_at.is_some(),
            joined_at: timestamp(row.joined_at)?,
        })
    };
    rows.into_iter().map(member).collect()
}

#[derive(FromRow)]
struct RoleOfRow {
    principal_id: String,
    #[sqlx(flatten)]
    binding: BindingRow,
}

/// The roles of these members, oldest first.
async fn roles_of(
    tx: &mut Connection,
    seat: &Seat<'_>,
    ids: &[String],
) -> Result<HashMap<String, Vec<MemberRole>>, StoreError> {
    let mut roles: HashMap<String, Vec<MemberRole>> = HashMap::with_capacity(ids.len());
    let Some((first, rest)) = ids.split_first() else { return Ok(roles) };
    let mut sql = QueryBuilder::new(
        "SELECT b.principal_id, b.place, b.place_id, b.role, b.source, b.created_at FROM role_bindings b WHERE ",
    );
    push_roles_of(&mut sql, seat);
    sql.push(" AND b.principal_id IN (").push_bind(first);
    for id in rest {
        sql.push(", ").push_bind(id);
    }
    sql.push(") ORDER BY b.id");
    let rows: Vec<RoleOfRow> = sql.build_query_as().fetch_all(tx).await.doing("listing members' roles")?;
    for row in rows {
        let Binding { place, role, source, created_at } = Binding::try_from(row.binding)?;
        let place_id = place.id(seat.org_id).to_owned();
        let role = MemberRole { place: place.kind(), place_id, role, source, given_at: created_at };
        roles.entry(row.principal_id).or_default().push(role);
    }
    Ok(roles)
}
