use serde_json::json;

use super::*;

fn ids(taken: Taken) -> Vec<String> {
    taken.events.into_iter().map(|event| event.event_id.unwrap().to_string()).collect()
}

#[test]
fn the_same_idempotency_key_gives_the_same_ids_and_another_gives_others() {
    let office = Office::new();
    let (holder, admin) = (office.holder(), admin());
    let timed = json!({
        "model": "m", "input_tokens": 1, "output_tokens": 1, "timestamp": ago(60).to_string(), "project_id": "prj_1",
    });
    let mut untimed = timed.clone();
    untimed.as_object_mut().unwrap().remove("timestamp");
    let batch = [timed.clone(), untimed.clone(), timed, untimed];
    let take = |caller: &Caller, key: &str| ids(office.try_take(caller, Some(key), &batch).unwrap());
    let first = take(&holder, "run-7");
    assert_eq!(first.iter().collect::<std::collections::HashSet<_>>().len(), 4, "{first:?}");
    assert_eq!(take(&holder, "run-7"), first);
    let versions: Vec<_> = first.iter().filter_map(|id| id.chars().nth(14)).collect();
    assert_eq!(versions, ['7', '8', '7', '8']);
    for other in [take(&holder, "run-8"), take(&admin, "run-7")] {
        assert!(other.iter().all(|id| !first.contains(id)), "{other:?} and {first:?}");
    }
}

#[test]
fn the_same_idempotency_key_is_another_for_another_project() {
    let office = Office::new();
    let event =
        |project: &str| json!({ "model": "m", "input_tokens": 1, "output_tokens": 1, "project_id": project });
    let take = |project| ids(office.try_take(&admin(), Some("run-7"), &[event(project)]).unwrap());
    assert_ne!(take("prj_1"), take("prj_2"));
    assert_eq!(take("prj_1"), take("prj_1"));
}

#[test]
fn an_event_without_any_id_gets_one_of_its_own_time() {
    let office = Office::new();
    let at = ago(3_600);
    let event = json!({ "model": "m", "input_tokens": 1, "output_tokens": 1, "timestamp": at.to_string() });
    let (first, second) = (office.accept(&office.holder(), &event), office.accept(&office.holder(), &event));
    assert_ne!(first["event_id"], second["event_id"]);
    let id = first["event_id"].as_str().unwrap().replace('-', "");
    let millis: String = id.chars().take(12).collect();
    assert_eq!(i64::from_str_radix(&millis, 16).unwrap(), at.as_millisecond());
}

#[test]
fn an_id_is_a_uuid_of_one_event_and_of_a_time_that_is_kept() {
    let office = Office::new();
    let with = |id: &str| json!({ "event_id": id, "model": "m", "input_tokens": 1, "output_tokens": 1 });
    for id in [
        "",
        "event-7",
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "01800000-0000-7000-8000-000000000001", // version 7, of 2022
        "ff000000-0000-7000-8000-000000000001", // version 7, of the far future
    ] {
        assert_eq!(office.refuse(&office.holder(), &with(id)), ["/event_id"], "{id}");
    }
    let foreign = "9f1c1f6e-4a5e-4f6e-9a53-2f0a4d0c9a11";
    assert_eq!(office.accept(&office.holder(), &with(foreign))["event_id"], foreign);
}

#[test]
fn a_key_that_is_none_is_refused() {
    for key in ["", "two words", "\u{e9}", &"x".repeat(257)] {
        assert!(IdempotencyKey::new("prj_1", key.as_bytes()).is_none(), "{key:?}");
    }
}
