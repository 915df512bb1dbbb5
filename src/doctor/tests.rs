use std::io::{Read, Write as _};
use std::net::TcpListener;

use super::*;

/// An API that answers every request like this.
fn upstream(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = [0; 4096];
            if stream.read(&mut head).unwrap_or(0) > 0 {
                stream.write_all(answer.as_bytes()).unwrap();
            }
        }
    });
    url
}

fn examine(upstream: &str, data_dir: &std::path::Path, variables: &[(&str, &str)]) -> Vec<Check> {
    let data_dir = data_dir.display().to_string();
    let mut all = vec![
        ("MINDWEAVE_PROXY__UPSTREAM", upstream),
        ("MINDWEAVE_DATA_DIR", &data_dir),
        ("MINDWEAVE_PROXY__LISTEN", "127.0.0.1:0"),
        ("MINDWEAVE_PROXY__ADMIN_LISTEN", "127.0.0.1:0"),
        ("MINDWEAVE_CONTROL_PLANE__LISTEN", "127.0.0.1:0"),
        ("MINDWEAVE_JOURNAL__MAX_BYTES", "64KiB"),
        ("MINDWEAVE_JOURNAL__SEGMENT_BYTES", "4KiB"),
    ];
    all.retain(|(name, _)| !variables.iter().any(|(other, _)| other == name));
    all.extend_from_slice(variables);
    let environment = Environment::with(&all);
    checks(Config::load(None, &environment), &environment, None)
}

fn named<'a>(checks: &'a [Check], name: &str) -> &'a Check {
    checks.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("no check {name}: {checks:#?}"))
}

const ASKS_FOR_A_KEY: &str = "HTTP/1.1 401 X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

#[test]
fn a_fresh_machine_in_front_of_the_api_has_nothing_to_complain_about() {
    let folder = tempfile::tempdir().unwrap();
    let checks = examine(&upstream(ASKS_FOR_A_KEY), &folder.path().join("data"), &[]);
    let complaints: Vec<_> = checks.iter().filter(|check| check.status > Status::Skipped).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
    assert_eq!(named(&checks, "upstream API").status, Status::Ok);
}

#[test]
fn every_fault_of_the_configuration_is_a_check_of_its_own() {
    let environment = Environment::with(&[("MINDWEAVE_NO__SUCH", "1"), ("MINDWEAVE_PROXY__LISTEN", "x")]);
    let checks = checks(Config::load(None, &environment), &environment, None);
    assert_eq!(checks.len(), 2);
    assert!(checks.iter().all(|check| check.status == Status::Fail && check.advice.is_some()));
}

#[test]
fn a_taken_port_is_a_failure_that_names_its_key() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let checks = examine(&upstream(ASKS_FOR_A_KEY), folder.path(), &[("MINDWEAVE_PROXY__LISTEN", &addr)]);
    let check = named(&checks, "proxy.listen");
    assert_eq!(check.status, Status::Fail);
    assert!(check.advice.as_ref().unwrap().contains("set proxy.listen"), "{check:?}");
}

#[test]
fn an_upstream_that_is_not_the_api_is_doubted_and_one_that_is_away_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let website = upstream("HTTP/1.1 404 X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    assert_eq!(named(&examine(&website, folder.path(), &[]), "upstream API").status, Status::Warn);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let checks = examine(&format!("http://{closed}"), folder.path(), &[]);
    assert_eq!(named(&checks, "upstream connection").status, Status::Fail);
    assert_eq!(named(&checks, "clock").status, Status::Skipped);
}

#[test]
fn a_ledger_without_its_master_key_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ledger.sqlite"), "").unwrap();
    let upstream = upstream(ASKS_FOR_A_KEY);
    assert_eq!(named(&examine(&upstream, folder.path(), &[]), "master key").status, Status::Fail);
    let key = "ab".repeat(32);
    let checks = examine(&upstream, folder.path(), &[("MINDWEAVE_MASTER_KEY", &key)]);
    assert_eq!(named(&checks, "master key").status, Status::Ok);
}

