use std::os::unix::fs::PermissionsExt;

use super::*;

#[tokio::test]
async fn an_empty_file_is_migrated_once_and_opened_again_with_its_data() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    for start in 0..2 {
        let db = Db::open(&Database::Sqlite(path.clone()), DatabaseOptions::default()).await.unwrap();
        let mut tx = db.begin_write().await.unwrap();
        sql::query("INSERT INTO orgs (id, name, created_at) VALUES (?, 'x', 0)")
            .bind(format!("org_{start}"))
            .execute(&mut *tx)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let orgs: i64 = sql::query_scalar("SELECT count(*) FROM orgs").fetch_one(db.readers()).await.unwrap();
        assert_eq!(orgs, start + 1);
        db.close().await;
    }
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    std::fs::write(&path, "this is a text file, not a database".repeat(100)).unwrap();
    let before = std::fs::read(&path).unwrap();
    let error = Db::open(&Database::Sqlite(path.clone()), DatabaseOptions::default()).await.unwrap_err();
    assert!(error.to_string().contains("ledger.db"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn readers_cannot_write() {
    let folder = tempfile::tempdir().unwrap();
    let db = Db::open(&Database::Sqlite(folder.path().join("ledger.db")), DatabaseOptions::default())
        .await
        .unwrap();
    assert!(sql::query("DELETE FROM orgs").execute(db.readers()).await.is_err());
}
