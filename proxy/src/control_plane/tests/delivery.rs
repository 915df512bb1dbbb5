//! Events on their way to the ledger.

use mindweave_eventlog::{Batch, Delivery, EventSink, Record, Sequence, SinkError};

use super::scripted::{Answer, Asked};
use super::*;
use crate::upstream::{Target, UpstreamConfig};

fn sink(control_plane: &Scripted) -> ControlPlaneSink {
    let target = Target::showing(&UpstreamConfig::new(&control_plane.url), None).unwrap();
    let (_, target) = tokio::sync::watch::channel(Arc::new(target));
    let client = Client::new(target, &Secret::new(TOKEN.to_owned())).unwrap();
    ControlPlaneSink::new(Arc::new(client))
}

fn batch() -> Batch {
    let record = |sequence, payload: &[u8]| Record {
        sequence: Sequence::new(sequence),
        origin: None,
        payload: payload.to_vec(),
    };
    let records = vec![record(4, b"{}"), record(7, b"[]")];
    Batch { source: "journal-1".to_owned(), first: Sequence::new(4), last: Sequence::new(9), records }
}

fn claimed(epoch: i64, position: Option<u64>) -> Answer {
    let position = position.map_or_else(|| "null".to_owned(), |position| position.to_string());
    Answer::Whole(200, format!("{{\"epoch\":{epoch},\"position\":{position}}}").into_bytes())
}

fn taken() -> Answer {
    Answer::Whole(200, b"{\"new\":2}".to_vec())
}

fn epochs(asked: &[Asked]) -> Vec<Option<i64>> {
    let delivery = |asked: &Asked| {
        asked
            .head
            .starts_with("POST /internal/v1/events HTTP/1.1")
            .then(|| Delivery::decode(&asked.body).unwrap())
    };
    asked.iter().map(|asked| delivery(asked).map(|delivery| delivery.epoch)).collect()
}

#[tokio::test]
async fn a_journal_is_claimed_and_then_delivered_under_that_claim() {
    let control_plane = Scripted::start([claimed(3, Some(2)), taken(), taken()]).await;
    let mut sink = sink(&control_plane);
    assert_eq!(sink.position("journal-1").await.unwrap(), Some(Sequence::new(2)));
    sink.deliver(&batch()).await.unwrap();
    sink.deliver(&batch()).await.unwrap();
    let asked = control_plane.asked();
    assert_eq!(asked[0].body, b"{\"source\":\"journal-1\"}");
    assert!(asked.iter().all(|asked| asked.head.contains(&format!("authorization: Bearer {TOKEN}\r\n"))));
    assert_eq!(epochs(&asked), [None, Some(3), Some(3)]);
    let sent = Delivery::decode(&asked[1].body).unwrap().batch;
    assert_eq!(
        (sent.source, sent.last, sent.records),
        ("journal-1".to_owned(), Sequence::new(9), batch().records)
    );
}

#[tokio::test]
async fn a_ledger_without_the_journal_says_so() {
    let control_plane = Scripted::start([claimed(1, None)]).await;
    assert_eq!(sink(&control_plane).position("journal-1").await.unwrap(), None);
}

#[tokio::test]
async fn a_fenced_delivery_claims_anew_with_the_next_attempt() {
    let fenced = Answer::Whole(409, b"{\"code\":\"fenced\"}".to_vec());
    let control_plane = Scripted::start([claimed(1, None), fenced, claimed(3, Some(2)), taken()]).await;
    let mut sink = sink(&control_plane);
    sink.position("journal-1").await.unwrap();
    let refused = sink.deliver(&batch()).await.unwrap_err();
    assert!(matches!(refused, SinkError::Retry(_)), "{refused:?}");
    sink.deliver(&batch()).await.unwrap();
    assert_eq!(epochs(&control_plane.asked()), [None, Some(1), None, Some(3)]);
}

#[tokio::test]
async fn a_record_that_can_never_be_taken_is_named() {
    let poison = br#"{"code":"undecodable_record","sequence":7,"reason":"no event id","status":422}"#;
    let control_plane = Scripted::start([claimed(1, None), Answer::Whole(422, poison.to_vec())]).await;
    let mut sink = sink(&control_plane);
    let refused = sink.deliver(&batch()).await.unwrap_err();
    let SinkError::Poison { sequence, reason } = refused else { panic!("{refused}") };
    assert_eq!((sequence, reason.as_str()), (Sequence::new(7), "no event id"));
}

#[tokio::test]
async fn whatever_else_goes_wrong_is_tried_again_on_a_new_connection() {
    let failures = [
        Answer::Closed,
        Answer::Whole(500, Vec::new()),
        Answer::Whole(401, Vec::new()),
        Answer::Whole(200, b"<html>".to_vec()),
    ];
    for failure in failures {
        let control_plane = Scripted::start([failure.clone(), claimed(1, None)]).await;
        let mut sink = sink(&control_plane);
        let refused = sink.position("journal-1").await.unwrap_err();
        assert!(matches!(refused, SinkError::Retry(_)), "{refused:?}");
        sink.position("journal-1").await.unwrap();
    }
    // A connection that the server closes between two deliveries.
    let control_plane = Scripted::start([claimed(1, None), Answer::Closed]).await;
    let mut sink = sink(&control_plane);
    sink.position("journal-1").await.unwrap();
    sink.deliver(&batch()).await.unwrap_err();
    control_plane.then(taken());
    sink.deliver(&batch()).await.unwrap();
}
