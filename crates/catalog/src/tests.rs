//! Checks of the built-in data, and of the reader.

use std::collections::BTreeSet;

use epicenter_model::{Event, ObjectRef, Role, Severity};

use crate::{Catalog, builtin};

#[test]
fn keeps_every_example() {
    let catalog = Catalog::parse(builtin::FILES).unwrap_or_else(|error| panic!("{error}"));
    let mismatches: Vec<String> = catalog.mismatches().iter().map(ToString::to_string).collect();
    assert!(mismatches.is_empty(), "{}", mismatches.join("\n"));
}

#[test]
fn says_something_of_every_class() {
    let placeholders: BTreeSet<&str> = [
        &["kind", "namespace", "name", "blamed", "config", "container", "node", "workload", "image"][..],
        &["secret", "configmap", "csidriver", "storageclass", "resourcequota", "webhook", "registry", "serviceaccount"],
        &["runtimeclass", "runtimehandler", "priorityclass", "path", "fileserver"],
    ]
    .concat()
    .into_iter()
    .collect();
    for (name, class) in Catalog::builtin().classes().iter() {
        let telling = matches!(class.role, Role::Cause | Role::Symptom);
        assert!(!class.title.is_empty(), "{name} has no title");
        assert!(!telling || !class.explain.is_empty(), "{name} explains nothing");
        assert!(telling || class.severity <= Severity::Low, "{name} is {}, but no {}", class.severity, class.role);
        assert!(class.role != Role::Recovery || !class.recovers.is_empty(), "{name} recovers nothing");
        assert!(class.quiet_ms > 0, "{name} is never over");
        for text in [&class.title, &class.explain, &class.kubectl] {
            for placeholder in text.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name) {
                assert!(placeholders.contains(placeholder), "{name}: {{{placeholder}}}");
            }
        }
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

/// The size of the first catalogue.
#[test]
fn knows_a_hundred_and_twenty_reasons() {
    let catalog = Catalog::builtin();
    let (entries, reasons): (usize, BTreeSet<&str>) = catalog.extent();
    assert!(entries >= 160 && reasons.len() >= 120, "{entries} entries, {} reasons", reasons.len());
}

fn event(component: &str, kind: &str, event_type: &str, reason: &str, note: &str) -> Event {
    Event {
        component: component.to_owned(),
        regarding: ObjectRef::named(kind, "shop", "web-1"),
        event_type: event_type.to_owned(),
        reason: reason.to_owned(),
        note: note.to_owned(),
        ..Event::default()
    }
}

#[test]
fn classifies_whatever_comes() {
    let check = |event: Event, class: &str| assert_eq!(Catalog::builtin().classify(&event).class, class, "{event:?}");
    check(event("me", "Pod", "Warning", "Broken", "x"), "unknown.warning");
    check(event("me", "Pod", "Normal", "Fine", "x"), "unknown.normal");
    check(event("", "", "", "", ""), "unknown.normal");
    // A message may imitate another, or another component, but stays what its reason and emitter make of it.
    check(event("me", "Pod", "Warning", "BackOff", "Back-off restarting failed container"), "unknown.warning");
    check(
        event("kubelet", "Pod", "Warning", "Unhealthy", "Readiness probe failed: The node was low on resource: memory"),
        "probe.readiness",
    );
    check(
        event("kubelet", "Pod", "Warning", "BackOff", "said: Back-off restarting failed container"),
        "unknown.warning",
    );
    // Long, empty and foreign texts.
    let long = format!("Failed to pull image \"a\": {}", "é".repeat(32 * 1024));
    check(event("kubelet", "Pod", "Warning", "Failed", &long), "image.pull.failed");
    check(event("default-scheduler", "Pod", "Warning", "FailedScheduling", ""), "sched.unschedulable");
    check(
        event("default-scheduler", "Pod", "Warning", "FailedScheduling", &"1 節点, ".repeat(8000)),
        "sched.unschedulable",
    );
    check(event("kubelet", "Pod", "Warning", "Evicted", "ノード"), "evict.memory");
}

const CLASSES: &str = "
unknown.warning: {title: w, category: other, severity: low, role: symptom}
unknown.normal: {title: n, category: other, severity: info, role: noise}
";

/// A broken catalogue says where, and what to mend.
#[test]
fn explains_what_is_wrong() {
    let check = |classes: &str, entries: &str, expected: &[&str]| {
        let files = [("classes.yaml", classes), ("my.yaml", entries)];
        let error = Catalog::parse(&files).map(|_| ()).unwrap_err().to_string();
        assert!(expected.iter().all(|part| error.contains(part)), "{error}\nlacks one of {expected:?}");
    };
    let entry = |fields: &str| format!("component: a\nentries:\n- {{reason: A, class: unknown.normal, {fields}}}\n");
    check(CLASSES, "component: a\nentrees: []\n", &["my.yaml", "entrees"]);
    check(CLASSES, &entry("colour: red"), &["my.yaml", "colour"]);
    check(CLASSES, &entry("severity: awful"), &["my.yaml", "awful", "critical"]);
    check(CLASSES, &entry("message: '('"), &["my.yaml", "entry 1 (A)", "message", "not a regular expression"]);
    check(CLASSES, &entry("message: '(?<name>x)'"), &["entry 1 (A)", "message", "`name`", "another name"]);
    check(CLASSES, &entry("entities: [{kind: Node, name: '{node}'}]"), &["entry 1 (A)", "entities", "{node}"]);
    check(
        CLASSES,
        &entry("message: '(?<x>.)', entities: [{kind: Node, name: '{x|up}'}]"),
        &["entities", "`up`", "registry"],
    );
    check(
        CLASSES,
        "component: a\nentries: [{reason: A, class: no.such}]",
        &["my.yaml", "entry 1 (A)", "class", "`no.such`"],
    );
    check(CLASSES, "component: a\nentries: [{reason: [], class: unknown.normal}]", &["entry 1 ()", "reason"]);
    check("{}", "component: a\nentries: []", &["classes.yaml", "unknown.warning"]);
    let recovers =
        format!("{CLASSES}a.b: {{title: t, category: node, severity: info, role: recovery, recovers: [x.y]}}\n");
    check(&recovers, "component: a\nentries: []", &["classes.yaml", "a.b", "recovers", "`x.y`"]);
    assert!(Catalog::parse(&[]).unwrap_err().to_string().contains("classes.yaml is missing"));
}

/// The check of examples can fail.
#[test]
fn finds_examples_that_do_not_hold() {
    let entries = "
component: a
entries:
- {reason: A, class: unknown.warning, examples: [{message: x, entities: [Node n]}, {message: x, class: unknown.normal}]}
- {reason: A, class: unknown.normal, examples: [{message: x}]}
- {reason: B, class: unknown.normal, cases: [{text: never, class: unknown.warning}]}
";
    let catalog = Catalog::parse(&[("classes.yaml", CLASSES), ("my.yaml", entries)]).unwrap();
    let found: Vec<String> = catalog.mismatches().iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "my.yaml: entry 1 (A): \"x\" names [], not [\"Node n\"]",
            "my.yaml: entry 1 (A): \"x\" is unknown.warning, not unknown.normal",
            "my.yaml: entry 2 (A): my.yaml: entry 1 (A) takes its example \"x\"",
            "my.yaml: entry 3 (B): has no example",
            "my.yaml: entry 3 (B): case 1 has no example",
        ]
    );
}

