//! Every column that holds something sealed, and its SQL.

use sqlx::{AssertSqlSafe, FromRow};

use crate::db::{Connection, Db, Doing, StoreError, sql};

/// A column of sealed secrets.
#[derive(Clone, Copy, Debug)]
pub(super) struct SealedColumn {
    /// For people.
    pub(super) what: &'static str,
    pub(super) table: &'static str,
    /// The columns that name a row: one or two.
    first: &'static str,
    second: Option<&'static str>,
    /// For whom the secret of such a row is sealed.
    owner: fn(&SealedRow) -> String,
}

/// All of them. A test holds this against the schema.
pub(super) const COLUMNS: [SealedColumn; 4] = [
    SealedColumn {
        what: "upstream keys",
        table: "upstream_credentials",
        first: "project_id",
        second: None,
        owner: |row| crate::projects::upstream_owner(&row.first),
    },
    SealedColumn {
        what: "TOTP secrets",
        table: "totp_secrets",
        first: "user_id",
        second: None,
        owner: |row| super::totp_owner(&row.first),
    },
    SealedColumn {
        what: "sign-on client secrets",
        table: "oidc_providers",
        first: "id",
        second: None,
        owner: |row| super::sign_on_owner(&row.first),
    },
    SealedColumn {
        what: "answers kept for repeated requests",
        table: "idempotent_requests",
        first: "caller",
        second: Some("key"),
        owner: |row| super::idempotent_owner(&row.first, &row.second),
    },
];

/// A sealed secret and where it stands.
#[derive(Debug, FromRow)]
pub(super) struct SealedRow {
    pub(super) first: String,
    pub(super) second: String,
    pub(super) sealed: Vec<u8>,
}

/// A place in a column: behind the row of this name.
pub(super) type Place = (String, String);

impl SealedColumn {
    /// For whom the secret of a row is sealed.
    pub(super) fn owner(&self, row: &SealedRow) -> String {
        (self.owner)(row)
    }

    fn second(&self) -> &'static str {
        self.second.unwrap_or("''")
    }

    /// At most so many rows behind a place.
    pub(super) async fn rows_after(
        &self,
        db: &Db,
        after: &Place,
        limit: i64,
    ) -> Result<Vec<SealedRow>, StoreError> {
        let Self { table, first, .. } = self;
        let second = self.second();
        sql::query_as(AssertSqlSafe(format!(
            "SELECT {first} AS first, {second} AS second, sealed FROM {table}
             WHERE sealed IS NOT NULL AND ({first} > ? OR {first} = ? AND {second} > ?) ORDER BY 1, 2 LIMIT ?"
        )))
        .bind(&after.0)
        .bind(&after.0)
        .bind(&after.1)
        .bind(limit)
        .fetch_all(db.readers())
        .await
        .doing("reading sealed secrets")
    }

    /// Puts the same secret, sealed anew, in place of what was read, unless somebody changed that meanwhile. Whether it did.
    pub(super) async fn replace(
        &self,
        tx: &mut Connection,
        row: &SealedRow,
        sealed: Vec<u8>,
    ) -> Result<bool, StoreError> {
        let Self { table, first, .. } = self;
        let second = self.second();
        let done = sql::query(AssertSqlSafe(format!(
            "UPDATE {table} SET sealed = ? WHERE {first} = ? AND {second} = ? AND sealed = ?"
        )))
        .bind(sealed)
        .bind(&row.first)
        .bind(&row.second)
        .bind(row.sealed.clone())
        .execute(tx)
        .await
        .doing("sealing secrets anew")?;
        Ok(done.rows_affected() > 0)
    }
}
