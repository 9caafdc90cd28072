//! The surroundings of an object.

use epicenter_bus::Reject;
use epicenter_model::{Context, ObjectRef};

use crate::table::{Objects, is_same, key};

/// Owners above an object at most. Chains of more than three are rare; a cycle would be endless.
const OWNERS: usize = 8;

/// What is known of where an object stands.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    /// That.
    pub context: Context,
    /// The object's own facts are known.
    pub known: bool,
    /// Keys of objects that would say more.
    pub missing: Vec<String>,
}

impl Objects<'_, '_> {
    /// The surroundings of `object`. `host` is the node that an Event about it names, for when its facts do not.
    pub(crate) fn surroundings(&mut self, object: &ObjectRef, host: Option<&str>) -> Result<Surroundings, Reject> {
        let own = key(object);
        let mut found = Surroundings::default();
        let mut owner = None;
        match self.standing(&own)?.filter(|standing| is_same(object, &standing.uid)) {
            Some(standing) => {
                found.known = true;
                found.context = standing.context.clone();
                owner = standing.owner.clone();
                if standing.unplaced {
                    found.missing.push(own.clone());
                }
                found.context.deleting |= self.memory.is_deleted(&own);
            }
            None => found.missing.push(own.clone()),
        }
        if found.context.node.is_empty() {
            let node = if object.kind == "Node" { Some(object.name.as_str()) } else { host };
            found.context.node = node.unwrap_or_default().to_owned();
        }
        self.climb(own, owner, &mut found)?;
        self.place(object, &mut found.context)?;
        Ok(found)
    }

    /// The chain of owners.
    fn climb(&mut self, own: String, owner: Option<ObjectRef>, found: &mut Surroundings) -> Result<(), Reject> {
        let mut passed = vec![own];
        let mut next = owner;
        while let Some(owner) = next.take() {
            let above = key(&owner);
            if passed.contains(&above) || found.context.owners.len() == OWNERS {
                break;
            }
            match self.standing(&above)?.filter(|standing| is_same(&owner, &standing.uid)) {
                Some(standing) => next.clone_from(&standing.owner),
                None => found.missing.push(above.clone()),
            }
            passed.push(above);
            found.context.owners.push(owner);
        }
        Ok(())
    }

    /// Zone, volumes and the namespace's labels.
    fn place(&mut self, object: &ObjectRef, context: &mut Context) -> Result<(), Reject> {
        if context.zone.is_empty() && !context.node.is_empty() {
            let node = ["/Node//", &context.node].concat();
            if let Some(standing) = self.standing(&node)? {
                context.zone.clone_from(&standing.context.zone);
            }
        }
        for claim in &context.claims {
            let claim = ["/PersistentVolumeClaim/", &object.namespace, "/", claim].concat();
            if let Some(standing) = self.standing(&claim)?.filter(|standing| !standing.volume.is_empty()) {
                context.volumes.push(standing.volume.clone());
            }
        }
        if !object.namespace.is_empty() {
            let namespace = ["/Namespace//", &object.namespace].concat();
            if let Some(standing) = self.standing(&namespace)? {
                context.namespace_labels.clone_from(&standing.labels);
            }
        }
        Ok(())
    }
}