/// An entry can say that here a class is worse, or plays another part, than usual.
#[test]
fn overrides_a_class() {
    let entries = "component: a\nentries: [{reason: A, class: unknown.normal, severity: high, role: cause}]";
    let catalog = Catalog::parse(&[("classes.yaml", CLASSES), ("my.yaml", entries)]).unwrap();
    let found = catalog.classify(&event("a", "Pod", "Normal", "A", ""));
    assert_eq!((found.class, found.severity, found.role), ("unknown.normal", Severity::High, Role::Cause));
}

#[test]
fn names_its_contents() {
    let catalog = |entries| Catalog::parse(&[("classes.yaml", CLASSES), ("my.yaml", entries)]).unwrap();
    let one = catalog("component: a\nentries: []");
    assert_eq!(one.hash().len(), 16);
    assert_eq!(one.hash(), catalog("component: a\nentries: []").hash());
    assert_ne!(one.hash(), catalog("component: b\nentries: []").hash());
}

/// Every reason that a call site in Kubernetes and the common operators writes (by source: component, kind, type, reason,
/// message) has an entry. What has none is Normal and reviewed: nothing that a person would be woken up for.
#[test]
fn knows_every_reason_of_the_list() {
    let mut unknown = BTreeSet::new();
    let mut rows = 0;
    for line in include_str!("reasons.tsv").lines().skip(1) {
        let [component, kinds, types, reason, message] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line:?} has not five columns");
        };
        // Some rows stand for a family: `longhorn-*-controller`, `external-resizer {driver}`, `{CertificateRequest …}`.
        let component =
            component.split(" (").next().unwrap_or_default().replace('*', "volume").replace("{driver}", "d");
        if reason.starts_with('{') {
            continue;
        }
        for kind in kinds.split('|') {
            for event_type in types.split('|') {
                rows += 1;
                let kind = kind.split('(').next().unwrap_or_default();
                let found = Catalog::builtin().classify(&event(&component, kind, event_type, reason, message)).class;
                if found.starts_with("unknown.") {
                    unknown.insert(format!("{component} {kind} {event_type} {reason}"));
                }
            }
        }
    }
    assert!(rows > 731, "{rows} rows");
    assert!(unknown.is_empty(), "{} have no entry:\n{}", unknown.len(), Vec::from_iter(unknown).join("\n"));
}
