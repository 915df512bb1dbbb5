use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::time::Duration;

use super::environment::variable_of;
use super::setting::ByteSize;
use super::*;

fn load(toml: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mindweave.toml");
    std::fs::write(&path, toml).unwrap();
    Config::load(Some(&path), &Environment::with(variables))
}

fn faults(toml: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let error = load(toml, variables).expect_err("this configuration has faults");
    let shown = error.faults().iter().map(ToString::to_string);
    // The folder is a temporary one: only the file's name is of interest.
    shown
        .map(|fault| {
            fault
                .rsplit_once("/mindweave.toml")
                .map_or(fault.clone(), |(_, rest)| format!("mindweave.toml{rest}"))
        })
        .collect()
}

#[test]
fn without_file_and_variables_every_setting_has_its_default() {
    let config = load("", &[]).unwrap();
    assert_eq!(config.proxy_listen.to_string(), "127.0.0.1:8000");
    assert_eq!(config.proxy_upstream.as_str(), "https://api.anthropic.com");
    assert_eq!(config.proxy_limits_message_bytes, ByteSize(32 << 20));
    assert_eq!(config.ledger_file(), Some(PathBuf::from("./mindweave-data/ledger.sqlite")));
    assert!(config.proxy_upstream_ca_file.is_none());
}

#[test]
fn every_default_is_valid() {
    assert!(Config::defaults().is_some());
}

#[test]
fn the_environment_overrides_the_file_and_the_file_overrides_the_default() {
    let toml = "[proxy]\nlisten = '127.0.0.1:1000'\nadmin_listen = '127.0.0.1:1001'\n[proxy.deadlines]\nidle = '20m'";
    let config =
        load(toml, &[("MINDWEAVE_PROXY__LISTEN", "[::1]:7"), ("MINDWEAVE_DATA_DIR", "/srv/x")]).unwrap();
    assert_eq!(config.proxy_listen.to_string(), "[::1]:7");
    assert_eq!(config.proxy_admin_listen.to_string(), "127.0.0.1:1001");
    assert_eq!(config.proxy_deadlines_idle, Duration::from_secs(1200));
    assert_eq!(config.data_dir, PathBuf::from("/srv/x"));
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let config = load("data_dir = '/from/file'", &[("MINDWEAVE_DATA_DIR", "")]).unwrap();
    assert_eq!(config.data_dir, PathBuf::from("/from/file"));
}

