//! Handshakes on a real socket, with certificates of the test's own.

use std::net::SocketAddr;
use std::path::Path;

use axum::Router;
use axum::extract::Request;
use axum::routing::get;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::http::server;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
const QUICKLY: Duration = Duration::from_millis(20);

/// An authority of the test's own.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A chain and its key.
struct Shown {
    chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
    pem: (String, String),
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    fn signs(&self, name: &str) -> Shown {
        self.signs_with(name, |_| {})
    }

    fn signs_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Shown {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let pem = (certificate.pem(), key.serialize_pem());
        Shown { chain: vec![certificate.der().clone()], key: key.serialize_der(), pem }
    }
}

/// A listener with its files.
struct Server {
    folder: TempDir,
    authority: Authority,
    address: SocketAddr,
    tls: Tls,
    tasks: Tasks,
}

impl Server {
    fn start(clients: Option<&Authority>) -> Self {
        let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("servers"));
        write(folder.path(), &authority.signs("127.0.0.1"));
        let mut config = TlsConfig {
            reload_interval: QUICKLY,
            ..TlsConfig::new(folder.path().join("cert.pem"), folder.path().join("key.pem"))
        };
        if let Some(clients) = clients {
            let file = folder.path().join("clients.pem");
            std::fs::write(&file, clients.pem()).unwrap();
            config.client_ca_file = Some(file);
        }
        let mut tasks = Tasks::new();
        let tls = Tls::start(config, &mut tasks).unwrap();
        let listener = server::listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/name", get(name));
        tasks.spawn("api", server::serve(listener, router, Some(tls.clone()), tasks.stop()));
        Self { folder, authority, address, tls, tasks }
    }

    fn trust_clients_of(&self, authorities: &[&Authority]) {
        let pem: String = authorities.iter().map(|authority| authority.pem()).collect();
        std::fs::write(self.folder.path().join("clients.pem"), pem).unwrap();
    }

    fn client(&self, shown: Option<&Shown>) -> ClientConfig {
        self.client_of(shown, rustls::DEFAULT_VERSIONS)
    }

    fn client_of(
        &self,
        shown: Option<&Shown>,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.0.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        match shown {
            None => builder.with_no_client_auth(),
            Some(shown) => {
                let key = PrivateKeyDer::try_from(shown.key.clone()).unwrap();
                builder.with_client_auth_cert(shown.chain.clone(), key).unwrap()
            }
        }
    }

    async fn connect(&self, config: ClientConfig) -> io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from("127.0.0.1").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, tcp).await
    }

    /// The body of the answer to a request on a connection of its own.
    async fn ask(&self, config: ClientConfig) -> io::Result<String> {
        let mut stream = self.connect(config).await?;
        stream.write_all(b"GET /name HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
        Ok(body.to_owned())
    }
}

/// The first name on the client's certificate.
async fn name(request: Request) -> String {
    let peer = request.extensions().get::<PeerCertificate>();
    peer.map_or("nobody", |peer| peer.name().unwrap_or("nameless")).to_owned()
}

fn write(folder: &Path, shown: &Shown) {
    std::fs::write(folder.join("cert.pem"), &shown.pem.0).unwrap();
    std::fs::write(folder.join("key.pem"), &shown.pem.1).unwrap();
}

fn alert(error: &io::Error) -> Option<AlertDescription> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let wait = async {
        while !condition().await {
            sleep(Duration::from_millis(5)).await; // between two looks
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("gave up waiting until {what}"));
}

