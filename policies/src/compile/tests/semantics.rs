//! What Rego calls an error must be one, and never a rule that silently does not hold.

use super::*;

/// What a usual request comes to: the reasons of its denials.
fn reasons(rules: &str) -> Result<Vec<String>, PolicyErrorKind> {
    let module = module(rules).unwrap_or_else(|faults| panic!("{rules}: {faults:?}"));
    let outcome = evaluate(&module, &document_of(&Request::default()))?;
    Ok(outcome.denials.iter().map(|said| said.reason.to_string()).collect())
}

/// A rule that denies with this reason.
fn deny(reason: &str, body: &str) -> String {
    format!("deny contains {{\"reason\": \"{reason}\", \"message\": \"m\"}} if {{ {body} }}\n")
}

/// A rule that denies with a text that is put together.
fn deny_saying(message: &str) -> String {
    format!("deny contains {{\"reason\": \"no\", \"message\": {message}}} if true\n")
}

const RUNTIME: Result<Vec<String>, PolicyErrorKind> = Err(PolicyErrorKind::Runtime);

fn holds(reason: &str) -> Result<Vec<String>, PolicyErrorKind> {
    Ok(vec![reason.to_owned()])
}

#[test]
fn definitions_that_contradict_each_other_are_an_error() {
    for rules in [
        "a := 1 if input.request.path\na := 2 if input.request.method",
        "a := x if x := 1\na := 2 if input.request.method\na := 1 if input.request.path",
        "default a := 0\na := 1 if input.request.path\na := 2 if input.request.method",
        "ok if input.request.path\nok := false if input.request.method\na if ok",
        "a := x if some x in [1, 2]",
        "a := x if { some y in [[1], [2]]; some x in y }",
        "a := f(1)\nf(x) := 1 if x == 1\nf(x) := 2 if x > 0",
        "a := f([3, 4])\nf(xs) := x if some x in xs",
        "a := o.k\no[k] := v if { some k in [\"k\"]; some v in [1, 2] }",
        "a := o.k\no[k] := 1 if k := \"k\"\no[k] := 2 if k := \"k\"",
        "a := {k: v | some k in [\"k\"]; some v in [1, 2]}.k",
        "a := 1 if input.request.path\na := 2 if { 1 == 2 } else := 3 if input.request.method",
    ] {
        assert_eq!(
            reasons(&format!("{rules}\n{}{}", deny("x", "a == 9"), deny("y", "not a"))),
            RUNTIME,
            "{rules}"
        );
    }
}

#[test]
fn definitions_that_agree_or_exclude_each_other_are_none() {
    for (rules, value) in [
        ("a if input.request.path\na if input.request.method", "true"),
        ("a := 1 if input.request.path\na := 1 if input.request.method", "1"),
        ("a := x if x := 1\na := 1 if input.request.method", "1"),
        ("a := 1 if not input.request.path\na := 2 if input.request.method", "2"),
        ("default a := 0\na := 1 if not input.request.path\na := 2 if not input.request.method", "0"),
        ("a := 1 if not input.request.path else := 2 if input.request.method else := 3", "2"),
        ("a := 1 if { some x in [1, 2]; x > 5 } else := 2", "2"),
        ("a := x if { some x in [1, 2]; x > 1 } else := 3", "2"),
        ("a := x if some x in [3, 3]", "3"),
        ("a if some x in [1, 2, 3]", "true"),
        ("f(\"x\") := 1\nf(\"y\") := 2\na := f(\"y\")", "2"),
        ("f(x) := 1 if x < 3\nf(x) := 2 if x >= 3\na := [f(1), f(5), f(2), f(4)]", "[1, 2, 1, 2]"),
        (
            "f(x) := 1 if x < 3\nf(x) := f2(x) if x >= 3\nf2(x) := x + g if { some g in data.none }\nf2(x) := x if { some g in [1, 1] }\na := [f(5), f(4), f(f(7))]",
            "[5, 4, 7]",
        ),
        ("f(xs) := x if { some x in xs; x > 2 }\na := [f([1, 3]), f([4])]", "[3, 4]"),
        ("f(x) := y if { y := x + 1 }\na := {f(x) | some x in [1, 2]}", "{2, 3}"),
        (
            "o[k] := v if { some k in [\"k\", \"l\"]; v := 1 }\no[k] := 1 if k := \"k\"\na := o",
            "{\"k\": 1, \"l\": 1}",
        ),
        ("a := {k: v | some k in [\"k\", \"l\"]; some v in [1, 1]}", "{\"k\": 1, \"l\": 1}"),
        (
            "a := {k: {j: v | some j in [\"x\"]; v := k} | some k in [\"k\", \"l\"]}",
            "{\"k\": {\"x\": \"k\"}, \"l\": {\"x\": \"l\"}}",
        ),
    ] {
        assert_eq!(
            reasons(&format!("{rules}\n{}", deny("x", &format!("a == {value}")))),
            holds("x"),
            "{rules}"
        );
    }
}

