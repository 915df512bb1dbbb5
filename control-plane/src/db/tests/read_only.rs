//! A server that may only be read for a while: a full disk at a provider, or a standby behind the address.

use std::time::{Duration, Instant};

use super::*;
use crate::http::problem::{Code, Problem};
use crate::testing::only_reading;

const WRITE: &str = "UPDATE installation SET snapshot_revision = snapshot_revision + 1";

async fn write(tx: Result<Transaction, StoreError>) -> Result<(), StoreError> {
    let mut tx = tx?;
    sql::query(WRITE).execute(&mut *tx).await.doing("writing")?;
    tx.commit().await.doing("committing")
}

/// Writes in each way that there is.
async fn writes(db: &Db) -> Vec<Result<(), StoreError>> {
    let (alone, events) = (write(db.begin_write().await).await, write(db.begin_ingest().await).await);
    vec![alone, events, write(db.begin_apart().await).await]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_may_only_read_is_away_and_is_replaced_once_writing_is_allowed_again() {
    let server = Postgres::shared();
    let url = server.create_database();
    let db = open(&Database::Postgres(Secret::new(url.clone()))).await.unwrap();
    assert!(writes(&db).await.iter().all(Result::is_ok));
    tokio::task::block_in_place(|| only_reading(server, &url, true));
    // Every pool has sessions of this time.
    for _ in 0..3 {
        for refused in writes(&db).await {
            let error = refused.unwrap_err();
            assert!(error.is_away() && error.is_busy(), "{error:?}");
            assert_eq!(Problem::from(error).code(), Code::Busy);
        }
        assert_eq!(number(&db, "SELECT count(*) FROM orgs").await, 0, "reading is allowed");
    }
    tokio::task::block_in_place(|| only_reading(server, &url, false));
    let deadline = Instant::now() + Duration::from_secs(10);
    while writes(&db).await.iter().any(Result::is_err) {
        assert!(Instant::now() < deadline, "sessions stay as they were opened");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for _ in 0..20 {
        assert!(writes(&db).await.iter().all(Result::is_ok));
    }
    db.close().await;
}

#[test]
fn what_a_session_says_that_cannot_serve_now_is_told_from_what_is_wrong_with_a_statement() {
    for code in
        ["25006", "25P03", "08006", "08P01", "53100", "53200", "53300", "57P01", "57P02", "57P03", "58030"]
    {
        assert!(error::is_away_code(code), "{code}");
    }
    // A duplicate, no such table, given up for its time, an extension without its file, damage; and numbers of SQLite's.
    for code in ["23505", "42P01", "57014", "58P01", "XX001", "5386", "8", "5"] {
        assert!(!error::is_away_code(code), "{code}");
    }
}
