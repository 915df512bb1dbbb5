mod semantics;

use regorus::Value;
use serde_json::json;

use super::*;
use crate::error_kind::PolicyErrorKind;
use crate::eval::{Outcome, evaluate as evaluate_since, processor_time};
use crate::input::tests::{Request, document_of};

/// Compiles a module whose rules are these.
fn module(rules: &str) -> Result<Arc<Module>, Vec<PolicyFault>> {
    module_with(rules, json!({}))
}

fn module_with(rules: &str, data: serde_json::Value) -> Result<Arc<Module>, Vec<PolicyFault>> {
    compile(&PolicySource { rego: format!("package p\n{rules}").into(), data }).map(Arc::new)
}

fn messages(rules: &str) -> String {
    match module(rules) {
        Ok(_) => "compiles".to_owned(),
        Err(faults) => faults.iter().map(|fault| fault.message.as_str()).collect::<Vec<_>>().join("\n"),
    }
}

fn reads(rules: &str) -> Vec<String> {
    module(rules).unwrap().reads.paths()
}

/// `deny` with one verdict if the body holds.
fn deny_if(body: &str) -> String {
    format!("deny contains {{\"reason\": \"no\", \"message\": \"no\"}} if {{ {body} }}\n")
}

fn evaluate(module: &Arc<Module>, input: &Value) -> Result<Outcome, PolicyErrorKind> {
    evaluate_since(module, input, processor_time())
}

#[test]
fn what_a_policy_reads_is_found_behind_aliases_imports_arguments_and_rules() {
    for (rules, expected) in [
        (deny_if("input.request.model == \"m\""), vec!["request.model"]),
        (format!("import input.request as r\n{}", deny_if("r.stream")), vec!["request.stream"]),
        (deny_if("x := input; x.principal.org_id == \"o\""), vec!["principal.org_id"]),
        (deny_if("x := input.request; y := x; y.method == \"GET\""), vec!["request.method"]),
        (
            format!("busy(r) if r.message_count > 3\n{}", deny_if("busy(input.request)")),
            vec!["request.message_count"],
        ),
        (format!("req := input.request\n{}", deny_if("req.path == \"/\"")), vec!["request.path"]),
        (deny_if("input.request[\"max_tokens\"] > 5"), vec!["request.max_tokens"]),
        (deny_if("some tool in input.request.tools; tool.name == \"x\""), vec!["request.tools"]),
        (deny_if("input.usage[\"monthly\"].percent > 90"), vec!["usage"]),
        (deny_if("input.usage.monthly.percent > 90"), vec!["usage"]),
        (
            deny_if("f := input.time.weekday; data.x[f]; input.time.hour > 5"),
            vec!["time.hour", "time.weekday"],
        ),
        (deny_if("not input.principal.labels.env"), vec!["principal.labels"]),
        (deny_if("[m | m := input.request.model][0] == \"m\""), vec!["request.model"]),
        (
            format!(
                "{}{}",
                deny_if("data.x[input.time.weekday]"),
                deny_if("some r in input.principal.roles; r == \"a\"; input.time.hour < 6")
            ),
            vec!["principal.roles", "time.hour", "time.weekday"],
        ),
        (
            format!(
                "a(r) := 1 if r.stream\na(r) := 1 if {{ x := data.y; x > 1; r.method == \"GET\" }}\n{}",
                deny_if("a(input.request)")
            ),
            vec!["request.method", "request.stream"],
        ),
        (deny_if("true"), vec![]),
        (deny_if("input.time"), vec![]),
    ] {
        assert_eq!(reads(&rules), expected, "{rules}");
    }
    let message =
        "deny contains {\"reason\": \"no\", \"message\": sprintf(\"%v\", [input.request.client_ip])} if true";
    assert_eq!(reads(message), ["request.client_ip"], "what stands in a message is read as well");
}

