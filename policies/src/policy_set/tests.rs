use std::time::Duration;

use mindweave_metering::{OrgId, ProjectId, TeamId};
use serde_json::json;

use super::*;
use crate::governance::Governance;
use crate::input::tests::Request;
use crate::subject::{Subject, SubjectKind};

fn spec(id: &str, rules: &str) -> PolicySpec {
    PolicySpec {
        id: PolicyId::new(id),
        org_id: OrgId::new("org_1"),
        name: id.into(),
        version: 1,
        mode: PolicyMode::Enforce,
        scope: Subject { kind: SubjectKind::Org, id: Some("org_1".into()) },
        rego: format!("package p\n{rules}").into(),
        data: json!({"list": (0..2_000).collect::<Vec<_>>()}),
        on_error: OnError::Deny,
    }
}

fn compiled(specs: impl IntoIterator<Item = PolicySpec>) -> CompiledPolicies {
    CompiledPolicies::compile(&governance(specs), None)
}

fn governance(specs: impl IntoIterator<Item = PolicySpec>) -> Governance {
    Governance { policies: specs.into_iter().map(Arc::new).collect(), ..Governance::default() }
}

fn decide(policies: &CompiledPolicies, request: &Request) -> Evaluated {
    let set = policies.in_force(&request.principal).expect("policies in force");
    request.with_input(|input| set.decide(input))
}

fn reasons(verdicts: &[Verdict]) -> Vec<(&str, &str)> {
    verdicts.iter().map(|verdict| (verdict.policy_id.as_str(), &*verdict.reason)).collect()
}

const NO_OPUS: &str = "deny contains {\"reason\": \"no_opus\", \"message\": \"use sonnet\"} if startswith(input.request.model, \"claude-opus\")\nwarn contains {\"reason\": \"large\", \"message\": \"large\"} if input.request.max_tokens > 500";
const ALWAYS: &str = "deny contains {\"reason\": \"always\", \"message\": \"no\"} if true";
const LOOPS: &str = "deny contains {\"reason\": \"a\", \"message\": \"b\"} if { some x in data.list; some y in data.list; x + y < 0; input.request.path == \"x\" }";

fn opus() -> Request {
    let mut request = Request::default();
    request.facts.as_mut().unwrap().model = Some("claude-opus-4-1".into());
    request
}

#[test]
fn verdicts_come_with_their_policy_in_a_fixed_order_from_wide_to_narrow_scope() {
    let project = Subject { kind: SubjectKind::Project, id: Some("prj_1".into()) };
    let narrow = PolicySpec { scope: project, version: 7, ..spec("pol_a", ALWAYS) };
    let specs = [narrow, spec("pol_c", NO_OPUS), spec("pol_b", ALWAYS)];
    let evaluated = decide(&compiled(specs), &opus());
    let decision = &evaluated.decision;
    assert_eq!(reasons(&decision.denials), [("pol_b", "always"), ("pol_c", "no_opus"), ("pol_a", "always")]);
    assert_eq!(decision.denials[2].version, 7);
    assert_eq!(reasons(&decision.warnings), [("pol_c", "large")]);
    assert!(!decision.is_allowed());
    assert_eq!((evaluated.cached, evaluated.evaluated), (false, 3));
}

#[test]
fn policies_in_shadow_are_recorded_and_never_deny_even_when_they_fail() {
    let shadow = |spec| PolicySpec { mode: PolicyMode::Shadow, ..spec };
    let off = PolicySpec { mode: PolicyMode::Off, ..spec("pol_off", ALWAYS) };
    let specs =
        [shadow(spec("pol_a", ALWAYS)), shadow(spec("pol_b", LOOPS)), shadow(spec("pol_c", "x := 1")), off];
    let evaluated = decide(&compiled(specs), &Request::default());
    assert!(evaluated.decision.is_allowed());
    assert_eq!(
        reasons(&evaluated.decision.shadow),
        [("pol_a", "always"), ("pol_b", "policy_error"), ("pol_c", "policy_error")]
    );
    let kinds: Vec<_> = evaluated.errors.iter().map(|error| error.kind).collect();
    assert_eq!(kinds, [PolicyErrorKind::InstructionLimit, PolicyErrorKind::Broken]);
}

