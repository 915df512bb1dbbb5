//! Heads and bodies as they stand on the wire.

use super::*;

#[tokio::test]
async fn requests_that_can_be_read_in_two_ways_are_refused_and_nothing_after_them_is_read() {
    const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n";
    let heads = [
        "content-length: 4\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
        "Transfer-Encoding: chunked\r\nCONTENT-LENGTH : 4\r\n",
        "content-length: 4\r\nfoo: bar\r\ntransfer-encoding: CHUNKED\r\n",
        "content-length: 4\r\ncontent-length: 5\r\n",
        "content-length: 4, 5\r\n",
        "content-length: +4\r\n",
        "content-length: 0x4\r\n",
        "content-length: -1\r\n",
        "content-length: 99999999999999999999\r\n",
        "content-length:\r\n",
        "content-length : 4\r\n",
        "content-length: 4\r\n folded: 1\r\n",
        "x: a\r\n folded\r\n",
        "transfer-encoding: xchunked\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding: chunked;q=1\r\n",
        "transfer-encoding: identity\r\n",
        "transfer-encoding : chunked\r\n",
        "transfer-encoding\u{0b}: chunked\r\n",
        "transfer-encoding: \u{0b}chunked\r\n",
        "transfer-encoding: chunked\rx: y\r\n",
        "x\0y: z\r\n",
        "x: y\0z\r\n",
        ": empty name\r\n",
        "no colon\r\n",
    ];
    for head in heads {
        let running = Running::start().await;
        let request = format!("POST /first HTTP/1.1\r\nhost: x\r\n{head}\r\n0\r\n\r\n{SMUGGLED}");
        let answer = running.say(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{head:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{head:?}: {answer}");
        assert_eq!(running.echo.entered.load(Ordering::SeqCst), 0, "{head:?} reached the handler");
    }
}

#[tokio::test]
async fn two_framings_are_refused_on_a_connection_that_was_used_before_too() {
    let running = Running::start().await;
    let mut tcp = running.connect().await;
    for _ in 0..3 {
        tcp.write_all(
            b"POST /ok HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        )
        .await
        .unwrap();
        assert!(read_response(&mut tcp).await.ends_with("POST /ok 3 abc"));
    }
    tcp.write_all(
        b"POST /ok HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    )
    .await
    .unwrap();
    let answer = text(&read_all(&mut tcp).await.unwrap());
    assert!(
        answer.starts_with("HTTP/1.1 400 ") && answer.contains("mindweave-reason: ambiguous_framing"),
        "{answer}"
    );
}

#[tokio::test]
async fn two_framings_that_arrive_behind_another_request_are_read_one_way_and_end_the_connection() {
    let running = Running::start().await;
    let answer = running
        .say(
            b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n\
              POST /b HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n\
              GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n",
        )
        .await;
    assert!(answer.contains("POST /b 0 ") || answer.contains("ambiguous_framing"), "{answer}");
    assert!(!answer.contains("smuggled"), "{answer}");
}

#[tokio::test]
async fn a_body_that_talks_about_lengths_is_only_a_body() {
    let running = Running::start().await;
    let mut tcp = running.connect().await;
    tcp.write_all(b"POST /ok HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n19\r\ncontent-length: 5\r\n\r\nPOST \r\n0\r\n\r\n").await.unwrap();
    assert!(read_response(&mut tcp).await.starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn a_length_that_is_said_twice_alike_is_one_length() {
    let running = Running::start().await;
    let mut tcp = running.connect().await;
    tcp.write_all(b"POST /ok HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ncontent-length: 3\r\n\r\nabc")
        .await
        .unwrap();
    assert!(read_response(&mut tcp).await.ends_with("POST /ok 3 abc"));
}

#[tokio::test]
async fn a_transfer_coding_from_an_http10_client_is_refused() {
    let running = Running::start().await;
    let answer = running.say(b"POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 ") || answer.starts_with("HTTP/1.0 400 "), "{answer}");
    assert_eq!(running.echo.entered.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn chunks_that_lie_break_the_upload() {
    for body in [
        "-1\r\nx\r\n",
        "zz\r\nx\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\nx",
        "3 3\r\nabc\r\n0\r\n\r\n",
    ] {
        let running = Running::start().await;
        let mut tcp = running.connect().await;
        let request = format!("POST /up HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n{body}");
        tcp.write_all(request.as_bytes()).await.unwrap();
        let answer = text(&read_all(&mut tcp).await.unwrap_or_default());
        assert!(answer.is_empty() || answer.ends_with("upload cut"), "{body:?}: {answer}");
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let running = Running::start().await;
    let answer = running
        .say(b"GET /1 HTTP/1.1\r\nhost: x\r\n\r\nPOST /2 HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhiGET /3 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await;
    let order: Vec<_> =
        ["GET /1 0 ", "POST /2 2 hi", "GET /3 0 "].iter().map(|part| answer.find(part).unwrap()).collect();
    assert!(order.is_sorted(), "{answer}");
}

#[tokio::test]
async fn nothing_is_added_to_a_response_and_letter_case_survives() {
    let running = Running::start().await;
    let mut tcp = running.connect().await;
    tcp.write_all(b"GET /x HTTP/1.1\r\nHost: x\r\nX-Echo-CASE: caf\xe9\r\n\r\n").await.unwrap();
    let answer = read_response(&mut tcp).await;
    assert_eq!(answer, "HTTP/1.1 200 OK\r\nX-Echo-CASE: caf\u{e9}\r\ncontent-length: 9\r\n\r\nGET /x 0 ");
}

#[tokio::test]
async fn a_client_that_waits_for_permission_to_upload_gets_it() {
    let running = Running::start().await;
    let mut tcp = running.connect().await;
    tcp.write_all(b"POST /up HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n")
        .await
        .unwrap();
    let mut permission = [0; 25];
    timeout(PATIENCE, tcp.read_exact(&mut permission)).await.unwrap().unwrap();
    assert_eq!(&permission, b"HTTP/1.1 100 Continue\r\n\r\n");
    tcp.write_all(b"data").await.unwrap();
    assert!(read_response(&mut tcp).await.ends_with("POST /up 4 data"));
}

#[tokio::test]
async fn a_client_that_waits_for_permission_gets_a_refusal_instead() {
    let running = Running::start().await;
    let mut tcp = running.connect().await;
    tcp.write_all(b"POST /refuse HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n")
        .await
        .unwrap();
    assert!(read_response(&mut tcp).await.starts_with("HTTP/1.1 413 "));
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_is_still_uploading() {
    let running = Running::start().await;
    for _ in 0..10 {
        let mut tcp = running.connect().await;
        let (mut reading, mut writing) = tcp.split();
        let upload = async {
            let head = b"POST /refuse HTTP/1.1\r\nhost: x\r\ncontent-length: 16777216\r\n\r\n";
            writing.write_all(head).await?;
            writing.write_all(&vec![b'x'; 16 << 20]).await?;
            writing.shutdown().await
        };
        let mut answer = Vec::new();
        let read = reading.read_to_end(&mut answer);
        let (uploaded, read) = timeout(PATIENCE, async { tokio::join!(upload, read) }).await.unwrap();
        assert!(text(&answer).starts_with("HTTP/1.1 413 "), "{uploaded:?} {read:?} {}", text(&answer));
    }
}

#[tokio::test]
async fn a_cut_body_looks_cut_to_every_client() {
    let running = Running::start().await;
    // What came before the failure is delivered, also when the failure follows at once.
    let chunked = running.say(b"GET /cut HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(chunked.starts_with("HTTP/1.1 200 OK") && chunked.ends_with("5\r\nhello\r\n"), "{chunked:?}");
    // An old client knows the end of a body only by the end of the connection.
    let mut tcp = running.connect().await;
    tcp.write_all(b"GET /cut HTTP/1.0\r\n\r\n").await.unwrap();
    assert_eq!(read_all(&mut tcp).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}
