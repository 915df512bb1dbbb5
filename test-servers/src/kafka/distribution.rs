//! What all servers share: Kafka's jars (through Maven), a formatted data folder, and its classes as Java likes them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Kafka, KafkaOptions, QUICK, SASL_PASSWORD, SASL_USER, class_path};
use crate::cache::made_once;
use crate::process::run;

/// The version that tests run against.
const VERSION: &str = "4.1.1";

/// To be raised when what [`formatted`] makes changes: it is part of the template's name.
const TEMPLATE_REVISION: u32 = 1;

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

/// Puts a formatted data folder at `data`, with the SASL user in it, for a cluster of this id.
///
/// Formatting takes a second of Java and its result differs between servers in the cluster's id alone.
pub(super) fn formatted(data: &Path, cluster_id: &str) {
    const PLACEHOLDER: &str = "mindweave0template000A";
    let template = made_once(&format!("kafka-{VERSION}-data-{TEMPLATE_REVISION}"), |made| {
        let properties = made.join("server.properties");
        let data = made.join("data");
        let text = format!(
            "process.roles=broker,controller\nnode.id=1\nlog.dirs={}\nlisteners=B://127.0.0.1:1,C://127.0.0.1:2\n\
             listener.security.protocol.map=B:PLAINTEXT,C:PLAINTEXT\ninter.broker.listener.name=B\n\
             controller.listener.names=C\ncontroller.quorum.voters=1@127.0.0.1:2\n",
            data.display(),
        );
        fs::write(&properties, text).expect("a cache folder that can be written");
        let mut format = Command::new("java");
        format.args(QUICK).arg("-cp").arg(class_path()).args(["kafka.tools.StorageTool", "format", "-c"]);
        format.arg(&properties).args(["-t", PLACEHOLDER]);
        for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
            let user = format!("{mechanism}=[name={SASL_USER},password={SASL_PASSWORD}]");
            format.args(["--add-scram", &user]);
        }
        run(&mut format, ADVICE);
    });
    run(
        Command::new("cp").arg("-r").arg(template.join("data")).arg(data),
        "the template could not be copied",
    );
    let file = data.join("meta.properties");
    let text = fs::read_to_string(&file).expect("what the format tool writes");
    assert!(text.contains(PLACEHOLDER), "the format tool writes the cluster's id into {}", file.display());
    fs::write(&file, text.replace(PLACEHOLDER, cluster_id)).expect("a folder of ours");
}

/// Java's archive of the classes that a starting server loads: it takes a third off every start.
///
/// Java takes no harm from one that does not fit it (another version, another place of the jars): it does without.
pub(super) fn class_archive() -> PathBuf {
    const FILE: &str = "classes.jsa";
    let folder = made_once(&format!("kafka-{VERSION}-classes"), |made| {
        let archive = format!("-XX:ArchiveClassesAtExit={}", made.join(FILE).display());
        Kafka::launch(&KafkaOptions::default(), &archive).stop();
    });
    folder.join(FILE)
}

/// The server, its command line tools, and a log that goes to the standard error.
const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>mindweave</groupId>
  <artifactId>test-servers</artifactId>
  <version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{version}</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>{version}</version>
      <exclusions><exclusion><groupId>org.apache.kafka</groupId><artifactId>connect-runtime</artifactId></exclusion></exclusions></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
"#;