#[test]
fn a_policy_without_a_result_follows_its_on_error_and_says_who_must_act() {
    let malformed = "deny contains \"text\" if true";
    for (rules, kind) in [
        (malformed, PolicyErrorKind::Malformed),
        (LOOPS, PolicyErrorKind::InstructionLimit),
        ("this is no rego", PolicyErrorKind::Broken),
    ] {
        let denied = decide(&compiled([spec("pol_a", rules)]), &Request::default());
        assert_eq!(reasons(&denied.decision.denials), [("pol_a", "policy_error")]);
        assert_eq!(denied.errors, [PolicyError { policy_id: PolicyId::new("pol_a"), kind }]);
        let message = &denied.decision.denials[0].message;
        for part in ["\"pol_a\"", kind.explanation(), "an admin of Acme"] {
            assert!(message.contains(part), "{message}");
        }
        let open = PolicySpec { on_error: OnError::Allow, ..spec("pol_a", rules) };
        let allowed = decide(&compiled([open, spec("pol_b", NO_OPUS)]), &Request::default());
        assert!(allowed.decision.is_allowed());
        assert_eq!(allowed.errors.len(), 1, "an error is told even where it denies nothing");
    }
}

#[test]
fn a_decision_is_remembered_by_exactly_what_is_read() {
    let policies = compiled([spec("pol_a", NO_OPUS)]);
    assert!(!decide(&policies, &Request::default()).cached);
    let same = Request { path: "/v1/elsewhere".into(), used: 99, user_agent: None, ..Request::default() };
    let evaluated = decide(&policies, &same);
    assert!(evaluated.cached && evaluated.evaluated == 0);
    assert_eq!(reasons(&evaluated.decision.warnings), [("pol_a", "large")]);
    let other = decide(&policies, &opus());
    assert!(!other.cached && !other.decision.is_allowed());
    assert!(decide(&policies, &opus()).cached);
}

#[test]
fn when_one_policy_of_a_set_must_think_again_the_others_need_not() {
    let by_path = "deny contains {\"reason\": \"path\", \"message\": \"m\"} if input.request.path == \"/x\"";
    let policies = compiled([spec("pol_a", NO_OPUS), spec("pol_b", by_path)]);
    assert_eq!(decide(&policies, &Request::default()).evaluated, 2);
    let request = Request { path: "/x".into(), ..Request::default() };
    let evaluated = decide(&policies, &request);
    assert_eq!(evaluated.evaluated, 1);
    assert_eq!(reasons(&evaluated.decision.denials), [("pol_b", "path")]);
}

#[test]
fn the_exact_time_is_never_remembered_and_coarse_time_is_until_it_moves() {
    let exact = compiled([spec(
        "pol_a",
        "deny contains {\"reason\": \"a\", \"message\": \"b\"} if input.time.now_ns < 0",
    )]);
    for _ in 0..2 {
        assert!(!decide(&exact, &Request::default()).cached);
    }
    let hours = compiled([spec(
        "pol_a",
        "deny contains {\"reason\": \"late\", \"message\": \"b\"} if input.time.hour == 1",
    )]);
    let at = |time: &str| Request { now: time.parse().unwrap(), ..Request::default() };
    assert!(!decide(&hours, &at("2026-11-21T23:59:00Z")).cached);
    assert!(decide(&hours, &at("2026-11-21T23:01:00Z")).cached);
    assert!(!decide(&hours, &at("2026-11-22T00:00:00Z")).decision.is_allowed(), "one o'clock in Berlin");
}

#[test]
fn organisations_with_the_same_policy_ids_of_sets_never_share_decisions() {
    let mut specs = Vec::new();
    for (org, rules) in
        [("org_1", ALWAYS), ("org_2", "deny contains {\"reason\": \"a\", \"message\": \"b\"} if false")]
    {
        let scope = Subject { kind: SubjectKind::Org, id: Some(org.into()) };
        specs.push(PolicySpec { org_id: OrgId::new(org), scope, ..spec(&format!("pol_{org}"), rules) });
    }
    let policies = compiled(specs);
    let mut request = Request::default();
    for (org, allowed) in [("org_1", false), ("org_2", true), ("org_1", false), ("org_2", true)] {
        request.principal.org_id = OrgId::new(org);
        assert_eq!(decide(&policies, &request).decision.is_allowed(), allowed, "{org}");
    }
}

