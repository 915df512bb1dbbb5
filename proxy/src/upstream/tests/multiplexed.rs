//! HTTP/2 and TLS, against hyper's own server.

use std::convert::Infallible;
use std::path::PathBuf;

use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls_pki_types::PrivateKeyDer;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::*;

/// Says which protocol, host and fields a request came with, and echoes its body.
async fn echo(request: Request<Incoming>) -> Result<Response<TestBody>, Infallible> {
    let host = request.headers().get("host").and_then(|host| host.to_str().ok());
    let authority = request.uri().authority().map(ToString::to_string);
    let text = format!("{:?} {:?} {:?} ", request.version(), authority.as_deref(), host);
    let body = request.into_body().collect().await.unwrap().to_bytes();
    Ok(Response::new(full([text.into_bytes(), body.to_vec()].concat())))
}

/// Serves HTTP/2 without TLS; each connection ends politely when `goodbye` says so.
async fn http2_server(max_streams: u32) -> (Scripted, watch::Sender<()>) {
    let (goodbye, listening) = watch::channel(());
    let scripted = Scripted::start(move |_, tcp| {
        let mut goodbye = listening.clone();
        async move {
            let mut connection = std::pin::pin!(
                http2::Builder::new(TokioExecutor::new())
                    .max_concurrent_streams(max_streams)
                    .serve_connection(TokioIo::new(tcp), service_fn(echo))
            );
            tokio::select! {
                outcome = connection.as_mut() => drop(outcome),
                _ = goodbye.changed() => {
                    connection.as_mut().graceful_shutdown();
                    drop(connection.await);
                }
            }
            Ok(())
        }
    })
    .await;
    (scripted, goodbye)
}

fn http2_config(scripted: &Scripted) -> UpstreamConfig {
    UpstreamConfig { protocol: UpstreamProtocol::Http2, ..scripted.config() }
}

#[tokio::test]
async fn http2_requests_share_a_connection_and_name_the_host_once() {
    let (scripted, _goodbye) = http2_server(100).await;
    let upstream = Upstream::new(&http2_config(&scripted)).unwrap();
    let requests = (0..20).map(|number| {
        let upstream = upstream.clone();
        tokio::spawn(async move { fetch(&upstream, post("/", full(format!("{number}")))).await })
    });
    for (number, request) in requests.enumerate() {
        let response = request.await.unwrap();
        let expected = format!("HTTP/2.0 Some(\"{}\") None {number}", scripted.address);
        assert_eq!((response.version(), response.body().as_ref()), (Version::HTTP_11, expected.as_bytes()));
    }
    assert_eq!(scripted.connections(), 1);
}

#[tokio::test]
async fn a_connection_that_says_goodbye_is_replaced() {
    let (scripted, goodbye) = http2_server(100).await;
    let upstream = Upstream::new(&http2_config(&scripted)).unwrap();
    for round in 1..=5 {
        fetch(&upstream, post("/", full("x"))).await;
        assert_eq!(scripted.connections(), round);
        goodbye.send_replace(());
        until("the goodbye arrives", || upstream.inner.http2.open_count() == 0).await;
    }
}

#[tokio::test]
async fn more_streams_than_one_connection_allows_open_another() {
    let (scripted, _goodbye) = http2_server(100).await;
    let config = UpstreamConfig { http2_max_streams: 2, http2_max_connections: 2, ..http2_config(&scripted) };
    let upstream = Upstream::new(&config).unwrap();
    let mut feeds = Vec::new();
    let mut sendings = Vec::new();
    for _ in 0..6 {
        let (feed, body) = fed();
        feed.send(Ok(Frame::data(Bytes::from_static(b"x")))).await.unwrap();
        feeds.push(feed);
        let upstream = upstream.clone();
        sendings.push(tokio::spawn(async move { fetch(&upstream, post("/", body)).await }));
    }
    until("a second connection opens", || scripted.connections() == 2).await;
    drop(feeds);
    for sending in sendings {
        assert_eq!(sending.await.unwrap().status(), 200);
    }
    assert_eq!(scripted.connections(), 2, "the rest shares what there is");
}

