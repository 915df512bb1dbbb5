//! What is known of a person, record by record, in pages.

use serde::Serialize;
use serde_json::{Value, json};

use crate::access::OrgPermit;
use crate::db::{Connection, Doing, StoreError, sql};

/// Where a record comes from, in the order of the export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Section {
    /// The account, if they have one and belong to the organisation.
    Account,
    /// Roles in the organisation.
    Role,
    /// Invitations to their address.
    Invitation,
    /// Where they are signed in.
    Session,
    /// Their personal access tokens, without secrets.
    Token,
    /// Who they are at sign-on providers.
    SignOn,
    /// Keys that name them, without secrets.
    Key,
    /// Client credentials that name them, without secrets.
    Credential,
    /// What they used, by day, project and model.
    Usage,
    /// Single calls, for as long as those are kept.
    Event,
    /// Entries of the audit log by them and about them.
    Audit,
}

/// Every section.
pub(super) const SECTIONS: [Section; 11] = [
    Section::Account,
    Section::Role,
    Section::Invitation,
    Section::Session,
    Section::Token,
    Section::SignOn,
    Section::Key,
    Section::Credential,
    Section::Usage,
    Section::Event,
    Section::Audit,
];

/// Something that is known.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Record {
    pub(crate) section: Section,
    /// As the API shows it elsewhere.
    pub(crate) record: Value,
    /// Its place within its section.
    #[serde(skip)]
    #[schema(ignore)]
    pub(super) place: String,
}

/// Records of a section after this place.
pub(super) async fn section_read(
    tx: &mut Connection,
    permit: &OrgPermit,
    user_id: &str,
    section: Section,
    after: &str,
    limit: i64,
) -> Result<Vec<Record>, StoreError> {
    let statement = match section {
        Section::Account => ACCOUNT,
        Section::Role => ROLES,
        Section::Invitation => INVITATIONS,
        Section::Session => SESSIONS,
        Section::Token => TOKENS,
        Section::SignOn => IDENTITIES,
        Section::Key => KEYS,
        Section::Credential => CREDENTIALS,
        Section::Usage => return usage(tx, permit, user_id, after, limit).await,
        Section::Event => return events(tx, permit, user_id, after, limit).await,
        Section::Audit => return audit(tx, permit, user_id, after, limit).await,
    };
    // Of each: place, then up to five named texts.
    let rows: Vec<Texts> = sql::query_as(statement.sql)
        .bind(permit.org_id())
        .bind(user_id)
        .bind(after)
        .bind(limit)
        .fetch_all(tx)
        .await
        .doing("exporting what is known of a person")?;
    let record = |row: Texts| {
        let values = [row.a, row.b, row.c, row.d, row.e];
        let fields =
            statement.names.iter().zip(values).map(|(name, value)| ((*name).to_owned(), json!(value)));
        Record { section, record: Value::Object(fields.collect()), place: row.place }
    };
    Ok(rows.into_iter().map(record).collect())
}

/// Columns of a statement.
#[derive(sqlx::FromRow)]
struct Texts {
    place: String,
    a: Option<String>,
    b: Option<String>,
    c: Option<String>,
    d: Option<String>,
    e: Option<String>,
}

/// A statement for an organisation, a person, a place and a limit, and what its columns are called.
struct Statement {
    sql: &'static str,
    names: &'static [&'static str],
}