#[test]
fn all_faults_are_reported_at_once_with_place_key_and_what_is_allowed() {
    let toml = "\
        data_dir = ['a']\n\
        lisen = 'x'\n\
        [proxy]\n\
        listen = 8000\n\
        upstraem = 'http://127.0.0.1:1'\n\
        unregistered = 'refuse'\n\
        [proxy.deadlines]\n\
        idle = 600\n\
        [journal]\n\
        segment_bytes = '64MB'\n";
    let variables = [("MINDWEAVE_LOG__LEVEL", "loud"), ("MINDWEAVE_PROXY__BATCH_RESULT", "leave")];
    let found = faults(toml, &variables);
    let expected = [
        "mindweave.toml:1: `data_dir` is of type array, but must be a path",
        "mindweave.toml:2: unknown key `lisen`; docs/configuration.md lists the known ones",
        "mindweave.toml:4: `proxy.listen` is \"8000\", but must be an IP address and a port",
        "mindweave.toml:5: unknown key `proxy.upstraem`; did you mean `proxy.upstream`?",
        "mindweave.toml:6: `proxy.unregistered` is \"refuse\", but must be `default-project` or `reject`",
        "mindweave.toml:8: `proxy.deadlines.idle` is \"600\", but must be a time longer than zero with its unit",
        "mindweave.toml:10: `journal.segment_bytes` is \"64MB\", but must be a size above zero",
        "environment variable MINDWEAVE_LOG__LEVEL: `log.level` is \"loud\", but must be `error` or `warn` or",
        "environment variable MINDWEAVE_PROXY__BATCH_RESULT: no such setting; did you mean `MINDWEAVE_PROXY__BATCH_RESULTS`?",
    ];
    for fault in expected {
        assert!(found.iter().any(|text| text.starts_with(fault)), "missing: {fault}\nfound: {found:#?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn a_key_outside_its_section_is_pointed_to_its_section() {
    assert_eq!(
        faults("listen = 'x'", &[]),
        ["mindweave.toml:1: unknown key `listen`; did you mean `proxy.listen`?"]
    );
    assert_eq!(
        faults("proxy = 'x'", &[]),
        ["mindweave.toml:1: `proxy` is a section and has no value of its own"]
    );
    assert!(load("[proxy]\n[proxy.tls]", &[]).is_ok(), "empty sections set nothing");
}

#[test]
fn every_syntax_fault_of_the_file_is_reported_and_the_environment_is_still_checked() {
    let found = faults("[proxy\nlisten = \n", &[("MINDWEAVE_NO__SUCH", "1")]);
    assert!(found.iter().any(|fault| fault.starts_with("mindweave.toml:1: ")), "{found:#?}");
    assert!(found.iter().any(|fault| fault.contains("MINDWEAVE_NO__SUCH")), "{found:#?}");
}

#[test]
fn a_file_that_was_named_and_is_not_there_is_a_fault() {
    let error = Config::load(Some(Path::new("/nowhere/at-all.toml")), &Environment::default()).unwrap_err();
    assert!(error.to_string().contains("cannot read /nowhere/at-all.toml"), "{error}");
}

#[test]
fn one_underscore_in_place_of_two_is_pointed_out() {
    let found = faults("", &[("MINDWEAVE_PROXY_LISTEN", "127.0.0.1:1")]);
    assert_eq!(
        found,
        [
            "environment variable MINDWEAVE_PROXY_LISTEN: no such setting; did you mean `MINDWEAVE_PROXY__LISTEN`?"
        ]
    );
}

#[test]
fn variables_that_others_set_in_our_name_space_are_left_alone() {
    let others = [
        ("MINDWEAVE_SERVICE_HOST", "10.0.0.1"),
        ("MINDWEAVE_PORT", "tcp://10.0.0.1:8000"),
        ("MINDWEAVE_PORT_8000_TCP_ADDR", "10.0.0.1"),
        ("MINDWEAVE_ADMIN_TOKEN", "t"),
        ("MINDWEAVE_MASTER_KEY", "k"),
    ];
    assert!(load("", &others).is_ok());
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let found = faults(
        "[proxy]\nadmin_listen = '0.0.0.0:8000'\nupstream = 'http://localhost:8000'\ntls.cert_file = 'a'",
        &[],
    );
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found.iter().any(|fault| fault.starts_with("`proxy.tls.key_file` is missing")), "{found:#?}");
    assert!(
        found
            .iter()
            .any(|fault| fault.contains("`proxy.admin_listen` is the same address as `proxy.listen`"))
    );
    assert!(found.iter().any(|fault| fault.contains("the proxy would call itself")), "{found:#?}");
    let journal = faults("[journal]\nsegment_bytes = '64MiB'\nmax_bytes = '100MiB'", &[]);
    assert!(journal[0].starts_with("`journal.max_bytes` must be at least twice"), "{journal:#?}");
}

#[test]
fn free_ports_never_collide() {
    assert!(load("proxy = { listen = '127.0.0.1:0', admin_listen = '127.0.0.1:0' }", &[]).is_ok());
}

#[test]
fn a_value_that_may_hold_a_password_is_not_repeated() {
    let found = faults("control_plane.database = 'mysql://me:s3cret@db/x'", &[]);
    assert!(found[0].contains("`control_plane.database` is set, but must be"), "{found:#?}");
    assert!(!found[0].contains("s3cret"), "{found:#?}");
}

#[test]
fn times_and_sizes_need_sound_units() {
    use super::setting::Setting;
    for (text, millis) in [("250ms", 250), ("5s", 5_000), ("10m", 600_000), ("2h", 7_200_000), ("3 s", 3_000)]
    {
        assert_eq!(Duration::read(text), Some(Duration::from_millis(millis)), "{text}");
    }
    for text in ["", "5", "s", "0s", "-1s", "1.5s", "5 sec", "99999999999999999999s", "5124095576030432h"] {
        assert_eq!(Duration::read(text), None, "{text}");
    }
    for (text, bytes) in [("1", 1), ("64MiB", 64 << 20), ("1 GiB", 1 << 30), ("5KiB", 5120), ("7B", 7)] {
        assert_eq!(ByteSize::read(text), Some(ByteSize(bytes)), "{text}");
    }
    for text in ["", "0", "64MB", "64mib", "MiB", "-1", "99999999999GiB"] {
        assert_eq!(ByteSize::read(text), None, "{text}");
    }
    assert_eq!(NonZeroUsize::read("0"), None);
}

#[test]
fn urls_are_taken_as_they_are_meant_or_not_at_all() {
    use super::setting::Setting;
    for text in ["https://api.anthropic.com", "http://127.0.0.1:9", "http://[::1]:9", "https://x/claude/api"]
    {
        assert_eq!(BaseUrl::read(text).unwrap().as_str(), text);
    }
    assert_eq!(BaseUrl::read("https://api.anthropic.com/").unwrap().as_str(), "https://api.anthropic.com");
    let senseless =
        ["", "api.anthropic.com", "ftp://x", "https://", "https://x?y", "https://x/#y", "https://u:p@x"];
    for text in senseless.into_iter().chain(["http://x:", "http://x:99999", "http://a b", "http://x/a b"]) {
        assert_eq!(BaseUrl::read(text), None, "{text}");
    }
    assert_eq!(BaseUrl::read("http://[::1]:9").unwrap().host_and_port(), Some(("::1".to_owned(), 9)));
    assert_eq!(BaseUrl::read("https://x").unwrap().host_and_port(), Some(("x".to_owned(), 443)));
}

/// The table of docs/configuration.md, as this build would write it.
fn documented_table() -> String {
    let mut table = String::from("| Key | Default | Meaning | Allowed |\n|---|---|---|---|\n");
    for key in KEYS {
        let default = if key.default.is_empty() { "none".to_owned() } else { format!("`{}`", key.default) };
        let (meaning, allowed) = (key.meaning.trim(), (key.allowed)());
        writeln!(table, "| `{}` | {default} | {meaning} | {allowed} |", key.name).unwrap();
    }
    table
}

#[test]
fn the_documentation_lists_exactly_the_settings_that_exist() {
    let documentation = include_str!("../../docs/configuration.md");
    let table = documented_table();
    assert!(documentation.contains(&table), "docs/configuration.md must hold this table:\n{table}");
}

#[test]
fn every_example_of_the_documentation_is_a_valid_configuration() {
    let documentation = include_str!("../../docs/configuration.md");
    let examples: Vec<&str> =
        documentation.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(examples.len() >= 3, "the search for examples is broken");
    for example in examples {
        load(example, &[]).unwrap_or_else(|error| panic!("{error}\n{example}"));
    }
}

#[test]
fn variable_names_follow_from_key_names() {
    assert_eq!(variable_of("proxy.limits.max_connections"), "MINDWEAVE_PROXY__LIMITS__MAX_CONNECTIONS");
    assert_eq!(variable_of("data_dir"), "MINDWEAVE_DATA_DIR");
}
