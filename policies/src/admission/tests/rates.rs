use super::*;
use crate::refusal::RefusalKind;

fn each_metric() -> [LimitSpec; 5] {
    [
        limit("lim_requests", LimitMetric::RequestsPerMinute, 100),
        limit("lim_input", LimitMetric::InputTokensPerMinute, 1_000),
        limit("lim_output", LimitMetric::OutputTokensPerMinute, 1_000),
        limit("lim_tokens", LimitMetric::TokensPerMinute, 10_000),
        limit("lim_open", LimitMetric::ConcurrentRequests, 2),
    ]
}

#[test]
fn each_key_has_its_own_limit_where_the_scope_is_each() {
    let world = World::new(&[limit("lim_1", LimitMetric::RequestsPerMinute, 1)], &[]);
    let _open = world.admit("key_1", Ask::tokens(1, 1)).unwrap();
    assert_eq!(world.admit("key_1", Ask::tokens(1, 1)).unwrap_err().reason(), "rate_limited_requests");
    assert!(world.admit("key_2", Ask::tokens(1, 1)).is_ok());
}

#[test]
fn a_project_limit_counts_all_of_its_keys() {
    let spec = LimitSpec { scope: project(), ..limit("lim_1", LimitMetric::ConcurrentRequests, 1) };
    let world = World::new(&[spec], &[]);
    let open = world.admit("key_1", Ask::tokens(1, 1)).unwrap();
    let refusal = world.admit("key_2", Ask::tokens(1, 1)).unwrap_err();
    assert_eq!((refusal.reason(), refusal.retry_after_seconds()), ("concurrency_limited", Some(1)));
    assert_eq!(&*refusal.subject, "prj_1");
    drop(open);
    assert!(world.admit("key_2", Ask::tokens(1, 1)).is_ok());
}

#[test]
fn a_refused_request_takes_nothing_of_any_limit() {
    let world = World::new(&each_metric(), &[quota("quo_1", QuotaUnit::Requests, 0)]);
    let rules = world.control.in_force(&principal("key_1")).unwrap();
    let before = world.control.rate_limit_headers(&rules, AskedModels::one(Some(MODEL)), world.now, world.at);
    for _ in 0..20 {
        assert_eq!(world.admit("key_1", Ask::tokens(10, 10)).unwrap_err().reason(), "budget_exhausted");
    }
    assert_eq!(
        world.control.rate_limit_headers(&rules, AskedModels::one(Some(MODEL)), world.now, world.at),
        before
    );
}

#[test]
fn of_several_limits_the_one_that_lasts_longest_is_told() {
    let world = World::new(&each_metric(), &[]);
    let _open = world.admit("key_1", Ask::tokens(900, 100)).unwrap();
    let refusal = world.admit("key_1", Ask::tokens(950, 950)).unwrap_err();
    assert_eq!(refusal.reason(), "rate_limited_input_tokens", "51 s against 3 s");
    assert_eq!(refusal.retry_after_seconds(), Some(51));
    let RefusalKind::RateLimited { limit } = &refusal.kind else { panic!("{refusal:?}") };
    assert_eq!(limit.id.as_str(), "lim_input");
}

#[test]
fn limits_of_other_models_do_not_count() {
    let mut spec = limit("lim_1", LimitMetric::RequestsPerMinute, 1);
    spec.models = vec![ModelPattern::new("claude-opus-*")];
    let world = World::new(&[spec], &[]);
    let opus = Ask { model: Some("claude-opus-4-1"), ..Ask::tokens(1, 1) };
    assert!((0..5).all(|_| world.admit("key_1", Ask::tokens(1, 1)).is_ok()));
    let first = world.admit("key_1", opus).unwrap();
    assert!(world.admit("key_1", opus).is_err());
    drop(first);
    assert!(world.admit("key_1", opus).is_ok(), "what was never sent does not count");
}

#[test]
fn headers_tell_the_tightest_limit_of_each_family() {
    let mut limits = each_metric().to_vec();
    limits.push(LimitSpec { scope: project(), ..limit("lim_project", LimitMetric::RequestsPerMinute, 10) });
    let mut world = World::new(&limits, &[]);
    let done = world.admit("key_1", Ask::tokens(600, 100)).unwrap();
    world.settle(done, 600, 100);
    let rules = world.control.in_force(&principal("key_1")).unwrap();
    let headers =
        world.control.rate_limit_headers(&rules, AskedModels::one(Some(MODEL)), world.now, world.at);
    let headers: HashMap<_, _> = headers.iter().collect();
    assert_eq!(headers["anthropic-ratelimit-requests-limit"], "10");
    assert_eq!(headers["anthropic-ratelimit-requests-remaining"], "9");
    assert_eq!(headers["anthropic-ratelimit-requests-reset"], "2026-11-21T12:00:06Z");
    assert_eq!(headers["anthropic-ratelimit-input-tokens-remaining"], "400");
    assert_eq!(headers["anthropic-ratelimit-input-tokens-reset"], "2026-11-21T12:00:36Z");
    assert_eq!(headers["anthropic-ratelimit-output-tokens-remaining"], "900");
    assert_eq!(headers["anthropic-ratelimit-tokens-remaining"], "9300");
    assert_eq!(headers.len(), 12);
}

