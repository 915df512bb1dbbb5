use std::collections::BTreeSet;

use mindweave_policy::Secret;

use super::*;
use crate::db::sql;
use crate::testing::{Ledger, install, on_every_kind_of_ledger};

fn key(byte: u8) -> MasterKey {
    MasterKey::from_text(&format!("{byte:02x}").repeat(32)).unwrap()
}

fn keys(current: u8, previous: u8) -> MasterKey {
    key(current).opening(&format!("{previous:02x}").repeat(32)).unwrap()
}

async fn project(db: &Db, number: usize, key: &MasterKey) {
    let id = format!("prj_k{number:04}");
    let owner = crate::projects::upstream_owner(&id);
    let sealed = key.seal(&owner, &Secret::new(format!("sk-ant-{number}"))).unwrap();
    let mut tx = db.begin_write().await.unwrap();
    sql::query("INSERT INTO projects (id, org_id, name, created_at) VALUES (?, 'org_1', ?, 0)")
        .bind(&id)
        .bind(&id)
        .execute(&mut *tx)
        .await
        .unwrap();
    sql::query(
        "INSERT INTO upstream_credentials (project_id, sealed, hint, updated_at) VALUES (?, ?, 'x', 0)",
    )
    .bind(&id)
    .bind(sealed)
    .execute(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
}

/// Everything of every kind that is sealed, once.
async fn one_of_each(db: &Db, key: &MasterKey) {
    let sealed = |owner: &str| key.seal(owner, &Secret::new("a secret".into())).unwrap();
    let rows = [
        ("INSERT INTO totp_secrets (user_id, sealed, created_at) VALUES ('usr_1', ?, 0)", super::super::totp_owner("usr_1")),
        (
            "INSERT INTO oidc_providers (id, org_id, name, issuer, client_id, sealed, settings, created_at, updated_at)
             VALUES ('okta', 'org_1', 'Okta', 'https://x', 'c', ?, '{}', 0, 0)",
            super::super::sign_on_owner("okta"),
        ),
    ];
    let mut tx = db.begin_write().await.unwrap();
    let user = "INSERT INTO users (id, email, email_key, name, created_at, updated_at) VALUES ('usr_1', 'a', 'a', 'A', 0, 0)";
    sql::query(user).execute(&mut *tx).await.unwrap();
    for (statement, owner) in rows {
        sql::query(statement).bind(sealed(&owner)).execute(&mut *tx).await.unwrap();
    }
    tx.commit().await.unwrap();
}

on_every_kind_of_ledger!(
    everything_ends_under_the_new_key_beside_writers,
    what_does_not_open_is_named_and_left
);

async fn everything_ends_under_the_new_key_beside_writers(ledger: Ledger) {
    install(&ledger.db).await;
    for number in 0..250 {
        project(&ledger.db, number, &key(1)).await;
    }
    one_of_each(&ledger.db, &key(1)).await;
    let before = survey(&ledger.db, &keys(2, 1)).await.unwrap();
    assert!(!before.is_current());
    assert_eq!(before.tables.iter().map(|table| table.previous).sum::<u64>(), 252);
    // Another server stores secrets under the new key meanwhile.
    let other = ledger.db.clone();
    let writer = tokio::spawn(async move {
        for number in 1_000..1_030 {
            project(&other, number, &keys(2, 1)).await;
        }
    });
    let report = rotate(&ledger.db, &keys(2, 1)).await.unwrap();
    writer.await.unwrap();
    assert!(report.is_current(), "{report:?}");
    assert_eq!(report.tables.iter().map(|table| table.resealed).sum::<u64>(), 252);
    let alone = survey(&ledger.db, &key(2)).await.unwrap();
    assert!(alone.is_current(), "without the key of before: {alone:?}");
    assert_eq!(alone.tables.iter().map(|table| table.current).sum::<u64>(), 282);
    let again = rotate(&ledger.db, &keys(2, 1)).await.unwrap();
    assert_eq!(again.tables.iter().map(|table| table.resealed).sum::<u64>(), 0, "nothing is left to do");
    let noted = "SELECT count(*) FROM audit_log WHERE action = 'master_key.rotated'";
    assert_eq!(ledger.number(noted).await, 1);
}

async fn what_does_not_open_is_named_and_left(ledger: Ledger) {
    install(&ledger.db).await;
    project(&ledger.db, 1, &key(1)).await;
    project(&ledger.db, 2, &key(7)).await;
    let report = rotate(&ledger.db, &keys(2, 1)).await.unwrap();
    let table = &report.tables[0];
    assert_eq!((table.current, table.previous, table.unreadable, table.resealed), (1, 0, 1, 1));
    assert_eq!(table.unreadable_ids, ["prj_k0002"]);
    assert!(survey(&ledger.db, &key(7)).await.unwrap().tables[0].current == 1, "it is as it was");
}

/// A run that is killed leaves some rows behind; whoever comes next finds them, and one that somebody changed meanwhile stays.
#[tokio::test]
async fn a_row_that_was_changed_meanwhile_is_not_overwritten() {
    let ledger = Ledger::new().await;
    install(&ledger.db).await;
    project(&ledger.db, 1, &key(1)).await;
    let column = &COLUMNS[0];
    let mut rows = column.rows_after(&ledger.db, &Place::default(), 10).await.unwrap();
    let row = rows.remove(0);
    let owner = column.owner(&row);
    let newer = key(2).seal(&owner, &Secret::new("newer".into())).unwrap();
    let mut tx = ledger.db.begin_write().await.unwrap();
    assert!(column.replace(&mut tx, &row, newer.clone()).await.unwrap());
    tx.commit().await.unwrap();
    let stale = key(2).seal(&owner, &Secret::new("stale".into())).unwrap();
    assert_eq!(replace(&ledger.db, column, vec![(stale, row)]).await.unwrap(), 0);
    let rows = column.rows_after(&ledger.db, &Place::default(), 10).await.unwrap();
    assert_eq!(rows[0].sealed, newer);
}

#[tokio::test]
async fn every_sealed_column_of_the_schema_is_known() {
    let ledger = Ledger::new().await;
    let found: Vec<(String,)> = sql::query_as(
        "SELECT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c ON c.name = 'sealed' WHERE m.type = 'table'",
    )
    .fetch_all(ledger.db.readers())
    .await
    .unwrap();
    let found: BTreeSet<&str> = found.iter().map(|(name,)| name.as_str()).collect();
    assert_eq!(found, COLUMNS.iter().map(|column| column.table).collect());
}
