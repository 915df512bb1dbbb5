use super::*;

fn world() -> World {
    World::new(&[], &[quota("tokens", QuotaUnit::Tokens, 1_000_000)])
}

fn use_tokens(world: &mut World, tokens: u64) {
    let open = world.admit("key_1", Ask::tokens(tokens, 0)).unwrap();
    world.settle(open, tokens, 0);
}

#[test]
fn the_ledgers_figure_replaces_the_own_events_it_includes() {
    let mut world = world();
    for tokens in [10, 20, 40] {
        use_tokens(&mut world, tokens);
    }
    assert_eq!(world.usage("key_1", "tokens"), (70, 0));
    world.feed(true, 2, &[("tokens", "prj_1", november(), 1_030)]);
    assert_eq!(world.usage("key_1", "tokens"), (1_070, 0), "another proxy used 1000");
    world.feed(false, 3, &[("tokens", "prj_1", november(), 1_070)]);
    assert_eq!(world.usage("key_1", "tokens"), (1_070, 0));
    assert_eq!(world.control.included(), 3);
}

#[test]
fn an_event_that_the_ledger_booked_before_it_was_settled_counts_once() {
    let mut world = world();
    let open = world.admit("key_1", Ask::tokens(10, 0)).unwrap();
    world.feed(true, 1, &[("tokens", "prj_1", november(), 10)]);
    world.settle(open, 10, 0);
    assert_eq!(world.usage("key_1", "tokens"), (10, 0));
}

#[test]
fn repeated_and_late_feeds_change_nothing() {
    let mut world = world();
    use_tokens(&mut world, 10);
    let early = feed(true, 0, world.now, &[("tokens", "prj_1", november(), 500)]);
    world.control.feed(&early, world.at);
    world.pass(1);
    use_tokens(&mut world, 20);
    world.feed(false, 2, &[("tokens", "prj_1", november(), 530)]);
    world.control.feed(&early, world.at);
    assert_eq!(world.usage("key_1", "tokens"), (530, 0));
    let same_events =
        feed(false, 2, world.now - Duration::from_secs(1), &[("tokens", "prj_1", november(), 7)]);
    world.control.feed(&same_events, world.at);
    assert_eq!(world.usage("key_1", "tokens"), (530, 0), "older, though it includes as much");
}

#[test]
fn a_control_plane_whose_clock_was_put_back_is_heard() {
    let mut world = world();
    world.feed(true, 0, &[("tokens", "prj_1", november(), 500)]);
    let earlier = world.now - Duration::from_secs(3_600);
    world.control.feed(&feed(false, 0, earlier, &[("tokens", "prj_1", november(), 600)]), world.at);
    use_tokens(&mut world, 1);
    assert_eq!(world.usage("key_1", "tokens"), (601, 0));
}

#[test]
fn figures_of_two_control_planes_are_told_apart_by_what_they_go_through_to_and_not_by_clocks() {
    let mut world = world();
    let read = |world: &World, full, included, through, used| {
        let figures = feed(full, included, world.now, &[("tokens", "prj_1", november(), used)]);
        world.control.feed(&UsageFeed { through: Some(through), ..figures }, world.at);
    };
    use_tokens(&mut world, 10);
    read(&world, true, 1, 50, 510);
    world.pass(1);
    read(&world, false, 1, 60, 600);
    let now = world.now;
    world.now = now - Duration::from_secs(5); // the clock of the other one is behind, and it has just read all
    read(&world, true, 1, 61, 601);
    assert_eq!(world.usage("key_1", "tokens"), (601, 0), "newer all the same");
    read(&world, true, 0, 49, 499);
    assert_eq!(world.usage("key_1", "tokens"), (601, 0), "older: the own event would be lost");
    world.now = now + Duration::from_secs(1);
    read(&world, true, 0, 20, 200);
    assert_eq!(world.usage("key_1", "tokens"), (200, 0), "read later, knows less: put back from a copy");
    assert_eq!(world.control.included(), 0);
    use_tokens(&mut world, 1); // the second of the journal
    world.pass(1);
    read(&world, false, 2, 21, 211);
    assert_eq!(world.usage("key_1", "tokens"), (211, 0));
}

#[test]
fn a_full_feed_clears_what_it_does_not_list() {
    let mut world = world();
    world.feed(true, 0, &[("tokens", "prj_1", november(), 500)]);
    use_tokens(&mut world, 5);
    world.feed(false, 0, &[]);
    assert_eq!(world.usage("key_1", "tokens"), (505, 0), "not listed is unchanged");
    world.feed(true, 0, &[]);
    assert_eq!(world.usage("key_1", "tokens"), (5, 0));
}

#[test]
fn an_own_event_that_the_ledger_books_as_nothing_stops_counting_when_it_is_included() {
    let mut world = world(); // a batch's results that were downloaded before
    use_tokens(&mut world, 5);
    world.feed(false, 1, &[]);
    assert_eq!(world.usage("key_1", "tokens"), (0, 0));
}

#[test]
fn figures_that_come_before_their_budget_wait_for_it() {
    let mut world = World::new(&[], &[]);
    world.feed(false, 0, &[("tokens", "prj_1", november(), 500)]);
    world.apply(&[], &[quota("tokens", QuotaUnit::Tokens, 1_000)]);
    assert_eq!(world.usage("key_1", "tokens"), (500, 0));
    let daily = QuotaSpec { window: QuotaWindow::Day, ..quota("tokens", QuotaUnit::Tokens, 1_000) };
    let midnight = time("2026-11-20T23:00:00Z");
    world.pass(1);
    world.feed(false, 0, &[("tokens", "prj_1", midnight, 40)]);
    assert_eq!(world.usage("key_1", "tokens"), (500, 0), "no month begins today");
    world.apply(&[], &[daily]);
    assert_eq!(world.usage("key_1", "tokens"), (40, 0));
}

