//! The files of the tree.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// A file of the tree.
pub struct File {
    /// From the root, with `/`.
    pub path: String,
    /// Of Rust sources and Cargo manifests; empty for the rest, whose content no check reads.
    pub text: String,
}

impl File {
    /// Its name, without folders.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// A Rust source.
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

/// Every file under `root` but those of git and of builds, in the order of their paths.
pub fn read(root: &Path) -> Result<Vec<File>> {
    let mut files = Vec::new();
    descend(root, "", &mut files)?;
    files.sort_by(|a: &File, b| a.path.cmp(&b.path));
    Ok(files)
}

fn descend(directory: &Path, prefix: &str, files: &mut Vec<File>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        if entry.file_type()?.is_dir() {
            if ![".git", "target"].contains(&name.as_str()) {
                descend(&entry.path(), &format!("{path}/"), files)?;
            }
        } else {
            let read = name.ends_with(".rs") || name == "Cargo.toml";
            let text =
                if read { fs::read_to_string(entry.path()).with_context(|| path.clone())? } else { String::new() };
            files.push(File { path, text });
        }
    }
    Ok(())
}
