//! What sums are kept apart by, as small numbers: an upsert by number is several times cheaper than one by seven texts.

use std::borrow::Cow;
use std::collections::HashMap;

use mindweave_metering::EventType;
use mindweave_policy::SubjectKind;
use parking_lot::Mutex;
use sqlx::PgConnection;

use super::decode::Fields;
use super::store::event_type_text;
use crate::db::{Connection, Doing, StoreError, sql};

/// Most dimensions kept in memory; beyond it the memory is emptied and filled again as they are met.
const MAX_CACHED: usize = 50_000;

/// One combination of what sums are kept apart by. Empty texts stand for "none".
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Dim<'a> {
    org_id: Cow<'a, str>,
    project_id: Cow<'a, str>,
    team_id: Cow<'a, str>,
    user_id: Cow<'a, str>,
    key_id: Cow<'a, str>,
    model: Cow<'a, str>,
    event_type: &'static str,
}

impl<'a> Dim<'a> {
    /// The dimension of an event.
    pub(crate) fn of(event: &'a Fields<'_>) -> Self {
        Self {
            org_id: without_nul(&event.org_id),
            project_id: without_nul(&event.project_id),
            team_id: without_nul(event.team_id.as_deref().unwrap_or_default()),
            user_id: without_nul(event.user_id.as_deref().unwrap_or_default()),
            key_id: without_nul(event.key_id.as_deref().unwrap_or_default()),
            model: without_nul(event.model().unwrap_or_default()),
            event_type: event_type_text(event.event_type),
        }
    }

    /// The same for another model.
    #[must_use]
    pub(crate) fn of_model(self, model: Option<&str>) -> Self {
        Self { model: Cow::Owned(without_nul(model.unwrap_or_default()).into_owned()), ..self }
    }

    /// The organisation.
    pub(crate) fn org_id(&self) -> &str {
        &self.org_id
    }

    /// The model, if there is one.
    pub(crate) fn model(&self) -> Option<&str> {
        present(&self.model)
    }

    /// The id of this kind, if there is one.
    pub(crate) fn subject(&self, kind: SubjectKind) -> Option<&str> {
        present(match kind {
            SubjectKind::Org => &self.org_id,
            SubjectKind::Team => &self.team_id,
            SubjectKind::User => &self.user_id,
            SubjectKind::Project => &self.project_id,
            SubjectKind::Key => &self.key_id,
        })
    }

    /// Whether its events are requests.
    pub(crate) fn is_request(&self) -> bool {
        self.event_type == event_type_text(EventType::ApiCall)
    }

    /// In the order of the table's key.
    fn key(&self) -> [&str; 7] {
        [
            &self.project_id,
            &self.key_id,
            &self.user_id,
            &self.model,
            &self.team_id,
            self.event_type,
            &self.org_id,
        ]
    }

    fn into_owned(self) -> Dim<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Dim {
            org_id: owned(self.org_id),
            project_id: owned(self.project_id),
            team_id: owned(self.team_id),
            user_id: owned(self.user_id),
            key_id: owned(self.key_id),
            model: owned(self.model),
            event_type: self.event_type,
        }
    }
}

/// A name of a model may hold the character NUL, which PostgreSQL's texts cannot. Two dimensions must not become one in the
/// database that are two here.
pub(super) fn without_nul(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}

