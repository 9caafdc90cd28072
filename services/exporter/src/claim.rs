//! Which exporter of this process reads a cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// The clusters that are read, by the uid of their kube-system namespace. One cluster under two names would be two
/// clusters to everybody downstream, and its exporters would fence each other. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    owners: Arc<Mutex<BTreeMap<String, String>>>,
    /// Who claims by this.
    owner: String,
}

/// A claim, until it is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    claims: Claims,
    uid: String,
}

impl Claims {
    /// The same, to be claimed by `owner`.
    pub(crate) fn by(&self, owner: &str) -> Self {
        Self { owners: Arc::clone(&self.owners), owner: owner.to_owned() }
    }

    /// Claims the cluster; else names who claims and who has it.
    pub(crate) fn take(&self, uid: &str) -> Result<Claim, (String, String)> {
        let mut owners = self.owners.lock();
        if let Some(other) = owners.get(uid) {
            return Err((self.owner.clone(), other.clone()));
        }
        owners.insert(uid.to_owned(), self.owner.clone());
        Ok(Claim { claims: self.clone(), uid: uid.to_owned() })
    }
}

impl Claim {
    /// It is a claim to that cluster.
    pub(crate) fn is_to(&self, uid: &str) -> bool {
        self.uid == uid
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims.owners.lock().remove(&self.uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_has_one_owner_at_a_time() {
        let claims = Claims::default();
        let (a, b) = (claims.by("a.yaml"), claims.by("b.yaml"));
        let first = a.take("1").unwrap();
        assert_eq!(b.take("1").unwrap_err(), ("b.yaml".to_owned(), "a.yaml".to_owned()));
        assert!(b.take("2").unwrap().is_to("2"));
        drop(first);
        assert!(b.take("1").is_ok());
    }
}
