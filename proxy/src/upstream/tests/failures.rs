//! Every way in which an upstream can fail, and what the caller sees.

use std::error::Error;

use super::*;

#[tokio::test]
async fn a_body_that_is_cut_never_ends_cleanly() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhello",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nnonsense\r\n",
    ] {
        let scripted = Scripted::answering_once(answer).await;
        let upstream = scripted.upstream();
        let (bytes, error) = fetch_broken(&upstream, get("/")).await;
        assert!(matches!(error, UpstreamError::Cut(_)), "{error:?}");
        assert_eq!(bytes, "hello", "what did arrive is delivered");
        assert_eq!(upstream.inner.http1.idle_count(), 0);
    }
}

#[tokio::test]
async fn a_reset_within_the_body_is_a_cut_even_where_only_the_connection_ends_it() {
    for head in ["content-length: 10\r\n", "transfer-encoding: chunked\r\n", ""] {
        let scripted = Scripted::start(move |_, mut tcp| async move {
            read_head(&mut tcp).await?;
            let body = if head.starts_with('t') { "5\r\nhello\r\n" } else { "hello" };
            tcp.write_all(format!("HTTP/1.1 200 OK\r\n{head}\r\n{body}").as_bytes()).await?;
            // The client has read it all before the reset.
            tokio::time::sleep(Duration::from_millis(50)).await;
            socket2::SockRef::from(&tcp).set_linger(Some(Duration::ZERO))
        })
        .await;
        let (_, error) = fetch_broken(&scripted.upstream(), get("/")).await;
        assert!(matches!(error, UpstreamError::Cut(_)), "{head:?}: {error:?}");
    }
}

#[tokio::test]
async fn an_end_before_the_head_is_no_answer() {
    for answer in [&b""[..], b"HTTP/1.1 200 OK\r\ncontent-le"] {
        let scripted = Scripted::answering_once(answer).await;
        let error = scripted.upstream().send(post("/", full("x"))).await.unwrap_err();
        assert!(matches!(error, UpstreamError::ClosedEarly(_)), "{error:?}");
        assert_eq!(scripted.connections(), 1, "what has been sent is not sent again");
    }
}

#[tokio::test]
async fn what_is_not_http_is_malformed() {
    for answer in [
        &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
        b"HTTP/1.1 20x OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nx: a\x00b\r\n\r\n",
    ] {
        let scripted = Scripted::answering_once(answer).await;
        let error = scripted.upstream().send(get("/")).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Malformed(_)), "{error:?}");
    }
}

#[tokio::test]
async fn a_refused_connection_and_an_unknown_name_are_told_apart_from_a_timeout() {
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for url in [format!("http://{unused}"), "http://no-such-host.invalid".to_owned()] {
        let error = Upstream::new(&UpstreamConfig::new(url)).unwrap().send(get("/")).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Connect(_)), "{error:?}");
    }
}

#[tokio::test]
async fn a_tls_handshake_that_hangs_counts_as_connecting() {
    let scripted = Scripted::start(|_, mut tcp| async move {
        while tcp.read(&mut [0; 512]).await? > 0 {}
        Ok(())
    })
    .await;
    let config = UpstreamConfig {
        connect_timeout: Duration::from_millis(80),
        ..UpstreamConfig::new(format!("https://{}", scripted.address))
    };
    let error = Upstream::new(&config).unwrap().send(get("/")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::ConnectTimeout), "{error:?}");
}

#[tokio::test]
async fn a_server_without_tls_is_a_tls_failure() {
    let scripted =
        Scripted::start(|_, mut tcp| async move { tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await })
            .await;
    let config = UpstreamConfig::new(format!("https://{}", scripted.address));
    let error = Upstream::new(&config).unwrap().send(get("/")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Tls(_)), "{error:?}");
}

/// Answers nothing, ever.
async fn silent() -> Scripted {
    Scripted::start(|_, mut tcp| async move {
        while tcp.read(&mut [0; 512]).await? > 0 {}
        Ok(())
    })
    .await
}

