//! When tokens were last used: noted beside the requests, which do not wait for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::store;
use crate::db::Db;
use crate::http::problem::chain;
use crate::{clock, metrics};

/// The task that notes uses, as metrics name it.
pub(crate) const USES_TASK: &str = "api_token_uses";
/// How often it looks whether there is something to note.
pub(crate) const USES_PERIOD: Duration = Duration::from_secs(1);
/// How often the use of one token is noted. Each time is a write.
const NOTE_PERIOD: Duration = Duration::from_secs(60);
/// Most tokens that are remembered between two notes. More than are used within a minute; the next minute notes the rest.
const MAX_REMEMBERED: usize = 100_000;

/// The uses that this process knows of. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Uses(Arc<Mutex<HashMap<Arc<str>, Use>>>);

#[derive(Debug)]
struct Use {
    /// The last one, if it is not noted yet.
    unnoted: Option<Timestamp>,
    noted: Option<Instant>,
}

impl Uses {
    /// The token was used just now.
    pub(crate) fn used(&self, token_id: &str) {
        let mut uses = self.0.lock();
        if let Some(seen) = uses.get_mut(token_id) {
            seen.unnoted = Some(clock::now());
        } else if uses.len() < MAX_REMEMBERED {
            uses.insert(token_id.into(), Use { unnoted: Some(clock::now()), noted: None });
        }
    }

    /// Notes what is due. What could not be noted is noted later, or with the next use.
    pub(crate) async fn note(&self, db: &Db) {
        let due = self.take_due();
        if due.is_empty() {
            return;
        }
        if let Err(error) = store::tokens_used(db, &due).await {
            metrics::task_failed(USES_TASK);
            tracing::warn!(error = %chain(&error), "the last uses of tokens were not noted");
        }
    }

    fn take_due(&self) -> Vec<(String, Timestamp)> {
        let recent = |seen: &Use| seen.noted.is_some_and(|at| at.elapsed() < NOTE_PERIOD);
        let mut uses = self.0.lock();
        uses.retain(|_, seen| seen.unnoted.is_some() || recent(seen));
        let due = uses.iter_mut().filter(|(_, seen)| !recent(seen));
        due.filter_map(|(id, seen)| {
            seen.noted = Some(Instant::now());
            seen.unnoted.take().map(|at| (id.to_string(), at))
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_use_is_due_at_once_and_then_once_a_minute() {
        let uses = Uses::default();
        uses.used("tok_1");
        uses.used("tok_1");
        assert_eq!(uses.take_due().len(), 1);
        uses.used("tok_1");
        uses.used("tok_2");
        let due = uses.take_due();
        assert_eq!(due.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["tok_2"]);
        tokio::time::advance(NOTE_PERIOD).await;
        assert_eq!(uses.take_due().len(), 1, "tok_1 was used since; tok_2 was not");
        tokio::time::advance(NOTE_PERIOD).await;
        assert_eq!(uses.take_due().len(), 0);
        assert!(uses.0.lock().is_empty(), "what is not used is forgotten");
    }
}
