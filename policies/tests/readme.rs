//! What `policies/README.md` shows works as shown, and nothing of the contract is missing from it.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;

use mindweave_policy::{CaseFile, PolicyCompiler, PolicySource, bundled, run_cases};
use serde_json::Value;

fn text(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(path).expect("the file is there")
}

/// The first block of a language.
fn block(readme: &str, language: &str) -> String {
    let (_, rest) = readme.split_once(&format!("```{language}\n")).expect("there is such a block");
    rest.split_once("```").expect("it ends").0.to_owned()
}

#[test]
fn the_example_compiles_without_warnings_and_passes_its_cases() {
    let readme = text("README.md");
    let rego: Arc<str> = block(&readme, "rego").into();
    let cases = CaseFile::parse(&block(&readme, "toml")).expect("the cases are sound");
    let source = PolicySource { rego: Arc::clone(&rego), data: cases.data().clone() };
    let report = PolicyCompiler::in_process().check(&source).expect("the example is sound");
    assert_eq!(report.warnings, []);
    let report = run_cases(&rego, &cases).expect("the example compiles");
    assert!(report.passed(), "{report:#?}");
}

#[test]
fn every_field_of_the_input_is_in_the_readme_as_the_schema_explains_it() {
    let readme = text("README.md");
    let schema: Value = serde_json::from_str(&text("schema/input.schema.json")).expect("the schema is JSON");
    let groups = schema["properties"].as_object().expect("groups");
    for (group, fields) in groups {
        let (_, section) =
            readme.split_once(&format!("### `input.{group}`")).expect("a section for each group");
        let section = section.split("\n#").next().unwrap_or(section);
        let fields = if group == "usage" { &fields["additionalProperties"] } else { fields };
        for (name, field) in fields["properties"].as_object().expect("fields") {
            let row = section.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
            let row = row.unwrap_or_else(|| panic!("input.{group}.{name} has no row"));
            assert!(
                row.contains(field["description"].as_str().expect("a description")),
                "input.{group}.{name}: {row}"
            );
        }
        let rows = section.lines().filter(|line| line.starts_with("| `")).count();
        assert_eq!(rows, fields["properties"].as_object().map_or(0, serde_json::Map::len), "input.{group}");
    }
}

#[test]
fn every_bundled_policy_is_in_the_readme() {
    let readme = text("README.md");
    for policy in bundled() {
        let row = format!("| [`{0}`](rego/{0}.rego) | {1} |", policy.name, policy.description);
        assert!(readme.contains(&row), "{row}");
    }
}
