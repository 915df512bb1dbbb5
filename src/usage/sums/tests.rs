use super::*;
use serde_json::json;

fn answered(rows: &[(&str, &str, Sums)], bucket: Option<&str>) -> Answered {
    let bucket: Option<Timestamp> = bucket.map(|text| text.parse().unwrap());
    let mut total = Sums::default();
    for (_, _, sums) in rows {
        total.add(sums);
    }
    let rows = rows.iter().map(|(project, model, sums)| {
        ((bucket, vec![(*project).to_owned(), (*model).to_owned()]), sums.clone())
    });
    Answered {
        from: "2026-11-20T00:00:00Z".parse().unwrap(),
        to: "2026-11-21T00:00:00Z".parse().unwrap(),
        group_by: vec![GroupBy::Project, GroupBy::Model],
        rows: rows.collect(),
        total,
    }
}

fn sums(requests: u64, output_tokens: u64, cost: i64) -> Sums {
    Sums { requests, output_tokens, cost_nano_usd: NanoUsd(cost), ..Sums::default() }
}

fn printed(print: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
    let mut out = Vec::new();
    print(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn the_table_ends_with_its_total_and_says_what_it_leaves_out() {
    let unpriced = Sums { unknown_cost_events: 2, ..sums(2, 5, 0) };
    let answered = answered(
        &[("checkout", "claude-opus-5", sums(1_200, 34_567, 1_500_000_000)), ("docs", "", unpriced)],
        None,
    );
    let names = ProjectNames::with(&[]);
    let expected = "\
2026-11-20T00:00:00Z to 2026-11-21T00:00:00Z

PROJECT   MODEL          CALLS  ERRORS  INPUT  CACHE READ  CACHE WRITE  OUTPUT           COST
checkout  claude-opus-5  1,200       0      0           0            0  34,567      $1.500000
docs      -                  2       0      0           0            0       5        unknown
--------  -------------  -----  ------  -----  ----------  -----------  ------  -------------
total                    1,202       0      0           0            0  34,572  $1.500000 + ?

The cost of 2 calls is unknown and not in the sums: `mindweave usage --events` says why.
";
    assert_eq!(printed(|out| answered.table(&names, out)), expected);
}

#[test]
fn csv_has_one_record_a_row_with_exact_dollars() {
    let answered = answered(&[("prj_1", "claude, the model", sums(1, 7, 1))], Some("2026-11-20T00:00:00Z"));
    let names = ProjectNames::with(&[("prj_1", "checkout")]);
    let expected = "\
time,project,model,requests,errors,input_tokens,cache_read_tokens,cache_write_5m_tokens,cache_write_1h_tokens,output_tokens,cost_usd,unknown_cost_events,estimated_events
2026-11-20T00:00:00Z,checkout,\"claude, the model\",1,0,0,0,0,0,7,0.000000001,0,0
";
    assert_eq!(printed(|out| answered.csv(&names, out)), expected);
}

#[test]
fn json_keeps_ids_and_integers() {
    let answered = answered(&[("prj_1", "m", sums(3, 7, 2_500))], None);
    let json: serde_json::Value = serde_json::from_str(&printed(|out| answered.json(out))).unwrap();
    assert_eq!(json["data"][0]["project_id"], "prj_1");
    assert_eq!(json["data"][0]["cost_nano_usd"], 2_500);
    assert_eq!(json["data"][0]["cost_usd"], "0.000002500");
    assert_eq!(json["total"]["requests"], 3);
    assert_eq!(json["group_by"], json!(["project_id", "model"]));
}

#[test]
fn a_row_of_the_api_is_read_with_its_values_and_unknown_figures() {
    let row: Row = serde_json::from_value(json!({
        "bucket": "2026-11-20T00:00:00Z", "requests": 1, "errors": 0, "input_tokens": 2, "output_tokens": 3,
        "cache_read_tokens": 4, "cache_write_5m_tokens": 5, "cache_write_1h_tokens": 6, "thinking_tokens": 7,
        "web_search_requests": 0, "cost_nano_usd": 8, "unknown_cost_events": 0, "estimated_events": 0,
        "latency_ms_sum": 1, "latency_ms_max": 1, "cost_usd": "0.000000008", "project_id": "prj_1", "model": null,
    }))
    .unwrap();
    assert_eq!((row.value("project_id"), row.value("model")), ("prj_1", ""));
    assert_eq!(row.sums.cache_write_1h_tokens, 6);
}

#[test]
fn the_finest_sums_that_are_kept_are_asked_for() {
    let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
    let ago = |hours| now.checked_sub(SignedDuration::from_hours(hours)).unwrap();
    assert_eq!(covering(ago(1), now, now), Interval::Minute);
    assert_eq!(covering(ago(24), now, now), Interval::Hour);
    assert_eq!(covering(ago(24 * 30), ago(24 * 30 - 1), now), Interval::Hour);
    assert_eq!(covering(ago(24 * 90), now, now), Interval::Day);
    assert_eq!(covering(ago(24 * 400), ago(24 * 400 - 1), now), Interval::Day);
}
