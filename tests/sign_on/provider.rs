//! The real provider as a process of its own.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::harness::clients::installed;

/// The secret of its confidential clients: with what has to be escaped.
pub(crate) const CLIENT_SECRET: &str = "a/secret+with:signs%20that=need&encoding";

/// A running `oidc-provider`. Ends with its standard input, at the latest when this is dropped.
pub(crate) struct Provider {
    child: Child,
    /// Its issuer.
    pub(crate) issuer: String,
}

impl Provider {
    /// Starts one that sends browsers back to MindWeave at `base`. `claims_in_token`: else they are only to be had of userinfo.
    pub(crate) fn start(base: &str, accounts: &Value, claims_in_token: bool) -> Self {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/sign_on/provider.mjs");
        let settings = json!({
            "package": installed("oidc-provider"),
            "redirectUri": format!("{base}/auth/oauth/callback"),
            "accounts": accounts,
            "claimsInToken": claims_in_token,
        });
        let mut child = Command::new("node")
            .arg(script)
            .arg(settings.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node starts");
        let mut lines =
            BufReader::new(child.stdout.take().expect("its output")).lines().map_while(Result::ok);
        let issuer = lines.find(|line| line.starts_with("http://"));
        // What it says later has to go somewhere: it ends when it cannot write.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, issuer: issuer.expect("the provider says where it listens") }
    }

    /// Changes it while it runs.
    pub(crate) fn control(&self, change: &Value) {
        let answer = ureq::post(format!("{}/control", self.issuer)).send_json(change);
        assert!(answer.expect("the provider answers").status().is_success());
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        // Already dead is fine.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
