//! The commands that people use, towards a control plane over TLS.

use std::process::{Command, Output};

use crate::harness::server::ADMIN_TOKEN;
use crate::pki::{Authority, Secured};

fn mindweave(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mindweave"));
    for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("MINDWEAVE_")) {
        command.env_remove(key);
    }
    command.args(arguments).envs(variables.iter().copied()).output().expect("the binary runs")
}

#[test]
fn commands_reach_a_control_plane_over_tls_with_its_authority_only() {
    let secured = Secured::start();
    let url = format!("https://{}", secured.control_plane.api);
    let ca = secured.files.path("servers.pem");
    let variables = [("MINDWEAVE_SERVER", url.as_str()), ("MINDWEAVE_ADMIN_TOKEN", ADMIN_TOKEN)];
    let refused = mindweave(&["projects", "list"], &variables);
    let complaint = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && complaint.contains("--ca-file"), "{complaint}");
    let listed =
        mindweave(&["projects", "list", "--ca-file", ca.to_str().expect("a plain path")], &variables);
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    assert!(String::from_utf8_lossy(&listed.stdout).contains("default"));
}

/// What the doctor says of a proxy with this certificate.
fn examined(secured: &Secured, shown: &str, token: &str) -> (bool, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| secured.files.path(name).to_str().expect("a plain path").to_owned();
    let (ca, certificate, key) =
        (path("servers.pem"), path(&format!("{shown}.crt")), path(&format!("{shown}.key")));
    let url = secured.url();
    let data = folder.path().join("data").to_str().expect("a plain path").to_owned();
    let mut variables = vec![
        ("MINDWEAVE_DATA_DIR", data.as_str()),
        ("MINDWEAVE_PROXY__CONTROL_PLANE", &url),
        ("MINDWEAVE_PROXY__CONTROL_PLANE_CA_FILE", &ca),
        ("MINDWEAVE_PROXY_TOKEN", token),
    ];
    if !shown.is_empty() {
        variables.push(("MINDWEAVE_PROXY__CONTROL_PLANE_CERT_FILE", &certificate));
        variables.push(("MINDWEAVE_PROXY__CONTROL_PLANE_KEY_FILE", &key));
    }
    let output = mindweave(&["doctor", "--for", "proxy"], &variables);
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = report.lines().find(|line| line.contains("control plane ")).unwrap_or_default().to_owned();
    (line.starts_with("ok"), report)
}

#[test]
fn the_doctor_of_a_proxy_tries_its_certificate_and_its_token() {
    use crate::harness::apart::PROXY_TOKEN;
    let secured = Secured::start();
    secured.files.put_pair("foreign", &Authority::new("proxies").proxy("proxy-1.internal"));
    let (fine, report) = examined(&secured, "proxy", PROXY_TOKEN);
    assert!(fine && report.contains("for proxy-1.internal, until "), "{report}");
    for (shown, token, words) in [
        ("", PROXY_TOKEN, "wants a client certificate"),
        ("foreign", PROXY_TOKEN, "refuses the connection"),
        ("proxy", "another-token-of-the-tests-0123456789", "does not accept this proxy token"),
    ] {
        let (fine, report) = examined(&secured, shown, token);
        assert!(!fine && report.contains(words), "{shown:?}: {report}");
        assert!(!report.contains(token), "{report}");
    }
}
