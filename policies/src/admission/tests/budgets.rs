use super::*;
use crate::budget::FIRST_EXPECTED_OUTPUT;
use crate::refusal::RefusalKind;

#[test]
fn an_open_request_holds_all_it_may_cost_and_settles_for_what_it_did() {
    let mut world = World::new(&[], &[quota("spend", QuotaUnit::Cost, 1_000_000)]);
    let first = world.admit("key_1", Ask::tokens(100, 500)).unwrap();
    assert_eq!(world.usage("key_1", "spend"), (0, 600_000));
    let refusal = world.admit("key_2", Ask::tokens(100, 500)).unwrap_err();
    let RefusalKind::BudgetExhausted { used, reserved, needed, resets_at, .. } = refusal.kind else {
        panic!()
    };
    assert_eq!((used, reserved, needed), (0, 600_000, 600_000));
    assert_eq!(resets_at, time("2026-11-30T23:00:00Z"));
    world.settle(first, 100, 20);
    assert_eq!(world.usage("key_1", "spend"), (120_000, 0));
    assert!(world.admit("key_2", Ask::tokens(100, 500)).is_ok());
}

#[test]
fn all_windows_are_held_or_none() {
    let keys =
        QuotaSpec { scope: each_key(), window: QuotaWindow::Hour, ..quota("hourly", QuotaUnit::Tokens, 100) };
    let world = World::new(&[], &[quota("monthly", QuotaUnit::Tokens, 1_000), keys]);
    let refusal = world.admit("key_1", Ask::tokens(50, 51)).unwrap_err();
    assert_eq!((&*refusal.id, &*refusal.subject), ("hourly", "key_1"));
    assert_eq!(world.usage("key_1", "monthly"), (0, 0));
    let _open = world.admit("key_1", Ask::tokens(50, 50)).unwrap();
    assert_eq!(world.usage("key_1", "monthly"), (0, 100));
    assert_eq!(world.usage("key_1", "hourly"), (0, 100));
}

#[test]
fn what_goes_beyond_the_estimate_is_debt() {
    let mut world = World::new(&[], &[quota("tokens", QuotaUnit::Tokens, 100)]);
    let open = world.admit("key_1", Ask::tokens(10, 90)).unwrap();
    world.settle(open, 500, 90);
    assert_eq!(world.usage("key_1", "tokens"), (590, 0));
    assert_eq!(world.admit("key_1", Ask::tokens(0, 0)).unwrap_err().reason(), "budget_exhausted");
}

#[test]
fn an_open_request_holds_its_part_of_the_window_it_will_end_in() {
    let spec = QuotaSpec { window: QuotaWindow::Minute, ..quota("minute", QuotaUnit::Tokens, 100) };
    let mut world = World::new(&[], &[spec]);
    world.pass(59);
    let open = world.admit("key_1", Ask::tokens(10, 70)).unwrap();
    world.pass(2);
    assert_eq!(world.usage("key_1", "minute"), (0, 80));
    assert!(world.admit("key_1", Ask::tokens(10, 20)).is_err(), "the next minute would overshoot");
    world.settle(open, 10, 60);
    assert_eq!(world.usage("key_1", "minute"), (70, 0));
    assert!(world.admit("key_1", Ask::tokens(10, 20)).is_ok());
    world.pass(60);
    assert_eq!(world.usage("key_1", "minute"), (0, 0));
}

#[test]
fn a_dropped_or_denied_request_is_not_charged() {
    let mut world = World::new(&[], &[quota("requests", QuotaUnit::Requests, 1)]);
    drop(world.admit("key_1", Ask::tokens(1, 1)).unwrap());
    let denied = world.admit("key_1", Ask::tokens(1, 1)).unwrap();
    let (at, instant) = (world.now, world.at);
    let charged = ChargeParts::one(Charge::default(), None);
    denied.settle(Settled { charged, use_is_known: true, at, instant, sequence: Some(1) });
    assert_eq!(world.usage("key_1", "requests"), (0, 0));
    let open = world.admit("key_1", Ask::tokens(1, 1)).unwrap();
    world.settle(open, 1, 1);
    assert_eq!(world.usage("key_1", "requests"), (1, 0));
}

