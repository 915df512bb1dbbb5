//! What goes out and what comes back.

use std::fmt::Write as _;

use http::HeaderMap;
use hyper::ext::ReasonPhrase;

use super::*;

#[tokio::test]
async fn the_request_goes_out_as_it_is_behind_the_configured_path() {
    let (seen, mut heads) = mpsc::channel(1);
    let scripted = Scripted::start(move |_, mut tcp| {
        let seen = seen.clone();
        async move {
            seen.send(read_head(&mut tcp).await?).await.unwrap();
            tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await
        }
    })
    .await;
    let config = UpstreamConfig::new(format!("http://{}/base", scripted.address));
    let upstream = Upstream::new(&config).unwrap();
    let mut request = post("/v1/a%2Fb//c?beta=true&x=%20", full("hi"));
    *request.version_mut() = Version::HTTP_10;
    request.headers_mut().insert("content-length", HeaderValue::from_static("2"));
    request.headers_mut().insert("x-odd", HeaderValue::from_bytes(b"caf\xe9").unwrap());
    fetch(&upstream, request).await;
    let expected = "POST /base/v1/a%2Fb//c?beta=true&x=%20 HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\nx-odd: caf\u{e9}\r\n\r\n";
    assert_eq!(heads.recv().await.unwrap(), expected);
}

#[tokio::test]
async fn status_reason_fields_and_their_odd_bytes_come_back() {
    let scripted = Scripted::answering_once(
        b"HTTP/1.1 529 Quite Busy\r\nX-Mixed-Case: caf\xe9\r\nset-cookie: a\r\nSet-Cookie: b\r\ncontent-length: 2\r\n\r\nno",
    )
    .await;
    let response = fetch(&scripted.upstream(), get("/")).await;
    assert_eq!(response.status(), 529);
    assert_eq!(response.extensions().get::<ReasonPhrase>().unwrap().as_bytes(), b"Quite Busy");
    assert_eq!(response.headers()["x-mixed-case"].as_bytes(), b"caf\xe9");
    let cookies: Vec<_> = response.headers().get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a", "b"]);
    assert_eq!(response.body(), "no");
}

#[tokio::test]
async fn heads_of_three_hundred_kilobytes_and_two_hundred_fields_come_back() {
    let scripted = Scripted::start(|_, mut tcp| async move {
        read_head(&mut tcp).await?;
        let mut head = String::from("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n");
        for number in 0..200 {
            write!(head, "x-{number}: {}\r\n", "v".repeat(1500)).unwrap();
        }
        head.push_str("\r\n");
        tcp.write_all(head.as_bytes()).await
    })
    .await;
    let response = fetch(&scripted.upstream(), get("/")).await;
    assert_eq!(response.headers().len(), 201);
}

#[tokio::test]
async fn every_framing_gives_the_same_body() {
    let framings: [&[u8]; 4] = [
        b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nhello world",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6;ext=1\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nhello world",
        b"HTTP/1.0 200 OK\r\n\r\nhello world",
    ];
    for framing in framings {
        let scripted = Scripted::answering_once(framing).await;
        let response = fetch(&scripted.upstream(), get("/")).await;
        assert_eq!((response.version(), response.body().as_ref()), (Version::HTTP_11, &b"hello world"[..]));
    }
}