const ACCOUNT: Statement = Statement {
    sql: "SELECT u.id AS place, u.id AS a, u.email AS b, u.name AS c, CAST(u.created_at AS TEXT) AS d,
              CAST(u.last_login_at AS TEXT) AS e
          FROM users u WHERE EXISTS (SELECT 1 FROM role_bindings b WHERE b.principal_id = u.id AND b.org_id = ?)
              AND u.id = ? AND u.erased_at IS NULL AND u.id > ? ORDER BY u.id LIMIT ?",
    names: &["id", "email", "name", "created_at_micros", "last_login_at_micros"],
};
const ROLES: Statement = Statement {
    sql:
        "SELECT id AS place, place AS a, place_id AS b, role AS c, source AS d, CAST(created_at AS TEXT) AS e
          FROM role_bindings WHERE org_id = ? AND principal_id = ? AND id > ? ORDER BY id LIMIT ?",
    names: &["place", "place_id", "role", "source", "created_at_micros"],
};
const INVITATIONS: Statement = Statement {
    sql: "SELECT i.id AS place, i.email AS a, i.role AS b, i.place_id AS c, CAST(i.created_at AS TEXT) AS d,
              CAST(i.accepted_at AS TEXT) AS e
          FROM invitations i JOIN users u ON u.email_key = i.email_key
          WHERE i.org_id = ? AND u.id = ? AND i.id > ? ORDER BY i.id LIMIT ?",
    names: &["email", "role", "place_id", "created_at_micros", "accepted_at_micros"],
};
const SESSIONS: Statement = Statement {
    sql: "SELECT s.id AS place, s.method AS a, s.address AS b, s.user_agent AS c, CAST(s.created_at AS TEXT) AS d,
              CAST(s.last_used_at AS TEXT) AS e
          FROM sessions s WHERE EXISTS (SELECT 1 FROM role_bindings b WHERE b.principal_id = s.user_id AND b.org_id = ?)
              AND s.user_id = ? AND s.id > ? ORDER BY s.id LIMIT ?",
    names: &["method", "address", "user_agent", "created_at_micros", "last_used_at_micros"],
};
const TOKENS: Statement = Statement {
    sql: "SELECT t.id AS place, t.id AS a, t.name AS b, t.scopes AS c, CAST(t.created_at AS TEXT) AS d,
              CAST(t.last_used_at AS TEXT) AS e
          FROM api_tokens t WHERE EXISTS (SELECT 1 FROM role_bindings b WHERE b.principal_id = t.principal_id AND b.org_id = ?)
              AND t.principal_id = ? AND t.id > ? ORDER BY t.id LIMIT ?",
    names: &["id", "name", "scopes", "created_at_micros", "last_used_at_micros"],
};
const IDENTITIES: Statement = Statement {
    sql: "SELECT x.subject AS place, x.issuer AS a, x.subject AS b, x.provider_id AS c, CAST(x.created_at AS TEXT) AS d,
              CAST(x.last_login_at AS TEXT) AS e
          FROM external_identities x JOIN oidc_providers p ON p.id = x.provider_id
          WHERE p.org_id = ? AND x.user_id = ? AND x.subject > ? ORDER BY x.subject LIMIT ?",
    names: &["issuer", "subject", "provider", "created_at_micros", "last_login_at_micros"],
};
const KEYS: Statement = Statement {
    sql: "SELECT k.id AS place, k.id AS a, k.project_id AS b, k.name AS c, k.labels AS d, k.roles AS e
          FROM keys k JOIN projects p ON p.id = k.project_id
          WHERE p.org_id = ? AND k.user_id = ? AND k.id > ? ORDER BY k.id LIMIT ?",
    names: &["id", "project_id", "name", "labels", "roles"],
};
const CREDENTIALS: Statement = Statement {
    sql: "SELECT c.id AS place, c.id AS a, c.project_id AS b, c.name AS c, c.labels AS d, c.roles AS e
          FROM client_credentials c JOIN projects p ON p.id = c.project_id
          WHERE p.org_id = ? AND c.user_id = ? AND c.id > ? ORDER BY c.id LIMIT ?",
    names: &["id", "project_id", "name", "labels", "roles"],
};

/// Day, dimension, project, model, requests, input tokens, output tokens, cost in nano-dollars.
type DayRow = (i64, i64, String, String, i64, i64, i64, i64);

