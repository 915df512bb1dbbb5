//! A proxy that starts while its control plane is away.

use super::scripted::Answer;
use super::*;

/// Nobody listens there.
async fn nobody() -> String {
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", gone.local_addr().unwrap())
}

/// A side that has heard of this snapshot and was stopped in an orderly way.
async fn side_that_knew(known: &Snapshot) -> Side {
    let control_plane = Scripted::start([Answer::Open([whole(known), figures()].concat())]).await;
    let mut side = Side::new();
    side.start(&control_plane.url);
    side.in_force(known.revision).await;
    side.stop().await;
    side
}

#[tokio::test]
async fn it_goes_on_with_the_last_snapshot_and_hears_of_later_ones_when_the_control_plane_is_back() {
    let (one, two) = (snapshot(3, "one"), snapshot(4, "two"));
    let mut side = side_that_knew(&one).await;
    // It accepts and says nothing, as one that hangs.
    let control_plane = Scripted::start([Answer::Open(Vec::new())]).await;
    let remote = side.start(&control_plane.url);
    assert_eq!(timeout(PATIENCE, remote.await_first_word()).await, Ok(Known::Cached));
    let cached = side.snapshots.load();
    assert_eq!((cached.revision, name_in(&cached).as_str()), (3, "one"));
    let key = cached.projects.values().next().unwrap().upstream_key.as_ref().unwrap();
    assert_eq!(key.expose_secret(), "sk-ant-upstream");
    control_plane.say(&[whole(&two), figures()].concat());
    side.in_force(4).await;
}

#[tokio::test]
async fn a_kill_takes_nothing_that_was_in_force_for_a_while() {
    let control_plane =
        Scripted::start([Answer::Open([whole(&snapshot(3, "one")), figures()].concat())]).await;
    let mut side = Side::new();
    side.start(&control_plane.url);
    let file = side.folder.path().join("snapshot.sealed");
    eventually("the snapshot is on disk", || file.exists().then_some(())).await;
    side.remote = None; // as a kill: nothing gets to write any more
    let remote = side.start(&nobody().await);
    assert_eq!(timeout(PATIENCE, remote.await_first_word()).await, Ok(Known::Cached));
    assert_eq!(side.snapshots.load().revision, 3);
}

#[tokio::test]
async fn what_could_not_be_written_is_written_once_it_can() {
    let control_plane =
        Scripted::start([Answer::Open([whole(&snapshot(3, "one")), figures()].concat())]).await;
    let mut side = Side::new();
    let draft = side.folder.path().join("snapshot.sealed.draft");
    std::fs::create_dir(&draft).unwrap(); // no file can be written in its place
    side.start(&control_plane.url);
    let file = side.folder.path().join("counters.sealed");
    side.in_force(3).await;
    eventually("the saver has tried", || side.remote.as_ref()?.sync.saver.is_failing().then_some(())).await;
    std::fs::remove_dir(&draft).unwrap();
    eventually("both are on disk", || {
        (file.exists() && side.folder.path().join("snapshot.sealed").exists()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn without_anything_cached_nothing_is_in_force_until_the_control_plane_answers() {
    let mut side = Side::new();
    let remote = side.start(&nobody().await);
    assert_eq!(timeout(PATIENCE, remote.await_first_word()).await, Ok(Known::Nothing));
    assert_eq!(side.snapshots.load().revision, 0);
}

#[tokio::test]
async fn a_damaged_snapshot_is_as_good_as_none_and_is_kept_for_inspection() {
    let mut side = side_that_knew(&snapshot(3, "one")).await;
    let file = side.folder.path().join("snapshot.sealed");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let remote = side.start(&nobody().await);
    assert_eq!(timeout(PATIENCE, remote.await_first_word()).await, Ok(Known::Nothing));
    assert!(side.folder.path().join("snapshot.sealed.unreadable").exists());
}

#[tokio::test]
async fn what_is_on_disk_shows_no_secret() {
    let side = side_that_knew(&snapshot(3, "name-of-the-project")).await;
    for name in ["snapshot.sealed", "counters.sealed"] {
        let bytes = std::fs::read(side.folder.path().join(name)).unwrap();
        for secret in ["sk-ant", "name-of-the-project", TOKEN, "snapshot\""] {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} in {name}");
        }
    }
}