#[test]
fn what_cannot_be_followed_counts_as_all_of_it() {
    for (rules, some) in [
        (deny_if("k := data.key; input.request[k] == 1"), "request.tools"),
        (deny_if("some k; input.principal[k] == 1"), "principal.labels"),
        (deny_if("count(input.request) > 3"), "request.user_agent"),
        (deny_if("x := [input.request]; x[0].model == \"m\""), "request.model"),
    ] {
        let reads = reads(&rules);
        assert!(reads.iter().any(|path| path == some), "{rules}: {reads:?}");
    }
    for rules in [
        deny_if("some k; input[k].model == \"m\""),
        deny_if("count(input) > 3"),
        deny_if("x := {\"a\": input}; x.a.request.model == \"m\""),
        format!("f(x) := x\n{}", deny_if("json.marshal(f(input)) == \"\"")),
    ] {
        assert_eq!(reads(&rules), ["*"], "{rules}");
    }
}

#[test]
fn a_fault_says_where_it_is() {
    let source = |rego: &str| PolicySource { rego: rego.into(), data: json!({}) };
    for (rego, line) in [
        ("package p\n\ndeny contains {\"reason\": \"a\"} if {\n  input.request.model ==\n}\n", 5),
        ("package p\ndeny contains {\"reason\": \"a\", \"message\": \"b\"} if unknown_rule\n", 2),
        (
            "package p\ndeny contains {\"reason\": \"a\", \"message\": \"b\"} if {\n  time.now_ns() > 5\n}\n",
            3,
        ),
        ("package p\ndeny := {\"a\"}\n", 2),
        ("package p\nallow := true\n", 1),
        ("package p\nf(x) := f(x)\ndeny contains {\"reason\": \"a\", \"message\": \"b\"} if f(1)\n", 2),
    ] {
        let faults = compile(&source(rego)).unwrap_err();
        assert_eq!(faults[0].line, Some(line), "{rego}: {faults:?}");
        assert!(faults[0].column.is_some(), "{rego}: {faults:?}");
        assert!(!faults[0].message.contains("policy.rego"), "{faults:?}");
    }
    assert!(compile(&source("deny contains 1 if true")).is_err(), "a package is needed");
}

#[test]
fn builtins_that_depend_on_anything_but_their_arguments_or_amplify_are_refused() {
    for call in [
        "time.now_ns() > 1",
        "rand.intn(\"a\", 5) > 1",
        "count(net.cidr_expand(\"10.0.0.0/8\")) > 1",
        "product([2, 3]) == 6",
        "bits.lsh(1, 99999999) > 1",
    ] {
        let said = messages(&deny_if(call));
        assert!(said.contains("not available to policies"), "{call}: {said}");
    }
}

#[test]
fn forms_that_would_hide_or_repeat_work_are_refused() {
    for (rules, why) in [
        (format!("f(x) := f([x])\n{}", deny_if("f(1)")), "must not call themselves"),
        (format!("a if b\nb if a\n{}", deny_if("a")), "must not call themselves"),
        (format!("a := data.p[x] if x := input.request.model\n{}", deny_if("a")), ""),
        (deny_if("x := [[[[[[[[[[1]]]]]]]]]]"), "nest deeper"),
        (deny_if("true with input as {}"), "with"),
        (
            deny_if(
                "a := [1 | some i in data.l]; b := [a | some i in data.l]; c := [b | some i in data.l]; c == data.c",
            ),
            "cannot be compared",
        ),
        (
            deny_if(
                "a := [1 | some i in data.l]; b := [a | some i in data.l]; s := {b | some i in data.l}; count(s) > 1",
            ),
            "elements of sets",
        ),
    ] {
        let said = messages(&rules);
        assert!(said != "compiles" && said.contains(why), "{rules}: {said}");
    }
    let chain: String = (0..60).map(|n| format!("r{n} if r{}\n", n + 1)).collect();
    let said = messages(&format!("{chain}r60 := true\n{}", deny_if("r0")));
    assert!(said.contains("too deep"), "{said}");
}

#[test]
fn data_must_be_an_object_that_leaves_the_package_its_name() {
    let source = |data| PolicySource { rego: format!("package p.q\n{}", deny_if("true")).into(), data };
    assert!(compile(&source(json!(null))).is_ok());
    assert!(compile(&source(json!({"q": 1}))).is_ok());
    assert!(compile(&source(json!([1]))).unwrap_err()[0].message.contains("JSON object"));
    assert!(compile(&source(json!({"p": {}}))).unwrap_err()[0].message.contains("top-level name"));
}

