//! Authorities, certificates and the files that the two processes read.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tempfile::TempDir;

use crate::harness::apart::{ControlPlane, Proxy};
use crate::harness::ledger::Ledger;
use crate::harness::server::ADMIN_TOKEN;

/// How long certificates are valid that do not say otherwise.
const DAY: Duration = Duration::from_secs(86_400);

/// An authority of the test's own.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority"))
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate of a server with this name.
    pub(crate) fn server(&self, name: &str) -> Pair {
        self.signs(name, ExtendedKeyUsagePurpose::ServerAuth, SystemTime::from(jiff::Timestamp::now()) + DAY)
    }

    /// A certificate of a proxy with this name.
    pub(crate) fn proxy(&self, name: &str) -> Pair {
        self.proxy_until(name, SystemTime::from(jiff::Timestamp::now()) + DAY)
    }

    /// A certificate of a proxy that expires then; in whole seconds.
    pub(crate) fn proxy_until(&self, name: &str, end: SystemTime) -> Pair {
        self.signs(name, ExtendedKeyUsagePurpose::ClientAuth, end)
    }

    fn signs(&self, name: &str, usage: ExtendedKeyUsagePurpose, end: SystemTime) -> Pair {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.extended_key_usages = vec![usage];
        params.not_before = (end - 2 * DAY).into();
        params.not_after = end.into();
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        Pair { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

/// A folder of certificate files.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Replaces a file as deployments do: nobody sees half of it.
    pub(crate) fn put(&self, name: &str, text: &str) {
        let (new, path) = (self.path("new"), self.path(name));
        std::fs::write(&new, text).expect("a file can be written");
        std::fs::rename(&new, &path).expect("a file can be replaced");
    }

    /// `name.crt` and `name.key`.
    pub(crate) fn put_pair(&self, name: &str, pair: &Pair) {
        self.put(&format!("{name}.crt"), &pair.certificate);
        self.put(&format!("{name}.key"), &pair.key);
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("a plain path").to_owned()
    }
}

/// A control plane over TLS that wants certificates of proxies, with all of its files.
pub(crate) struct Secured {
    pub(crate) control_plane: ControlPlane,
    pub(crate) files: Files,
    pub(crate) servers: Authority,
    pub(crate) proxies: Authority,
}

impl Secured {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(settings: &[(&str, &str)]) -> Self {
        let (files, servers, proxies) = (Files::new(), Authority::new("servers"), Authority::new("proxies"));
        files.put("servers.pem", &servers.pem());
        files.put("proxies.pem", &proxies.pem());
        files.put_pair("server", &servers.server("127.0.0.1"));
        files.put_pair("proxy", &proxies.proxy("proxy-1.internal"));
        let mut all = owned(settings);
        all.extend(server_settings(&files));
        let control_plane = ControlPlane::start_with(&borrowed(&all));
        Self { control_plane, files, servers, proxies }
    }

    /// The API, without a certificate.
    pub(crate) fn ledger(&self) -> Ledger {
        Ledger::secured(self.control_plane.api, ADMIN_TOKEN, &self.trusted())
    }

    fn trusted(&self) -> String {
        std::fs::read_to_string(self.files.path("servers.pem")).expect("a file of authorities")
    }

    /// The URL for proxies.
    pub(crate) fn url(&self) -> String {
        self.control_plane.gate.url().replace("http://", "https://")
    }

    /// A proxy that shows `proxy.crt`, and waits until it is ready.
    pub(crate) fn proxy(&self, upstream: &str, settings: &[(&str, &str)]) -> Proxy {
        let proxy = self.unready_proxy(upstream, "proxy", settings);
        proxy.await_ready();
        proxy
    }

    /// A proxy that shows the certificate of this name, or none where it is empty.
    pub(crate) fn unready_proxy(&self, upstream: &str, shown: &str, settings: &[(&str, &str)]) -> Proxy {
        let mut all =
            vec![("MINDWEAVE_PROXY__CONTROL_PLANE_CA_FILE".to_owned(), self.files.text("servers.pem"))];
        if !shown.is_empty() {
            let file = |end: &str| self.files.text(&format!("{shown}.{end}"));
            all.push(("MINDWEAVE_PROXY__CONTROL_PLANE_CERT_FILE".to_owned(), file("crt")));
            all.push(("MINDWEAVE_PROXY__CONTROL_PLANE_KEY_FILE".to_owned(), file("key")));
        }
        all.extend(owned(settings));
        Proxy::start_unready(upstream, &self.url(), &borrowed(&all))
    }

    /// The value of a series of the control plane.
    pub(crate) fn metric(&self, series: &str) -> Option<f64> {
        metric(self.control_plane.admin, series)
    }
}

/// What a control plane with these files is given.
pub(crate) fn server_settings(files: &Files) -> Vec<(String, String)> {
    [
        ("MINDWEAVE_CONTROL_PLANE__TLS__CERT_FILE", "server.crt"),
        ("MINDWEAVE_CONTROL_PLANE__TLS__KEY_FILE", "server.key"),
        ("MINDWEAVE_CONTROL_PLANE__TLS__CLIENT_CA_FILE", "proxies.pem"),
    ]
    .map(|(key, file)| (key.to_owned(), files.text(file)))
    .into()
}

pub(crate) fn owned(settings: &[(&str, &str)]) -> Vec<(String, String)> {
    settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub(crate) fn borrowed(settings: &[(String, String)]) -> Vec<(&str, &str)> {
    settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

/// The value of a series at this admin port.
pub(crate) fn metric(admin: std::net::SocketAddr, series: &str) -> Option<f64> {
    let request = b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answer = crate::harness::http::exchange(admin, request).expect("the admin port answers");
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

/// Fails when a log holds one of these, or the inside of a private key.
pub(crate) fn assert_no_secret(logs: &[String], secrets: &[&str], files: &Files) {
    let keys: Vec<String> = std::fs::read_dir(files.0.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path: &PathBuf| path.extension().is_some_and(|end| end == "key"))
        .map(|path: PathBuf| inside(&path))
        .collect();
    for log in logs {
        for secret in secrets.iter().copied().chain(keys.iter().map(String::as_str)) {
            assert!(!log.contains(secret), "a secret stands in a log:\n{log}");
        }
    }
}

/// A line of a private key that no other has.
fn inside(key: &Path) -> String {
    let pem = std::fs::read_to_string(key).expect("a key file");
    pem.lines().nth(1).expect("a key has lines").to_owned()
}