#[test]
fn only_policies_of_the_principals_own_organisation_team_and_project_judge_it() {
    let scoped = |id: &str, kind, of: &str| PolicySpec {
        scope: Subject { kind, id: Some(of.into()) },
        ..spec(id, ALWAYS)
    };
    let policies = compiled([
        scoped("pol_t", SubjectKind::Team, "tm_1"),
        scoped("pol_p", SubjectKind::Project, "prj_9"),
    ]);
    let mut principal = Request::default().principal;
    assert!(policies.in_force(&principal).is_none());
    principal.team_id = Some(TeamId::new("tm_1"));
    let ids = |principal: &_| {
        let set = policies.in_force(principal).unwrap();
        set.members.iter().map(|member| member.spec.id.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&principal), ["pol_t"]);
    principal.project_id = ProjectId::new("prj_9");
    assert_eq!(ids(&principal), ["pol_t", "pol_p"]);
    principal.org_id = OrgId::new("org_2");
    assert!(policies.in_force(&principal).is_none());
    assert!(CompiledPolicies::default().in_force(&principal).is_none());
}

#[test]
fn a_set_says_what_its_host_must_find_out() {
    let reads = |rules: &str| {
        compiled([spec("pol_a", rules)]).in_force(&Request::default().principal).unwrap().reads()
    };
    let deny =
        |body: &str| format!("deny contains {{\"reason\": \"a\", \"message\": \"b\"}} if {{ {body} }}");
    assert_eq!(reads(&deny("input.request.path == \"a\"; input.request.bytes > 5")), Reads::default());
    assert_eq!(reads(&deny("input.request.model")), Reads { body_facts: true, ..Reads::default() });
    assert_eq!(reads(&deny("input.usage.m.percent > 1")), Reads { usage: true, ..Reads::default() });
    assert_eq!(reads(&deny("input.request.pii")), Reads { body_facts: true, pii: true, usage: false });
    assert_eq!(reads(&deny("count(input) > 1")), Reads { body_facts: true, pii: true, usage: true });
}

#[test]
fn unchanged_policies_keep_their_programs_and_unchanged_governance_its_cache() {
    let first = governance([spec("pol_a", NO_OPUS), spec("pol_b", ALWAYS)]);
    let before = CompiledPolicies::compile(&first, None);
    decide(&before, &Request::default());
    let again = CompiledPolicies::compile(&first, Some(&before));
    assert!(decide(&again, &Request::default()).cached, "nothing changed");
    let shadowed = PolicySpec { mode: PolicyMode::Shadow, ..spec("pol_b", ALWAYS) };
    let after = CompiledPolicies::compile(&governance([spec("pol_a", NO_OPUS), shadowed]), Some(&before));
    let module = |policies: &CompiledPolicies, at: usize| {
        let set = policies.in_force(&Request::default().principal).unwrap();
        set.members[at].module.as_ref().unwrap().id
    };
    assert_eq!((module(&before, 0), module(&before, 1)), (module(&after, 0), module(&after, 1)));
    let evaluated = decide(&after, &Request::default());
    assert!(!evaluated.cached && evaluated.decision.is_allowed());
    let edited = governance([spec("pol_a", ALWAYS)]);
    assert_ne!(module(&CompiledPolicies::compile(&edited, Some(&after)), 0), module(&after, 0));
}

#[test]
fn a_policy_that_runs_over_its_bounds_for_every_request_is_suspended_and_holds_nobody_up() {
    let policies = compiled([spec("pol_a", LOOPS)]);
    let request = |number: u32| Request { path: format!("/{number}"), ..Request::default() };
    let mut last = Evaluated::default();
    for number in 0..40 {
        last = decide(&policies, &request(number));
    }
    assert_eq!(last.errors[0].kind, PolicyErrorKind::Suspended);
    assert_eq!(last.evaluated, 0);
    assert!(!last.decision.is_allowed());
    assert!(last.elapsed < Duration::from_millis(50), "{:?}", last.elapsed);
}

#[test]
fn many_hostile_policies_do_not_add_up() {
    // Each looks through a long list with every instruction, which only the clock sees.
    let slow = "deny contains {\"reason\": \"a\", \"message\": \"b\"} if { some x in data.list; some y in data.list; [x, y, input.request.path] in data.long }";
    let specs = (0..100).map(|n| PolicySpec {
        data: json!({
            "list": (0..300).collect::<Vec<_>>(),
            "long": (0..4_000).map(|n| json!([n, n, "z"])).collect::<Vec<_>>(),
        }),
        ..spec(&format!("pol_{n:03}"), slow)
    });
    let evaluated = decide(&compiled(specs), &Request::default());
    assert!(!evaluated.decision.is_allowed());
    assert_eq!(evaluated.errors.len(), 100, "each failed");
    assert!(evaluated.evaluated < 100, "all {} were evaluated", evaluated.evaluated);
    assert!(evaluated.elapsed < Duration::from_secs(5), "{:?}", evaluated.elapsed);
}