#[test]
fn what_one_evaluation_left_behind_is_no_contradiction_in_the_next() {
    let rules = "a := 1 if input.request.method == \"GET\"\na := 2 if input.request.method == \"POST\"\n";
    let rules = format!(
        "{rules}warn contains {{\"reason\": \"w\", \"message\": \"m\"}} if a == 1\n{}",
        deny("x", "a == 2")
    );
    let module = module(&rules).unwrap();
    for method in ["POST", "GET", "POST"] {
        let outcome = evaluate(&module, &document_of(&Request { method, ..Request::default() })).unwrap();
        assert_eq!(
            (outcome.denials.len(), outcome.warnings.len()),
            if method == "POST" { (1, 0) } else { (0, 1) }
        );
    }
}

#[test]
fn forms_that_the_machine_takes_for_something_else_are_refused_with_their_line() {
    for (rules, why) in [
        ("\ndefault f(_) := 9\nf(x) := 1 if x == 1", "default"),
        ("\na[x].y := 1 if some x in [\"p\"]", "bracket"),
        ("\na[x] contains y if { some x in [\"p\"]; some y in [\"r\"] }", "bracket"),
        ("\na[x][y] contains z if { some x, y in [\"p\"]; z := 1 }", "bracket"),
        ("\na[x].f(y) := 1 if { x := 1; y > 1 }", ""),
    ] {
        let faults = module(&format!("{rules}\n{}", deny("x", "true"))).expect_err(rules);
        assert_eq!(faults[0].line, Some(3), "{rules}: {faults:?}");
        assert!(faults[0].message.contains(why), "{rules}: {faults:?}");
    }
    for rules in [
        "a.b.c := 1",
        "a.b[x] := 1 if some x in [\"p\"]",
        "a.b contains x if some x in [\"p\"]",
        "default a := 5",
    ] {
        assert!(module(&format!("{rules}\n{}", deny("x", "true"))).is_ok(), "{rules}");
    }
}

#[test]
fn a_function_that_fails_is_an_error_wherever_it_stands() {
    for body in [
        "startswith(5, \"a\")",
        "not startswith(5, \"a\")",
        "not net.cidr_contains(\"nonsense\", \"10.0.0.1\")",
        "not regex.match(\"(\", \"a\")",
        "count(5) > 1",
        "time.weekday([input.time.minute_ns, \"Europe/Atlantis\"]) == \"Monday\"",
        "x := 1 / 0; x > 0",
        "not 1 % 0 == 0",
        "x := 1.5 % 2; x > 0",
        "x := \"a\" + 1; x > 0",
        "some x in [1, \"a\", 3]; x * 2 == 6",
        "count([1 | lower(5) == \"a\"]) == 0",
        "not helper",
    ] {
        let rules = format!("helper if startswith(5, \"a\")\n{}", deny("x", body));
        assert_eq!(reasons(&rules), RUNTIME, "{body}");
    }
}