#[tokio::test]
async fn people_need_no_certificate_and_a_proxys_is_known_by_its_name() {
    let proxies = Authority::new("proxies");
    let server = Server::start(Some(&proxies));
    assert_eq!(server.ask(server.client(None)).await.unwrap(), "nobody");
    let shown = proxies.signs("proxy-1.internal");
    for versions in [&[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
        let config = server.client_of(Some(&shown), versions);
        assert_eq!(server.ask(config).await.unwrap(), "proxy-1.internal");
    }
    server.tasks.shutdown().await;
}

#[tokio::test]
async fn without_authorities_for_clients_nobodys_certificate_is_looked_at() {
    let server = Server::start(None);
    let shown = Authority::new("anybody").signs("proxy-1.internal");
    assert_eq!(server.ask(server.client(Some(&shown))).await.unwrap(), "nobody");
    assert!(!server.tls.wants_certificates());
}

/// Many times, because a connection that is reset swallows the reason only now and then.
#[tokio::test]
async fn a_refused_certificate_is_told_why() {
    let proxies = Authority::new("proxies");
    let server = Server::start(Some(&proxies));
    let foreign = Authority::new("proxies").signs("proxy-1.internal"); // of the same name, and with another key
    let expired = proxies.signs_with("proxy-1.internal", |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    let a_servers = proxies.signs_with("proxy-1.internal", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    for (shown, alerts) in [
        (
            &foreign,
            &[AlertDescription::UnknownCA, AlertDescription::DecryptError, AlertDescription::BadCertificate]
                [..],
        ),
        (&expired, &[AlertDescription::CertificateExpired]),
        (&a_servers, &[AlertDescription::UnsupportedCertificate, AlertDescription::BadCertificate]),
    ] {
        for _ in 0..30 {
            let error = server.ask(server.client(Some(shown))).await.unwrap_err();
            assert!(alert(&error).is_some_and(|alert| alerts.contains(&alert)), "{error:?}");
        }
    }
}

#[tokio::test]
async fn http_1_1_is_what_clients_get_who_would_take_more() {
    let server = Server::start(None);
    let mut config = server.client(None);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = server.connect(config).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[tokio::test]
async fn a_session_is_never_resumed_for_its_certificate_would_not_be_looked_at_again() {
    let proxies = Authority::new("proxies");
    let server = Server::start(Some(&proxies));
    let shown = proxies.signs("proxy-1.internal");
    for versions in [&[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
        let config = server.client_of(Some(&shown), versions);
        for _ in 0..3 {
            let mut stream = server.connect(config.clone()).await.unwrap(); // which shares the store of sessions
            stream.write_all(b"GET /name HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
            stream.read_to_end(&mut Vec::new()).await.unwrap();
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Full));
        }
    }
}

#[tokio::test]
async fn a_new_certificate_is_shown_without_a_restart_and_a_broken_one_is_not() {
    let server = Server::start(None);
    let shows = |shown: &Shown| {
        let (wanted, config) = (shown.chain.clone(), server.client(None));
        let connecting = server.connect(config);
        async move {
            let stream = connecting.await.unwrap();
            stream.get_ref().1.peer_certificates() == Some(&wanted[..])
        }
    };
    let second = server.authority.signs("127.0.0.1");
    write(server.folder.path(), &second);
    eventually("the second certificate is shown", || shows(&second)).await;
    // One that is not PEM, one of another key, none at all.
    let other = server.authority.signs("127.0.0.1");
    for (certificate, key) in
        [("nonsense", &second.pem.1), (&*other.pem.0, &second.pem.1), ("", &second.pem.1)]
    {
        std::fs::write(server.folder.path().join("cert.pem"), certificate).unwrap();
        std::fs::write(server.folder.path().join("key.pem"), key).unwrap();
        sleep(QUICKLY * 6).await; // several looks at the files
        assert!(shows(&second).await);
    }
    std::fs::remove_file(server.folder.path().join("key.pem")).unwrap();
    sleep(QUICKLY * 6).await;
    assert!(shows(&second).await);
    write(server.folder.path(), &other);
    eventually("the certificate that works is shown", || shows(&other)).await;
}

#[tokio::test]
async fn authorities_come_and_go_with_their_file() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let mut server = Server::start(Some(&old));
    let (before, after) = (old.signs("proxy-1.internal"), new.signs("proxy-1.internal"));
    let peer = PeerCertificate::of(&before.chain).unwrap();
    assert!(server.tls.vouches_for(&peer));
    assert!(server.ask(server.client(Some(&after))).await.is_err());
    server.trust_clients_of(&[&old, &new]);
    server.tls.changed().await;
    for shown in [&before, &after] {
        assert_eq!(server.ask(server.client(Some(shown))).await.unwrap(), "proxy-1.internal");
    }
    server.trust_clients_of(&[&new]);
    server.tls.changed().await;
    assert!(!server.tls.vouches_for(&peer), "an open connection can be told from one that would be made now");
    assert!(server.ask(server.client(Some(&before))).await.is_err());
    assert_eq!(server.ask(server.client(Some(&after))).await.unwrap(), "proxy-1.internal");
}

#[tokio::test]
async fn an_intermediate_of_the_proxy_leads_to_the_authority() {
    let root = Authority::new("root");
    let server = Server::start(Some(&root));
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "intermediate");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let intermediate = CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &root.0).unwrap();
    let intermediate = Authority(intermediate);
    let mut shown = intermediate.signs("spiffe://example.org/proxy");
    assert!(server.ask(server.client(Some(&shown))).await.is_err(), "the way up is missing");
    shown.chain.push(intermediate.0.der().clone());
    server.ask(server.client(Some(&shown))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_shake_hands_loses_its_place() {
    let server = Server::start(None);
    let began = tokio::time::Instant::now();
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    slow.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00]).await.unwrap(); // a record that never comes
    for stream in [&mut silent, &mut slow] {
        let mut said = Vec::new();
        drop(stream.read_to_end(&mut said).await); // closed or reset: it is over
    }
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[test]
fn files_that_cannot_be_used_are_refused_at_the_start_with_their_name() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("servers");
    let config = TlsConfig::new(folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let refused = |config: &TlsConfig| files::first(config).unwrap_err().to_string();
    assert!(refused(&config).contains("cert.pem"));
    write(folder.path(), &authority.signs("127.0.0.1"));
    files::first(&config).unwrap();
    std::fs::write(folder.path().join("clients.pem"), "").unwrap();
    let config = TlsConfig { client_ca_file: Some(folder.path().join("clients.pem")), ..config };
    assert!(refused(&config).contains("clients.pem"));
    std::fs::write(folder.path().join("key.pem"), authority.signs("127.0.0.1").pem.1).unwrap();
    let config = TlsConfig { client_ca_file: None, ..config };
    assert_eq!(refused(&config), "certificate and key cannot be used together");
}

#[test]
fn a_certificate_is_known_by_its_alternative_names_else_by_its_common_name() {
    let authority = Authority::new("proxies");
    let dns = PeerCertificate::of(&authority.signs("proxy-1.internal").chain).unwrap();
    assert!(dns.is_for("proxy-1.internal") && dns.is_for("PROXY-1.internal"));
    assert!(!dns.is_for("proxy-2.internal") && !dns.is_for("rcgen self signed cert") && !dns.is_for(""));
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "proxy-3");
    let plain = params.signed_by(&key, &authority.0).unwrap();
    assert!(PeerCertificate::of(&[plain.der().clone()]).unwrap().is_for("proxy-3"));
    params.subject_alt_names = vec![rcgen::SanType::URI("spiffe://example.org/proxy".try_into().unwrap())];
    let uri = params.signed_by(&key, &authority.0).unwrap();
    let uri = PeerCertificate::of(&[uri.der().clone()]).unwrap();
    assert!(uri.is_for("spiffe://example.org/proxy") && !uri.is_for("proxy-3"));
}
