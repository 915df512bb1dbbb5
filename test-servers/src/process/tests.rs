use super::*;

fn folder() -> (tempfile::TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("server");
    (parent, folder)
}

fn guardian(folder: &Path, command: &str) -> Guardian {
    Guardian::over(folder, &["sh", "-c", command].map(OsString::from)).unwrap()
}

#[test]
fn a_guardian_whose_answer_nobody_reads_still_ends_the_server_and_removes_its_folder() {
    let (_parent, folder) = folder();
    let pid_file = folder.join("pid");
    let mut guardian = guardian(&folder, &format!("echo $$ >{}; exec sleep 1000", pid_file.display()));
    // As when this process dies between an order and its answer: the pipe for answers has no other end any more.
    let mut other = Command::new("true").stdout(Stdio::piped()).spawn().unwrap();
    drop(std::mem::replace(&mut guardian.replies, BufReader::new(other.stdout.take().unwrap())));
    other.wait().unwrap();
    writeln!(guardian.orders.as_mut().unwrap(), "start").unwrap();
    let end = Instant::now() + DEADLINE;
    let pid = loop {
        if let Some(pid) = read(&pid_file).trim().parse().ok().and_then(Pid::from_raw) {
            break pid;
        }
        assert!(Instant::now() < end, "the server does not start");
        pause();
    };
    drop(guardian);
    assert!(!is_alive(pid));
    assert!(!folder.exists());
}

#[test]
fn a_folder_that_is_there_already_is_nobodys() {
    let (_parent, folder) = folder();
    fs::create_dir(&folder).unwrap();
    assert!(Guardian::over(&folder, &["true".into()]).is_none());
    assert!(folder.exists());
}

#[test]
fn a_server_that_is_killed_can_be_started_again_by_the_same_guardian() {
    let (_parent, folder) = folder();
    let mut guardian = guardian(&folder, "exec sleep 1000");
    let mut pids = Vec::new();
    for _ in 0..2 {
        let pid = Pid::from_raw(guardian.order("start").parse().unwrap()).unwrap();
        assert!(is_alive(pid));
        assert_eq!(guardian.order("kill"), "killed");
        assert!(!is_alive(pid));
        pids.push(pid);
    }
    assert_ne!(pids[0], pids[1]);
}