#[test]
fn what_is_not_known_and_text_that_cannot_be_read_are_undefined_and_no_error() {
    for body in [
        "not startswith(input.request.agent_id, \"a\")",
        "not lower(input.request.agent_id) == \"a\"",
        "not net.cidr_contains(\"10.0.0.0/8\", input.request.agent_id)",
        "not input.request.agent_id + 1 > 1",
        "not count(input.request.agent_id) > 0",
        "not to_number(\"twelve\") == 12",
        "not to_number(input.request.model) == 12",
        "not json.unmarshal(\"{\").a",
        "not semver.compare(input.request.model, \"1.0.0\") == 1",
        "not time.parse_rfc3339_ns(\"yesterday\") > 1",
        "not base64.decode(\"?\") == \"a\"",
        "not input.principal.labels.nosuch",
        "some x in [null, 2]; x + 1 == 3",
        "7 / 2 == 3.5; -7 % 3 == -1; {1, 2} - {2} == {1}; 2 - 3 == -1; 2 + 2 == 4; 2 * 2 == 4",
    ] {
        assert_eq!(reasons(&deny("x", body)), holds("x"), "{body}");
    }
}

#[test]
fn the_text_of_a_denial_cannot_swallow_it() {
    for (message, text) in [
        ("sprintf(\"%d\", [1.5])", "%!d(1.5)"),
        ("sprintf(\"%d percent\", [100 / 3])", "percent"),
        ("sprintf(\"%s %s\", [\"a\"])", "a %!s(MISSING)"),
        ("sprintf(\"%s\", [\"a\", \"b\"])", "a%!(EXTRA \"b\")"),
        ("sprintf(\"%z and 5%\", [5])", "%!z(5) and 5%!(NOVERB)"),
        ("sprintf(\"%T%q\", [1, 2])", "%!T(1)%!q(2)"),
        ("sprintf(\"%5d|%05d|%.1f%%\", [1, 2, 1.25])", "    1|00002|1.3%"),
        ("sprintf(\"%s\", [input.request.agent_id])", "null"),
        ("sprintf(\"%v\", [input.request.models])", "["),
    ] {
        let module = module(&deny_saying(message)).unwrap();
        let outcome = evaluate(&module, &document_of(&Request::default()))
            .unwrap_or_else(|kind| panic!("{message}: {kind:?}"));
        assert!(outcome.denials[0].message.contains(text), "{message}: {}", outcome.denials[0].message);
    }
    for message in [
        "concat(\" \", [\"user\", input.request.agent_id])",
        "concat(\" \", [\"user\", input.request.max_tokens])",
        "lower(input.request.agent_id)",
        "sprintf(\"%s\", [input.principal.labels.nosuch])",
        "sprintf(input.request.agent_id, [])",
        "concat(\"\", [sprintf(\"%s\", [input.principal.labels.nosuch])])",
    ] {
        assert_eq!(reasons(&deny_saying(message)), RUNTIME, "{message}");
        let early = format!(
            "deny contains {{\"reason\": \"no\", \"message\": text}} if {{ input.request.method; text := {message} }}"
        );
        assert_eq!(reasons(&early), RUNTIME, "{early}");
    }
    let staged = "deny contains {\"reason\": \"no\", \"message\": text} if { \
                  who := lower(input.request.agent_id); text := sprintf(\"%s\", [who]); input.request.method }";
    assert_eq!(reasons(staged), RUNTIME);
    assert_eq!(
        reasons(&staged.replace("input.request.method }", "input.request.method == \"GET\" }")),
        Ok(Vec::new())
    );
    // A plain look-up may be the condition itself.
    assert_eq!(reasons(&deny_saying("input.principal.labels.nosuch")), Ok(Vec::new()));
}