#[test]
fn figures_of_an_edited_budget_that_come_before_the_edit_wait_for_it() {
    let tokens = quota("edited", QuotaUnit::Tokens, 1_000_000);
    let money = quota("edited", QuotaUnit::Cost, 1_000_000);
    let told = |world: &World, spec: &QuotaSpec, used| {
        let mut feed = feed(false, 0, world.now, &[("edited", "prj_1", november(), used)]);
        feed.counters[0].definition = spec.definition("Europe/Berlin");
        world.control.feed(&feed, world.at);
    };
    let mut world = World::new(&[], std::slice::from_ref(&tokens));
    told(&world, &tokens, 70);
    world.pass(1);
    told(&world, &money, 700_000);
    assert_eq!(world.usage("key_1", "edited"), (70, 0), "still tokens here");
    world.apply(&[], std::slice::from_ref(&money));
    assert_eq!(world.usage("key_1", "edited"), (700_000, 0));
    world.pass(1);
    told(&world, &tokens, 71); // a feed of before the edit that comes late
    assert_eq!(world.usage("key_1", "edited"), (700_000, 0));
    let in_utc = tokens.definition("UTC");
    assert_ne!(in_utc, tokens.definition("Europe/Berlin"));
    assert_eq!(in_utc, QuotaSpec { limit: 5, ..tokens }.definition("UTC"));
}

#[test]
fn a_new_budget_counts_events_that_ended_before_it_was_made() {
    let mut world = world();
    for tokens in [10, 20, 40] {
        use_tokens(&mut world, tokens);
    }
    world.feed(false, 1, &[("tokens", "prj_1", november(), 10)]);
    let quotas = [quota("tokens", QuotaUnit::Tokens, 1_000_000), quota("new", QuotaUnit::Tokens, 1_000)];
    world.apply(&[], &quotas);
    assert_eq!(world.usage("key_1", "new"), (60, 0), "those that the ledger does not include");
    world.feed(false, 1, &[("new", "prj_1", november(), 10)]);
    assert_eq!(world.usage("key_1", "new"), (70, 0));
}

#[test]
fn figures_of_past_windows_are_ignored() {
    let mut world = world();
    use_tokens(&mut world, 5);
    world.feed(false, 0, &[("tokens", "prj_1", time("2026-09-30T22:00:00Z"), 900)]);
    assert_eq!(world.usage("key_1", "tokens"), (5, 0));
}

#[test]
fn a_proxy_that_restarts_alone_goes_on_from_saved_figures_and_its_journal() {
    let mut world = world();
    use_tokens(&mut world, 10);
    world.feed(true, 1, &[("tokens", "prj_1", november(), 510)]);
    use_tokens(&mut world, 20);
    let saved = serde_json::to_string(&world.control.save()).unwrap();
    let restarted = self::world();
    restarted.control.load(&serde_json::from_str(&saved).unwrap());
    assert_eq!(restarted.control.included(), 1);
    assert_eq!(restarted.usage("key_1", "tokens"), (510, 0));
    for (sequence, tokens) in [(1, 10), (2, 20)] {
        restarted.control.replay(sequence, &event(&world, tokens));
    }
    assert_eq!(restarted.usage("key_1", "tokens"), world.usage("key_1", "tokens"));
}

#[test]
fn an_event_outside_the_journal_counts_until_its_window_ends() {
    let mut world = world();
    let open = world.admit("key_1", Ask::tokens(5, 0)).unwrap();
    let (at, instant) = (world.now, world.at);
    let charged = ChargeParts::one(charge(5, 0), Some(MODEL.into()));
    open.settle(Settled { charged, use_is_known: true, at, instant, sequence: None });
    world.feed(true, 1_000, &[]);
    assert_eq!(world.usage("key_1", "tokens"), (5, 0));
    world.pass(31 * 24 * 3_600);
    assert_eq!(world.usage("key_1", "tokens"), (0, 0));
}

fn event(world: &World, tokens: u64) -> UsageEvent {
    let json = serde_json::json!({
        "event_id": "0190b5a0-0000-7000-8000-000000000001", "timestamp": world.now, "org_id": "org_1",
        "project_id": "prj_1", "key_id": "key_1", "event_type": "api_call", "method": "POST",
        "endpoint": "/v1/messages", "model": MODEL, "requested_model": MODEL, "input_tokens": tokens,
        "output_tokens": 0, "cache_read_tokens": 0, "cache_write_5m_tokens": 0, "cache_write_1h_tokens": 0,
        "thinking_tokens": 0, "web_search_requests": 0, "buckets": [], "certainty": "exact",
        "outcome": "complete", "status": 200, "latency_ms": 1, "overhead_us": 1, "streamed": false,
        "retry_count": 0, "tool_calls": [], "price_book": "1", "snapshot_revision": 1, "proxy_id": "pxy_1",
        "decision": {"effect": "allow", "reasons": [], "policy_revision": 0, "shadow": []},
    });
    serde_json::from_value(json).unwrap()
}
