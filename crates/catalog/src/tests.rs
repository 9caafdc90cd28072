//! Checks of the built-in data, and of the reader.

use epicenter_model::{Role, Severity};

use crate::{Catalog, builtin};

#[test]
fn keeps_every_example() {
    let catalog = Catalog::parse(builtin::FILES).unwrap_or_else(|error| panic!("{error}"));
    let mismatches: Vec<String> = catalog.mismatches().iter().map(ToString::to_string).collect();
    assert!(mismatches.is_empty(), "{}", mismatches.join("\n"));
}

#[test]
fn says_something_of_every_class() {
    for (name, class) in Catalog::builtin().classes().iter() {
        let telling = matches!(class.role, Role::Cause | Role::Symptom);
        assert!(!class.title.is_empty(), "{name} has no title");
        assert!(!telling || !class.explain.is_empty(), "{name} explains nothing");
        assert!(telling || class.severity <= Severity::Low, "{name} is {}, but no {}", class.severity, class.role);
        assert!(class.role != Role::Recovery || !class.recovers.is_empty(), "{name} recovers nothing");
        assert!(class.quiet_ms > 0, "{name} is never over");
    }
}

/// Every class is reached by an example, so that none is dead and each is known to work.
#[test]
fn reaches_every_class() {
    let catalog = Catalog::builtin();
    let reached = catalog.examples();
    let dead: Vec<&str> =
        catalog.classes().iter().map(|(name, _)| name).filter(|name| !reached.contains(name)).collect();
    assert_eq!(dead, ["unknown.normal", "unknown.warning"]);
}