#[test]
fn a_budget_that_warns_says_so_exactly_where_it_would_have_refused() {
    let spec = QuotaSpec { action: QuotaAction::Warn, ..quota("tokens", QuotaUnit::Tokens, 100) };
    let mut world = World::new(&[], &[spec]);
    let first = world.admit("key_1", Ask::tokens(10, 60)).unwrap();
    assert_eq!(first.warnings(), []);
    let second = world.admit("key_1", Ask::tokens(10, 60)).unwrap();
    let [warning] = second.warnings() else { panic!("{:?}", second.warnings()) };
    assert_eq!((warning.used, warning.reserved, &*warning.subject), (0, 70, "prj_1"));
    world.settle(first, 10, 60);
    world.settle(second, 10, 60);
    assert_eq!(world.usage("key_1", "tokens"), (140, 0));
}

#[test]
fn expected_reserves_by_what_answers_were_like_lately() {
    let spec = QuotaSpec { reserve: Reserve::Expected, ..quota("tokens", QuotaUnit::Tokens, 1_000_000) };
    let mut world = World::new(&[], &[spec]);
    let held = |world: &World, ask: Ask| {
        let (used, _) = world.usage("key_1", "tokens");
        let open = world.admit("key_1", ask).unwrap();
        let (still, reserved) = world.usage("key_1", "tokens");
        assert_eq!(used, still);
        drop(open);
        u64::try_from(reserved).unwrap()
    };
    assert_eq!(held(&world, Ask::tokens(100, 32_000)), 100 + FIRST_EXPECTED_OUTPUT);
    assert_eq!(held(&world, Ask::tokens(100, 64)), 164, "never more than it may use");
    for _ in 0..200 {
        let open = world.admit("key_1", Ask::tokens(100, 32_000)).unwrap();
        world.settle(open, 100, 400);
    }
    let settled = held(&world, Ask::tokens(100, 32_000));
    assert!((500..=520).contains(&settled), "answers were always 400 long: {settled}");
    let other = Ask { model: Some("claude-opus-4-1"), ..Ask::tokens(100, 32_000) };
    assert_eq!(held(&world, other), 100 + FIRST_EXPECTED_OUTPUT, "models are told apart");
}

#[test]
fn a_price_that_is_not_known_is_refused_or_held_as_nothing() {
    let refuse = quota("spend", QuotaUnit::Cost, 1_000);
    let unknown = Ask { nano_per_token: None, ..Ask::tokens(1, 1) };
    let world = World::new(&[], std::slice::from_ref(&refuse));
    let refusal = world.admit("key_1", unknown).unwrap_err();
    assert_eq!((refusal.reason(), refusal.retry_after), ("budget_price_unknown", None));
    for allowed in [
        QuotaSpec { on_unknown_price: OnError::Allow, ..refuse.clone() },
        QuotaSpec { action: QuotaAction::Warn, ..refuse },
    ] {
        let world = World::new(&[], &[allowed]);
        let _open = world.admit("key_1", unknown).unwrap();
        assert_eq!(world.usage("key_1", "spend"), (0, 0));
    }
}

#[test]
fn a_batch_must_fit_but_holds_only_its_request() {
    let quotas = [quota("tokens", QuotaUnit::Tokens, 1_000), quota("requests", QuotaUnit::Requests, 10)];
    let mut world = World::new(&[], &quotas);
    let batch = Ask { batch: Some(10), ..Ask::tokens(400, 500) };
    let first = world.admit("key_1", batch).unwrap();
    assert_eq!(world.usage("key_1", "tokens"), (0, 0));
    assert_eq!(world.usage("key_1", "requests"), (0, 1));
    world.settle(first, 0, 0);
    let results = world.admit("key_1", Ask { billed: false, ..Ask::tokens(0, 0) }).unwrap();
    world.settle(results, 400, 300);
    assert_eq!(world.usage("key_1", "tokens"), (700, 0));
    assert_eq!(world.usage("key_1", "requests"), (2, 0));
    assert!(world.admit("key_1", batch).is_err());
}

#[test]
fn what_cannot_use_tokens_passes_budgets_of_tokens() {
    let mut world =
        World::new(&[], &[quota("tokens", QuotaUnit::Tokens, 1), quota("spend", QuotaUnit::Cost, 1)]);
    let open = world.admit("key_1", Ask::tokens(1, 0)).unwrap_err();
    assert_eq!(open.reason(), "budget_exhausted");
    let count = world.admit("key_1", Ask { billed: false, ..Ask::tokens(900, 0) }).unwrap();
    world.settle(count, 0, 0);
    assert_eq!(world.usage("key_1", "tokens"), (0, 0));
}

