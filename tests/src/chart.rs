//! The Helm chart of this tree, rendered.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::kube::ControlPlane;
use crate::{cache, process};

const LIMIT: Duration = Duration::from_secs(60);
/// The namespace that it is rendered for.
pub const NAMESPACE: &str = "epicenter-system";

/// Where it is.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/helm/epicenter")
}

/// Its objects with `values` (`name=value`, as of `--set`), as a stream of YAML documents.
pub fn render(values: &[&str]) -> Result<String> {
    helm(&["template", "epicenter"], values)
}

/// Installs what it gives a cluster to work under: service accounts, roles, and the definition of Incident.
pub fn install_access(plane: &ControlPlane, values: &[&str]) -> Result<()> {
    let of = ["serviceaccounts", "rbac", "crd"].map(|name| format!("--show-only=templates/{name}.yaml"));
    let only = of.iter().map(String::as_str);
    let objects = helm(&["template", "epicenter"].into_iter().chain(only).collect::<Vec<_>>(), values)?;
    plane.kubectl(&["create", "namespace", NAMESPACE])?;
    plane.apply_text(&objects)?;
    let served = ["wait", "--for=condition=Established", "crd/incidents.epicenter.dev", "--timeout=30s"];
    plane.kubectl(&served).map(drop)
}

/// What `helm lint --strict` says; an error when it finds something.
pub fn lint(values: &[&str]) -> Result<String> {
    helm(&["lint", "--strict"], values)
}

fn helm(what: &[&str], values: &[&str]) -> Result<String> {
    let kubernetes = cache::version("kubernetes")?;
    let mut command = Command::new(cache::server("helm")?.join("helm"));
    command.args(what).arg(directory()).args(["--namespace", NAMESPACE, "--kube-version", kubernetes]);
    for value in values {
        command.args(["--set", value]);
    }
    process::output(&mut command, LIMIT)
}
