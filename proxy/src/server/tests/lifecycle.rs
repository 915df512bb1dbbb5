//! Start, drain and HTTP/2.

use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;

#[tokio::test]
async fn a_drain_finishes_what_is_under_way_and_takes_nothing_new() {
    let running = Running::start().await;
    let address = running.server.local_addrs()[0];
    let mut idle = running.connect().await;
    idle.write_all(b"GET /x HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    read_response(&mut idle).await;
    let mut silent = running.connect().await;
    let mut busy = running.connect().await;
    busy.write_all(b"GET /held HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    running.until_entered(2).await;

    let draining = tokio::spawn(running.server.drain(PATIENCE));
    assert!(read_all(&mut idle).await.unwrap().is_empty(), "an idle connection ends at once");
    assert!(read_all(&mut silent).await.unwrap().is_empty(), "so does one that has said nothing");
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
    running.echo.gate.notify_one();
    let answer = text(&read_all(&mut busy).await.unwrap());
    assert!(answer.contains("connection: close") && answer.ends_with("held"), "{answer}");
    drop((idle, silent, busy));
    assert_eq!(timeout(PATIENCE, draining).await.unwrap().unwrap(), Drained { aborted: 0 });
}

#[tokio::test]
async fn a_drain_cuts_what_is_left_at_its_deadline() {
    let running = Running::start().await;
    let mut busy = running.connect().await;
    busy.write_all(b"GET /held HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    running.until_entered(1).await;
    let started = Instant::now();
    let drained = running.server.drain(Duration::from_millis(100)).await;
    assert_eq!(drained, Drained { aborted: 1 });
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(running.echo.abandoned.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn several_addresses_are_served_alike_and_a_taken_one_is_an_error() {
    let running =
        Running::with(ServerConfig { listen: vec![LOCAL, LOCAL], ..ServerConfig::new(LOCAL) }).await;
    let addresses = running.server.local_addrs().to_vec();
    for address in &addresses {
        let mut tcp = TcpStream::connect(address).await.unwrap();
        tcp.write_all(b"GET /x HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        read_response(&mut tcp).await;
    }
    let taken = Server::start(&ServerConfig::new(addresses[0]), Arc::new(Echo::default())).await;
    assert!(matches!(taken, Err(ServerError::Bind { address, .. }) if address == addresses[0]));
    let none = ServerConfig { listen: Vec::new(), ..ServerConfig::new(LOCAL) };
    assert!(matches!(Server::start(&none, Arc::new(Echo::default())).await, Err(ServerError::NoAddress)));
}

type Http2 = http2::SendRequest<TestBody>;

async fn http2_client(running: &Running) -> (Http2, JoinHandle<hyper::Result<()>>) {
    let tcp = running.connect().await;
    let builder = http2::Builder::new(TokioExecutor::new());
    let (sender, connection) = builder.handshake(TokioIo::new(tcp)).await.unwrap();
    (sender, tokio::spawn(connection))
}

async fn http2_fetch(sender: &mut Http2, path: &str, body: TestBody) -> String {
    let request = Request::post(format!("http://x{path}")).body(body).unwrap();
    let response = timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap();
    text(&response.into_body().collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn http2_with_prior_knowledge_is_served_on_the_same_port() {
    let running = Running::start().await;
    let (mut sender, _connection) = http2_client(&running).await;
    let mut tcp = running.connect().await;
    tcp.write_all(b"PROPFIND /x HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(
        read_response(&mut tcp).await.ends_with("PROPFIND /x 0 "),
        "which begins like the other protocol"
    );
    let body = http2_fetch(&mut sender, "/up", full(vec![b'x'; 8 << 20])).await;
    assert!(body.starts_with("POST /up 8388608 xxx"), "{body}");
}

#[tokio::test]
async fn a_cut_body_reaches_http2_clients_up_to_the_cut() {
    let running = Running::start().await;
    let (mut sender, _connection) = http2_client(&running).await;
    for _ in 0..20 {
        let request = Request::post("http://x/cut").body(full("")).unwrap();
        let mut body = sender.send_request(request).await.unwrap().into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "hello");
        assert!(body.frame().await.unwrap().is_err());
    }
}

#[tokio::test]
async fn an_http2_preface_in_pieces_is_recognised() {
    let running = Running::start().await;
    let mut tcp = running.connect().await;
    for piece in [&b"P"[..], b"RI * HTTP/2.0\r\n", b"\r\nSM\r\n\r\n", b"\0\0\0\x04\0\0\0\0\0"] {
        tcp.write_all(piece).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut frame = [0; 9];
    timeout(PATIENCE, tcp.read_exact(&mut frame)).await.unwrap().unwrap();
    assert_eq!(frame[3], 4, "the answer is a SETTINGS frame");
}

#[tokio::test]
async fn a_drain_says_goodbye_to_http2_clients_and_finishes_their_streams() {
    let running = Running::start().await;
    let (mut sender, connection) = http2_client(&running).await;
    let mut other = sender.clone();
    let held = tokio::spawn(async move {
        http2_fetch(&mut other, "/held", Empty::new().map_err(|never| match never {}).boxed_unsync()).await
    });
    running.until_entered(1).await;
    let draining = tokio::spawn(running.server.drain(PATIENCE));
    until("the goodbye arrives", || {
        draining.is_finished() || sender.is_closed() || !sender.is_ready() || !held.is_finished()
    })
    .await;
    running.echo.gate.notify_one();
    assert_eq!(held.await.unwrap(), "held");
    assert_eq!(timeout(PATIENCE, draining).await.unwrap().unwrap(), Drained { aborted: 0 });
    timeout(PATIENCE, connection).await.unwrap().unwrap().unwrap();
    let request = Request::post("http://x/late").body(full("")).unwrap();
    assert!(sender.send_request(request).await.is_err());
}

#[tokio::test]
async fn idle_http2_connections_end_and_busy_ones_do_not() {
    let config = ServerConfig {
        header_timeout: Duration::from_millis(100),
        idle_timeout: Duration::from_millis(100),
        ..ServerConfig::new(LOCAL)
    };
    let running = Running::with(config).await;
    let (mut sender, connection) = http2_client(&running).await;
    let mut busy = sender.clone();
    let held = tokio::spawn(async move { http2_fetch(&mut busy, "/held", full("")).await });
    running.until_entered(1).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(http2_fetch(&mut sender, "/x", full("")).await, "POST /x 0 ");
    running.echo.gate.notify_one();
    assert_eq!(held.await.unwrap(), "held");
    timeout(PATIENCE, connection).await.unwrap().unwrap().unwrap();
}
