use std::sync::Arc;

use super::super::permit::ChainPermit;
use super::super::record::{Change, record};
use super::super::walk::{Verification, chain_verify};
use super::*;
use crate::access::Caller;
use crate::audit::Chain;
use crate::testing::{Ledger, install, on_every_kind_of_ledger};

/// Writes an entry and commits it.
async fn write(db: &Db, action: &'static str) {
    let mut tx = db.begin_write().await.unwrap();
    record(&mut tx, &Caller::system(), change(action)).await.unwrap();
    tx.commit().await.unwrap();
}

fn change(action: &'static str) -> Change<'static> {
    Change::new(Chain::Org("org_1"), action, "thing", "thg_1").after(&serde_json::json!({ "n": 1 }))
}

async fn permit(db: &Db) -> ChainPermit {
    ChainPermit::ask(&mut db.begin_read().await.unwrap(), &Caller::system(), "org_1").await.unwrap()
}

async fn verification(db: &Db) -> Verification {
    chain_verify(db, &permit(db).await, None, None).await.unwrap()
}

on_every_kind_of_ledger!(
    entries_stay_and_only_persons_can_be_taken_out,
    whoever_tampers_with_the_table_is_found,
    servers_that_write_at_once_make_one_chain,
    a_change_whose_entry_cannot_be_written_does_not_happen,
);

async fn entries_stay_and_only_persons_can_be_taken_out(ledger: Ledger) {
    install(&ledger.db).await;
    for _ in 0..3 {
        write(&ledger.db, "thing.made").await;
    }
    for sql in [
        "DELETE FROM audit_log WHERE sequence = 3",
        "UPDATE audit_log SET action = 'thing.other' WHERE sequence = 2",
        "UPDATE audit_log SET body = '{}' WHERE sequence = 2",
        "UPDATE audit_log SET personal = '[]' WHERE sequence = 2",
    ] {
        let refused = {
            let mut tx = ledger.db.begin_write().await.unwrap();
            sql::query(sql).execute(&mut *tx).await
        };
        assert!(refused.is_err(), "{sql}");
    }
    run(&ledger.db, "UPDATE audit_log SET personal = NULL, personal_salt = NULL WHERE sequence = 2").await;
    let found = verification(&ledger.db).await;
    assert_eq!((found.valid, found.complete, found.entries, found.erased), (true, true, 3, 1));
}

async fn run(db: &Db, sql: &'static str) {
    let mut tx = db.begin_write().await.unwrap();
    sql::query(sql).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
}

/// Takes away what stops slips, as whoever may change the schema can.
async fn without_triggers(db: &Db) {
    match db.engine() {
        crate::db::Engine::Sqlite => {
            run(db, "DROP TRIGGER audit_log_only_grows").await;
            run(db, "DROP TRIGGER audit_log_stays").await;
        }
        crate::db::Engine::Postgres => run(db, "DROP TRIGGER audit_log_stays ON audit_log").await,
    }
}

async fn whoever_tampers_with_the_table_is_found(ledger: Ledger) {
    install(&ledger.db).await;
    without_triggers(&ledger.db).await;
    for _ in 0..200 {
        write(&ledger.db, "thing.made").await;
    }
    let sound = verification(&ledger.db).await;
    assert_eq!((sound.valid, sound.entries, sound.head.sequence), (true, 200, 200));
    for (tamper, mend, kind) in [
        (
            "UPDATE audit_log SET target_id = 'thg_2' WHERE sequence = 70",
            "UPDATE audit_log SET target_id = 'thg_1' WHERE sequence = 70",
            FaultKind::ColumnsChanged,
        ),
        (
            "UPDATE audit_log SET body = replace(body, 'made', 'lost') WHERE sequence = 65",
            "UPDATE audit_log SET body = replace(body, 'lost', 'made') WHERE sequence = 65",
            FaultKind::Changed,
        ),
        (
            "UPDATE audit_log SET personal = '{\"address\":\"::1\"}' WHERE sequence = 9",
            "UPDATE audit_log SET personal = '{}' WHERE sequence = 9",
            FaultKind::PersonalChanged,
        ),
        (
            "UPDATE audit_heads SET sequence = 199",
            "UPDATE audit_heads SET sequence = 200",
            FaultKind::BehindHead,
        ),
        (
            "UPDATE audit_log SET sequence = 201 WHERE sequence = 200",
            "UPDATE audit_log SET sequence = 200 WHERE sequence = 201",
            FaultKind::BehindHead,
        ),
        (
            "DELETE FROM audit_log WHERE sequence = 200",
            "DELETE FROM audit_log WHERE sequence = 130",
            FaultKind::Truncated,
        ),
    ] {
        run(&ledger.db, tamper).await;
        let found = verification(&ledger.db).await;
        assert_eq!((found.valid, found.complete), (false, false), "{tamper}");
        assert_eq!(found.fault.map(|fault| fault.kind), Some(kind), "{tamper}");
        run(&ledger.db, mend).await;
    }
    let found = verification(&ledger.db).await.fault.unwrap();
    assert_eq!((found.kind, found.sequence), (FaultKind::Missing, 131));
}

async fn servers_that_write_at_once_make_one_chain(ledger: Ledger) {
    const WRITERS: usize = 4;
    const ENTRIES: usize = 25;
    install(&ledger.db).await;
    // With a file there is one server; with PostgreSQL, two have nothing in common but the database.
    let other = match ledger.db.engine() {
        crate::db::Engine::Sqlite => ledger.db.clone(),
        crate::db::Engine::Postgres => ledger.another_process().await.db,
    };
    let writing = (0..WRITERS).map(|writer| {
        let db = if writer % 2 == 0 { ledger.db.clone() } else { other.clone() };
        tokio::spawn(async move {
            for number in 0..ENTRIES {
                if number % 5 == 4 {
                    // Given up: leaves no trace and no gap.
                    let mut tx = db.begin_write().await.unwrap();
                    record(&mut tx, &Caller::system(), change("thing.lost")).await.unwrap();
                } else {
                    write(&db, "thing.made").await;
                }
            }
        })
    });
    for writer in writing.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let found = verification(&ledger.db).await;
    let expected = u64::try_from(WRITERS * ENTRIES / 5 * 4).unwrap();
    assert_eq!((found.valid, found.complete, found.entries), (true, true, expected));
}

async fn a_change_whose_entry_cannot_be_written_does_not_happen(ledger: Ledger) {
    install(&ledger.db).await;
    match ledger.db.engine() {
        crate::db::Engine::Sqlite => {
            run(
                &ledger.db,
                "CREATE TRIGGER full BEFORE INSERT ON audit_log BEGIN SELECT RAISE(ABORT, 'no room'); END",
            )
            .await;
        }
        crate::db::Engine::Postgres => {
            run(&ledger.db, "ALTER TABLE audit_log ADD CONSTRAINT no_room CHECK (sequence < 1)").await;
        }
    }
    let mut tx = ledger.db.begin_write().await.unwrap();
    sql::query("UPDATE orgs SET name = 'Changed'").execute(&mut *tx).await.unwrap();
    assert!(record(&mut tx, &Caller::system(), change("org.updated")).await.is_err());
    drop(tx); // all that a handler can do
    assert_eq!(ledger.number("SELECT count(*) FROM orgs WHERE name = 'Changed'").await, 0);
    assert_eq!(ledger.number("SELECT count(*) FROM audit_heads").await, 0);
}

#[tokio::test]
async fn a_checkpoint_goes_on_where_the_walk_was_and_is_not_believed_blindly() {
    let ledger = Ledger::new().await;
    install(&ledger.db).await;
    for _ in 0..10 {
        write(&ledger.db, "thing.made").await;
    }
    let (db, permit) = (&ledger.db, permit(&ledger.db).await);
    let checkpoint: Anchor = verification(db).await.checkpoint.parse().unwrap();
    write(db, "thing.made").await;
    let on = chain_verify(db, &permit, Some(checkpoint), Some(checkpoint)).await.unwrap();
    assert_eq!((on.valid, on.complete, on.entries, on.head.sequence), (true, true, 2, 11));
    let first = entries_after(db, "org_1", 0, 1, 1).await.unwrap();
    let first = Anchor { sequence: 1, hash: stored_hash(first[0].shown_hashes().0).unwrap() };
    let sound = chain_verify(db, &permit, Some(checkpoint), Some(first)).await.unwrap();
    assert!(sound.valid, "one before the checkpoint is looked at too");
    let lie = Anchor { hash: [1; 32], ..first };
    let found = chain_verify(db, &permit, Some(checkpoint), Some(lie)).await.unwrap();
    assert_eq!(found.fault.map(|fault| fault.kind), Some(FaultKind::OtherHistory));
    for (wrong, kind) in [
        (Anchor { hash: [1; 32], ..checkpoint }, FaultKind::OtherHistory),
        (Anchor { sequence: 12, ..checkpoint }, FaultKind::Truncated),
        (Anchor { sequence: 500, ..checkpoint }, FaultKind::Truncated),
    ] {
        let found = chain_verify(db, &permit, Some(wrong), None).await.unwrap();
        assert_eq!(found.fault.map(|fault| fault.kind), Some(kind), "{wrong}");
    }
}

#[tokio::test]
async fn every_question_walks_an_index_in_the_order_of_its_answer() {
    let ledger = Ledger::new().await;
    let text = || Some("x".to_owned());
    let cases = [
        (Filter::default(), "PRIMARY KEY"),
        (Filter { action: text(), ..Filter::default() }, "audit_log_by_action"),
        (Filter { actor_id: text(), ..Filter::default() }, "audit_log_by_actor"),
        (Filter { target_id: text(), target_kind: text(), ..Filter::default() }, "audit_log_by_target"),
        (Filter { project_id: text(), ..Filter::default() }, "audit_log_by_project"),
        (Filter { request_id: text(), ..Filter::default() }, "audit_log_by_request"),
    ];
    for (filter, index) in cases {
        let plan = build("org_1", &filter, Some(7), 10).plan(ledger.db.readers()).await;
        let walks = plan.contains(index) || (index == "PRIMARY KEY" && plan.contains("autoindex"));
        assert!(walks && !plan.contains("TEMP B-TREE"), "{plan}");
    }
}

#[tokio::test]
async fn an_identifying_change_keeps_persons_out_of_what_is_hashed() {
    let ledger = Ledger::new().await;
    install(&ledger.db).await;
    let mut tx = ledger.db.begin_write().await.unwrap();
    let person = serde_json::json!({ "email": "ada@example.com" });
    let change = Change::new(Chain::Org("org_1"), "user.created", "user", "usr_1").after(&person);
    record(&mut tx, &Caller::system(), change.identifying()).await.unwrap();
    tx.commit().await.unwrap();
    let rows = entries_after(&ledger.db, "org_1", 0, 9, 9).await.unwrap();
    assert!(!rows[0].body.contains("ada"), "{}", rows[0].body);
    assert!(rows[0].personal.as_ref().unwrap().contains("ada"));
    let shown: Arc<str> =
        serde_json::to_string(&crate::audit::view::AuditEntry::try_from(rows[0].clone()).unwrap())
            .unwrap()
            .into();
    assert!(shown.contains("ada@example.com"), "{shown}");
}