#[test]
fn a_budget_counts_the_model_that_served() {
    let spec = QuotaSpec {
        models: vec![ModelPattern::new("claude-opus-*")],
        ..quota("opus", QuotaUnit::Tokens, 1_000)
    };
    let mut world = World::new(&[], &[spec]);
    let asked = world.admit("key_1", Ask { model: Some("claude-opus-4-1"), ..Ask::tokens(10, 10) }).unwrap();
    assert_eq!(world.usage("key_1", "opus"), (0, 20));
    world.settle(asked, 10, 10); // by MODEL, which is no opus: the ledger books it there
    assert_eq!(world.usage("key_1", "opus"), (0, 0));
}

#[test]
fn a_stale_ledger_is_met_as_each_budget_says() {
    let spec = |on_stale| QuotaSpec { on_stale, ..quota("tokens", QuotaUnit::Tokens, 1_000) };
    for (on_stale, passed) in [(OnStale::Open, 10), (OnStale::Closed, 0), (OnStale::Capped, 5)] {
        let mut world = World::new(&[], &[spec(on_stale)]);
        world.control.expect_feed(AdmissionControl::STALE_AFTER);
        world.feed(true, 0, &[("tokens", "prj_1", november(), 200)]);
        assert!(world.admit("key_1", Ask::tokens(50, 50)).is_ok());
        world.pass(31);
        let open: Vec<_> = (0..10).filter_map(|_| world.admit("key_1", Ask::tokens(40, 40)).ok()).collect();
        assert_eq!(open.len(), passed, "{on_stale:?}: two proxies share 800");
        if on_stale != OnStale::Open {
            let refusal = world.admit("key_1", Ask::tokens(50, 50)).unwrap_err();
            assert_eq!((refusal.reason(), refusal.retry_after_seconds()), ("budget_stale", Some(10)));
        }
        drop(open);
        world.feed(false, 0, &[]);
        assert!(world.admit("key_1", Ask::tokens(50, 50)).is_ok(), "heard again");
    }
}

#[test]
fn figures_are_stale_until_the_first_feed_where_one_is_expected() {
    let spec = QuotaSpec { on_stale: OnStale::Closed, ..quota("tokens", QuotaUnit::Tokens, 1_000) };
    let world = World::new(&[], &[spec]);
    assert!(world.admit("key_1", Ask::tokens(1, 1)).is_ok(), "nobody feeds this proxy");
    world.control.expect_feed(AdmissionControl::STALE_AFTER);
    world.control.load(&feed(true, 0, world.now, &[]));
    assert!(world.admit("key_1", Ask::tokens(1, 1)).is_err(), "saved figures are old ones");
}

#[test]
fn an_edit_while_requests_are_open_charges_them_to_the_budgets_in_force_at_their_end() {
    let mut world = World::new(&[], &[quota("old", QuotaUnit::Tokens, 1_000)]);
    let open = world.admit("key_1", Ask::tokens(10, 10)).unwrap();
    let edited = QuotaSpec { limit: 500, ..quota("old", QuotaUnit::Tokens, 1_000) };
    world.apply(&[], &[edited, quota("new", QuotaUnit::Requests, 5)]);
    assert_eq!(world.usage("key_1", "old"), (0, 20), "still held");
    world.settle(open, 10, 5);
    assert_eq!(world.usage("key_1", "old"), (15, 0));
    assert_eq!(world.usage("key_1", "new"), (1, 0));
}

fn opus(unit: QuotaUnit, limit: i64) -> QuotaSpec {
    QuotaSpec { models: vec![ModelPattern::new("claude-opus-*")], ..quota("opus", unit, limit) }
}

#[test]
fn an_exhausted_budget_of_one_model_refuses_whatever_that_model_may_serve() {
    let mut world = World::new(&[], &[opus(QuotaUnit::Tokens, 100)]);
    let open = world.admit("key_1", Ask { model: Some("claude-opus-4-1"), ..Ask::tokens(10, 90) }).unwrap();
    world.settle_for(open, ChargeParts::one(charge(10, 95), Some("claude-opus-4-1".into())));
    assert_eq!(world.usage("key_1", "opus"), (105, 0));
    let fallback = Ask { fallback: Some("claude-opus-4-1"), ..Ask::tokens(1, 1) };
    let mixed_batch = Ask { model: None, batch: Some(2), ..fallback };
    for ask in [fallback, mixed_batch] {
        assert_eq!(world.admit("key_1", ask).unwrap_err().reason(), "budget_exhausted");
    }
    assert!(world.admit("key_1", Ask::tokens(1, 1)).is_ok());
}

