//! What all objects have. Every field is optional: an API server leaves out what is empty, and old writers wrote null.

use std::collections::BTreeMap;

use epicenter_model::{ObjectRef, Timestamp};
use serde::Deserialize;

/// What an object says that it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TypeMeta {
    pub(super) api_version: Option<String>,
    pub(super) kind: Option<String>,
}

/// `metadata`, without managedFields: those are three quarters of a pod's bytes.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Meta {
    pub(super) name: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) uid: Option<String>,
    pub(super) resource_version: Option<String>,
    pub(super) creation_timestamp: Option<Timestamp>,
    pub(super) deletion_timestamp: Option<Timestamp>,
    pub(super) labels: Option<BTreeMap<String, String>>,
    pub(super) annotations: Option<BTreeMap<String, String>>,
    pub(super) owner_references: Option<Vec<Owner>>,
}

/// A row of `metadata.ownerReferences`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Owner {
    api_version: Option<String>,
    kind: Option<String>,
    name: Option<String>,
    uid: Option<String>,
    controller: Option<bool>,
}

/// An `ObjectReference`, or one of its many relatives.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reference {
    pub(super) api_version: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    pub(super) uid: Option<String>,
    pub(super) field_path: Option<String>,
}

impl From<Reference> for ObjectRef {
    fn from(wire: Reference) -> Self {
        Self {
            api_version: wire.api_version.unwrap_or_default(),
            kind: wire.kind.unwrap_or_default(),
            namespace: wire.namespace.unwrap_or_default(),
            name: wire.name.unwrap_or_default(),
            uid: wire.uid.unwrap_or_default(),
        }
    }
}

impl Meta {
    /// The owner that controls the object. A static pod's is its node, which has no namespace.
    pub(super) fn controller(&mut self) -> Option<ObjectRef> {
        let owners = self.owner_references.take()?;
        let owner = owners.into_iter().find(|owner| owner.controller == Some(true))?;
        let namespace = self.namespace.clone().filter(|_| owner.kind.as_deref() != Some("Node"));
        Some(ObjectRef {
            api_version: owner.api_version.unwrap_or_default(),
            kind: owner.kind.unwrap_or_default(),
            namespace: namespace.unwrap_or_default(),
            name: owner.name.unwrap_or_default(),
            uid: owner.uid.unwrap_or_default(),
        })
    }
}