#[test]
fn conditions_in_a_comprehension_end_nothing_but_it() {
    for body in [
        "some m in [\"a\", \"b\"]; xs := [1 | input.request.method == \"none\"]; count(xs) == 0; m == \"b\"",
        "some m in [\"a\", \"b\"]; xs := {x | x := 5; x > 10}; count(xs) == 0; m == \"b\"",
        "every m in [\"a\", \"b\"] { count([1 | m == \"none\"]) == 0 }",
        "count([m | some m in [1, 2]; count([1 | m == 5]) == 0]) == 2",
        "xs := [x | x := 5; x > 10]; count(xs) == 0",
        "count([y | some y in data.none; y == input.request.method]) == 0; input.request.method == \"POST\"",
        "count([y | some y in []; y == data.nope]) == 0; not data.nope; input.request.method == \"POST\"",
        "every y in [] { y == input.request.method }; input.request.method == \"POST\"",
        "not helper; input.request.method == \"POST\"",
    ] {
        let rules = format!("helper if {{ some y in []; y == input.request.method }}\n{}", deny("x", body));
        assert_eq!(reasons(&rules), holds("x"), "{body}");
    }
}

#[test]
fn what_is_undefined_fails_where_it_is_assigned_and_is_no_element() {
    for (body, expected) in [
        ("x := data.nope", false),
        ("x := data.nope[input.request.model]; input.request.method", false),
        ("x := input.principal.labels.nosuch; y := x", false),
        ("[x, y] := [1, data.nope]", false),
        ("exempt", false),
        ("count([c | c := data.nope]) == 0", true),
        ("count([c | some n in [1, 2]; c := data.nope[n]]) == 0", true),
        ("count([data.nope | some n in [1, 2]]) == 0", true),
        (
            "count([data.nope | true]) == 0; count({data.nope | true}) == 0; {\"a\": data.nope | true} == {}",
            true,
        ),
        ("count([1 | data.nope]) == 0; input.request.method == \"POST\"", true),
        ("count([1 | data.nope]) == 0; input.request.method == \"GET\"", false),
        ("some m in [1, 2]; count([1 | data.nope]) == 0; input.request.method == \"GET\"; m == 1", false),
        ("x := false; y := null; z := \"\"; x == false", true),
        ("f(data.nope)", false),
        ("count(o) == 1", true),
        ("a == 3", true),
    ] {
        let rules = format!(
            "exempt if x := data.exempt[input.principal.org_id]\nf(x) if true\na := data.nope if true else := 3\n\
             o[k] := v if {{ some k in [\"a\", \"b\"]; v := {{\"a\": 1}}[k] }}\n{}",
            deny("x", body)
        );
        assert_eq!(reasons(&rules), if expected { holds("x") } else { Ok(Vec::new()) }, "{body}");
    }
}

#[test]
fn the_check_names_what_failed_and_what_may_be_undefined() {
    let check = |rules: &str| {
        PolicyCompiler::in_process()
            .check(&PolicySource { rego: format!("package p\n{rules}").into(), data: json!({}) })
    };
    for (rules, what, line) in [
        (deny("x", "startswith(5, \"a\")"), "startswith", None),
        (format!("\na := x if some x in [1, 2]\n{}", deny("x", "a == 1")), "more than one value", Some(3)),
        (
            deny_saying("concat(\"\", [lower(input.request.user_agent), input.principal.labels.x])"),
            "undefined",
            Some(2),
        ),
    ] {
        let Err(CheckError::Faults(faults)) = check(&rules) else { panic!("{rules} passes") };
        assert!(faults[0].message.contains(what), "{faults:?}");
        assert_eq!(faults[0].line, line, "{faults:?}");
    }
    for (rules, what) in [
        (deny_saying("input.principal.labels.team"), "may be undefined"),
        (
            "a := 1 if input.request.stream\na := 2 if not input.request.stream\n".to_owned()
                + &deny("x", "a == 1"),
            "several definitions",
        ),
    ] {
        let report = check(&rules).unwrap_or_else(|error| panic!("{rules}: {error:?}"));
        assert!(
            report.warnings.iter().any(|fault| fault.message.contains(what)),
            "{rules}: {:?}",
            report.warnings
        );
    }
}
