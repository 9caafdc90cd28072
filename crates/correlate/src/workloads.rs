//! The workloads that an incident touches.

use std::collections::BTreeMap;
use std::sync::Arc;

use epicenter_model::ObjectRef;

/// Workloads in the order of their names, each with the number of rows that are of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Workloads(BTreeMap<Workload, u32>);

/// A workload by its name: its version and uid are learned later than that, or never.
#[derive(Clone, Debug)]
struct Workload(Arc<ObjectRef>);

impl Workloads {
    /// Counts a row. A workload is shown as the row that knows most of it does, whichever comes first.
    pub fn add(&mut self, workload: &Arc<ObjectRef>) {
        let new = Workload(Arc::clone(workload));
        let shown = |of: &Workload| (of.0.uid.clone(), of.0.api_version.clone());
        let better = self.0.get_key_value(&new).is_some_and(|(known, _)| shown(&new) > shown(known));
        let before = if better { self.0.remove(&new) } else { None };
        *self.0.entry(new).or_insert(before.unwrap_or_default()) += 1;
    }

    /// Forgets a row.
    pub fn remove(&mut self, workload: Arc<ObjectRef>) {
        let old = Workload(workload);
        if let Some(count) = self.0.get_mut(&old) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&old);
            }
        }
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &ObjectRef> {
        self.0.keys().map(|workload| &*workload.0)
    }
}

impl PartialEq for Workload {
    fn eq(&self, other: &Self) -> bool {
        self.0.full_name() == other.0.full_name()
    }
}

impl Eq for Workload {}

impl PartialOrd for Workload {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Workload {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.full_name().cmp(&other.0.full_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_a_workload_by_its_name() {
        let guessed = Arc::new(ObjectRef::named("Deployment", "shop", "web"));
        let known = Arc::new(ObjectRef {
            api_version: "apps/v1".to_owned(),
            uid: "9b".to_owned(),
            ..ObjectRef::clone(&guessed)
        });
        for rows in [[&guessed, &known], [&known, &guessed]] {
            let mut workloads = Workloads::default();
            rows.into_iter().for_each(|row| workloads.add(row));
            assert_eq!(workloads.iter().collect::<Vec<_>>(), [&*known]);
            workloads.remove(Arc::clone(&known));
            assert_eq!(workloads.len(), 1);
            workloads.remove(Arc::clone(&guessed));
            assert_eq!(workloads.len(), 0);
        }
    }
}
