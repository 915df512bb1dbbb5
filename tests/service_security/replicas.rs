//! Several control planes over one database.

use std::time::{Duration, Instant};

use mindweave_test_servers::Postgres;
use serde_json::json;

use crate::harness::apart::{ControlPlane, Proxy};
use crate::harness::eventually;
use crate::harness::simulator::Simulator;
use crate::tokens::{connected, make};

/// The promise is a second for the look at the database, and one for the next line of the watch.
const CUT_OFF_WITHIN: Duration = Duration::from_secs(3);

#[test]
fn a_token_made_or_revoked_at_one_control_plane_counts_at_the_other_within_seconds() {
    let simulator = Simulator::start();
    let database = Postgres::shared().create_database();
    let settings = [
        ("MINDWEAVE_CONTROL_PLANE__DATABASE", database.as_str()),
        ("MINDWEAVE_MASTER_KEY", "abababababababababababababababababababababababababababababababab"),
    ];
    let [one, other] = [(); 2].map(|()| ControlPlane::start_with(&settings));
    let (id, secret) = make(&one.ledger(), &json!({ "name": "eu-1", "scopes": ["watch", "deliver"] }));
    let proxy = Proxy::start_with(&simulator.url(), &other, &[("MINDWEAVE_PROXY_TOKEN", &secret)]);
    assert!(connected(&proxy));
    let revoked = Instant::now();
    one.ledger().delete(&format!("/proxies/tokens/{id}"));
    eventually("the other control plane cuts it off", || (!connected(&proxy)).then_some(()));
    assert!(revoked.elapsed() < CUT_OFF_WITHIN, "{:?}", revoked.elapsed());
    eventually("the log says why", || {
        proxy.process.log().contains("does not accept this proxy token").then_some(())
    });
}
