use std::collections::BTreeSet;

use serde_json::Value;

use super::super::record::{Change, record};
use super::*;
use crate::access::Caller;
use crate::audit::Chain;
use crate::tasks::Tasks;
use crate::testing::{Ledger, install, on_every_kind_of_ledger};

/// Takes batches, and fails at some of them: before anything of it came, or after all of it did.
#[derive(Default)]
struct Shaky {
    came: Arc<Mutex<Vec<AuditMessage>>>,
    turn: Mutex<usize>,
}

impl AuditSink for Shaky {
    fn tell<'a>(
        &'a self,
        batch: &'a [AuditMessage],
    ) -> Pin<Box<dyn Future<Output = Result<(), NotTold>> + Send + 'a>> {
        Box::pin(async move {
            let turn = {
                let mut turn = self.turn.lock();
                *turn += 1;
                *turn
            };
            let came = match turn % 3 {
                0 => 0,
                1 => batch.len() / 2,
                _ => batch.len(),
            };
            self.came.lock().extend_from_slice(&batch[..came]);
            if turn % 3 == 2 && turn % 2 == 0 { Ok(()) } else { Err("the broker went away".into()) }
        })
    }
}

async fn write(db: &Db, chain: Chain<'_>, text: &str) {
    let mut tx = db.begin_write().await.unwrap();
    let change =
        Change::new(chain, "thing.made", "thing", "thg_1").after(&serde_json::json!({ "text": text }));
    record(&mut tx, &Caller::system(), change).await.unwrap();
    tx.commit().await.unwrap();
}

on_every_kind_of_ledger!(every_entry_is_told_in_order_whatever_fails);

async fn every_entry_is_told_in_order_whatever_fails(ledger: Ledger) {
    install(&ledger.db).await;
    let sink = Shaky::default();
    let (came, topic) = (Arc::clone(&sink.came), AuditTopic::new(sink));
    let tasks = Tasks::new();
    for number in 0..150 {
        write(&ledger.db, Chain::Org("org_1"), &number.to_string()).await;
        if number % 10 == 0 {
            write(&ledger.db, Chain::Installation, &number.to_string()).await;
        }
    }
    let mut turns = 0;
    while ledger.number("SELECT count(*) FROM audit_heads WHERE told < sequence").await > 0 {
        tell(&ledger.db, &topic, tasks.stop()).await.unwrap();
        turns += 1;
        assert!(turns < 1_000, "it never ends");
    }
    let came = came.lock().clone();
    for (chain, count) in [("org_1", 150), ("installation", 15)] {
        let mut first: Vec<i64> = Vec::new();
        for message in came.iter().filter(|message| message.chain == chain) {
            if !first.contains(&message.sequence) {
                first.push(message.sequence);
            }
        }
        assert_eq!(first, (1..=count).collect::<Vec<_>>(), "first copies of {chain}");
    }
    assert!(came.len() > 165, "nothing failed");
    let value: Value = serde_json::from_slice(&came[0].payload).unwrap();
    assert_eq!((&value["type"], &value["data"]["action"]), (&"thing.made".into(), &"thing.made".into()));
    let ids: BTreeSet<String> = came
        .iter()
        .map(|message| serde_json::from_slice::<Value>(&message.payload).unwrap()["id"].to_string())
        .collect();
    assert_eq!(ids.len(), 165, "copies have the id of the first");
}

#[tokio::test]
async fn an_entry_that_is_too_large_for_a_topic_comes_without_what_changed() {
    let ledger = Ledger::new().await;
    install(&ledger.db).await;
    write(&ledger.db, Chain::Org("org_1"), &"x".repeat(MAX_MESSAGE_BYTES)).await;
    let rows = store::entries_after(&ledger.db, "org_1", 0, 1, 1).await.unwrap();
    let message = message(rows[0].clone()).unwrap();
    assert!(message.payload.len() < 2_000);
    let value: Value = serde_json::from_slice(&message.payload).unwrap();
    assert_eq!(value["metadata"]["left_out"], "before,after");
    assert_eq!(value["data"]["action"], "thing.made");
}