#[test]
fn a_change_of_limits_keeps_what_was_used_and_what_is_open() {
    let world = World::new(&[limit("lim_1", LimitMetric::ConcurrentRequests, 2)], &[]);
    let first = world.admit("key_1", Ask::tokens(1, 1)).unwrap();
    let _second = world.admit("key_1", Ask::tokens(1, 1)).unwrap();
    world.apply(&[limit("lim_1", LimitMetric::ConcurrentRequests, 3)], &[]);
    let _third = world.admit("key_1", Ask::tokens(1, 1)).unwrap();
    assert!(world.admit("key_1", Ask::tokens(1, 1)).is_err());
    drop(first);
    assert!(world.admit("key_1", Ask::tokens(1, 1)).is_ok());
    world.apply(&[], &[]);
    assert!(world.control.in_force(&principal("key_1")).is_none());
}

#[test]
fn counting_tokens_and_batches_take_requests_only() {
    let mut world = World::new(&each_metric(), &[]);
    let count = world.admit("key_1", Ask { billed: false, ..Ask::tokens(900_000, 0) }).unwrap();
    world.settle(count, 0, 0);
    let batch = world.admit("key_1", Ask { batch: Some(100), ..Ask::tokens(900_000, 900_000) }).unwrap();
    world.settle(batch, 0, 0);
    let rules = world.control.in_force(&principal("key_1")).unwrap();
    let headers =
        world.control.rate_limit_headers(&rules, AskedModels::one(Some(MODEL)), world.now, world.at);
    let headers: HashMap<_, _> = headers.iter().collect();
    assert_eq!(headers["anthropic-ratelimit-requests-remaining"], "98");
    assert_eq!(headers["anthropic-ratelimit-tokens-remaining"], "10000");
}

#[test]
fn a_limit_of_certain_models_counts_a_request_that_any_of_them_may_serve() {
    let mut spec = limit("lim_1", LimitMetric::OutputTokensPerMinute, 1_000);
    spec.models = vec![ModelPattern::new("claude-opus-*")];
    let mut world = World::new(&[spec], &[]);
    let with_fallback = Ask { fallback: Some("claude-opus-4-1"), ..Ask::tokens(10, 600) };
    let open = world.admit("key_1", with_fallback).unwrap();
    assert_eq!(world.admit("key_1", with_fallback).unwrap_err().reason(), "rate_limited_output_tokens");
    assert!(world.admit("key_1", Ask::tokens(10, 600)).is_ok(), "only ever served by another model");
    world.settle(open, 10, 600); // by MODEL
    assert!(world.admit("key_1", with_fallback).is_ok(), "the fallback was not needed");
}

#[test]
fn a_raised_limit_lets_a_subject_in_debt_work_again_at_once() {
    let spec = |tokens| limit("lim_1", LimitMetric::OutputTokensPerMinute, tokens);
    let mut world = World::new(&[spec(100)], &[]);
    let open = world.admit("key_1", Ask::tokens(1, 100)).unwrap();
    world.settle(open, 1, 8_000);
    let refusal = world.admit("key_1", Ask::tokens(1, 100)).unwrap_err();
    assert_eq!(refusal.retry_after_seconds(), Some(80 * 60));
    world.pass(60);
    world.apply(&[spec(1_000_000)], &[]);
    assert!(world.admit("key_1", Ask::tokens(1, 100)).is_ok());
    world.apply(&[spec(100)], &[]);
    let refusal = world.admit("key_1", Ask::tokens(1, 100)).unwrap_err();
    assert_eq!(refusal.retry_after_seconds(), Some(60), "what was forgiven stays so, what was used was used");
}

#[test]
fn a_request_is_held_to_the_rules_in_force_when_it_is_admitted_not_when_they_were_looked_up() {
    let world = World::new(&[limit("lim_1", LimitMetric::RequestsPerMinute, 100)], &[]);
    let before = world.control.in_force(&principal("key_1")).unwrap();
    world.apply(&[limit("lim_1", LimitMetric::RequestsPerMinute, 1)], &[]);
    assert!(world.admit_by(&before, "key_1", Ask::tokens(1, 1)).is_ok());
    let _open = world.admit_by(&before, "key_1", Ask::tokens(1, 1)).unwrap();
    assert!(world.admit_by(&before, "key_1", Ask::tokens(1, 1)).is_err());
}
