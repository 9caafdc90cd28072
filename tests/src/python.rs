//! Python programs of the documentation, with what they require.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::{cache, process};

const LIMIT: Duration = Duration::from_secs(300);

/// The folder of the examples.
pub fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/python")
}

/// Python with what the examples require.
pub fn interpreter() -> Result<PathBuf> {
    environment("python", &examples().join("requirements.txt"))
}

/// Python with what the file `requirements` lists: an environment in the cache, made anew when that changes.
pub fn environment(name: &str, requirements: &Path) -> Result<PathBuf> {
    let wanted = fs::read_to_string(requirements)?;
    let (directory, mark) = (cache::root()?.join(name), "requirements.txt");
    let python = directory.join("bin/python");
    if fs::read_to_string(directory.join(mark)).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    let mut create = Command::new("python3");
    create.args(["-m", "venv", "--clear"]).arg(&directory);
    process::output(&mut create, LIMIT)
        .context("making a virtual environment: it needs the Debian package python3-venv")?;
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]).arg(requirements);
    process::output(&mut install, LIMIT)
        .with_context(|| format!("installing what {} lists", requirements.display()))?;
    fs::write(directory.join(mark), wanted)?;
    Ok(python)
}
