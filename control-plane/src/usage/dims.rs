//! What sums are kept apart by, as small numbers: an upsert by number is several times cheaper than one by seven texts.

use std::borrow::Cow;
use std::collections::HashMap;

use mindweave_metering::EventType;
use mindweave_policy::SubjectKind;
use parking_lot::Mutex;

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
            org_id: Cow::Borrowed(&event.org_id),
            project_id: Cow::Borrowed(&event.project_id),
            team_id: Cow::Borrowed(event.team_id.as_deref().unwrap_or_default()),
            user_id: Cow::Borrowed(event.user_id.as_deref().unwrap_or_default()),
            key_id: Cow::Borrowed(event.key_id.as_deref().unwrap_or_default()),
            model: Cow::Borrowed(event.model().unwrap_or_default()),
            event_type: event_type_text(event.event_type),
        }
    }

    /// The same for another model.
    #[must_use]
    pub(crate) fn of_model(self, model: Option<&str>) -> Self {
        Self { model: Cow::Owned(model.unwrap_or_default().to_owned()), ..self }
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

/// The number of a dimension; gives it one if it has none.
pub(crate) async fn dim_ensure(tx: &mut Connection, dim: &Dim<'_>) -> Result<i64, StoreError> {
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
