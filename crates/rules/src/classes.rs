//! The catalogue's classes, in the engine's terms.

use epicenter_catalog::Catalog;
use epicenter_correlate::{ClassInfo, Classes};

/// What the engine is to know of the classes of `catalog`.
pub fn classes(catalog: &Catalog) -> Classes {
    let class = |(name, class): (&str, &epicenter_catalog::Class)| ClassInfo {
        class: name.to_owned(),
        category: class.category,
        severity: class.severity,
        role: class.role,
        title: class.title.clone(),
        explain: class.explain.clone(),
        kubectl: class.kubectl.clone(),
        recovers: class.recovers.clone(),
        quiet_ms: class.quiet_ms,
    };
    catalog.classes().iter().map(class).collect()
}
