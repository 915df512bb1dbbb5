//! The list of raw events: filters, order, pages.

use jiff::Timestamp;
use serde_json::value::RawValue;
use sqlx::FromRow;

use super::within::Within;
use crate::access::Reach;
use crate::db::{Db, Divided, Doing, StoreError, sql::QueryBuilder};

/// Rows read in one step of a page.
const ROWS_PER_STEP: usize = 64;
/// A page ends with the step in which it reaches this size.
const MAX_PAGE_BYTES: usize = 8 * 1024 * 1024;

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
    pub(crate) event_type: Option<&'static str>,
    /// Only those of the decision log: refused, or with a policy's verdict.
    pub(crate) flagged: bool,
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

/// A page of a list.
#[derive(Debug)]
pub(crate) struct EventPage {
    pub(crate) events: Vec<ListedEvent>,
    /// Whether there may be further events.
    pub(crate) more: bool,
}

/// The events that match, by time and, where that is equal, by arrival: a total order, so that pages neither overlap nor
/// leave a gap, whatever lands between two of them.
///
/// Only those in `reach`. A page ends at `limit` events or when it has grown large, whichever comes first: the event of a batch's results can be
/// a thousand times the size of a usual one.
pub(crate) async fn event_list(
    db: &Db,
    reach: &Reach,
    filter: &EventFilter,
    limit: u64,
) -> Result<EventPage, StoreError> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let within = Within::of(db, reach, filter.project_id.as_deref()).await?;
    let mut tx = db.begin_read_of(Divided::Events).await?;
    let mut step = filter.clone();
    let (mut events, mut bytes) = (Vec::new(), 0_usize);
    loop {
        let wanted = limit.saturating_sub(events.len()).saturating_add(1).min(ROWS_PER_STEP);
        let sql = build(&within, &step, wanted);
        let rows: Vec<EventRow> = sql.build_query_as().fetch_all(&mut *tx).await.doing("listing events")?;
        let exhausted = rows.len() < wanted;
        for row in rows {
            bytes = bytes.saturating_add(row.event.len());
            events.push(row.listed()?);
        }
        if events.len() > limit {
            events.truncate(limit);
            return Ok(EventPage { events, more: true });
        }
        if exhausted || bytes >= MAX_PAGE_BYTES {
            return Ok(EventPage { events, more: !exhausted });
        }
        step.after = events.last().map(|listed| listed.place);
    }
}

impl EventRow {
    fn listed(self) -> Result<ListedEvent, StoreError> {
        let event =
            RawValue::from_string(self.event).map_err(|_| StoreError::Corrupt { what: "an event" })?;
        Ok(ListedEvent { place: Place { ended_at: self.ended_at, landed: self.landed }, event })
    }
}

/// The project of the filter is among what is `within`.
fn build(within: &Within, filter: &EventFilter, limit: usize) -> QueryBuilder {
    let (comparison, direction) = match filter.order {
        Order::NewestFirst => ("<", "DESC"),
        Order::OldestFirst => (">", "ASC"),
    };
    let order = format!(" ORDER BY ended_at {direction}, landed {direction}");
    within.select(|sql| matching(sql, filter, comparison), &order, limit)
}

fn matching(sql: &mut QueryBuilder, filter: &EventFilter, comparison: &str) {
    sql.push("SELECT landed, ended_at, event FROM usage_events WHERE true");
    let texts = [
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
    if let Some(event_type) = filter.event_type {
        sql.push(" AND event_type = ").push_bind(event_type);
    }
    if filter.flagged {
        sql.push(" AND flagged = 1"); // as the index has it: SQLite does not see through a parameter
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
    if let Some(Place { ended_at, landed }) = filter.after {
        sql.push(format!(" AND (ended_at, landed) {comparison} ("));
        sql.push_bind(ended_at).push(", ").push_bind(landed).push(")");
    }
}

#[cfg(test)]
mod tests {
    use mindweave_eventlog::Sequence;

    use super::*;
    use crate::testing::{Ledger, NOON, event, everywhere, record};

    fn everything() -> EventFilter {
        EventFilter {
            project_id: None,
            key_id: None,
            user_id: None,
            model: None,
            outcome: None,
            event_type: None,
            flagged: false,
            request_id: None,
            event_id: None,
            from: None,
            to: None,
            order: Order::NewestFirst,
            after: None,
        }
    }

    async fn plan(db: &Db, filter: &EventFilter) -> String {
        let within = Within::everything(filter.project_id.as_deref());
        build(&within, filter, 10).plan(db.readers()).await
    }

    #[tokio::test]
    async fn lists_walk_an_index_in_order_instead_of_sorting() {
        let ledger = Ledger::new().await;
        let after = Some(Place { ended_at: NOON, landed: 1 });
        let by_project = EventFilter { project_id: Some("prj_1".into()), after, ..everything() };
        let cases = [
            (EventFilter { after, ..everything() }, "usage_events_by_time"),
            (EventFilter { order: Order::OldestFirst, ..everything() }, "usage_events_by_time"),
            (
                EventFilter { from: Some(crate::testing::at(NOON)), ..by_project.clone() },
                "usage_events_by_project",
            ),
            (by_project, "usage_events_by_project"),
            (EventFilter { flagged: true, after, ..everything() }, "usage_events_flagged"),
        ];
        for (filter, index) in cases {
            let plan = plan(&ledger.db, &filter).await;
            assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{filter:?}: {plan}");
        }
        let one = EventFilter { request_id: Some("req_1".into()), ..everything() };
        assert!(plan(&ledger.db, &one).await.contains("usage_events_by_request"));
        let one = EventFilter { event_id: Some([0; 16]), ..everything() };
        assert!(plan(&ledger.db, &one).await.contains("(event_id=?)"));
    }

    #[tokio::test]
    async fn a_page_of_large_events_ends_early_and_says_that_there_is_more() {
        let ledger = Ledger::new().await;
        let (mut claim, _) = ledger.ingest.claim("journal").await.unwrap();
        let count = 3 * u64::try_from(ROWS_PER_STEP).unwrap();
        let mut records = Vec::new();
        for number in 1..=count {
            let mut event = event(number, NOON, 1);
            event.metadata.insert("label".into(), "x".repeat(MAX_PAGE_BYTES / ROWS_PER_STEP).into());
            records.push(record(number, &event));
        }
        ledger.ingest.apply(&mut claim, &records, Sequence::new(count)).await.unwrap();
        let (mut filter, mut pages, mut seen) = (everything(), 0, 0);
        loop {
            let page = event_list(&ledger.db, &everywhere(), &filter, 1_000).await.unwrap();
            (pages, seen) = (pages + 1, seen + page.events.len());
            filter.after = page.events.last().map(|listed| listed.place);
            if !page.more {
                break;
            }
        }
        assert_eq!(seen, 3 * ROWS_PER_STEP);
        assert!(pages >= 3, "{pages} pages");
    }
}
