//! The way from a proxy to its control plane.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, TlsConfig, parse_pem};

use super::{Check, certificates};
use crate::config::{BaseUrl, Config, Environment, PROXY_TOKEN};
use crate::data_dir::PROXY_TOKEN_FILE;
use crate::proxy_command::in_the_clear;
use crate::trust::trusted;

/// Only proxies may call it. Without a body that it understands it changes nothing: any answer but a refusal of the token
/// says that the token is right.
const PROBE_PATH: &str = "/internal/v1/events/claim";
/// A probe waits no longer than this for its answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
const NAME: &str = "control plane";

/// Every check of the way to the control plane.
pub(super) fn checks(config: &Config, environment: &Environment) -> Vec<Check> {
    let Some(url) = &config.proxy_control_plane else {
        let advice = "set proxy.control_plane to the URL of the control plane";
        return vec![Check::fail(NAME, "proxy.control_plane is not set", advice)];
    };
    let mut checks = Vec::new();
    checks.extend(encryption(url));
    checks.extend(certificates::of_proxy(config));
    let (token, source) = match environment.secret(PROXY_TOKEN) {
        Some(token) => (token.expose_secret().to_owned(), PROXY_TOKEN.to_owned()),
        None => {
            let file = config.data_dir.join(PROXY_TOKEN_FILE);
            match std::fs::read_to_string(&file) {
                Ok(text) if !text.trim().is_empty() => (text.trim().to_owned(), file.display().to_string()),
                _ => {
                    let advice = format!("set {PROXY_TOKEN} to the token of the control plane");
                    checks.push(Check::fail("proxy token", "there is none", advice));
                    return checks;
                }
            }
        }
    };
    checks.push(Check::ok("proxy token", format!("from {source}")));
    checks.push(ask(config, url.as_str(), &token));
    checks
}

fn encryption(url: &BaseUrl) -> Option<Check> {
    in_the_clear(url).then(|| {
        Check::warn(
            "encryption",
            format!("the proxy token and Claude keys travel in the clear to and from {}", url.as_str()),
            "serve the control plane over TLS, and set proxy.control_plane to its https:// URL",
        )
    })
}

fn ask(config: &Config, url: &str, token: &str) -> Check {
    let roots = match trusted(config.proxy_control_plane_ca_file.as_deref()) {
        Ok(roots) => roots,
        Err(problem) => {
            return Check::fail(NAME, problem, "set proxy.control_plane_ca_file to a readable PEM file");
        }
    };
    let files =
        config.proxy_control_plane_cert_file.as_ref().zip(config.proxy_control_plane_key_file.as_ref());
    let shown = files.and_then(|(certificate, key)| shown(certificate, key));
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .timeout_global(Some(PROBE_TIMEOUT))
        .tls_config(TlsConfig::builder().root_certs(roots).client_cert(shown).build())
        .build()
        .new_agent();
    let probe = agent.post(format!("{url}{PROBE_PATH}")).header("authorization", format!("Bearer {token}"));
    match probe.send_empty() {
        Ok(mut answer) if matches!(answer.status().as_u16(), 401 | 403) => {
            let code = answer.body_mut().read_json::<Problem>().map(|problem| problem.code);
            refused(url, &code.unwrap_or_default())
        }
        Ok(answer) if answer.status().as_u16() == 404 => Check::fail(
            NAME,
            format!("{url} answers, but not as a control plane"),
            "check that proxy.control_plane is the address of the API",
        ),
        Ok(_) => Check::ok(NAME, format!("{url} answers and accepts the proxy token")),
        Err(error) => failed(url, &error),
    }
}

/// The part of an error answer (RFC 9457) that programs read.
#[derive(Deserialize)]
struct Problem {
    code: String,
}

/// The certificate to show. One that cannot be used has a check of its own.
fn shown(certificate: &Path, key: &Path) -> Option<ClientCert> {
    let pem = std::fs::read(certificate).ok()?;
    let chain: Vec<Certificate<'static>> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    let key = PrivateKey::from_pem(&std::fs::read(key).ok()?).ok()?;
    (!chain.is_empty()).then(|| ClientCert::new_with_certs(&chain, key))
}

fn refused(url: &str, code: &str) -> Check {
    let (detail, advice) = match code {
        "client_certificate_required" => (
            format!("{url} wants a client certificate of an authority that it trusts"),
            "set proxy.control_plane_cert_file and proxy.control_plane_key_file".to_owned(),
        ),
        "certificate_name_mismatch" => (
            format!("{url} accepts this proxy token from the certificate of another name only"),
            "show the certificate that the token is bound to, or make a token for this one".to_owned(),
        ),
        // Looking for changes alone does that: events then go another way.
        "scope_missing" => {
            return Check::warn(
                NAME,
                format!(
                    "{url} accepts this proxy token, but no events with it: it has not the scope deliver"
                ),
                "make a token with the scopes watch and deliver, unless events go another way",
            );
        }
        _ => (
            format!("{url} does not accept this proxy token"),
            format!(
                "take the one of the control plane, its {PROXY_TOKEN} or the file {PROXY_TOKEN_FILE} in its data folder, or make one with POST /proxies/tokens"
            ),
        ),
    };
    Check::fail(NAME, detail, advice)
}

fn failed(url: &str, error: &ureq::Error) -> Check {
    let fault = match error {
        ureq::Error::Rustls(fault) => Some(fault),
        ureq::Error::Io(error) => error.get_ref().and_then(|cause| cause.downcast_ref()),
        _ => None,
    };
    match fault {
        Some(rustls::Error::InvalidCertificate(why)) => Check::fail(
            NAME,
            format!("the certificate of {url} is not believed: {why}"),
            "set proxy.control_plane_ca_file to its authority, and call it by a name that its certificate has",
        ),
        Some(rustls::Error::AlertReceived(alert)) => Check::fail(
            NAME,
            format!("{url} refuses the connection ({alert:?})"),
            "show a certificate that an authority of its control_plane.tls.client_ca_file vouches for, and that is valid",
        ),
        _ => Check::warn(
            NAME,
            format!("{url}: {error}"),
            "start the control plane or check proxy.control_plane; a proxy goes on with what it knew, if it knew anything",
        ),
    }
}