#[test]
fn a_policy_that_does_not_compile_is_told_with_its_place() {
    let policies = compiled([spec("pol_a", NO_OPUS), spec("pol_b", "deny contains if {")]);
    let faults = policies.faults();
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].0, PolicyId::new("pol_b"));
    assert!(faults[0].1.starts_with("2:"), "{}", faults[0].1);
}

#[test]
fn many_policies_are_judged_by_many_threads_alike() {
    let specs = (0..20).map(|n| {
        let rules = format!("deny contains {{\"reason\": \"r{n}\", \"message\": input.request.path}} if endswith(input.request.path, \"{}\")", n % 10);
        spec(&format!("pol_{n:02}"), &rules)
    });
    let policies = compiled(specs);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let policies = &policies;
            scope.spawn(move || {
                for number in 0..200 {
                    let digit = (number + thread) % 10;
                    let request = Request { path: format!("/{number}/{digit}"), ..Request::default() };
                    let evaluated = decide(policies, &request);
                    let expected = [format!("r{digit}"), format!("r{}", digit + 10)];
                    let said: Vec<_> =
                        evaluated.decision.denials.iter().map(|v| v.reason.to_string()).collect();
                    assert_eq!(said, expected);
                    assert_eq!(&*evaluated.decision.denials[0].message, request.path.as_str());
                }
            });
        }
    });
}

#[test]
fn outcomes_that_never_repeat_are_looked_up_rarely_until_they_do() {
    let worth = Worth::default();
    assert!((0..=MANY_MISSES).all(|_| worth.is_worth_a_look()));
    let looks = (0..10 * (RARE_LOOKS + 1)).filter(|_| worth.is_worth_a_look()).count();
    assert_eq!(looks, 10);
    worth.note_hit();
    assert!((0..MANY_MISSES).all(|_| worth.is_worth_a_look()));
    // An outcome that is not looked up is not put in either, and the decision is right all the same.
    let policies = compiled([spec("pol_a", NO_OPUS), spec("pol_b", ALWAYS)]);
    for number in 0..3 * u64::from(MANY_MISSES) {
        let mut request = opus();
        request.facts.as_mut().unwrap().max_tokens = Some(number);
        let evaluated = decide(&policies, &request);
        assert_eq!(reasons(&evaluated.decision.denials), [("pol_a", "no_opus"), ("pol_b", "always")]);
        assert!(decide(&policies, &request).cached);
    }
}

#[test]
fn a_set_is_heavy_while_its_evaluations_take_long_and_what_it_decided_can_be_had_without_one() {
    let policies = compiled([spec("pol_a", LOOPS), spec("pol_b", ALWAYS)]);
    let set = policies.in_force(&Request::default().principal).unwrap();
    let mut request = opus();
    assert!(!set.is_heavy());
    assert!(request.with_input(|input| set.cached(input)).is_none());
    for number in 0..16_u64 {
        request.path = format!("/v1/{number}");
        decide(&policies, &request);
    }
    assert!(set.is_heavy());
    let (known, decided) = request.with_input(|input| (set.cached(input).unwrap(), set.decide(input)));
    assert!(known.cached && decided.cached);
    assert_eq!(known.decision, decided.decision);
    for _ in 0..200 {
        set.note_cost(Duration::from_micros(20));
    }
    assert!(!set.is_heavy());
}

#[test]
fn a_set_without_time_follows_each_policys_rule_for_errors() {
    let lenient = PolicySpec { on_error: OnError::Allow, ..spec("pol_a", NO_OPUS) };
    let set = |specs: Vec<PolicySpec>| compiled(specs).in_force(&Request::default().principal).unwrap();
    let late = |set: &PolicySet| opus().with_input(|input| set.time_out(input));
    assert!(late(&set(vec![lenient.clone()])).decision.is_allowed());
    let strict = late(&set(vec![lenient, spec("pol_b", NO_OPUS), spec("pol_c", "deny[")]));
    assert_eq!(reasons(&strict.decision.denials), [("pol_b", "policy_error"), ("pol_c", "policy_error")]);
    let kinds: Vec<PolicyErrorKind> = strict.errors.iter().map(|error| error.kind).collect();
    assert_eq!(kinds, [PolicyErrorKind::Timeout, PolicyErrorKind::Timeout, PolicyErrorKind::Broken]);
}