#[test]
fn results_of_several_models_are_charged_to_each_models_budgets() {
    let haiku = QuotaSpec {
        models: vec![ModelPattern::new("claude-haiku-4-5")],
        ..quota("haiku", QuotaUnit::Cost, 1_000_000)
    };
    let all = quota("all", QuotaUnit::Tokens, 10_000);
    let mut world = World::new(&[], &[opus(QuotaUnit::Tokens, 1_000), haiku, all]);
    let (event, _) = crate::charge::tests::mixed_results();
    let results = world.admit("key_1", Ask { model: None, billed: false, ..Ask::tokens(0, 0) }).unwrap();
    world.settle_for(results, ChargeParts::of(&event));
    assert_eq!(world.usage("key_1", "opus"), (330, 0));
    assert_eq!(world.usage("key_1", "haiku"), (34, 0));
    assert_eq!(world.usage("key_1", "all"), (341, 0));
    let restarted = World::new(&[], &[opus(QuotaUnit::Tokens, 1_000)]);
    restarted.control.replay(1, &UsageEvent { timestamp: restarted.now, ..event });
    assert_eq!(restarted.usage("key_1", "opus"), (330, 0));
}

#[test]
fn all_that_a_prompt_may_be_longer_than_estimated_is_held_where_the_most_is() {
    let most = quota("most", QuotaUnit::Tokens, 10_000);
    let expected = QuotaSpec { reserve: Reserve::Expected, ..quota("expected", QuotaUnit::Tokens, 10_000) };
    let money = quota("money", QuotaUnit::Cost, 10_000_000);
    let world = World::new(&[], &[most, expected, money]);
    let _open = world.admit("key_1", Ask { slack: 200, ..Ask::tokens(1_000, 50) }).unwrap();
    assert_eq!(world.usage("key_1", "most"), (0, 1_250));
    assert_eq!(world.usage("key_1", "expected"), (0, 1_050));
    assert_eq!(world.usage("key_1", "money"), (0, 1_250_000));
}

#[test]
fn an_answer_without_a_limit_holds_the_longest_there_is_of_money_too() {
    let expected = QuotaSpec { reserve: Reserve::Expected, ..quota("expected", QuotaUnit::Cost, i64::MAX) };
    let world = World::new(&[], &[quota("money", QuotaUnit::Cost, i64::MAX), expected]);
    let unlimited = Ask { output: None, ..Ask::tokens(100, 0) };
    let _open = world.admit("key_1", unlimited).unwrap();
    assert_eq!(world.usage("key_1", "money"), (0, 128_100_000));
    let first = i64::try_from(FIRST_EXPECTED_OUTPUT).unwrap();
    assert_eq!(world.usage("key_1", "expected"), (0, (100 + first) * 1_000), "not cut to nothing");
    let small = World::new(&[], &[quota("money", QuotaUnit::Cost, 2 * 128_100_000)]);
    let batch = Ask { batch: Some(3), ..unlimited };
    assert_eq!(small.admit("key_1", batch).unwrap_err().reason(), "budget_exhausted", "each of its items");
}

#[test]
fn what_will_never_say_what_it_used_passes_no_budget_that_blocks_by_use() {
    let refuse = quota("tokens", QuotaUnit::Tokens, 1_000);
    let silent = Ask { reports_use: false, ..Ask::tokens(10, 10) };
    let world = World::new(&[], &[refuse.clone(), quota("requests", QuotaUnit::Requests, 10)]);
    let refusal = world.admit("key_1", silent).unwrap_err();
    assert_eq!((refusal.reason(), &*refusal.id), ("budget_use_unknown", "tokens"));
    assert!(world.admit("key_1", Ask { billed: false, ..silent }).is_ok(), "it uses nothing");
    for allowed in [
        QuotaSpec { on_unknown_price: OnError::Allow, ..refuse.clone() },
        QuotaSpec { action: QuotaAction::Warn, ..refuse },
        QuotaSpec { limit: 1_000, ..opus(QuotaUnit::Tokens, 1) },
        quota("requests", QuotaUnit::Requests, 10),
    ] {
        let world = World::new(&[], &[allowed]);
        assert!(world.admit("key_1", silent).is_ok());
    }
}
