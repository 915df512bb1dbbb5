//! The list of raw events: filters, order, pages.

use jiff::Timestamp;
use serde_json::value::RawValue;
use sqlx::{FromRow, QueryBuilder, Sqlite};

use crate::db::{Db, Doing, StoreError};

/// Which way a list runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    NewestFirst,
    OldestFirst,
}

/// A place in a list: after the event with this time and order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) ended_at: i64,
    pub(crate) landed: i64,
}

/// Which events are wanted.
#[derive(Clone, Debug)]
pub(crate) struct EventFilter {
    pub(crate) project_id: Option<String>,
    pub(crate) key_id: Option<String>,
    pub(crate) user_id: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) outcome: Option<&'static str>,
    pub(crate) request_id: Option<String>,
    pub(crate) event_id: Option<[u8; 16]>,
    /// At or after.
    pub(crate) from: Option<Timestamp>,
    /// Before.
    pub(crate) to: Option<Timestamp>,
    pub(crate) order: Order,
    pub(crate) after: Option<Place>,
}

/// An event with its place.
#[derive(Debug)]
pub(crate) struct ListedEvent {
    pub(crate) place: Place,
    pub(crate) event: Box<RawValue>,
}

#[derive(FromRow)]
struct EventRow {
    landed: i64,
    ended_at: i64,
    event: String,
}

/// The events that match, by time and, where that is equal, by arrival: a total order, so that pages neither overlap nor
/// leave a gap, whatever lands between two of them.
pub(crate) async fn event_list(
    db: &Db,
    filter: &EventFilter,
    limit: u64,
) -> Result<Vec<ListedEvent>, StoreError> {
    let mut sql = QueryBuilder::<Sqlite>::new("SELECT landed, ended_at, event FROM usage_events WHERE true");
    let texts = [
        (" AND project_id = ", &filter.project_id),
        (" AND key_id = ", &filter.key_id),
        (" AND user_id = ", &filter.user_id),
        (" AND model = ", &filter.model),
        (" AND request_id = ", &filter.request_id),
    ];
    for (clause, value) in texts {
        if let Some(value) = value {
            sql.push(clause).push_bind(value.clone());
        }
    }
    if let Some(outcome) = filter.outcome {
        sql.push(" AND outcome = ").push_bind(outcome);
    }
    if let Some(event_id) = filter.event_id {
        sql.push(" AND event_id = ").push_bind(event_id.to_vec());
    }
    if let Some(from) = filter.from {
        sql.push(" AND ended_at >= ").push_bind(from.as_microsecond());
    }
    if let Some(to) = filter.to {
        sql.push(" AND ended_at < ").push_bind(to.as_microsecond());
    }
    let (comparison, direction) = match filter.order {
        Order::NewestFirst => ("<", "DESC"),
        Order::OldestFirst => (">", "ASC"),
    };
    if let Some(Place { ended_at, landed }) = filter.after {
        sql.push(format!(" AND (ended_at, landed) {comparison} ("));
        sql.push_bind(ended_at).push(", ").push_bind(landed).push(")");
    }
    sql.push(format!(" ORDER BY ended_at {direction}, landed {direction} LIMIT "));
    sql.push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
    let rows: Vec<EventRow> = sql.build_query_as().fetch_all(db.readers()).await.doing("listing events")?;
    let listed = |row: EventRow| {
        let event = RawValue::from_string(row.event).map_err(|_| StoreError::Corrupt { what: "an event" })?;
        Ok(ListedEvent { place: Place { ended_at: row.ended_at, landed: row.landed }, event })
    };
    rows.into_iter().map(listed).collect()
}
