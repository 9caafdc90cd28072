//! Where the kubeconfigs of a fleet are.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use epicenter_runtime::with_causes;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;
use kube::{Api, Config, ResourceExt};

use super::access::{Access, AccessError};
use crate::config::is_name;

/// The label of Secrets that hold a kubeconfig; its value is the cluster's name.
pub const LABEL: &str = "epicenter.dev/cluster";
/// The key of the kubeconfig in such a Secret.
const KEY: &str = "kubeconfig";
/// Secrets per page.
const PAGE: u32 = 100;
/// A page must have come by then.
const DEADLINE: Duration = Duration::from_secs(10);

/// Where kubeconfigs are found, one per cluster.
#[derive(Clone)]
pub enum Origin {
    /// A directory: each file is one, named after its cluster (`prod-eu-1.yaml`). Kubernetes mounts Secrets so.
    Directory(PathBuf),
    /// Secrets of one namespace with the label `epicenter.dev/cluster: NAME`, under the key `kubeconfig`.
    Secrets(Box<Api<Secret>>),
}

/// Why an origin cannot be looked at. The clusters that it had last stay, and it is looked at again.
#[derive(Debug, thiserror::Error)]
pub enum OriginError {
    /// The directory.
    #[error("it cannot be read: {0}; the clusters that are known stay")]
    Directory(#[from] std::io::Error),
    /// The Secrets.
    #[error("{}; the exporter's account needs `list` on them; the clusters that are known stay", with_causes(.0))]
    Secrets(#[from] kube::Error),
    /// The Secrets, in time.
    #[error("the API server gave no answer within {DEADLINE:?}; the clusters that are known stay")]
    Deadline,
}

/// A kubeconfig that was found.
pub struct Found {
    /// The cluster's name.
    pub name: String,
    /// Where it is, for messages.
    pub place: String,
    pub(super) access: Result<Access, AccessError>,
}

impl Found {
    fn new(name: String, place: String, access: impl FnOnce() -> Result<Access, AccessError>) -> Self {
        let access = if is_name(&name) { access() } else { Err(AccessError::Name(name.clone())) };
        Self { name, place, access }
    }

    /// How to reach the cluster, or why the kubeconfig is of no use.
    pub fn config(self) -> Result<Config, AccessError> {
        self.access.map(|access| access.config)
    }
}

impl Origin {
    /// What is there now, in order of place.
    pub async fn look(&self) -> Result<Vec<Found>, OriginError> {
        match self {
            Self::Directory(directory) => {
                let directory = directory.clone();
                let looked = tokio::task::spawn_blocking(move || files(&directory)).await;
                Ok(looked.map_err(std::io::Error::other)??)
            }
            Self::Secrets(api) => {
                let listed =
                    tokio::time::timeout(DEADLINE, secrets(api)).await.map_err(|_| OriginError::Deadline)??;
                let found = move || listed.into_iter().map(secret).collect();
                Ok(tokio::task::spawn_blocking(found).await.map_err(std::io::Error::other)?)
            }
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(directory) => write!(f, "kubeconfigs in {}", directory.display()),
            Self::Secrets(_) => write!(f, "Secrets with label {LABEL}"),
        }
    }
}

/// The files of a directory. Hidden ones are not meant: `..data` is how Kubernetes swaps a mounted Secret.
fn files(directory: &Path) -> std::io::Result<Vec<Found>> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    paths.retain(|path| !name(path).starts_with('.') && !path.is_dir());
    paths.sort();
    let found = |path: PathBuf| {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Found::new(stem, format!("kubeconfig {}", path.display()), || Access::of_file(&path))
    };
    Ok(paths.into_iter().map(found).collect())
}

async fn secrets(api: &Api<Secret>) -> Result<Vec<Secret>, kube::Error> {
    let mut found = Vec::new();
    let mut next = ListParams::default().labels(LABEL).limit(PAGE);
    loop {
        let page = api.list(&next).await?;
        found.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => next = next.continue_token(&token),
            None => return Ok(found),
        }
    }
}

fn secret(secret: Secret) -> Found {
    let name = secret.labels().get(LABEL).cloned().unwrap_or_default();
    let place = format!("Secret {}/{}", secret.namespace().unwrap_or_default(), secret.name_any());
    Found::new(name, place, || {
        let value = secret.data.as_ref().and_then(|data| data.get(KEY)).ok_or(AccessError::NoKey)?;
        Access::of_secret(&value.0)
    })
}