#[tokio::test]
async fn bodies_that_status_or_method_forbid_are_not_waited_for() {
    for (method, answer) in [
        ("HEAD", &b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n"[..]),
        ("HEAD", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 999\r\n\r\n"),
    ] {
        let scripted = Scripted::answering(answer).await;
        let upstream = scripted.upstream();
        for _ in 0..2 {
            let mut request = get("/");
            *request.method_mut() = method.parse().unwrap();
            assert!(fetch(&upstream, request).await.body().is_empty());
        }
        assert_eq!(scripted.connections(), 1, "{method}: the connection is good for another request");
    }
}

#[tokio::test]
async fn informational_responses_are_swallowed() {
    let scripted = Scripted::answering(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 201 Created\r\ncontent-length: 1\r\n\r\nx",
    )
    .await;
    let response = fetch(&scripted.upstream(), get("/")).await;
    assert_eq!((response.status().as_u16(), response.headers().contains_key("link")), (201, false));
}

#[tokio::test]
async fn a_switch_of_protocols_that_nobody_offered_is_an_error() {
    let scripted =
        Scripted::answering(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n")
            .await;
    let error = scripted.upstream().send(get("/")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::UnexpectedSwitch), "{error:?}");
}

#[tokio::test]
async fn trailers_pass_in_both_directions() {
    let (seen, mut uploads) = mpsc::channel(1);
    let scripted = Scripted::start(move |_, mut tcp| {
        let seen = seen.clone();
        async move {
            read_head(&mut tcp).await?;
            let mut upload = Vec::new();
            while !upload.ends_with(b"\r\n\r\n") {
                upload.push(tcp.read_u8().await?);
            }
            seen.send(String::from_utf8(upload).unwrap()).await.unwrap();
            tcp.write_all(
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n",
            )
            .await?;
            read_head(&mut tcp).await.map(drop)
        }
    })
    .await;
    let (feed, body) = fed();
    let mut request = post("/", body);
    request.headers_mut().insert("trailer", HeaderValue::from_static("x-up"));
    let upstream = scripted.upstream();
    let feeding = async move {
        feed.send(Ok(Frame::data(Bytes::from_static(b"data")))).await.unwrap();
        let trailers: HeaderMap =
            [("x-up".parse().unwrap(), HeaderValue::from_static("1"))].into_iter().collect();
        feed.send(Ok(Frame::trailers(trailers))).await.unwrap();
    };
    let (response, ()) = tokio::join!(upstream.send(request), feeding);
    let collected = response.unwrap().into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["x-sum"], "7");
    assert_eq!(uploads.recv().await.unwrap(), "4\r\ndata\r\n0\r\nx-up: 1\r\n\r\n");
    assert_eq!(upstream.inner.http1.idle_count(), 1, "trailers are an end like any other");
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_upload_is_delivered_although_the_upload_fails() {
    let scripted = Scripted::start(|_, mut tcp| async move {
        read_head(&mut tcp).await?;
        tcp.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 9\r\n\r\ntoo large").await
        // Unread bytes of the upload: the kernel resets the connection.
    })
    .await;
    for _ in 0..20 {
        let response = fetch(&scripted.upstream(), post("/", full(vec![b'x'; 8 << 20]))).await;
        assert_eq!((response.status().as_u16(), response.body().as_ref()), (413, &b"too large"[..]));
    }
}

#[tokio::test]
async fn upload_and_answer_flow_at_the_same_time() {
    let scripted = Scripted::start(|_, mut tcp| async move {
        read_head(&mut tcp).await?;
        tcp.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
        let mut chunk = [0; 6];
        while tcp.read_exact(&mut chunk).await.is_ok() {
            let is_last = chunk.starts_with(b"0");
            if is_last {
                return tcp.write_all(b"0\r\n\r\n").await;
            }
            tcp.write_all(&chunk).await?;
        }
        Ok(())
    })
    .await;
    let (feed, body) = fed();
    let mut body = scripted.upstream().send(post("/", body)).await.unwrap().into_body();
    for part in [&b"a"[..], b"b", b"c"] {
        feed.send(Ok(Frame::data(Bytes::from_static(part)))).await.unwrap();
        let frame = timeout(PATIENCE, body.frame()).await.unwrap().unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), part);
    }
}

#[tokio::test]
async fn events_that_arrive_together_leave_together() {
    const EVENTS: usize = 100;
    let (written, mut all_written) = mpsc::channel(1);
    let scripted = Scripted::start(move |_, mut tcp| {
        let written = written.clone();
        async move {
            read_head(&mut tcp).await?;
            let mut answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
            answer.extend(b"5\r\nevent\r\n".repeat(EVENTS));
            tcp.write_all(&answer).await?;
            written.send(()).await.unwrap();
            // The stream stays open.
            read_head(&mut tcp).await.map(drop)
        }
    })
    .await;
    let mut body = scripted.upstream().send(get("/")).await.unwrap().into_body();
    all_written.recv().await.unwrap();
    let mut taken = Vec::new();
    let mut frames = 0;
    while taken.len() < EVENTS * "event".len() {
        let frame = timeout(PATIENCE, body.frame()).await.unwrap().unwrap().unwrap();
        taken.extend_from_slice(&frame.into_data().unwrap());
        frames += 1;
    }
    assert_eq!(taken, b"event".repeat(EVENTS));
    assert!(frames <= 4, "{frames} frames for what one write sent");
}