#[test]
fn lints_warn_of_slow_functions_of_lists_and_of_fields_that_do_not_exist() {
    let warnings = |rules: &str| {
        let compiler = PolicyCompiler::in_process();
        let rego = format!("package p\n{rules}").into();
        let report =
            compiler.check(&PolicySource { rego, data: json!({"l": [1, 2], "m": {"a": true}}) }).unwrap();
        report.warnings.iter().map(|fault| fault.message.clone()).collect::<Vec<_>>().join("\n")
    };
    assert!(warnings(&deny_if("glob.match(\"a*\", null, input.request.model)")).contains("glob.match"));
    assert!(warnings(&deny_if("regex.match(\"a\", input.request.model)")).contains("regex.match"));
    assert!(warnings(&deny_if("some x in data.l; x == 3")).contains("goes through all"));
    assert!(
        warnings(&deny_if("input.request.modell == \"m\"")).contains("input.request.modell does not exist")
    );
    assert!(warnings(&deny_if("input.time.now_ns > 5")).contains("exact time"));
    let expensive = deny_if("x := numbers.range(1, 600); some i in x; some j in [1, 2]; i * j == 0");
    assert!(warnings(&expensive).contains("instructions"), "{}", warnings(&expensive));
    assert_eq!(
        warnings(&deny_if("data.m[input.request.model]; startswith(input.request.path, \"/v2\")")),
        ""
    );
}

/// Evaluates on a usual request, and holds the engine to its promise that this ends within the time that a request may be held up.
fn runs(rules: &str) -> Result<usize, PolicyErrorKind> {
    let data = json!({
        "ten": (0..10).collect::<Vec<_>>(),
        "list": (0..3_000).collect::<Vec<_>>(),
        "text": "x".repeat(100_000),
    });
    let module = module_with(rules, data).unwrap_or_else(|faults| panic!("{rules}: {faults:?}"));
    let document = document_of(&Request::default());
    let start = std::time::Instant::now();
    let result = evaluate(&module, &document);
    // Generous: a debug build on a busy machine. What is bounded here would else take minutes, or all memory.
    assert!(start.elapsed().as_secs() < 10, "{rules} took {:?}", start.elapsed());
    result.map(|outcome| outcome.denials.len())
}

#[test]
fn loops_are_cut_off_by_the_count_of_instructions() {
    let limit = Err(PolicyErrorKind::InstructionLimit);
    assert_eq!(runs(&deny_if("some a in data.list; some b in data.list; a + b < 0")), limit);
    assert_eq!(runs(&deny_if("count([1 | some a in data.list; some b in data.list]) > 1")), limit);
    assert_eq!(runs(&deny_if("every a in data.list { some b in data.list; b > a + 1 }")), limit);
    let deep = "x := {[a, b] | some a in data.list; some b in data.list}; count(x) < 0";
    assert_eq!(runs(&deny_if(deep)), limit);
}

#[test]
fn texts_and_lists_that_double_are_cut_off_before_they_are_made() {
    let doubling = |step: &str| {
        let steps: String =
            (0..40).map(|n| format!("x{} := {}\n", n + 1, step.replace('X', &format!("x{n}")))).collect();
        deny_if(&format!("x0 := input.request.user_agent; {steps} x40 == \"\""))
    };
    let limit = Err(PolicyErrorKind::WorkLimit);
    assert_eq!(runs(&doubling("concat(\"\", [X, X])")), limit);
    assert_eq!(runs(&doubling("sprintf(\"%s%s\", [X, X])")), limit);
    assert_eq!(runs(&doubling("replace(X, \"a\", \"aaaa\")")), limit);
    assert_eq!(runs(&deny_if("x := concat(data.text, [\"a\" | some i in data.list]); x == \"\"")), limit);
    assert_eq!(runs(&deny_if("x := numbers.range(1, 200000000); count(x) == 0")), limit);
    assert_eq!(runs(&deny_if("x := sprintf(\"%900000000d\", [1]); x == \"\"")), limit);
    assert_eq!(runs(&deny_if("x := sprintf(\"%.900000000f\", [1.5]); x == \"\"")), limit);
    assert_eq!(runs(&deny_if("x := to_number(\"1e99999999\"); x == 1")), limit);
    let arrays: String = (0..40).map(|n| format!("x{} := array.concat(x{n}, x{n})\n", n + 1)).collect();
    assert_eq!(runs(&deny_if(&format!("x0 := data.list; {arrays} count(x40) == 0"))), limit);
    let squares: String = (0..40).map(|n| format!("x{} := x{n} * x{n}\n", n + 1)).collect();
    assert_eq!(runs(&deny_if(&format!("x0 := 1234567; {squares} x40 == 0"))), limit);
}

