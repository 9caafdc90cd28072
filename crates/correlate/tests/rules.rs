//! The built-in rules hold together, and bad ones are refused with their place.
#![allow(clippy::unwrap_used, clippy::panic)]

mod fixture;

use epicenter_correlate::Rules;

#[test]
fn the_builtin_rules_name_only_classes_of_the_catalogue() {
    Rules::extended(&[], fixture::classes()).unwrap();
    assert_eq!(fixture::rules().hash(), fixture::rules().hash());
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    let error = Rules::parse(&[("mine.yaml", text)], fixture::classes()).unwrap_err().to_string();
    assert!(error.starts_with(expected), "{error}");
}

fn rule(change: (&str, &str)) -> String {
    let text = "rules:\n  - {id: a, cause: [node.not_ready], edge: node, effect: [evict.taint], lag_s: [0, 10], weight: 0.5, why: w, source: s}\n";
    Rules::parse(&[("mine.yaml", text)], fixture::classes()).unwrap();
    text.replace(change.0, change.1)
}

#[test]
fn bad_rules_are_refused_with_file_rule_and_field() {
    refused(&rule(("node.not_ready", "node.unready")), "mine.yaml: a: cause: no class is called `node.unready`");
    refused(&rule(("0.5", "1.5")), "mine.yaml: a: weight: must be above 0 and at most 1");
    refused(&rule(("[0, 10]", "[10, 0]")), "mine.yaml: a: lag_s: must be [least, most]");
    refused(&rule(("edge: node", "edge: nodes")), "mine.yaml: file: yaml: ");
    refused(&rule(("source: s", "sauce: s")), "mine.yaml: file: yaml: ");
    refused("rules: [", "mine.yaml: file: yaml: ");
    let (one, rest) = (rule(("", "")), rule(("rules:\n", "")));
    refused(&format!("{one}{rest}"), "mine.yaml: a: id: is used twice");
}