fn present(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// The numbers of dimensions that are in the database.
#[derive(Debug, Default)]
pub(crate) struct DimCache(Mutex<HashMap<Dim<'static>, i64>>);

impl DimCache {
    /// The number of a dimension, if it is known here.
    pub(crate) fn get<'a>(&self, dim: &Dim<'a>) -> Option<i64> {
        let known = self.0.lock();
        let known: &HashMap<Dim<'a>, i64> = &known;
        known.get(dim).copied()
    }

    /// Remembers numbers. Only to be called once their transaction is committed: one that was rolled back is given out
    /// again, to another dimension.
    pub(crate) fn remember(&self, new: HashMap<Dim<'_>, i64>) {
        if new.is_empty() {
            return;
        }
        let mut cache = self.0.lock();
        if cache.len().saturating_add(new.len()) > MAX_CACHED {
            cache.clear();
        }
        cache.extend(new.into_iter().map(|(dim, dim_id)| (dim.into_owned(), dim_id)));
    }
}

/// The numbers of these dimensions, each of which is there once; gives numbers to those that have none.
pub(crate) async fn dims_ensure<'a>(
    tx: &mut Connection,
    mut dims: Vec<Dim<'a>>,
) -> Result<HashMap<Dim<'a>, i64>, StoreError> {
    let mut numbered = HashMap::with_capacity(dims.len());
    match tx {
        Connection::Sqlite(_) => {
            for dim in dims {
                let dim_id = dim_ensure(tx, &dim).await?;
                numbered.insert(dim, dim_id);
            }
        }
        Connection::Postgres(tx) => {
            dims.sort_unstable_by(|a, b| a.key().cmp(&b.key()));
            // Most of those that are not in memory are in the database: somebody else numbered them, or we before a restart.
            dims_find(tx, &mut dims, &mut numbered).await?;
            if !dims.is_empty() {
                dims_insert(tx, &dims).await?;
                // Also those that another transaction put there meanwhile, which the insertion has waited for.
                dims_find(tx, &mut dims, &mut numbered).await?;
            }
            if !dims.is_empty() {
                return Err(StoreError::Corrupt { what: "a dimension" });
            }
        }
    }
    Ok(numbered)
}

async fn dim_ensure(tx: &mut Connection, dim: &Dim<'_>) -> Result<i64, StoreError> {
    sql::query_scalar(
        "INSERT INTO usage_dims (org_id, project_id, team_id, user_id, key_id, model, event_type)
         VALUES (?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET org_id = excluded.org_id RETURNING dim_id",
    )
    .bind(&*dim.org_id)
    .bind(&*dim.project_id)
    .bind(&*dim.team_id)
    .bind(&*dim.user_id)
    .bind(&*dim.key_id)
    .bind(&*dim.model)
    .bind(dim.event_type)
    .fetch_one(tx)
    .await
    .doing("numbering a dimension")
}

/// One array for each column of the key.
fn columns(dims: &[Dim<'_>]) -> [Vec<String>; 7] {
    let mut columns: [Vec<String>; 7] = Default::default();
    for dim in dims {
        for (column, text) in columns.iter_mut().zip(dim.key()) {
            column.push(text.to_owned());
        }
    }
    columns
}

/// Moves the dimensions that have a number to `numbered`.
async fn dims_find<'a>(
    tx: &mut PgConnection,
    dims: &mut Vec<Dim<'a>>,
    numbered: &mut HashMap<Dim<'a>, i64>,
) -> Result<(), StoreError> {
    let query = sqlx::query_as(
        "SELECT place, dim_id FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
             WITH ORDINALITY AS wanted (project_id, key_id, user_id, model, team_id, event_type, org_id, place)
         JOIN usage_dims USING (project_id, key_id, user_id, model, team_id, event_type, org_id)",
    );
    let query = columns(dims).into_iter().fold(query, |query, column| query.bind(column));
    let found: Vec<(i64, i64)> = query.fetch_all(tx).await.doing("reading the numbers of dimensions")?;
    let found: HashMap<i64, i64> = found.into_iter().collect();
    let missing = (1..).zip(std::mem::take(dims)).filter_map(|(place, dim)| match found.get(&place) {
        Some(dim_id) => {
            numbered.insert(dim, *dim_id);
            None
        }
        None => Some(dim),
    });
    *dims = missing.collect();
    Ok(())
}

/// Waits for other transactions that are numbering one of them.
async fn dims_insert(tx: &mut PgConnection, dims: &[Dim<'_>]) -> Result<(), StoreError> {
    let query = sqlx::query(
        "INSERT INTO usage_dims (project_id, key_id, user_id, model, team_id, event_type, org_id)
         SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
         ON CONFLICT DO NOTHING",
    );
    let query = columns(dims).into_iter().fold(query, |query, column| query.bind(column));
    query.execute(tx).await.doing("numbering dimensions").map(drop)
}
