//! When a connection carries another request, and when it must not.

use super::*;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const OK_CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";

#[tokio::test]
async fn a_connection_whose_body_ended_cleanly_is_used_again() {
    for answer in [OK, OK_CHUNKED] {
        let scripted = Scripted::answering(answer).await;
        let upstream = scripted.upstream();
        for _ in 0..5 {
            assert_eq!(fetch(&upstream, get("/")).await.body(), "ok");
        }
        assert_eq!(scripted.connections(), 1);
    }
}

#[tokio::test]
async fn the_connection_used_last_is_used_first() {
    let scripted = Scripted::start(|number, mut tcp| async move {
        loop {
            read_head(&mut tcp).await?;
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{number}");
            tcp.write_all(answer.as_bytes()).await?;
        }
    })
    .await;
    let upstream = scripted.upstream();
    let held = upstream.send(get("/")).await.unwrap();
    let second = fetch(&upstream, get("/")).await;
    held.into_body().collect().await.unwrap();
    // Connection 0 came back last.
    let next = fetch(&upstream, get("/")).await;
    assert_eq!((second.body().as_ref(), next.body().as_ref()), (&b"1"[..], &b"0"[..]));
}

#[tokio::test]
async fn a_pooled_connection_that_was_closed_meanwhile_costs_nothing_but_a_new_one() {
    let scripted = Scripted::answering_once(OK).await;
    let upstream = scripted.upstream();
    for number in 0..20 {
        // A POST with a body: it must go out exactly once, and whole.
        let response = fetch(&upstream, post("/", full("body"))).await;
        assert_eq!((response.body().as_ref(), scripted.connections()), (&b"ok"[..], number + 1));
        // The end of the connection has arrived before the next request takes it.
        until("the connection is seen closed", || upstream.inner.http1.newest_is_closed()).await;
    }
}

#[tokio::test]
async fn what_only_looks_goes_again_when_its_used_connection_ends_without_an_answer_and_nothing_else_does() {
    let scripted = Scripted::start(|_, mut tcp| async move {
        read_head(&mut tcp).await?;
        tcp.write_all(OK).await?;
        read_head(&mut tcp).await?; // takes the second request and ends
        Ok(())
    })
    .await;
    let upstream = scripted.upstream();
    for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
        let request =
            || Request::builder().method(method.clone()).uri("/x").header("host", "test").body(empty());
        for _ in 0..3 {
            let response = timeout(PATIENCE, upstream.send(request().unwrap())).await.unwrap();
            let status = response.unwrap().into_parts().0.status;
            assert_eq!(status, StatusCode::OK, "{method}");
        }
    }
    fetch(&upstream, get("/")).await;
    let reused = timeout(PATIENCE, upstream.send(post("/", full("body")))).await.unwrap();
    assert!(matches!(reused, Err(UpstreamError::ClosedEarly(_))), "it may have been worked on, and billed");
}

#[tokio::test]
async fn what_the_upstream_will_close_is_not_kept() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"[..],
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\n\r\nok",
    ] {
        let scripted = Scripted::answering_once(answer).await;
        let upstream = scripted.upstream();
        assert_eq!(fetch(&upstream, get("/")).await.body(), "ok");
        assert_eq!(upstream.inner.http1.idle_count(), 0);
    }
}

#[tokio::test]
async fn bytes_after_the_answer_end_the_connection_and_reach_nobody() {
    let scripted = Scripted::answering(
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nother",
    )
    .await;
    let upstream = scripted.upstream();
    for _ in 0..3 {
        assert_eq!(fetch(&upstream, get("/")).await.body(), "ok");
    }
    assert_eq!(scripted.connections(), 3);
}

#[tokio::test]
async fn an_abandoned_body_closes_its_connection_at_once() {
    let (ended, mut ends) = mpsc::channel(1);
    let scripted = Scripted::start(move |_, mut tcp| {
        let ended = ended.clone();
        async move {
            read_head(&mut tcp).await?;
            tcp.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n").await?;
            let end = tcp.read(&mut [0; 16]).await;
            ended.send(matches!(end, Ok(0) | Err(_))).await.unwrap();
            Ok(())
        }
    })
    .await;
    let upstream = scripted.upstream();
    let mut body = upstream.send(get("/")).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    assert!(timeout(PATIENCE, ends.recv()).await.unwrap().unwrap());
    assert_eq!(upstream.inner.http1.idle_count(), 0);
}

#[tokio::test]
async fn an_abandoned_request_closes_its_connection_at_once() {
    let (state, mut states) = mpsc::channel(2);
    let scripted = Scripted::start(move |_, mut tcp| {
        let state = state.clone();
        async move {
            read_head(&mut tcp).await?;
            state.send("asked").await.unwrap();
            while tcp.read(&mut [0; 16]).await? > 0 {}
            state.send("ended").await.unwrap();
            Ok(())
        }
    })
    .await;
    let upstream = scripted.upstream();
    let sending = tokio::spawn(async move { upstream.send(get("/")).await.map(drop) });
    assert_eq!(timeout(PATIENCE, states.recv()).await.unwrap(), Some("asked"));
    sending.abort();
    assert_eq!(timeout(PATIENCE, states.recv()).await.unwrap(), Some("ended"));
}

#[tokio::test]
async fn idle_connections_are_closed_when_their_time_is_over() {
    let scripted = Scripted::answering(OK).await;
    let config = UpstreamConfig { pool_idle_timeout: Duration::from_millis(50), ..scripted.config() };
    let upstream = Upstream::new(&config).unwrap();
    fetch(&upstream, get("/")).await;
    until("nothing asks for the connection, yet it goes", || upstream.inner.http1.idle_count() == 0).await;
    fetch(&upstream, get("/")).await;
    until("the next one goes as well", || upstream.inner.http1.idle_count() == 0).await;
    assert_eq!(scripted.connections(), 2);
}

#[tokio::test]
async fn no_more_idle_connections_are_kept_than_allowed() {
    let scripted = Scripted::answering(OK).await;
    let config = UpstreamConfig { pool_max_idle: 2, ..scripted.config() };
    let upstream = Upstream::new(&config).unwrap();
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(upstream.send(get("/")).await.unwrap());
    }
    for response in held {
        response.into_body().collect().await.unwrap();
    }
    assert_eq!(upstream.inner.http1.idle_count(), 2);
}

#[tokio::test]
async fn a_connection_is_not_used_again_while_its_upload_is_unfinished() {
    let scripted = Scripted::answering(OK).await;
    let upstream = scripted.upstream();
    let (feed, body) = fed();
    assert_eq!(fetch(&upstream, post("/", body)).await.body(), "ok");
    assert_eq!(upstream.inner.http1.idle_count(), 0);
    assert!(feed.is_closed(), "the answer is complete: nobody wants the rest of the upload");
}
