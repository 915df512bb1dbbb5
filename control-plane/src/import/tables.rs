//! What is moved, and in which order.

/// A table of the file that the server has as well.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    /// What an empty database has in it, which makes room for what comes.
    pub(super) seeded: bool,
    /// A column of the file with times by which the server divides the table.
    pub(super) divided_by: Option<&'static str>,
}

const fn table(name: &'static str) -> Table {
    Table { name, seeded: false, divided_by: None }
}

const fn seeded(name: &'static str) -> Table {
    Table { seeded: true, ..table(name) }
}

const fn divided(name: &'static str, by: &'static str) -> Table {
    Table { divided_by: Some(by), ..table(name) }
}

/// The table of raw events, which on a server has the column [`ID_AT`] beside those of the file.
pub(super) const EVENTS: &str = "usage_events";
/// By what a server files events.
pub(super) const ID_AT: &str = "id_at";

/// In an order in which nothing names what is not there yet. `installation` is the last of those that others change by their
/// triggers: its revisions are then those of the file.
pub(super) const TABLES: [Table; 45] = [
    table("orgs"),
    table("users"),
    table("service_accounts"),
    table("teams"),
    table("projects"),
    table("upstream_credentials"),
    table("keys"),
    table("client_credentials"),
    table("policies"),
    table("policy_versions"),
    table("limits"),
    table("quotas"),
    table("role_bindings"),
    table("invitations"),
    table("sessions"),
    table("session_tokens"),
    table("api_tokens"),
    table("one_time_tokens"),
    table("totp_secrets"),
    table("recovery_codes"),
    table("passkeys"),
    table("oidc_providers"),
    table("external_identities"),
    table("attempts"),
    table("audit_log"),
    table("audit_heads"),
    table("idempotent_requests"),
    table("erasures"),
    table("erasure_salt"),
    table("installation"),
    table("proxy_tokens"),
    table("consumer_offsets"),
    table("booked_batch_items"),
    table("usage_dims"),
    table("key_uses"),
    divided("usage_minute", "bucket"),
    divided("usage_hour", "bucket"),
    table("usage_day"),
    seeded("rollup_state"),
    table("budget_counters"),
    table("budget_countings"),
    seeded("budget_moves"),
    divided(EVENTS, "ended_at"),
    table("live_proxies"),
    seeded("live_proxies_kept"),
];

/// What each database says of itself.
#[cfg(test)]
pub(super) const LEFT_OUT: [&str; 2] = ["_sqlx_migrations", "schema_compatibility"];

/// What a column holds. Both engines know no other types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Integer,
    Text,
    Bytes,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// A value of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    Integer(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

/// What a table sums up to: its rows, and two figures of every column, its numbers' halves, or how many values it has and their
/// bytes.
pub(super) type Figures = Vec<i64>;

/// Asks for [`Figures`], in one row. Numbers in halves: microseconds of a million rows do not fit into a sum.
pub(super) fn figures_sql(table: Table, columns: &[Column]) -> String {
    let mut sums = vec!["count(*)".to_owned()];
    for Column { name, kind } in columns {
        match kind {
            Kind::Integer => sums.extend([format!("sum({name} >> 32)"), format!("sum({name} & 4294967295)")]),
            Kind::Text | Kind::Bytes => {
                sums.extend([format!("count({name})"), format!("sum(octet_length({name}))")]);
            }
        }
    }
    let sums: Vec<_> = sums.iter().map(|sum| format!("CAST(coalesce({sum}, 0) AS BIGINT)")).collect();
    format!("SELECT {} FROM {}", sums.join(", "), table.name)
}
