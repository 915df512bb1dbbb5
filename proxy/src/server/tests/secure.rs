//! TLS and its certificate files.

use std::path::Path;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, KeyPair};
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;

/// Makes a certificate for 127.0.0.1 and writes it over the files.
fn write_certificate(folder: &Path) -> CertificateDer<'static> {
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
    std::fs::write(folder.join("cert.pem"), certificate.pem()).unwrap();
    certificate.der().clone()
}

async fn start(folder: &Path) -> Running {
    let tls = TlsConfig {
        reload_interval: Duration::from_millis(20),
        ..TlsConfig::new(folder.join("cert.pem"), folder.join("key.pem"))
    };
    Running::with(ServerConfig { tls: Some(tls), ..ServerConfig::new(LOCAL) }).await
}

async fn connect(
    running: &Running,
    trusted: &CertificateDer<'static>,
    alpn: &[&[u8]],
) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let mut config =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, running.connect().await).await
}

#[tokio::test]
async fn both_protocols_are_served_over_tls_by_negotiation() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = write_certificate(folder.path());
    let running = start(folder.path()).await;
    for alpn in [&[&b"http/1.1"[..]][..], &[]] {
        let stream = connect(&running, &certificate, alpn).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get("/scheme").header("host", "x").body(full("")).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "https");
    }
    let stream = connect(&running, &certificate, &[b"h2", b"http/1.1"]).await.unwrap();
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("https://x/scheme").body(full("")).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "https");
}

#[tokio::test]
async fn a_new_certificate_is_shown_without_a_restart_and_a_bad_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let mut certificate = write_certificate(folder.path());
    let running = start(folder.path()).await;
    for _ in 0..2 {
        connect(&running, &certificate, &[]).await.unwrap();

        // A key that does not belong to the certificate: the old pair stays in force.
        std::fs::write(folder.path().join("key.pem"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        connect(&running, &certificate, &[]).await.unwrap();
        std::fs::write(folder.path().join("cert.pem"), "nonsense").unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        connect(&running, &certificate, &[]).await.unwrap();

        certificate = write_certificate(folder.path());
        let shown = async {
            while connect(&running, &certificate, &[]).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, shown).await.expect("the new certificate is shown");
    }
}

#[tokio::test]
async fn a_server_does_not_start_without_a_usable_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let tls = TlsConfig::new(folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let config = ServerConfig { tls: Some(tls), ..ServerConfig::new(LOCAL) };
    let missing = Server::start(&config, Arc::new(Echo::default())).await;
    assert!(matches!(missing, Err(ServerError::TlsFile { .. })));
    write_certificate(folder.path());
    std::fs::write(folder.path().join("key.pem"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let mismatch = Server::start(&config, Arc::new(Echo::default())).await;
    assert!(matches!(mismatch, Err(ServerError::TlsKey(_))));
}

#[tokio::test]
async fn a_client_that_does_not_shake_hands_is_dropped_in_time() {
    let folder = tempfile::tempdir().unwrap();
    write_certificate(folder.path());
    let tls = TlsConfig::new(folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let config = ServerConfig {
        tls: Some(tls),
        header_timeout: Duration::from_millis(100),
        ..ServerConfig::new(LOCAL)
    };
    let running = Running::with(config).await;
    assert_eq!(running.say(b"").await, "");
    // A plain request is no handshake either; what comes back, if anything, is an alert and no answer.
    let mut tcp = running.connect().await;
    tcp.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(!text(&read_all(&mut tcp).await.unwrap_or_default()).contains("HTTP/1.1"));
    assert_eq!(running.echo.entered.load(Ordering::SeqCst), 0);
}
