//! Files that a command of this workspace prints: checked against it, and written from it.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::cargo::{cargo, workspace};

/// A file and the `epicenter` command line that prints it.
struct Generated {
    file: &'static str,
    arguments: &'static [&'static str],
}

/// All of them. `Generated { file: "deploy/…", arguments: &["…"] }` adds one.
const FILES: &[Generated] = &[
    Generated { file: "deploy/topics.yaml", arguments: &["topics", "list", "-o", "strimzi"] },
    Generated { file: "docs/metrics.md", arguments: &["metrics"] },
];

/// Every generated file is what its command prints now.
pub fn check() -> Result<()> {
    check_against(&from_source)
}

/// Writes every generated file.
pub fn write() -> Result<()> {
    for generated in FILES {
        let path = workspace().join(generated.file);
        fs::write(&path, print(generated, from_source()?)?).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// `epicenter`, built when it is older than its sources.
fn from_source() -> Result<Command> {
    let mut command = cargo()?;
    command.args(["run", "--quiet", "--package", "epicenter", "--"]);
    Ok(command)
}

fn check_against(epicenter: &dyn Fn() -> Result<Command>) -> Result<()> {
    let mut stale = Vec::new();
    for generated in FILES {
        let kept = fs::read_to_string(workspace().join(generated.file)).unwrap_or_default();
        stale.extend(difference(generated.file, &kept, &print(generated, epicenter()?)?));
    }
    ensure!(stale.is_empty(), "{}", stale.join("\n"));
    Ok(())
}

fn print(generated: &Generated, mut command: Command) -> Result<String> {
    command.args(generated.arguments);
    let output = command.output().with_context(|| format!("running {command:?}"))?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {command:?} failed: {error}", generated.file);
    String::from_utf8(output.stdout).with_context(|| format!("{command:?} printed something else than text"))
}

fn difference(file: &str, kept: &str, printed: &str) -> Option<String> {
    if kept == printed {
        return None;
    }
    let same = kept.lines().zip(printed.lines()).take_while(|(a, b)| a == b).count();
    Some(format!("{file}:{}: is not what its command prints: run `cargo xtask generate`", same + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_files_are_what_their_commands_print() {
        // As the workspace's build left it beside this test: another build would take minutes, for other features.
        let test = std::env::current_exe().unwrap();
        let binary = test.ancestors().nth(2).unwrap().join("epicenter");
        assert!(binary.exists(), "{} is missing: build it with `cargo build -p epicenter`", binary.display());
        check_against(&|| Ok(Command::new(&binary))).unwrap();
    }

    #[test]
    fn names_the_first_line_that_differs() {
        assert_eq!(difference("a", "1\n2\n", "1\n2\n"), None);
        let said = difference("a.yaml", "1\n2\n", "1\n3\n").unwrap();
        assert_eq!(said, "a.yaml:2: is not what its command prints: run `cargo xtask generate`");
        assert!(difference("a", "", "1\n").is_some());
    }
}
