//! Ends a change: raises the revision, commits, and waits until the change is in force.

use crate::app::App;
use crate::db::{Doing, StoreError, Transaction};
use crate::http::problem::{Code, Problem};
use crate::snapshot::revision_raise;

/// Commits a change that proxies must see, and returns when those of this process see it.
pub(crate) async fn commit(app: &App, mut tx: Transaction) -> Result<(), Problem> {
    let revision = revision_raise(&mut tx).await?;
    tx.commit().await.doing("committing a change of governance")?;
    app.publisher.publish_through(revision).await;
    Ok(())
}

/// Says it when the database refused a name that another one of the kind has.
pub(super) fn name_taken(error: StoreError, kind: &str) -> Problem {
    if error.is_unique_violation() {
        return Problem::new(Code::NameTaken, format!("name: another {kind} has this name"));
    }
    error.into()
}
