//! etcd, from its published server module.

use anyhow::Result;

use super::Build;
use super::tool::{go, run, write};
use crate::progress::step;

const GO_MOD: &str = "module epicenter.dev/servers\n\ngo 1.24\n";
const MAIN: &str = r#"package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
"#;

/// One binary.
pub fn build(build: &Build<'_>) -> Result<()> {
    let Build { target, scratch, version } = build;
    write(scratch, "go.mod", GO_MOD)?;
    write(scratch, "main.go", MAIN)?;
    step(&format!("etcd {version}: downloading"), || {
        run(go(scratch).args(["get", &format!("go.etcd.io/etcd/server/v3@v{version}")]))?;
        run(go(scratch).args(["mod", "tidy"]))
    })?;
    let mut compile = go(scratch);
    compile.args(["build", "-ldflags", "-s -w", "-o"]).arg(target.join("etcd")).arg(".");
    step(&format!("etcd {version}: building"), || run(&mut compile))?;
    Ok(())
}