#[test]
fn shared_structure_is_not_written_out() {
    let nested: String = (0..12)
        .map(|n| format!("x{} := array.slice([x{n}, x{n}, x{n}, x{n}, x{n}], 0, 5)\n", n + 1))
        .collect();
    let limit = Err(PolicyErrorKind::WorkLimit);
    assert_eq!(runs(&deny_if(&format!("x0 := data.list; {nested} count(json.marshal(x12)) == 0"))), limit);
    assert_eq!(runs(&deny_if(&format!("x0 := data.list; {nested} sprintf(\"%v\", [x12]) == \"\""))), limit);
}

#[test]
fn a_catastrophic_pattern_is_cut_off() {
    let limit = Err(PolicyErrorKind::WorkLimit);
    let hay = "t := concat(\"\", [\"a\" | some i in data.list]); ";
    assert_eq!(
        runs(&deny_if(&format!(
            "{hay} regex.match(`(a+)+(a+)+(a|aa){{1,200}}(a|aa){{1,200}}$`, concat(\"\", [t, \"b\"]))"
        ))),
        limit
    );
    assert_eq!(
        runs(&deny_if(&format!("{hay} some i in data.list; regex.match(sprintf(`\\w{{%d}}`, [i]), t)"))),
        limit
    );
    assert_eq!(runs(&deny_if(&format!("{hay} regex.replace(t, `a`, t) == \"\""))), limit);
    // What honest policies do is far below.
    let uuid = "regex.match(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`, input.request.session_id)";
    assert_eq!(runs(&deny_if(uuid)), Ok(0));
    assert_eq!(runs(&deny_if("regex.match(`^claude-(opus|sonnet)-[0-9.-]+$`, input.request.model)")), Ok(1));
}

#[test]
fn a_panic_in_the_engine_costs_the_request_its_policy_and_nothing_else() {
    // U+00B2 is a digit to `char::is_numeric` and none to `char::to_digit`, which the engine takes for the same.
    assert_eq!(runs(&deny_if("sprintf(\"%\u{b2}d\", [1]) == \"\"")), Err(PolicyErrorKind::WorkLimit));
    assert_eq!(runs(&deny_if("input.request.model")), Ok(1));
}

#[test]
fn verdicts_that_are_no_verdicts_are_malformed() {
    for verdict in [
        r#""text""#,
        r#"{"reason": "no"}"#,
        r#"{"reason": "Not snake", "message": "m"}"#,
        r#"{"reason": "no", "message": 5}"#,
        r#"{"reason": "no", "message": "m", "extra": ["x"]}"#,
        r#"{"reason": "", "message": "m"}"#,
    ] {
        let rules = format!("deny contains {verdict} if true");
        assert_eq!(runs(&rules), Err(PolicyErrorKind::Malformed), "{verdict}");
    }
    assert_eq!(runs(r#"deny contains {"reason": "no", "message": "m", "link": "x"} if true"#), Ok(1));
    let long =
        r#"deny contains {"reason": "no", "message": concat("", ["ä" | some i in data.list])} if true"#;
    let module = module_with(long, json!({"list": (0..2_000).collect::<Vec<_>>()})).unwrap();
    let outcome = evaluate(&module, &document_of(&Request::default())).unwrap();
    assert_eq!(outcome.denials[0].message.chars().count(), 500);
}

#[test]
fn deep_brackets_are_found_outside_of_texts_and_comments_only() {
    let deep = "[[[[[[[[[[";
    assert!(nesting::check(&format!("x := \"{deep}\"\n# {deep}\ny := `{deep}\n{deep}`")).is_ok());
    let fault = nesting::check(&format!("x := \"a\\\"\"\n  {deep}")).unwrap_err();
    assert_eq!((fault.line, fault.column), (Some(2), Some(12)));
}
