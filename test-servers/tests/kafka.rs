//! What the tests of other crates rely on: Kafka's starts, crashes, freezes and ways in.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod waiting;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};

use mindweave_test_servers::{Kafka, KafkaOptions, SASL_PASSWORD, SASL_USER, Security, TestCa};
use waiting::{DEADLINE, SILENCE, process_state};

#[test]
fn topics_and_records_outlive_a_crash_and_a_stop() {
    let server = Kafka::start();
    let brokers = server.brokers();
    server.create_topic("kept", 3);
    server.create_topic("removed", 1);
    server.delete_topic("removed");
    for (times, down) in [Kafka::kill, Kafka::stop].into_iter().enumerate() {
        produce(&server, "kept", "one record\n");
        down(&server);
        server.start_again();
        assert_eq!(server.brokers(), brokers);
        let kept = records(&server, "kept", times + 1);
        assert_eq!(kept, vec!["one record"; times + 1]);
    }
    let topics = list_topics(&server, None);
    let topics = String::from_utf8_lossy(&topics.stdout).into_owned();
    let topics: Vec<&str> = topics.lines().filter(|topic| !topic.starts_with("__")).collect();
    assert_eq!(topics, ["kept"]);
}

#[test]
fn a_topic_that_is_there_cannot_be_made_again() {
    let server = Kafka::shared();
    server.create_topic("once", 1);
    let failure =
        std::panic::catch_unwind(|| Kafka::shared().create_topic("once", 1)).expect_err("it is there");
    let message = failure.downcast_ref::<String>().expect("a panic with a message");
    assert!(message.contains("did not create the topic once: error Some(36)"), "{message}");
}

#[test]
fn a_frozen_server_keeps_requests_waiting_and_goes_on_when_thawed() {
    let server: &Kafka = Box::leak(Box::new(Kafka::start())); // for the thread; its process watches over it
    server.create_topic("before", 1);
    server.freeze();
    assert_eq!(server.pid().and_then(process_state), Some('T'));
    let (done, ended) = channel();
    let asking = std::thread::spawn(move || {
        server.create_topic("meanwhile", 1);
        done.send(()).expect("the test waits");
    });
    assert_eq!(ended.recv_timeout(SILENCE), Err(RecvTimeoutError::Timeout));
    server.thaw();
    ended.recv_timeout(DEADLINE).expect("the request goes on");
    asking.join().expect("the topic was made");
    server.kill();
}

#[test]
fn tls_is_checked_against_the_servers_own_authority() {
    let server = with(Security::Tls { mutual: false });
    assert!(handshake(&server, &["-CAfile", &shown(&server.ca_file())]).status.success());
    let folder = tempfile::tempdir().expect("a folder");
    let stranger = TestCa::new(folder.path());
    assert!(!handshake(&server, &["-CAfile", &shown(&stranger.file())]).status.success());
}

#[test]
fn mutual_tls_lets_in_only_who_shows_a_certificate_of_the_same_authority() {
    let server = with(Security::Tls { mutual: true });
    let ca = shown(&server.ca_file());
    let ours = server.client_certificate();
    let folder = tempfile::tempdir().expect("a folder");
    let strangers = TestCa::new(folder.path()).client("stranger");
    let with_certificate = |cert: &Path, key: &Path| {
        handshake(&server, &["-CAfile", &ca, "-cert", &shown(cert), "-key", &shown(key)]).status.success()
    };
    assert!(with_certificate(&ours.cert_file, &ours.key_file));
    assert!(!with_certificate(&strangers.cert_file, &strangers.key_file));
    assert!(!handshake(&server, &["-CAfile", &ca]).status.success());
}

#[test]
fn sasl_knows_its_user_by_every_mechanism_over_tls() {
    let server = with(Security::SaslTls);
    server.create_topic("seen", 1);
    for (mechanism, module) in
        [("PLAIN", "plain.Plain"), ("SCRAM-SHA-256", "scram.Scram"), ("SCRAM-SHA-512", "scram.Scram")]
    {
        let listed =
            list_topics(&server, Some(&login(&server, "SASL_SSL", mechanism, module, SASL_PASSWORD)));
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        assert!(text.contains("seen"), "{mechanism}: {text}\n{}", String::from_utf8_lossy(&listed.stderr));
    }
}

#[test]
fn sasl_refuses_a_wrong_password() {
    let server = with(Security::SaslPlaintext);
    let listed = list_topics(
        &server,
        Some(&login(&server, "SASL_PLAINTEXT", "SCRAM-SHA-512", "scram.Scram", "guessed")),
    );
    assert!(!listed.status.success());
    let text =
        String::from_utf8_lossy(&listed.stdout).into_owned() + &String::from_utf8_lossy(&listed.stderr);
    assert!(text.contains("SaslAuthenticationException"), "{text}");
}

fn with(security: Security) -> Kafka {
    Kafka::with_options(&KafkaOptions { security, ..KafkaOptions::default() })
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// TLS 1.2: in 1.3 a client ends its part of the handshake before the server has judged its certificate.
fn handshake(server: &Kafka, arguments: &[&str]) -> Output {
    let mut openssl = Command::new("openssl");
    openssl.args(["s_client", "-tls1_2", "-verify_return_error", "-verify_ip", "127.0.0.1", "-connect"]);
    openssl.arg(server.brokers()).args(arguments).stdin(Stdio::null()).output().expect("openssl starts")
}

/// The settings of a client of Kafka's own tools, as a file.
fn login(server: &Kafka, protocol: &str, mechanism: &str, module: &str, password: &str) -> PathBuf {
    let text = format!(
        "security.protocol={protocol}\nsasl.mechanism={mechanism}\nssl.truststore.type=PEM\n\
         ssl.truststore.location={}\nsasl.jaas.config=org.apache.kafka.common.security.{module}LoginModule required \
         username=\"{SASL_USER}\" password=\"{password}\";\n",
        server.ca_file().display(),
    );
    let file = server.folder().join(format!("{mechanism}.client.properties"));
    fs::write(&file, text).expect("a folder of the test");
    file
}

fn list_topics(server: &Kafka, client_settings: Option<&PathBuf>) -> Output {
    let mut tool = server.tool("org.apache.kafka.tools.TopicCommand");
    tool.args(["--bootstrap-server", &server.brokers(), "--list"]);
    if let Some(file) = client_settings {
        tool.arg("--command-config").arg(file);
    }
    tool.output().expect("java starts")
}

fn produce(server: &Kafka, topic: &str, lines: &str) {
    let mut tool = server.tool("org.apache.kafka.tools.ConsoleProducer");
    tool.args(["--bootstrap-server", &server.brokers(), "--topic", topic, "--sync"]);
    let mut tool =
        tool.stdin(Stdio::piped()).stderr(Stdio::null()).stdout(Stdio::null()).spawn().expect("java starts");
    let mut input = tool.stdin.take().expect("its input is a pipe");
    input.write_all(lines.as_bytes()).expect("it reads");
    drop(input);
    assert!(tool.wait().expect("it ends").success());
}

fn records(server: &Kafka, topic: &str, count: usize) -> Vec<String> {
    let mut tool = server.tool("org.apache.kafka.tools.consumer.ConsoleConsumer");
    tool.args(["--bootstrap-server", &server.brokers(), "--topic", topic, "--from-beginning"]);
    tool.args(["--max-messages", &count.to_string(), "--timeout-ms", &DEADLINE.as_millis().to_string()]);
    let output = tool.output().expect("java starts");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}
