//! The directory of an embedded installation: its log, and where its process can be asked.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use epicenter_bus::{Bus, Fault};
use epicenter_runtime::OpenError;

use crate::cluster::Cluster;
use crate::settings::Settings;

/// The directory of an embedded installation.
#[derive(Clone, Debug)]
pub struct DataDirectory(PathBuf);

impl DataDirectory {
    /// `bus.local.directory`, else `$XDG_STATE_HOME/epicenter/<context>`.
    pub fn of(settings: &Settings) -> anyhow::Result<Self> {
        if let Some(directory) = &settings.bus.local.directory {
            return Ok(Self(directory.clone()));
        }
        let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state = absolute("XDG_STATE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
            .context("neither XDG_STATE_HOME nor HOME is set: name a directory with --data-dir")?;
        let context = Cluster::context_name(&settings.cluster)?;
        // Names of contexts hold slashes and colons (EKS: arn:aws:eks:…).
        let safe = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
        Ok(Self(state.join("epicenter").join(context.chars().map(safe).collect::<String>())))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where its archive is, unless that is placed elsewhere.
    pub fn archive(&self) -> PathBuf {
        self.0.join("archive")
    }

    /// There is a log.
    pub fn exists(&self) -> bool {
        self.0.join("mark").is_file()
    }

    /// Opens the settings' log, here when it is a local one.
    pub fn open(&self, settings: &Settings) -> anyhow::Result<Bus> {
        let mut bus = settings.bus.clone();
        bus.local.directory = Some(self.0.clone());
        bus.open(&self.0).map_err(|error| match &error {
            OpenError::Bus(Fault::Fatal { why, .. }) if why.contains("Locked") => match self.owner() {
                Some(pid) => anyhow::Error::new(error).context(format!(
                    "process {pid} is using {}: stop it with `kill {pid}`, or choose another directory with --data-dir",
                    self.0.display()
                )),
                None => error.into(),
            },
            _ => error.into(),
        })
    }

    /// Says who is using it, and where they can be asked; until the guard is dropped.
    pub fn announce(&self, address: SocketAddr) -> std::io::Result<Announced> {
        std::fs::create_dir_all(&self.0)?;
        std::fs::write(self.0.join("pid"), std::process::id().to_string())?;
        // Renamed into place: who reads it sees a whole address or none.
        std::fs::write(self.0.join("admin.addr.new"), address.to_string())?;
        std::fs::rename(self.0.join("admin.addr.new"), self.0.join("admin.addr"))?;
        Ok(Announced(self.clone()))
    }

    /// Where the process that uses it can be asked.
    pub fn address(&self) -> Option<SocketAddr> {
        std::fs::read_to_string(self.0.join("admin.addr")).ok()?.trim().parse().ok()
    }

    fn owner(&self) -> Option<u32> {
        std::fs::read_to_string(self.0.join("pid")).ok()?.trim().parse().ok()
    }
}

/// The directory says that it is in use.
pub struct Announced(DataDirectory);

impl Drop for Announced {
    fn drop(&mut self) {
        for file in ["admin.addr", "pid"] {
            // What stays behind after a crash is overwritten, and an address where nobody answers counts as none.
            let _ = std::fs::remove_file(self.0.0.join(file));
        }
    }
}
