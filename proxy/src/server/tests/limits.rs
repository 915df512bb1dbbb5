//! What hostile and careless clients meet.

use std::fmt::Write as _;

use super::*;

fn quick() -> ServerConfig {
    ServerConfig {
        header_timeout: Duration::from_millis(200),
        idle_timeout: Duration::from_millis(400),
        stall_timeout: Duration::from_millis(400),
        ..ServerConfig::new(LOCAL)
    }
}

/// How long the server takes to close a connection on which `bytes` were sent, each after a pause.
async fn closes_after(running: &Running, pause: Duration, bytes: &[u8]) -> Duration {
    let mut tcp = running.connect().await;
    let started = Instant::now();
    let (mut reading, mut writing) = tcp.split();
    let drip = async {
        for byte in bytes {
            if writing.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(pause).await;
        }
        std::future::pending::<()>().await;
    };
    let mut rest = Vec::new();
    tokio::select! {
        () = drip => {}
        closed = timeout(PATIENCE, reading.read_to_end(&mut rest)) => drop(closed.unwrap()),
    }
    started.elapsed()
}

#[tokio::test]
async fn a_head_must_be_complete_in_time_however_it_drips() {
    let running = Running::with(quick()).await;
    let pause = Duration::from_millis(30);
    let head = b"GET / HTTP/1.1\r\nx-slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    for bytes in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n", head] {
        let took = closes_after(&running, pause, bytes).await;
        assert!(took >= Duration::from_millis(190) && took < Duration::from_secs(5), "{bytes:?} {took:?}");
    }
    assert_eq!(running.echo.entered.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn idle_time_between_requests_is_not_counted_as_a_slow_head() {
    let running = Running::with(quick()).await;
    let mut tcp = running.connect().await;
    for _ in 0..3 {
        tcp.write_all(b"GET /x HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        read_response(&mut tcp).await;
        // Longer than the limit for heads.
        tokio::time::sleep(Duration::from_millis(270)).await;
    }
    let started = Instant::now();
    assert!(read_all(&mut tcp).await.unwrap().is_empty(), "a polite end");
    assert!(started.elapsed() < Duration::from_secs(5), "idle connections do end");
}

#[tokio::test]
async fn a_connection_on_which_nothing_moves_is_closed_although_a_request_is_under_way() {
    let running = Running::with(quick()).await;
    let mut uploading = running.connect().await;
    uploading.write_all(b"POST /up HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc").await.unwrap();
    let mut deaf = running.connect().await;
    deaf.write_all(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    running.until_entered(2).await;
    assert!(read_all(&mut uploading).await.is_ok_and(|read| read.is_empty()));
    until("nothing is left open", || running.echo.abandoned.load(Ordering::SeqCst) == 1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut rest = Vec::new();
    let end = timeout(PATIENCE, deaf.read_to_end(&mut rest)).await;
    assert!(end.is_ok(), "the deaf client's connection has ended as well");
}

#[tokio::test]
async fn a_slow_but_steady_upload_is_welcome() {
    let running = Running::with(quick()).await;
    let mut tcp = running.connect().await;
    tcp.write_all(b"POST /up HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n").await.unwrap();
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(90)).await;
        tcp.write_all(b"x").await.unwrap();
    }
    assert!(read_response(&mut tcp).await.ends_with("POST /up 10 xxxxxxxxxx"));
}

#[tokio::test]
async fn large_heads_pass_and_too_large_ones_are_told_so() {
    let running = Running::start().await;
    let head = |fields: usize, bytes: usize| {
        let mut head = String::from("GET /fields HTTP/1.1\r\nhost: x\r\n");
        for number in 1..fields {
            write!(head, "x-{number}: {}\r\n", "v".repeat(bytes)).unwrap();
        }
        head + "connection: close\r\n\r\n"
    };
    for (fields, bytes, status) in [
        (200, 10, "200 OK"),
        (200, 1400, "200 OK"),
        (300, 10, "431 Request Header Fields Too Large"),
        (200, 4000, "431 Request Header Fields Too Large"),
        (2, 16 << 20, "431 Request Header Fields Too Large"),
    ] {
        let request = head(fields, bytes);
        let mut tcp = running.connect().await;
        let (mut reading, mut writing) = tcp.split();
        let mut answer = Vec::new();
        let talk =
            async { tokio::join!(writing.write_all(request.as_bytes()), reading.read_to_end(&mut answer)) };
        timeout(PATIENCE, talk).await.unwrap().1.unwrap();
        assert!(
            text(&answer).starts_with(&format!("HTTP/1.1 {status}\r\n")),
            "{fields} {bytes} {}",
            text(&answer)
        );
    }
    let answer =
        running.say(format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "p".repeat(70_000)).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 414 "), "{answer}");
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_until_another_ends() {
    let config = ServerConfig { max_connections: 2, ..ServerConfig::new(LOCAL) };
    let running = Running::with(config).await;
    let request = b"GET /x HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut first = running.connect().await;
    let mut second = running.connect().await;
    for tcp in [&mut first, &mut second] {
        tcp.write_all(request).await.unwrap();
        read_response(tcp).await;
    }
    let mut third = running.connect().await;
    third.write_all(request).await.unwrap();
    let early = timeout(Duration::from_millis(150), third.read_u8()).await;
    assert!(early.is_err(), "the third is not served yet");
    drop(first);
    read_response(&mut third).await;
}

#[tokio::test]
async fn the_handler_is_dropped_when_its_client_leaves() {
    let running = Running::start().await;
    let mut tcp = running.connect().await;
    tcp.write_all(b"GET /held HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    running.until_entered(1).await;
    drop(tcp);
    until("the handler is dropped", || running.echo.abandoned.load(Ordering::SeqCst) == 1).await;
}

#[tokio::test]
async fn a_burst_of_clients_waits_to_be_accepted_and_nobody_is_turned_away() {
    let listener = listen(LOCAL).unwrap(); // and nobody accepts
    let address = listener.local_addr().unwrap();
    let mut clients = JoinSet::new();
    for _ in 0..500 {
        clients.spawn(timeout(PATIENCE, TcpStream::connect(address)));
    }
    let mut waiting = Vec::new();
    while let Some(client) = clients.join_next().await {
        waiting.push(client.unwrap().expect("the kernel takes the connection").unwrap());
    }
    assert_eq!(waiting.len(), 500);
}
