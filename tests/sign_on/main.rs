//! People sign on by OpenID Connect: through the real binary and a real provider (`oidc-provider`), with a browser's cookies and
//! redirects; and by a provider that lies in every way it can.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../harness/mod.rs"]
mod harness;

mod browser;
mod provider;

mod liar;
mod lies;
mod real_provider;
mod roles;

use harness::server::MindWeave;

/// By which name browsers reach it.
fn base(server: &MindWeave) -> String {
    format!("http://localhost:{}", server.control_plane.port())
}

/// What it wrote to its log, but for the link of the first start, which is for whoever reads the log.
fn log_after_setup(server: &MindWeave) -> String {
    let log = server.log();
    log.lines().filter(|line| !line.contains("/auth/setup?token=")).collect::<Vec<_>>().join("\n")
}

/// The organisation of the first start.
fn org_of(server: &MindWeave) -> String {
    server.ledger().get("/orgs")["data"][0]["id"].as_str().expect("an organisation").to_owned()
}
