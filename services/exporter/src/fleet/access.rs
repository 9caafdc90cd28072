//! From a kubeconfig to a way into a cluster.

use std::hash::{DefaultHasher, Hasher};
use std::path::Path;

use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};

/// A kubeconfig is no longer than that, bytes: a Secret takes as much.
pub(super) const LONGEST: u64 = 1024 * 1024;

/// Why a kubeconfig is of no use. It is looked at again at every poll.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    /// It is larger than any kubeconfig.
    #[error("it has {0} bytes, and a kubeconfig has {LONGEST} at most")]
    TooLarge(u64),
    /// It is no kubeconfig, or it refers to what is not there.
    #[error("it is no kubeconfig that can be used: {0}; compare it with one that kubectl takes")]
    Kubeconfig(#[from] KubeconfigError),
    /// The Secret has no such key.
    #[error("it has no key `kubeconfig`: `kubectl create secret generic NAME --from-file=kubeconfig=FILE` makes one")]
    NoKey,
    /// It is no text.
    #[error("it is not UTF-8")]
    NotText,
    /// Nothing says which of its contexts is meant.
    #[error("it has no current-context: `kubectl config use-context NAME --kubeconfig FILE` sets it")]
    NoContext,
    /// It wants to run or read something of this machine, which a Secret must not bring about.
    #[error("{0} is not taken from a Secret: embed a token, or certificates as `…-data`")]
    Outside(&'static str),
    /// Its name is none for a cluster.
    #[error("`{0}` is no name for a cluster: use letters, digits, `-`, `_` and `.`")]
    Name(String),
}

/// What a kubeconfig says of how to reach a cluster, and a hash of everything that it says.
pub(super) struct Access {
    pub(super) config: Config,
    pub(super) fingerprint: u64,
}

impl Access {
    /// Reads a file. What it refers to is found from its folder, and belongs to the fingerprint. Blocks.
    pub(super) fn of_file(path: &Path) -> Result<Self, AccessError> {
        let length = std::fs::metadata(path)?.len();
        if length > LONGEST {
            return Err(AccessError::TooLarge(length));
        }
        let text = std::fs::read(path)?;
        let kubeconfig = Kubeconfig::read_from(path)?;
        let mut hasher = DefaultHasher::new();
        hasher.write(&text);
        for file in referred(&kubeconfig) {
            // One that is missing is reported by who needs it.
            hasher.write(&std::fs::read(file).unwrap_or_default());
        }
        Self::new(kubeconfig, hasher.finish())
    }

    /// Reads the value of a Secret, which must hold everything itself.
    pub(super) fn of_secret(value: &[u8]) -> Result<Self, AccessError> {
        let text = std::str::from_utf8(value).map_err(|_| AccessError::NotText)?;
        let kubeconfig = Kubeconfig::from_yaml(text)?;
        let users = || kubeconfig.auth_infos.iter().filter_map(|user| user.auth_info.as_ref());
        let outside = [
            ("a command that gives credentials (`exec`)", users().any(|user| user.exec.is_some())),
            ("an `auth-provider`", users().any(|user| user.auth_provider.is_some())),
            ("a `tokenFile`", users().any(|user| user.token_file.is_some())),
            ("the path of a certificate or key", referred(&kubeconfig).next().is_some()),
        ];
        if let Some((what, _)) = outside.into_iter().find(|(_, found)| *found) {
            return Err(AccessError::Outside(what));
        }
        let mut hasher = DefaultHasher::new();
        hasher.write(value);
        Self::new(kubeconfig, hasher.finish())
    }

    fn new(kubeconfig: Kubeconfig, fingerprint: u64) -> Result<Self, AccessError> {
        if kubeconfig.current_context.as_deref().unwrap_or_default().is_empty() {
            return Err(AccessError::NoContext);
        }
        // Async by its signature only: it reads files.
        let current = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &current);
        let config = tokio::runtime::Handle::current().block_on(config)?;
        Ok(Self { config, fingerprint })
    }
}

/// Certificates and keys that it names by their paths. A `tokenFile` is read anew by the client itself.
fn referred(kubeconfig: &Kubeconfig) -> impl Iterator<Item = &String> {
    let clusters = kubeconfig.clusters.iter().filter_map(|named| named.cluster.as_ref());
    let users = kubeconfig.auth_infos.iter().filter_map(|named| named.auth_info.as_ref());
    let certificates = users.flat_map(|user| user.client_certificate.iter().chain(&user.client_key));
    clusters.flat_map(|cluster| &cluster.certificate_authority).chain(certificates)
}
