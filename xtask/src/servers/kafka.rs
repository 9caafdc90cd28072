//! The Kafka broker and its tools: their jars, through Maven.

use anyhow::Result;

use super::Build;
use super::tool::{maven, run, write};
use crate::progress::step;

/// slf4j-simple because the broker brings no logger of its own as a library.
const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>dev.epicenter</groupId><artifactId>broker</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>ARTIFACT</artifactId><version>KAFKA</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
"#;

/// The jars, flat in one folder: `java -cp '<folder>/*' kafka.Kafka`.
pub fn build(build: &Build<'_>) -> Result<()> {
    download(build, "kafka_2.13", &[])
}

/// The jar of its tools; what they need beside it is the broker's.
pub fn build_tools(build: &Build<'_>) -> Result<()> {
    download(build, "kafka-tools", &["-DincludeArtifactIds=kafka-tools"])
}

fn download(build: &Build<'_>, artifact: &str, more: &[&str]) -> Result<()> {
    write(build.scratch, "pom.xml", &POM.replace("KAFKA", build.version).replace("ARTIFACT", artifact))?;
    let mut copy = maven(build.scratch);
    copy.arg("dependency:copy-dependencies").arg(format!("-DoutputDirectory={}", build.target.display())).args(more);
    step(&format!("{artifact} {}: downloading", build.version), || run(&mut copy))?;
    Ok(())
}
