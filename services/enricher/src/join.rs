//! The surroundings of an object.

use epicenter_bus::Reject;
use epicenter_model::{Context, ObjectFacts, ObjectRef};

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
        let facts = self.facts(&own)?.filter(|facts| is_same(object, &facts.object.uid));
        found.known = facts.is_some();
        if facts.as_ref().is_none_or(|facts| object.kind == "Pod" && facts.node.is_empty()) {
            found.missing.push(own.clone());
        }
        let owner = match facts {
            Some(facts) => self.stand(object, &own, facts, &mut found.context),
            None => None,
        };
        if found.context.node.is_empty() {
            let node = if object.kind == "Node" { Some(object.name.as_str()) } else { host };
            found.context.node = node.unwrap_or_default().to_owned();
        }
        self.climb(own, owner, &mut found)?;
        self.place(object, &mut found.context)?;
        Ok(found)
    }

    /// What an object's own facts say. Gives its owner.
    fn stand(&self, object: &ObjectRef, own: &str, facts: ObjectFacts, context: &mut Context) -> Option<ObjectRef> {
        context.deleting = facts.deleting_at.is_some() || self.memory.is_deleted(own);
        context.node = facts.node;
        context.zone = facts.zone;
        context.images = facts.images;
        context.config_maps = facts.config_maps;
        context.secrets = facts.secrets;
        context.claims = facts.claims;
        match object.kind.as_str() {
            "PersistentVolumeClaim" => context.claims = vec![object.name.clone()],
            "PersistentVolume" => context.volumes = vec![object.name.clone()],
            _ => {}
        }
        // An autoscaler has no owner; what it scales is what suffers with it.
        facts.owner.or(facts.target)
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
            match self.link(&above)?.filter(|link| is_same(&owner, &link.uid)) {
                Some(link) => next = link.owner.clone(),
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
            if let Some(link) = self.link(&node)? {
                context.zone.clone_from(&link.zone);
            }
        }
        for claim in &context.claims {
            let claim = ["/PersistentVolumeClaim/", &object.namespace, "/", claim].concat();
            if let Some(link) = self.link(&claim)?.filter(|link| !link.volume.is_empty()) {
                context.volumes.push(link.volume.clone());
            }
        }
        if !object.namespace.is_empty() {
            let namespace = ["/Namespace//", &object.namespace].concat();
            if let Some(link) = self.link(&namespace)? {
                context.namespace_labels.clone_from(&link.labels);
            }
        }
        Ok(())
    }
}