fn quick(scripted: &Scripted) -> UpstreamConfig {
    UpstreamConfig {
        response_timeout: Duration::from_millis(120),
        body_idle_timeout: Duration::from_millis(120),
        ..scripted.config()
    }
}

#[tokio::test]
async fn silence_before_the_head_ends_in_a_response_timeout() {
    let scripted = silent().await;
    let upstream: Upstream<TestBody> = Upstream::new(&quick(&scripted)).unwrap();
    let error = timeout(PATIENCE, upstream.send(post("/", full("x")))).await.unwrap().unwrap_err();
    assert!(matches!(error, UpstreamError::ResponseTimeout), "{error:?}");
}

#[tokio::test]
async fn an_upload_that_moves_is_no_silence_and_one_that_stalls_is_not_the_upstreams_fault() {
    let scripted = silent().await;
    let upstream: Upstream<TestBody> = Upstream::new(&quick(&scripted)).unwrap();
    let (feed, body) = fed();
    let started = tokio::time::Instant::now();
    let feeding = async {
        for _ in 0..10 {
            feed.send(Ok(Frame::data(Bytes::from_static(b"x")))).await.unwrap();
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        std::future::pending::<()>().await;
    };
    let error = tokio::select! {
        outcome = upstream.send(post("/", body)) => outcome.unwrap_err(),
        () = feeding => unreachable!(),
    };
    assert!(matches!(error, UpstreamError::RequestStalled), "{error:?}");
    assert!(started.elapsed() > Duration::from_millis(400), "{:?}", started.elapsed());
}

#[tokio::test]
async fn silence_within_the_body_ends_it_and_slow_progress_does_not() {
    let scripted = Scripted::start(|_, mut tcp| async move {
        read_head(&mut tcp).await?;
        tcp.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
        for _ in 0..8 {
            tokio::time::sleep(Duration::from_millis(40)).await;
            tcp.write_all(b"1\r\nx\r\n").await?;
        }
        while tcp.read(&mut [0; 512]).await? > 0 {}
        Ok(())
    })
    .await;
    let upstream: Upstream<TestBody> = Upstream::new(&quick(&scripted)).unwrap();
    let (bytes, error) = fetch_broken(&upstream, get("/")).await;
    assert!(matches!(error, UpstreamError::IdleTimeout), "{error:?}");
    assert_eq!(bytes, "xxxxxxxx");
}

#[derive(Debug, thiserror::Error)]
#[error("client went away")]
struct ClientGone;

#[tokio::test]
async fn the_request_bodys_own_error_comes_back_and_is_not_the_upstreams_fault() {
    let scripted = silent().await;
    let config = UpstreamConfig {
        breaker: BreakerConfig { failures: 1, ..BreakerConfig::default() },
        ..scripted.config()
    };
    let upstream: Upstream<TestBody> = Upstream::new(&config).unwrap();
    for _ in 0..3 {
        let (feed, body) = fed();
        feed.send(Err(Box::new(ClientGone))).await.unwrap();
        let error = upstream.send(post("/", body)).await.unwrap_err();
        assert!(matches!(error, UpstreamError::RequestBody(_)), "{error:?}");
        let causes = std::iter::successors(error.source(), |cause| (*cause).source());
        assert!(causes.last().unwrap().is::<ClientGone>());
    }
}

#[tokio::test]
async fn repeated_failures_open_the_circuit_and_error_statuses_do_not() {
    let scripted = Scripted::answering(b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n").await;
    let upstream = scripted.upstream();
    for _ in 0..20 {
        assert_eq!(fetch(&upstream, get("/")).await.status(), 500);
    }
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let upstream = Upstream::new(&UpstreamConfig::new(format!("http://{unused}"))).unwrap();
    for _ in 0..5 {
        let error = upstream.send(get("/")).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Connect(_)), "{error:?}");
    }
    let error = upstream.send(get("/")).await.unwrap_err();
    let UpstreamError::BreakerOpen { retry_after } = error else { panic!("{error:?}") };
    assert!(
        retry_after > Duration::from_secs(20) && retry_after <= Duration::from_secs(30),
        "{retry_after:?}"
    );
}
