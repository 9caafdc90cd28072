//! The workloads that an incident touches.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use epicenter_model::ObjectRef;

/// References to workloads, and how many rows have each. What a name alone told of, and an owner's version and uid later, is one
/// workload.
#[derive(Clone, Debug, Default)]
pub(crate) struct Workloads {
    rows: BTreeMap<ByName, u32>,
    names: usize,
}

/// Ordered by name first; of references to the same, that which says least comes first.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ByName(Arc<ObjectRef>);

impl ByName {
    fn name(&self) -> (&str, &str, &str) {
        self.0.full_name()
    }
}

impl Ord for ByName {
    fn cmp(&self, other: &Self) -> Ordering {
        let (one, other_one) = (&*self.0, &*other.0);
        let rest = one.api_version.cmp(&other_one.api_version).then_with(|| one.uid.cmp(&other_one.uid));
        self.name().cmp(&other.name()).then(rest)
    }
}

impl PartialOrd for ByName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Workloads {
    /// A row has this workload.
    pub fn add(&mut self, workload: &Arc<ObjectRef>) {
        let new = ByName(Arc::clone(workload));
        if let Some(rows) = self.rows.get_mut(&new) {
            *rows += 1;
            return;
        }
        self.names += usize::from(!self.has_namesake(&new));
        self.rows.insert(new, 1);
    }

    /// A row has it no more.
    pub fn remove(&mut self, workload: &Arc<ObjectRef>) {
        let old = ByName(Arc::clone(workload));
        let Some(rows) = self.rows.get_mut(&old) else { return };
        *rows -= 1;
        if *rows == 0 {
            self.rows.remove(&old);
            self.names -= usize::from(!self.has_namesake(&old));
        }
    }

    fn has_namesake(&self, it: &ByName) -> bool {
        let below = self.rows.range(..it).next_back();
        let above = self.rows.range(it..).next();
        below.into_iter().chain(above).any(|(other, _)| other.name() == it.name())
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.names
    }

    /// Them, each by the reference that says most.
    pub fn iter(&self) -> impl Iterator<Item = &ObjectRef> {
        let mut rows = self.rows.keys().peekable();
        std::iter::from_fn(move || {
            let mut last = rows.next()?;
            while let Some(more) = rows.next_if(|next| next.name() == last.name()) {
                last = more;
            }
            Some(&*last.0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_one_workload_however_much_is_known_of_it() {
        let named = Arc::new(ObjectRef::named("Deployment", "shop", "web"));
        let whole = ObjectRef { api_version: "apps/v1".into(), uid: "u".into(), ..ObjectRef::clone(&named) };
        let whole = Arc::new(whole);
        let other = Arc::new(ObjectRef::named("Deployment", "shop", "api"));
        let mut workloads = Workloads::default();
        let check = |workloads: &Workloads, expected: &[&Arc<ObjectRef>]| {
            assert_eq!(workloads.iter().collect::<Vec<_>>(), expected.iter().map(|it| &***it).collect::<Vec<_>>());
            assert_eq!(workloads.count(), expected.len());
        };
        workloads.add(&named);
        workloads.add(&whole);
        workloads.add(&other);
        check(&workloads, &[&other, &whole]);
        workloads.remove(&whole);
        check(&workloads, &[&other, &named]);
        workloads.remove(&named);
        check(&workloads, &[&other]);
        workloads.remove(&named);
        check(&workloads, &[&other]);
    }
}
