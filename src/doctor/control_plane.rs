//! The way from a proxy to its control plane.

use std::time::Duration;

use ureq::tls::TlsConfig;

use super::Check;
use super::upstream::trusted;
use crate::config::{Config, Environment, PROXY_TOKEN};
use crate::data_dir::PROXY_TOKEN_FILE;

/// Only proxies may call it. Without a body that it understands it changes nothing: any answer but a refusal of the token
/// says that the token is right.
const PROBE_PATH: &str = "/internal/v1/events/claim";
/// A probe waits no longer than this for its answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Every check of the way to the control plane.
pub(super) fn checks(config: &Config, environment: &Environment) -> Vec<Check> {
    const NAME: &str = "control plane";
    let Some(url) = &config.proxy_control_plane else {
        let advice = "set proxy.control_plane to the URL of the control plane";
        return vec![Check::fail(NAME, "proxy.control_plane is not set", advice)];
    };
    let (token, source) = match environment.secret(PROXY_TOKEN) {
        Some(token) => (token.expose_secret().to_owned(), PROXY_TOKEN.to_owned()),
        None => {
            let file = config.data_dir.join(PROXY_TOKEN_FILE);
            match std::fs::read_to_string(&file) {
                Ok(text) if !text.trim().is_empty() => (text.trim().to_owned(), file.display().to_string()),
                _ => {
                    let advice = format!("set {PROXY_TOKEN} to the token of the control plane");
                    return vec![Check::fail("proxy token", "there is none", advice)];
                }
            }
        }
    };
    vec![Check::ok("proxy token", format!("from {source}")), ask(config, url.as_str(), &token)]
}

fn ask(config: &Config, url: &str, token: &str) -> Check {
    const NAME: &str = "control plane";
    let roots = match trusted(config.proxy_control_plane_ca_file.as_deref()) {
        Ok(roots) => roots,
        Err(problem) => {
            return Check::fail(NAME, problem, "set proxy.control_plane_ca_file to a readable PEM file");
        }
    };
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .timeout_global(Some(PROBE_TIMEOUT))
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .build()
        .new_agent();
    let probe = agent.post(format!("{url}{PROBE_PATH}")).header("authorization", format!("Bearer {token}"));
    match probe.send_empty() {
        Ok(answer) if matches!(answer.status().as_u16(), 401 | 403) => Check::fail(
            NAME,
            format!("{url} does not accept this proxy token"),
            format!(
                "take the one of the control plane: its {PROXY_TOKEN}, or the file {PROXY_TOKEN_FILE} in its data folder"
            ),
        ),
        Ok(answer) if answer.status().as_u16() == 404 => Check::fail(
            NAME,
            format!("{url} answers, but not as a control plane"),
            "check that proxy.control_plane is the address of the API",
        ),
        Ok(_) => Check::ok(NAME, format!("{url} answers and accepts the proxy token")),
        Err(error) => Check::warn(
            NAME,
            format!("{url}: {error}"),
            "start the control plane or check proxy.control_plane; a proxy goes on with what it knew, if it knew anything",
        ),
    }
}
