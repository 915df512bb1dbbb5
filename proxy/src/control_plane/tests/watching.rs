//! What is heard is what is in force.

use super::scripted::Answer;
use super::*;

#[tokio::test]
async fn a_snapshot_is_in_force_once_the_figures_of_budgets_are_there() {
    let control_plane = Scripted::start([Answer::Open(whole(&snapshot(3, "one")))]).await;
    let mut side = Side::new();
    side.start(&control_plane.url);
    eventually("the watch begins", || (!control_plane.asked().is_empty()).then_some(())).await;
    assert_eq!(side.snapshots.load().revision, 0, "budgets would begin anew");
    control_plane.say(&figures());
    assert_eq!(name_in(&*side.in_force(3).await), "one");
    let asked = control_plane.asked().remove(0).head;
    assert!(asked.contains(&format!("\r\nauthorization: Bearer {TOKEN}\r\n")), "{asked}");
    let line = asked.lines().next().unwrap();
    let id = side.journal.id();
    assert_eq!(line, format!("GET /internal/v1/watch?proxy_id=pxy_{id}&journal={id} HTTP/1.1"));
    let known = timeout(PATIENCE, side.remote.as_ref().unwrap().await_first_word()).await;
    assert_eq!(known, Ok(Known::Current));
}

#[tokio::test]
async fn changes_apply_to_what_is_in_force_and_to_what_waits_for_its_figures() {
    let (one, two, three) = (snapshot(3, "one"), snapshot(5, "two"), snapshot(6, "three"));
    let begun = [whole(&one), change(&one, &two), figures()].concat();
    let control_plane = Scripted::start([Answer::Open(begun)]).await;
    let mut side = Side::new();
    side.start(&control_plane.url);
    assert_eq!(name_in(&*side.in_force(5).await), "two");
    control_plane.say(&change(&two, &three));
    assert_eq!(name_in(&*side.in_force(6).await), "three");
}

#[tokio::test]
async fn a_watch_that_breaks_off_begins_again_where_it_was() {
    let (one, two) = (snapshot(3, "one"), snapshot(4, "two"));
    let control_plane = Scripted::start([
        Answer::Ended([whole(&one), figures()].concat()),
        Answer::Closed,
        Answer::Open([change(&one, &two), figures()].concat()),
    ])
    .await;
    let mut side = Side::new();
    side.start(&control_plane.url);
    side.in_force(4).await;
    let again = control_plane.asked().pop().unwrap().head;
    assert!(again.lines().next().unwrap().contains("&revision=3&lineage=lineage-1 "), "{again}");
}

#[tokio::test]
async fn a_line_that_makes_no_sense_costs_the_connection_and_nothing_else() {
    let (one, two) = (snapshot(3, "one"), snapshot(9, "two"));
    let strange = SnapshotDiff { from: 77, revision: 78, ..SnapshotDiff::default() };
    let strange = WatchLine::Change(Box::new(strange)).encode().unwrap();
    let mut other_version = figures();
    let at = other_version.windows(11).position(|part| part == b"\"version\":1").unwrap();
    other_version[at + 10] = b'9';
    for nonsense in [b"sk-ant-secret\n".to_vec(), b"\n".to_vec(), vec![0xff, b'\n'], strange, other_version] {
        let control_plane = Scripted::start([
            Answer::Open([whole(&one), figures(), nonsense].concat()),
            Answer::Open([whole(&two), figures()].concat()),
        ])
        .await;
        let mut side = Side::new();
        side.start(&control_plane.url);
        assert_eq!(name_in(&*side.in_force(9).await), "two");
        let again = control_plane.asked().remove(1).head;
        assert!(!again.contains("revision="), "asks for all: {again}");
    }
}

#[tokio::test]
async fn lines_of_a_newer_control_plane_are_passed_over() {
    let news = b"{\"type\":\"news\",\"version\":1,\"x\":{}}\n".to_vec();
    let begun = [news.clone(), whole(&snapshot(3, "one")), news, figures()].concat();
    let control_plane = Scripted::start([Answer::Open(begun)]).await;
    let mut side = Side::new();
    side.start(&control_plane.url);
    side.in_force(3).await;
    assert_eq!(control_plane.asked().len(), 1);
}

#[tokio::test]
async fn a_control_plane_that_was_put_back_from_a_copy_is_believed() {
    let control_plane = Scripted::start([
        Answer::Ended([whole(&snapshot(30, "later")), figures()].concat()),
        Answer::Open([whole(&snapshot(7, "earlier")), figures()].concat()),
    ])
    .await;
    let mut side = Side::new();
    side.start(&control_plane.url);
    side.in_force(30).await;
    assert_eq!(name_in(&*side.in_force(7).await), "earlier");
}

#[tokio::test]
async fn a_refused_token_is_tried_again_and_takes_nothing_away() {
    let control_plane = Scripted::start([
        Answer::Ended([whole(&snapshot(3, "one")), figures()].concat()),
        Answer::Whole(401, b"{}".to_vec()),
        Answer::Whole(503, Vec::new()),
        Answer::Open(figures()),
    ])
    .await;
    let mut side = Side::new();
    side.start(&control_plane.url);
    eventually("the fourth attempt", || (control_plane.asked().len() == 4).then_some(())).await;
    assert_eq!(name_in(&*side.in_force(3).await), "one");
}

#[tokio::test]
async fn a_control_plane_behind_tls_is_trusted_with_its_authority_only() {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = certificate.self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.into())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let begun = [whole(&snapshot(3, "one")), figures()].concat();
    let control_plane = Scripted::start_with(Some(acceptor), [Answer::Open(begun)]).await;
    let mut side = Side::new();
    let remote = side.start(&control_plane.url);
    assert_eq!(timeout(PATIENCE, remote.await_first_word()).await, Ok(Known::Nothing), "a stranger");
    assert!(control_plane.asked().is_empty(), "the token was given to nobody");
    let authority = side.folder.path().join("authority.pem");
    std::fs::write(&authority, certificate.pem()).unwrap();
    side.authority = Some(authority);
    let remote = side.start(&control_plane.url);
    assert_eq!(timeout(PATIENCE, remote.await_first_word()).await, Ok(Known::Current));
}

#[tokio::test]
async fn an_unusable_address_or_token_is_said_at_once() {
    let side = Side::new();
    for (url, token) in [("ftp://x", TOKEN), ("http://", TOKEN), ("http://127.0.0.1:1", "line\nend")] {
        let config = RemoteConfig {
            url: url.to_owned(),
            token: Secret::new(token.to_owned()),
            extra_ca_file: None,
            certificate: None,
            folder: side.folder.path().to_path_buf(),
        };
        let admission = Arc::new(AdmissionControl::new("j".into(), Instant::now()));
        let started =
            RemoteControlPlane::start(&config, side.journal.clone(), Arc::clone(&side.snapshots), admission);
        assert!(started.is_err(), "{url} {token:?}");
    }
}
