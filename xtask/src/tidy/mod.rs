//! What the compiler and clippy do not hold: pure checks over the files of the tree.

mod dependencies;
mod files;
mod manifest;
mod tree;

use std::path::Path;

use anyhow::{Result, ensure};

use tree::File;

/// Checks the tree at `root`; the error lists everything that was found.
pub fn run(root: &Path) -> Result<()> {
    let findings = findings(&tree::read(root)?);
    ensure!(findings.is_empty(), "the tree is not tidy:\n{}", findings.join("\n"));
    Ok(())
}

fn findings(files: &[File]) -> Vec<String> {
    [dependencies::check(files), files::check(files)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        let findings = findings(&tree::read(&crate::cargo::workspace()).unwrap());
        assert!(findings.is_empty(), "{}", findings.join("\n"));
    }

    #[test]
    fn the_whole_tree_is_read() {
        let files = tree::read(&crate::cargo::workspace()).unwrap();
        for path in ["Cargo.toml", "xtask/src/tidy/mod.rs", "crates/model/Cargo.toml", "tests/src/lib.rs"] {
            assert!(files.iter().any(|file| file.path == path), "{path}");
        }
        assert!(!files.iter().any(|file| file.path.starts_with(".git/") || file.path.starts_with("target/")));
    }
}