#[test]
fn a_journal_that_fills_up_is_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    std::fs::create_dir(&journal).unwrap();
    std::fs::write(journal.join("segment"), vec![0; 12 << 10]).unwrap();
    assert_eq!(named(&examine(&upstream(ASKS_FOR_A_KEY), folder.path(), &[]), "journal").status, Status::Ok);
    std::fs::write(journal.join("more"), vec![0; 28 << 10]).unwrap();
    let checks = examine(&upstream(ASKS_FOR_A_KEY), folder.path(), &[]);
    let check = named(&checks, "journal");
    assert_eq!((check.status, check.detail.as_str()), (Status::Warn, "40.0 KiB of at most 64.0 KiB"));
}

#[test]
fn events_that_the_ledger_could_not_take_are_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    std::fs::create_dir(&journal).unwrap();
    std::fs::write(journal.join("dead-letter.jsonl"), "{}").unwrap();
    let checks = examine(&upstream(ASKS_FOR_A_KEY), folder.path(), &[]);
    assert!(named(&checks, "journal").detail.contains("dead-letter.jsonl"), "{checks:#?}");
}

#[test]
fn a_secret_that_others_can_read_is_a_failure() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("admin-token");
    std::fs::write(&file, "t").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let checks = examine(&upstream(ASKS_FOR_A_KEY), folder.path(), &[]);
    assert_eq!(named(&checks, "admin token").status, Status::Fail);
}

#[test]
fn tls_files_that_are_missing_or_hold_something_else_are_failures() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (certificate, key) =
        (file("tls.crt", &made.cert.pem()), file("tls.key", &made.signing_key.serialize_pem()));
    let nowhere = folder.path().join("nowhere").display().to_string();
    let upstream = upstream(ASKS_FOR_A_KEY);
    for (cert_file, key_file, status) in [
        (&certificate, &key, Status::Ok),
        (&key, &key, Status::Fail),
        (&certificate, &certificate, Status::Fail),
        (&certificate, &nowhere, Status::Fail),
    ] {
        let files = [
            ("MINDWEAVE_PROXY__TLS__CERT_FILE", cert_file.as_str()),
            ("MINDWEAVE_PROXY__TLS__KEY_FILE", key_file),
        ];
        let checks = examine(&upstream, &folder.path().join("data"), &files);
        assert_eq!(named(&checks, "TLS files").status, status, "{cert_file} {key_file}");
    }
}

#[test]
fn a_proxy_is_told_what_keeps_it_from_its_control_plane() {
    let folder = tempfile::tempdir().unwrap();
    let upstream_url = upstream(ASKS_FOR_A_KEY);
    let takes_the_token = upstream("HTTP/1.1 400 X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let closed = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let token = ("MINDWEAVE_PROXY_TOKEN", "a-token-of-the-proxies");
    for (control_plane, token, name, status) in [
        (&takes_the_token, Some(token), "control plane", Status::Ok),
        (&upstream_url, Some(token), "control plane", Status::Fail), // 401: not this token
        (&closed, Some(token), "control plane", Status::Warn),       // a proxy works without, for a while
        (&takes_the_token, None, "proxy token", Status::Fail),
    ] {
        let mut variables = vec![("MINDWEAVE_PROXY__CONTROL_PLANE", control_plane.as_str())];
        variables.extend(token);
        let checks = examine(&upstream_url, folder.path(), &variables);
        assert_eq!(named(&checks, name).status, status, "{control_plane}: {checks:#?}");
        assert!(
            !checks.iter().any(|check| check.name == "master key" || check.name == "control_plane.listen")
        );
    }
}

#[test]
fn the_report_for_people_has_a_line_a_check_and_its_advice() {
    let checks = [Check::ok("journal", "fine"), Check::fail("proxy.listen", "taken", "set it")];
    let mut out = Vec::new();
    print(&checks, &mut out).unwrap();
    let expected = "\
ok    journal       fine
FAIL  proxy.listen  taken
                    -> set it
";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}