/// Whatever the pieces and the pauses between them, no wake-up may be lost: that would be an exchange that never ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn exchanges_end_however_their_bytes_are_spread_over_time() {
    const EXCHANGES: usize = 300;
    let scripted = Scripted::start(|number, mut tcp| async move {
        let mut random = u64::try_from(number).unwrap() + 1;
        loop {
            read_head(&mut tcp).await?;
            let mut upload = Vec::new();
            while !upload.ends_with(b"0\r\n\r\n") {
                upload.push(tcp.read_u8().await?);
            }
            let mut answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
            for event in 0..40 {
                answer.extend_from_slice(format!("8\r\nevent {event:02}\r\n").as_bytes());
            }
            answer.extend_from_slice(b"0\r\n\r\n");
            let mut rest = answer.as_slice();
            while !rest.is_empty() {
                // xorshift: pieces of 1 to 256 bytes, and a pause behind every fourth.
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let length = usize::try_from(random % 256).unwrap() + 1;
                let (piece, left) = rest.split_at(length.min(rest.len()));
                tcp.write_all(piece).await?;
                rest = left;
                if random.is_multiple_of(4) {
                    tokio::time::sleep(Duration::from_micros(random % 700)).await;
                }
            }
        }
    })
    .await;
    let upstream = scripted.upstream();
    let expected: String = (0..40).map(|event| format!("event {event:02}")).collect();
    let exchanges: Vec<_> = (0..EXCHANGES)
        .map(|number| {
            let upstream = upstream.clone();
            tokio::spawn(async move {
                let (feed, body) = fed();
                let feeding = async move {
                    for _ in 0..number % 5 {
                        feed.send(Ok(Frame::data(Bytes::from_static(b"upload")))).await.unwrap();
                        tokio::task::yield_now().await;
                    }
                };
                tokio::join!(fetch(&upstream, post("/", body)), feeding).0
            })
        })
        .collect();
    for exchange in exchanges {
        assert_eq!(exchange.await.unwrap().body(), expected.as_str());
    }
}

#[tokio::test]
async fn merging_keeps_every_byte_trailer_and_failure_in_its_place() {
    let long = "L".repeat(5000);
    let parts = ["a", "bb", &long, "c", &long, &long, "d", "e"];
    let ends: [(&str, Option<&str>); 3] =
        [("0\r\nx-sum: 1\r\n\r\n", Some("1")), ("0\r\n\r\n", None), ("zz", None)];
    for (end, trailer) in ends {
        let chunks: String = parts.iter().map(|part| format!("{:x}\r\n{part}\r\n", part.len())).collect();
        let answer = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}{end}");
        let scripted = Scripted::start(move |_, mut tcp| {
            let answer = answer.clone();
            async move {
                read_head(&mut tcp).await?;
                tcp.write_all(answer.as_bytes()).await
            }
        })
        .await;
        let mut body = scripted.upstream().send(get("/")).await.unwrap().into_body();
        let mut bytes = Vec::new();
        let mut found = None;
        let mut failed = false;
        while let Some(frame) = timeout(PATIENCE, body.frame()).await.unwrap() {
            match frame.map(Frame::into_data) {
                Ok(Ok(data)) => bytes.extend_from_slice(&data),
                Ok(Err(trailers)) => found = Some(trailers.into_trailers().unwrap()["x-sum"].clone()),
                Err(_) => failed = true,
            }
            let is_last = found.is_some() || failed;
            assert!(!is_last || body.frame().await.is_none(), "nothing comes after trailers or a failure");
        }
        assert_eq!(bytes, parts.concat().as_bytes(), "{end:?}");
        assert_eq!(
            (found.as_ref().map(|value| value.to_str().unwrap()), failed),
            (trailer, end == "zz"),
            "{end:?}"
        );
    }
}
