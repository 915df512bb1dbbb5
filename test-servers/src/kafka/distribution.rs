//! Kafka's jars, through Maven.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::cache::made_once;
use crate::process::run;

/// The version that tests run against.
const VERSION: &str = "4.1.1";

/// What to do when the server cannot be had.
pub(super) const ADVICE: &str = "On Debian and Ubuntu: apt-get install default-jre-headless maven (tests/run does); Kafka 4 wants Java 17 or newer";

/// The folder of jars, downloaded by the first process that needs it.
pub(super) fn libraries() -> PathBuf {
    let kafka = made_once(&format!("kafka-{VERSION}"), |made| {
        let pom = made.join("pom.xml");
        fs::write(&pom, POM.replace("{version}", VERSION)).expect("a cache folder that can be written");
        let mut maven = Command::new("mvn");
        maven.args(["-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", "-f"]).arg(&pom);
        maven.arg(format!("-DoutputDirectory={}", made.join("libs").display()));
        run(&mut maven, &format!("Kafka {VERSION} could not be downloaded. {ADVICE}"));
    });
    kafka.join("libs")
}

/// The server, its command line tools, and a log that goes to the standard error.
const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>mindweave</groupId>
  <artifactId>test-servers</artifactId>
  <version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{version}</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>{version}</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
"#;
