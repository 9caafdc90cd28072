//! KWOK, which plays nodes and kubelets, and the stages that say how its nodes and pods behave.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::Build;
use super::tool::{go, go_install, run, write};
use crate::progress::step;

/// Those of `kustomize/stage/fast`: nodes that are Ready and renew their leases, pods that run at once.
const STAGES: [&str; 3] = ["node/fast", "node/heartbeat-with-lease", "pod/fast"];

/// The binary, and `stages.yaml` beside it.
pub fn build(build: &Build<'_>) -> Result<()> {
    let Build { target, scratch, version } = build;
    let module = format!("sigs.k8s.io/kwok@v{version}");
    step(&format!("kwok {version}: downloading"), || run(go(scratch).args(["mod", "download", &module])))?;
    let modules = run(go(scratch).args(["env", "GOMODCACHE"]))?;
    let stages = Path::new(modules.trim()).join(&module).join("kustomize/stage");
    write(
        target,
        "stages.yaml",
        &STAGES.map(|stage| read(&stages.join(stage))).into_iter().collect::<Result<String>>()?,
    )?;
    go_install(build, "sigs.k8s.io/kwok/cmd/kwok")
}

/// Every stage of a folder, as documents of one YAML stream.
fn read(directory: &Path) -> Result<String> {
    let entries = fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))?;
    let mut paths: Vec<_> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.sort();
    paths.retain(|path| path.extension().is_some_and(|e| e == "yaml") && !path.ends_with("kustomization.yaml"));
    ensure!(!paths.is_empty(), "{} has no stages", directory.display());
    let documents = paths.iter().map(|path| Ok(format!("---\n{}\n", fs::read_to_string(path)?.trim_end())));
    documents.collect()
}
