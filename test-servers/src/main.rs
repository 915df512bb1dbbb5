//! Starts the servers by hand: `cargo run -p mindweave-test-servers [kafka] [postgres]`. They end with this program, which
//! ends at the end of its input, at an interrupt, or when it is killed.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a tool for the terminal")]

use std::io::Read;
use std::process::ExitCode;

use mindweave_test_servers::{Kafka, Postgres};

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = wanted.iter().find(|name| !["kafka", "postgres"].contains(&name.as_str())) {
        eprintln!("unknown server {unknown}: kafka and postgres are known");
        return ExitCode::FAILURE;
    }
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|one| one == name);
    if wants("kafka") {
        let kafka = Kafka::shared();
        println!("kafka {} {}", kafka.brokers(), kafka.folder().display());
    }
    if wants("postgres") {
        let postgres = Postgres::shared();
        println!("postgres {} {}", postgres.create_database(), postgres.folder().display());
    }
    let _end_of_input = std::io::stdin().read_to_end(&mut Vec::new());
    ExitCode::SUCCESS
}
