//! What the tests of other crates rely on: Kafka's starts, crashes, freezes and ways in.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use mindweave_test_servers::Kafka;

#[test]
fn a_topic_is_still_there_after_a_crash() {
    let server = Kafka::start();
    server.create_topic("kept", 3);
    server.kill();
    server.start_again();
    server.delete_topic("kept");
}
