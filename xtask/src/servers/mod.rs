//! The servers that the tests run against, and tools that check the chart: downloaded or built once, kept outside the repository, keyed by version.

mod alertmanager;
mod apicurio;
mod debian;
mod etcd;
mod kafka;
mod kubernetes;
mod kwok;
mod tool;

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::progress::step;

/// Which servers, and which version of each: the same file that the test harness reads.
const VERSIONS: &str = include_str!("../../../tests/servers.txt");

/// Where one server is being put together.
struct Build<'a> {
    /// The folder that becomes `<cache>/<name>-<version>` when the build is done.
    target: &'a Path,
    /// For sources and other things that are not kept.
    scratch: &'a Path,
    /// Without a leading `v`.
    version: &'a str,
}

/// `$EPICENTER_TEST_CACHE`, else `~/.cache/epicenter`.
pub fn cache() -> Result<PathBuf> {
    if let Some(directory) = std::env::var_os("EPICENTER_TEST_CACHE") {
        return Ok(std::path::absolute(directory)?);
    }
    let home = std::env::var_os("HOME").context("HOME is not set: set EPICENTER_TEST_CACHE to a directory")?;
    Ok(PathBuf::from(home).join(".cache/epicenter"))
}

/// Those that build long, and that only the full tests ask for.
const FULL: [&str; 1] = ["minio"];

/// Puts every server that is missing into `cache`, with `full` those of the full tests, too. Several runs at once wait for each other.
pub fn install_all(cache: &Path, full: bool) -> Result<()> {
    fs::create_dir_all(cache).with_context(|| format!("making {}", cache.display()))?;
    let _held = lock(cache)?;
    let wanted = || versions().filter(|(name, _)| full || !FULL.contains(name));
    if wanted().all(|(name, version)| folder(cache, name, version).exists()) {
        alertmanager::link(&alertmanager(cache))?;
        return tool::check_run();
    }
    tool::check_build()?;
    for (name, version) in wanted() {
        match name {
            "kafka" => install(cache, name, version, kafka::build)?,
            "kafka-tools" => install(cache, name, version, kafka::build_tools)?,
            "kubernetes" => install(cache, name, version, kubernetes::build)?,
            "etcd" => install(cache, name, version, etcd::build)?,
            "kwok" => install(cache, name, version, kwok::build)?,
            "alertmanager" => install(cache, name, version, alertmanager::build)?,
            "prometheus" => install(cache, name, version, |build| debian::unpack(build, "prometheus"))?,
            "apicurio" => install(cache, name, version, apicurio::build)?,
            "minio" => install(cache, name, version, |build| tool::go_install(build, "github.com/minio/minio"))?,
            "helm" => install(cache, name, version, |build| tool::go_install(build, "helm.sh/helm/v3/cmd/helm"))?,
            "kubeconform" => {
                install(cache, name, version, |build| {
                    tool::go_install(build, "github.com/yannh/kubeconform/cmd/kubeconform")
                })?;
            }
            other => bail!("tests/servers.txt: nobody knows how to build `{other}`"),
        }
    }
    alertmanager::link(&alertmanager(cache))
}

fn versions() -> impl Iterator<Item = (&'static str, &'static str)> {
    VERSIONS.lines().filter_map(|line| line.split_once(' '))
}

fn alertmanager(cache: &Path) -> PathBuf {
    let found = versions().find(|(name, _)| *name == "alertmanager");
    found.map_or_else(PathBuf::new, |(name, version)| folder(cache, name, version))
}

fn folder(cache: &Path, name: &str, version: &str) -> PathBuf {
    cache.join(format!("{name}-{version}"))
}

/// Builds in a folder of its own, which takes the final name only when all is there.
fn install(cache: &Path, name: &str, version: &str, build: fn(&Build<'_>) -> Result<()>) -> Result<()> {
    let done = folder(cache, name, version);
    if done.exists() {
        return Ok(());
    }
    let work = cache.join(format!(".{name}-{version}.unfinished"));
    remove(&work)?;
    let (target, scratch) = (work.join("target"), work.join("scratch"));
    fs::create_dir_all(&target)?;
    fs::create_dir_all(&scratch)?;
    build(&Build { target: &target, scratch: &scratch, version })?;
    fs::rename(&target, &done).with_context(|| format!("naming {}", done.display()))?;
    remove(&work)
}

fn remove(directory: &Path) -> Result<()> {
    if !directory.exists() {
        return Ok(());
    }
    fs::remove_dir_all(directory).with_context(|| format!("removing {}", directory.display()))
}

/// Held until it is dropped, and by the system until the process ends.
fn lock(cache: &Path) -> Result<File> {
    let path = cache.join("servers.lock");
    let file = File::options().create(true).append(true).open(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            step("waiting for another run that sets up the servers", || Ok(file.lock()?))?;
            Ok(file)
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("locking {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_that_fails_is_never_taken_as_done() {
        let cache = std::env::temp_dir().join(format!("epicenter-xtask-{}", std::process::id()));
        fs::create_dir_all(&cache).unwrap();
        let half = |build: &Build<'_>| {
            fs::write(build.target.join("half"), "")?;
            bail!("interrupted")
        };
        let whole = |build: &Build<'_>| {
            assert!(!build.target.join("half").exists(), "it starts afresh");
            Ok(fs::write(build.target.join("whole"), build.version)?)
        };
        assert!(install(&cache, "server", "1", half).is_err());
        assert!(!cache.join("server-1").exists());
        install(&cache, "server", "1", whole).unwrap();
        assert_eq!(fs::read_to_string(cache.join("server-1/whole")).unwrap(), "1");
        install(&cache, "server", "1", half).unwrap();
        assert_eq!(fs::read_dir(&cache).unwrap().count(), 1, "nothing is left behind");
        remove(&cache).unwrap();
    }

    #[test]
    fn every_server_has_a_version() {
        assert_eq!(versions().count(), VERSIONS.lines().count());
    }
}