/// Days that are over are in the sums by day; today's calls are among the single ones.
async fn usage(
    tx: &mut Connection,
    permit: &OrgPermit,
    user_id: &str,
    after: &str,
    limit: i64,
) -> Result<Vec<Record>, StoreError> {
    let (day, dim) = pair(after);
    let rows: Vec<DayRow> = sql::query_as(
        "SELECT d.bucket, d.dim_id, m.project_id, m.model, d.requests, d.input_tokens, d.output_tokens, d.cost_nano_usd
         FROM usage_day d JOIN usage_dims m ON m.dim_id = d.dim_id
         WHERE m.org_id = ? AND m.user_id = ? AND (d.bucket > ? OR d.bucket = ? AND d.dim_id > ?)
         ORDER BY d.bucket, d.dim_id LIMIT ?",
    )
    .bind(permit.org_id())
    .bind(user_id)
    .bind(day)
    .bind(day)
    .bind(dim)
    .bind(limit)
    .fetch_all(tx)
    .await
    .doing("exporting a person's sums")?;
    let record = |(day, dim, project_id, model, requests, input_tokens, output_tokens, cost)| Record {
        section: Section::Usage,
        record: json!({
            "day": jiff::Timestamp::from_microsecond(day).ok(), "project_id": project_id, "model": model,
            "requests": requests, "input_tokens": input_tokens, "output_tokens": output_tokens, "cost_nano_usd": cost,
        }),
        place: format!("{day}.{dim}"),
    };
    Ok(rows.into_iter().map(record).collect())
}

async fn events(
    tx: &mut Connection,
    permit: &OrgPermit,
    user_id: &str,
    after: &str,
    limit: i64,
) -> Result<Vec<Record>, StoreError> {
    let (ended_at, landed) = pair(after);
    let rows: Vec<(i64, i64, String)> = sql::query_as(
        "SELECT ended_at, landed, event FROM usage_events
         WHERE project_id IN (SELECT id FROM projects WHERE org_id = ?) AND user_id = ?
             AND (ended_at > ? OR ended_at = ? AND landed > ?)
         ORDER BY ended_at, landed LIMIT ?",
    )
    .bind(permit.org_id())
    .bind(user_id)
    .bind(ended_at)
    .bind(ended_at)
    .bind(landed)
    .bind(limit)
    .fetch_all(tx)
    .await
    .doing("exporting a person's calls")?;
    let record = |(ended_at, landed, event): (i64, i64, String)| {
        let record = serde_json::from_str(&event).map_err(|_| StoreError::Corrupt { what: "an event" })?;
        Ok(Record { section: Section::Event, record, place: format!("{ended_at}.{landed}") })
    };
    rows.into_iter().map(record).collect()
}

async fn audit(
    tx: &mut Connection,
    permit: &OrgPermit,
    user_id: &str,
    after: &str,
    limit: i64,
) -> Result<Vec<Record>, StoreError> {
    let (sequence, _) = pair(after);
    let rows: Vec<(i64, String, Option<String>)> = sql::query_as(
        "SELECT sequence, body, personal FROM audit_log
         WHERE chain = ? AND (actor_id = ? OR target_id = ?) AND sequence > ? ORDER BY sequence LIMIT ?",
    )
    .bind(permit.org_id())
    .bind(user_id)
    .bind(user_id)
    .bind(sequence)
    .bind(limit)
    .fetch_all(tx)
    .await
    .doing("exporting what a person changed")?;
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap_or(Value::Null);
    let record = |(sequence, body, personal): (i64, String, Option<String>)| Record {
        section: Section::Audit,
        record: json!({ "sequence": sequence, "entry": json(&body), "personal": personal.map(|text| json(&text)) }),
        place: sequence.to_string(),
    };
    Ok(rows.into_iter().map(record).collect())
}

/// The two numbers of a place; before everything for the first page.
fn pair(place: &str) -> (i64, i64) {
    let (first, second) = place.split_once('.').unwrap_or((place, ""));
    (first.parse().unwrap_or(i64::MIN), second.parse().unwrap_or(i64::MIN))
}