#[tokio::test]
async fn a_large_upload_and_its_echo_pass_over_http2() {
    let (scripted, _goodbye) = http2_server(100).await;
    let upstream = Upstream::new(&http2_config(&scripted)).unwrap();
    let response = fetch(&upstream, post("/", full(vec![7; 12 << 20]))).await;
    assert!(response.body().len() > 12 << 20);
}

/// An authority and a server certificate for 127.0.0.1 issued by it.
struct Authority {
    _folder: tempfile::TempDir,
    file: PathBuf,
    acceptor: TlsAcceptor,
}

fn authority(alpn: &[&[u8]]) -> Authority {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_certificate = ca.self_signed(&ca_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])
        .unwrap()
        .signed_by(&key, &Issuer::new(ca, ca_key))
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, ca_certificate.pem()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Authority { _folder: folder, file, acceptor: TlsAcceptor::from(Arc::new(config)) }
}

async fn tls_server(authority: &Authority) -> Scripted {
    let acceptor = authority.acceptor.clone();
    Scripted::start(move |_, tcp| {
        let acceptor = acceptor.clone();
        async move {
            let stream = acceptor.accept(tcp).await?;
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                let builder = http2::Builder::new(TokioExecutor::new());
                drop(builder.serve_connection(TokioIo::new(stream), service_fn(echo)).await);
            } else {
                drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(echo)).await);
            }
            Ok(())
        }
    })
    .await
}

fn tls_config(scripted: &Scripted, authority: &Authority, protocol: UpstreamProtocol) -> UpstreamConfig {
    UpstreamConfig {
        protocol,
        extra_ca_file: Some(authority.file.clone()),
        ..UpstreamConfig::new(format!("https://{}", scripted.address))
    }
}

#[tokio::test]
async fn the_protocol_over_tls_is_what_both_sides_speak() {
    const BOTH: &[&[u8]] = &[b"h2", b"http/1.1"];
    const OLD: &[&[u8]] = &[b"http/1.1"];
    for (offered, protocol, spoken) in [
        (BOTH, UpstreamProtocol::Auto, "HTTP/2.0"),
        (OLD, UpstreamProtocol::Auto, "HTTP/1.1"),
        (&[], UpstreamProtocol::Auto, "HTTP/1.1"),
        (BOTH, UpstreamProtocol::Http1, "HTTP/1.1"),
        (BOTH, UpstreamProtocol::Http2, "HTTP/2.0"),
    ] {
        let authority = authority(offered);
        let scripted = tls_server(&authority).await;
        let upstream = Upstream::new(&tls_config(&scripted, &authority, protocol)).unwrap();
        for _ in 0..3 {
            let response = fetch(&upstream, post("/", full("x"))).await;
            assert!(response.body().starts_with(spoken.as_bytes()), "{protocol:?}: {:?}", response.body());
        }
        assert_eq!(scripted.connections(), 1, "{protocol:?}");
    }
}

#[tokio::test]
async fn an_upstream_that_cannot_speak_the_configured_protocol_is_a_tls_failure() {
    for offered in [&[&b"http/1.1"[..]][..], &[]] {
        let authority = authority(offered);
        let scripted = tls_server(&authority).await;
        let config = tls_config(&scripted, &authority, UpstreamProtocol::Http2);
        let error = Upstream::new(&config).unwrap().send(get("/")).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Tls(_)), "{error:?}");
    }
}

#[tokio::test]
async fn an_authority_that_nobody_trusts_is_a_tls_failure() {
    let authority = authority(&[]);
    let scripted = tls_server(&authority).await;
    let config = UpstreamConfig::new(format!("https://{}", scripted.address));
    let error = Upstream::new(&config).unwrap().send(get("/")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Tls(_)), "{error:?}");
}

#[test]
fn an_authority_file_that_holds_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    for content in
        [None, Some("nothing here"), Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")]
    {
        if let Some(content) = content {
            std::fs::write(&file, content).unwrap();
        }
        let config = UpstreamConfig { extra_ca_file: Some(file.clone()), ..UpstreamConfig::new("https://h") };
        assert!(Upstream::<TestBody>::new(&config).is_err(), "{content:?}");
    }
}
