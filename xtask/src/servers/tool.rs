//! The tools that build the servers: present and new enough, or an error that says what to install.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::Build;
use crate::progress::step;

/// A tool of this machine.
struct Tool {
    name: &'static str,
    /// Prints its version.
    version: &'static str,
    /// What the version begins after, and the oldest that will do (major, minor).
    after: &'static str,
    oldest: (u32, u32),
    purpose: &'static str,
    package: &'static str,
}

const JAVA: Tool = Tool {
    name: "java",
    version: "-version",
    after: "version \"",
    oldest: (17, 0),
    purpose: "runs the Kafka broker",
    package: "openjdk-17-jre-headless",
};
const MAVEN: Tool = Tool {
    name: "mvn",
    version: "--version",
    after: "Apache Maven ",
    oldest: (3, 6),
    purpose: "downloads the Kafka broker",
    package: "maven",
};
const GO: Tool = Tool {
    name: "go",
    version: "version",
    after: "go version go",
    oldest: (1, 21),
    purpose: "builds the Kubernetes API server, etcd, KWOK and Helm",
    package: "golang-go (Debian 12: from bookworm-backports, or https://go.dev/dl; 1.21 and newer fetch what they need)",
};

/// Virtual environments, and `pip` in them: Debian has both apart from Python itself.
const PYTHON: Tool = Tool {
    name: "python3",
    version: "--version",
    after: "Python ",
    oldest: (3, 9),
    purpose: "fetches the Java of the schema registry, and runs the example of a consumer",
    package: "python3-venv",
};

/// Debian's package, and its command.
const BROWSER: &str = "chromium";

const PERL: Tool = Tool {
    name: "perl",
    version: "-v",
    after: "(v",
    oldest: (5, 10),
    purpose: "configures the OpenSSL that is built in for TLS to Kafka",
    package: "perl",
};

/// What running the servers, and building what is tested, needs is there.
pub fn check_run() -> Result<()> {
    check(&[JAVA, PERL, PYTHON])?;
    check_venv()?;
    check_browser()
}

/// What building the servers needs is there; the error names all that is not.
pub fn check_build() -> Result<()> {
    check(&[JAVA, PERL, MAVEN, GO, PYTHON])?;
    check_venv()?;
    check_browser()
}

/// Maven, in `directory`.
pub fn maven(directory: &Path) -> Command {
    let mut command = Command::new(MAVEN.name);
    command.args(["--quiet", "--batch-mode"]).current_dir(directory);
    command
}

/// Go, in `directory`: static binaries, and no question to version control.
pub fn go(directory: &Path) -> Command {
    let mut command = Command::new(GO.name);
    command.env("CGO_ENABLED", "0").env("GOFLAGS", "-buildvcs=false").env("GOWORK", "off").current_dir(directory);
    command
}

/// Builds the command `package` of a published module.
pub fn go_install(build: &Build<'_>, package: &str) -> Result<()> {
    let Build { target, scratch, version } = build;
    let mut compile = go(scratch);
    compile.env("GOBIN", target).args(["install", "-ldflags", "-s -w"]).arg(format!("{package}@v{version}"));
    step(&format!("{package} {version}: building"), || run(&mut compile)).map(drop)
}

/// Debian's Python comes without what makes virtual environments.
fn check_venv() -> Result<()> {
    let found = || {
        let found = Command::new(PYTHON.name).args(["-c", "import ensurepip, venv"]).output();
        found.is_ok_and(|output| output.status.success())
    };
    installed(PYTHON.package, "`python3` cannot make virtual environments", found)
}

/// The browser in which the console is looked at.
fn check_browser() -> Result<()> {
    let found = || Command::new(BROWSER).arg("--version").output().is_ok_and(|output| output.status.success());
    installed(BROWSER, "`chromium` is missing: the console is looked at in it", found)
}

/// A Debian package is installed where that is allowed; `wrong` says what is so without it.
fn installed(package: &str, wrong: &str, found: impl Fn() -> bool) -> Result<()> {
    if !found() {
        let mut install = Command::new("apt-get");
        install.args(["install", "--yes", "--no-install-recommends", package]);
        let mut update = Command::new("apt-get");
        update.arg("update");
        let installed = step(&format!("{package}: installing"), || run(&mut update).and(run(&mut install)));
        ensure!(installed.is_ok() && found(), "{wrong}: install the Debian package {package}");
    }
    Ok(())
}

fn check(tools: &[Tool]) -> Result<()> {
    let missing: Vec<_> = tools.iter().filter_map(|tool| tool.check().err()).map(|error| error.to_string()).collect();
    ensure!(missing.is_empty(), "{}", missing.join("\n"));
    Ok(())
}

/// Runs a command to its end; returns what it printed to standard output, or the end of what it said when it fails.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("running {command:?}"))?;
    let said = [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)].concat();
    let lines: Vec<_> = said.lines().collect();
    let tail = lines[lines.len().saturating_sub(25)..].join("\n");
    ensure!(output.status.success(), "{command:?} failed ({}):\n{tail}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Writes a file of a build's sources.
pub fn write(directory: &Path, name: &str, text: &str) -> Result<()> {
    fs::write(directory.join(name), text).with_context(|| format!("writing {name} in {}", directory.display()))
}

impl Tool {
    fn check(&self) -> Result<()> {
        let output = Command::new(self.name).arg(self.version).output();
        self.judge(output.ok().map(|output| [output.stdout, output.stderr].concat()).as_deref())
    }

    fn judge(&self, printed: Option<&[u8]>) -> Result<()> {
        let Self { name, purpose, package, oldest: (major, minor), .. } = self;
        let mend = format!("it {purpose}; install the Debian package {package}");
        let printed = printed.with_context(|| format!("`{name}` is missing: {mend}"))?;
        let printed = String::from_utf8_lossy(printed);
        let found = printed.split_once(self.after).map_or("", |(_, rest)| rest);
        let mut numbers = found.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
        let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        ensure!(
            found >= self.oldest,
            "`{name}` is of version {}.{}, and {major}.{minor} is needed: {mend}",
            found.0,
            found.1
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_that_is_missing_or_old_is_named_with_its_package() {
        let check = |tool: &Tool, printed: Option<&str>, expected: &str| {
            let said =
                tool.judge(printed.map(str::as_bytes)).map_or_else(|error| error.to_string(), |()| "fine".into());
            assert_eq!(said, expected);
        };
        check(&JAVA, Some("openjdk version \"17.0.15\" 2025-04-15"), "fine");
        check(&JAVA, Some("openjdk version \"25\" 2025-09-16"), "fine");
        let mend = "it runs the Kafka broker; install the Debian package openjdk-17-jre-headless";
        check(&JAVA, None, &format!("`java` is missing: {mend}"));
        check(
            &JAVA,
            Some("java version \"1.8.0_292\""),
            &format!("`java` is of version 1.8, and 17.0 is needed: {mend}"),
        );
        check(&JAVA, Some("no such thing"), &format!("`java` is of version 0.0, and 17.0 is needed: {mend}"));
        check(&GO, Some("go version go1.26.8 linux/amd64"), "fine");
        check(&PERL, Some("\nThis is perl 5, version 36, subversion 0 (v5.36.0) built for x86_64"), "fine");
        check(&MAVEN, Some("Apache Maven 3.8.7\nMaven home: /usr/share/maven"), "fine");
        assert!(GO.judge(Some(b"go version go1.19.8 linux/amd64")).unwrap_err().to_string().contains("golang-go"));
    }
}
