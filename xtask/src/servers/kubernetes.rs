//! The Kubernetes control plane and kubectl, built from the published modules.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::Build;
use super::tool::{go, run, write};
use crate::progress::step;

const COMMANDS: [&str; 4] = ["kubectl", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];

/// One binary per command.
pub fn build(build: &Build<'_>) -> Result<()> {
    let Build { target, scratch, version } = build;
    step(&format!("kubernetes {version}: downloading"), || prepare(scratch, version))?;
    let (major, minor) = version.split_once('.').context("a version is major.minor.patch")?;
    let minor = minor.split('.').next().unwrap_or_default();
    let package = "k8s.io/component-base/version";
    let flags =
        format!("-s -w -X {package}.gitVersion=v{version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}");
    for command in COMMANDS {
        let mut compile = go(scratch);
        compile.args(["build", "-ldflags", &flags, "-o"]).arg(target.join(command));
        compile.arg(format!("k8s.io/kubernetes/cmd/{command}"));
        step(&format!("kubernetes {version}: building {command} (minutes, the first time)"), || run(&mut compile))?;
    }
    Ok(())
}

/// A module that requires k8s.io/kubernetes and finds its staging modules where they are published.
fn prepare(scratch: &Path, version: &str) -> Result<()> {
    let module = format!("k8s.io/kubernetes@v{version}");
    run(go(scratch).args(["mod", "download", &module]))?;
    let modules = run(go(scratch).args(["env", "GOMODCACHE"]))?;
    let upstream = Path::new(modules.trim()).join(&module).join("go.mod");
    let upstream = std::fs::read_to_string(&upstream).with_context(|| format!("reading {}", upstream.display()))?;
    write(scratch, "go.mod", &go_mod(&upstream, version)?)?;
    let imports = COMMANDS.map(|command| format!("\t_ \"k8s.io/kubernetes/cmd/{command}\"\n")).concat();
    write(scratch, "tools.go", &format!("//go:build tools\n\npackage tools\n\nimport (\n{imports})\n"))?;
    run(go(scratch).args(["mod", "tidy"]))?;
    Ok(())
}

/// k8s.io/kubernetes replaces its staging modules by folders of its own repository; Kubernetes 1.x.y publishes them as
/// 0.x.y.
fn go_mod(upstream: &str, version: &str) -> Result<String> {
    let staging = version.strip_prefix("1.").with_context(|| format!("{version} is not Kubernetes 1.x.y"))?;
    let go = upstream.lines().find(|line| line.starts_with("go ")).context("upstream go.mod names no Go version")?;
    let mut text = format!("module epicenter.dev/servers\n\n{go}\n\nrequire k8s.io/kubernetes v{version}\n\n");
    let mut replaced = 0;
    for (name, _) in upstream.lines().filter_map(|line| line.trim().split_once(" => ./staging/")) {
        let name = name.trim_start_matches("replace ");
        writeln!(text, "replace {name} => {name} v0.{staging}")?;
        replaced += 1;
    }
    ensure!(replaced > 0, "upstream go.mod replaces no staging module");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staging_modules_are_taken_from_where_they_are_published() {
        let upstream =
            "module k8s.io/kubernetes\n\ngo 1.26.0\n\nreplace (\n\tk8s.io/api => ./staging/src/k8s.io/api\n)\n";
        let expected = "module epicenter.dev/servers\n\ngo 1.26.0\n\nrequire k8s.io/kubernetes v1.37.2\n\n\
                        replace k8s.io/api => k8s.io/api v0.37.2\n";
        assert_eq!(go_mod(upstream, "1.37.2").unwrap(), expected);
        assert!(go_mod("module k8s.io/kubernetes\n\ngo 1.26.0\n", "1.37.2").is_err());
    }
}
