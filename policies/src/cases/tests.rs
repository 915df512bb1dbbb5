use super::*;

const POLICY: &str = r#"package brevity
    import rego.v1
    deny contains {"reason": "too_long", "message": "more than allowed"} if input.request.max_tokens > data.most
    warn contains {"reason": "no_tools", "message": "has no tools"} if count(input.request.tools) == 0"#;

fn run(cases: &str) -> CaseReport {
    run_cases(&POLICY.into(), &CaseFile::parse(cases).unwrap()).unwrap()
}

fn fault(cases: &str) -> String {
    CaseFile::parse(cases).unwrap_err().to_string()
}

#[test]
fn a_case_passes_when_exactly_the_expected_reasons_come() {
    let report = run(r#"
        [data]
        most = 10
        [[case]]
        name = "both"
        request.max_tokens = 11
        deny = ["too_long"]
        warn = ["no_tools"]
        message = "than allowed"
        [[case]]
        name = "the warning is not expected"
        request.max_tokens = 10
        [[case]]
        name = "the denial does not come"
        request.max_tokens = 10
        deny = ["too_long"]
        warn = ["no_tools"]
        [[case]]
        name = "the message is another"
        request = { max_tokens = 11, tools = ["Bash"] }
        deny = ["too_long"]
        message = "too short"
        [[case]]
        name = "a case changes the data"
        data.most = 5000
        request = { max_tokens = 4999, tools = ["Bash"] }
    "#);
    let passed: Vec<bool> = report.outcomes.iter().map(CaseOutcome::passed).collect();
    assert_eq!(passed, [true, false, false, false, true]);
    assert!(!report.passed());
    let [_, unexpected, missing, ..] = report.outcomes.as_slice() else { panic!("five cases") };
    assert_eq!(unexpected.got.warn, ["no_tools"]);
    assert_eq!((&missing.expected.deny, &missing.got.deny), (&vec!["too_long".to_owned()], &Vec::new()));
    assert_eq!(missing.line, 14);
}

#[test]
fn a_policy_without_a_usable_result_fails_its_cases() {
    let policy: Arc<str> = r#"package broken
        import rego.v1
        deny contains "a text" if input.request.stream"#
        .into();
    let cases = CaseFile::parse("[[case]]\nname = \"x\"\nrequest.stream = true\n").unwrap();
    let report = run_cases(&policy, &cases).unwrap();
    assert!(!report.passed());
    assert_eq!(report.outcomes[0].errors, ["malformed"]);
}

#[test]
fn a_policy_that_does_not_compile_runs_no_case() {
    let cases = CaseFile::parse("[[case]]\nname = \"x\"\n").unwrap();
    let error = run_cases(&"package broken\ndeny contains".into(), &cases).unwrap_err();
    assert!(matches!(error, TrialError::Broken(_)), "{error}");
}

#[test]
fn a_case_overrides_the_base_and_the_base_the_ordinary_request() {
    let report = run(r#"
        [data]
        most = 10
        [base]
        request = { max_tokens = 11, tools = ["Bash"] }
        [[case]]
        name = "as in the base"
        deny = ["too_long"]
        [[case]]
        name = "one field differs, the others stay"
        request.max_tokens = 1
        [[case]]
        name = "a field can be taken away"
        without = ["request.max_tokens"]
    "#);
    assert!(report.passed(), "{report:#?}");
}

#[test]
fn a_key_that_is_not_known_is_named_with_its_case() {
    for (cases, names) in [
        ("[[case]]\nname = \"x\"\nrequest.modle = \"y\"", ["`x`", "`modle`", "`model`"]),
        ("[[case]]\nname = \"x\"\nprincipal.role = []", ["`x`", "`role`", "`roles`"]),
        ("[[case]]\nname = \"x\"\nusage.monthly.use = 1", ["`usage.monthly`", "`use`", "`used`"]),
        ("[[case]]\nname = \"x\"\nwithout = [\"request.modle\"]", ["`x`", "`modle`", "`model`"]),
        ("[[case]]\nname = \"x\"\nrequest.tools = [{ nam = \"y\" }]", ["`x`", "`nam`", "`name`"]),
        ("[[case]]\nname = \"x\"\ndenny = []", ["`denny`", "`deny`", "line 3"]),
        ("polcy = \"x\"", ["`polcy`", "`policy`", "line 1"]),
        ("[base]\nrequests = {}\n[[case]]\nname = \"x\"", ["`requests`", "`request`", "line 2"]),
    ] {
        let fault = fault(cases);
        for name in names {
            assert!(fault.contains(name), "{cases}\n{fault}");
        }
    }
}

#[test]
fn a_value_of_the_wrong_kind_is_refused() {
    for cases in [
        "",
        "[[case]]\nrequest.model = \"x\"",
        "[[case]]\nname = \"x\"\nrequest.max_tokens = \"many\"",
        "[[case]]\nname = \"x\"\nrequest.client_ip = \"nowhere\"",
        "[[case]]\nname = \"x\"\nrequest.pii = [\"secrets\"]",
        "[[case]]\nname = \"x\"\nrequest.cache_write = \"1d\"",
        "[[case]]\nname = \"x\"\nrequest.kind = \"models\"",
        "[[case]]\nname = \"x\"\nprincipal.credential = \"password\"",
        "[[case]]\nname = \"x\"\nusage.monthly.window = \"decade\"",
        "[[case]]\nname = \"x\"\ntime = \"noon\"",
        "[[case]]\nname = \"x\"\ntime_zone = \"Europe/Atlantis\"",
    ] {
        assert!(CaseFile::parse(cases).is_err(), "{cases}");
    }
}
