//! Files of rules: what they change, and how they are refused.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;

use epicenter_model::{Event, ObjectRef};
use epicenter_rules::RuleSet;
use proptest::prelude::*;

fn event(component: &str, reason: &str, note: &str) -> Event {
    Event {
        component: component.to_owned(),
        reason: reason.to_owned(),
        note: note.to_owned(),
        event_type: "Warning".to_owned(),
        regarding: ObjectRef::named("Pod", "batch-1", "report-7"),
        labels: BTreeMap::from([("team".to_owned(), "reports".to_owned())]),
        ..Event::default()
    }
}

/// The class, severity and rule of an Event under a file, and whether it goes on.
fn meaning(text: &str, event: &Event) -> String {
    let rules = RuleSet::read(&[("mine.yaml", text)]).unwrap_or_else(|problems| panic!("{problems}"));
    let reading = rules.classifier.read("prod", event);
    let rule = reading.rule.map_or("no rule", |rule| rule.id.as_str());
    let dropped = if reading.is_dropped() { ", dropped" } else { "" };
    let failed: String = reading.failed.iter().map(|(rule, why)| format!(", {} failed: {why}", rule.id)).collect();
    let meaning = &reading.meaning;
    format!("{} {} {} by {rule}{dropped}{failed}", meaning.class, meaning.severity, meaning.role)
}

#[track_caller]
fn check(text: &str, expected: &str) {
    let back_off = event("kubelet", "BackOff", "Back-off restarting failed container app in pod report-7_batch-1(9b)");
    assert_eq!(meaning(text, &back_off), expected, "{text}");
}

fn rule(rest: &str) -> String {
    format!("events:\n- {{id: mine, {rest}}}\n")
}

#[test]
fn rules_about_events_change_what_these_mean() {
    check("", "crash.back_off high symptom by no rule");
    check("# nothing\n", "crash.back_off high symptom by no rule");
    check("events:\n", "crash.back_off high symptom by no rule");
    check(&rule("classes: [crash.*], then: {severity: low}"), "crash.back_off low symptom by mine");
    check(&rule("classes: ['image.*'], then: drop"), "crash.back_off high symptom by no rule");
    check(&rule("classes: [crash.back_off], then: drop"), "crash.back_off high symptom by mine, dropped");
    check(&rule("when: 'true', then: {class: probe.warning, role: noise}"), "probe.warning info noise by mine");
    for condition in [
        "event.reason == \"BackOff\" && event.type == \"Warning\"",
        "event.regarding.namespace.startsWith(\"batch-\")",
        "event.note.matches(\"container \\\\S+ in pod\")",
        "event.labels.team == \"reports\"",
        "has(event.labels.team) && !has(event.labels.tier)",
        "event.labels.exists(key, key.startsWith(\"te\"))",
        "class.startsWith(\"crash.\") && severity == \"high\" && role == \"symptom\"",
        "cluster in [\"prod\", \"stage\"]",
        "event.related.kind == \"\"",
        "size(event.note) > 10",
        "event.reason in [\"BackOff\", \"Failed\"] ? true : false",
    ] {
        check(&rule(&format!("when: '{condition}', then: {{severity: info}}")), "crash.back_off info symptom by mine");
        check(&rule(&format!("when: '!({condition})', then: drop")), "crash.back_off high symptom by no rule");
    }
}

#[test]
fn the_first_rule_that_holds_decides() {
    let text = "events:
- {id: mine, when: 'event.labels.team == \"reports\"', then: keep}
- {id: all, classes: [crash.*], then: drop}
";
    check(text, "crash.back_off high symptom by mine");
    check(&text.replace("reports", "shop"), "crash.back_off high symptom by all, dropped");
}

#[test]
fn a_condition_that_cannot_be_told_does_not_hold() {
    check(
        &rule("when: 'event.labels.tier == \"web\"', then: drop"),
        "crash.back_off high symptom by no rule, mine failed: No such key: tier",
    );
}

const OWN: &str = "
component: shop/payments
kind: Order
classes:
  shop.payment_declined:
    {title: 'payments of {name} are declined', category: application, severity: medium, role: cause}
  shop.payment_taken: {title: paid, category: application, severity: info, role: recovery, recovers: [shop.payment_declined]}
entries:
- reason: Declined
  message: 'card of (?<secret>\\S+) was declined'
  class: shop.payment_declined
  examples: [{type: Warning, message: card of bob was declined}]
- {reason: Paid, class: shop.payment_taken}
rules:
- id: shop.declined-crash
  cause: [shop.payment_declined]
  effect: [crash.*]
  edge: namespace
  of: namespace
  lag_s: [0, 60]
  weight: 0.5
  why: The workers end when payments are declined.
  source: shop/payments main.go
";

#[test]
fn classes_entries_and_causal_rules_of_ones_own_work_together() {
    let mut declined = event("shop/payments", "Declined", "card of bob was declined");
    declined.regarding.kind = "Order".to_owned();
    assert_eq!(meaning(OWN, &declined), "shop.payment_declined medium cause by no rule");
    let rules = RuleSet::read(&[("mine.yaml", OWN)]).unwrap();
    assert_eq!(rules.causal.why("shop.declined-crash"), Some("The workers end when payments are declined."));
}

#[test]
fn every_change_of_a_file_changes_the_hash() {
    let hash = |text: &str| RuleSet::read(&[("mine.yaml", text)]).unwrap().causal.hash().to_owned();
    let builtin = RuleSet::builtin().causal.hash().to_owned();
    let (one, other) = (hash(&rule("when: 'true', then: keep")), hash(&rule("when: 'true', then: drop")));
    assert_eq!(one, hash(&rule("when: 'true', then: keep")));
    assert!(builtin != one && one != other && builtin != other);
    assert_eq!(builtin, RuleSet::read(&[]).unwrap().causal.hash());
}

#[track_caller]
fn refused(text: &str, expected: &[&str]) {
    let problems = RuleSet::read(&[("mine.yaml", text)]).map(|_| ()).unwrap_err();
    let found: Vec<String> = problems.0.iter().map(ToString::to_string).collect();
    let fits =
        found.len() == expected.len() && found.iter().zip(expected).all(|(found, start)| found.starts_with(start));
    assert!(fits, "{text}\n{}\nexpected\n{}", found.join("\n"), expected.join("\n"));
}

#[test]
fn what_is_wrong_is_told_with_file_line_and_field() {
    refused("events: [", &["mine.yaml:1: this is no YAML: "]);
    refused(
        "events:\n- {id: a}\n- id: b\n  when: event.note == \"a: b\"\n",
        &[
            "mine.yaml:4: this is no YAML: column 25: mapping values are not allowed in this context: indent by spaces, and put",
        ],
    );
    refused("- a\n", &["mine.yaml:1: must be a table with the sections component, "]);
    refused("events: {}\nclases: {}\n", &["mine.yaml:1: events: must be a list", "mine.yaml:2: clases: is no section"]);
    let condition = |text: &str| format!("events:\n- id: mine\n  when: {text}\n  then: drop\n");
    for (text, expected) in [
        ("event.reason ==", "this is no CEL: column "),
        ("event.reson == 'A'", "an Event has no `reson`: it has reason, note, "),
        ("event.regarding.uid == 'A'", "event.regarding has no `uid`: it has apiVersion, kind, namespace, name"),
        ("reason == 'A'", "there is no `reason`: there are event.FIELD and cluster, class, "),
        ("event == 'A'", "`event` as a whole cannot be used: name a field"),
        ("event.note.matches('(')", "`(` is no regular expression: unclosed group"),
        ("event.note.matches(event.reason)", "matches takes a pattern that is written out"),
        ("lower(event.note) == 'a'", "there is no function `lower`: there are contains, "),
        ("event.labels.all(a, event.labels.all(b, a == b))", "a macro (all, exists, filter, map) within another"),
        ("event.reason", "it gives String, not true or false"),
        ("event.reason > 3", "found no matching overload for '_>_' applied to '(string, int)'"),
    ] {
        refused(&condition(&format!("\"{text}\"")), &[&format!("mine.yaml:3: events[0].when: {expected}")]);
    }
    let long = format!("\"event.reason == 'A' || {}\"", "event.reason == 'B' || ".repeat(60) + "true");
    refused(&condition(&long), &["mine.yaml:3: events[0].when: it is "]);
    let deep = "1 + (".repeat(100) + "1" + &")".repeat(100) + " == 101";
    refused(&condition(&format!("'{deep}'")), &["mine.yaml:3: events[0].when: "]);
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    refused(
        "classes:
  My.Class: {title: t, category: other, severity: low, role: symptom}
  crash.exit: {title: t, category: other, severity: low, role: symptom}
  a.b: {title: t, category: other, severity: awful, role: symptom}
  a.c: {title: t, category: other, severity: low, role: recovery, recovers: [no.such]}
entries:
- {reason: A, message: '(', class: crash.exit}
- {reason: B, class: no.such}
- reason: C
  class: crash.exit
  colour: red
- {component: d, reason: D, class: crash.exit, examples: [{message: x, class: crash.back_off}]}
events:
- {id: one, when: 'true', then: keep}
- {id: one, classes: [crahs.*], then: {class: no.such}}
- {id: three, then: {}}
- {id: four, when: 'true', then: dorp}
- {when: 'true', then: drop}
rules:
- id: a
  cause: [crahs.exit]
  edge: object
  effect: [crash.exit]
  lag_s: [0, 1]
  weight: 0.5
  why: w
  source: s
- {id: b, cause: [crash.exit], edge: objects, effect: [crash.exit], lag_s: [0, 1], weight: 0.5, why: w, source: s}
- {id: c, cause: [crash.exit], edge: object, effect: [crash.exit], lag_s: [0, 1], weight: 5, why: w, source: s}
- {id: node-down.eviction, cause: [crash.exit], edge: object, effect: [crash.exit], lag_s: [0, 1], weight: 0.5, why: w, source: s}
gone: [no.such]
",
        &[
            "mine.yaml:2: classes.My.Class: `My.Class` is no name of a class",
            "mine.yaml:3: classes.crash.exit: the class `crash.exit` is there already",
            "mine.yaml:4: classes.a.b.severity: unknown variant `awful`, expected one of",
            "mine.yaml:5: classes.a.c.recovers: no class is called `no.such`",
            "mine.yaml:7: entries[0].message: not a regular expression: ",
            "mine.yaml:8: entries[1].class: no class is called `no.such`",
            "mine.yaml:11: entries[2].colour: unknown field `colour`, expected one of",
            "mine.yaml:12: entries[3].examples: \"x\" is crash.exit, not crash.back_off",
            "mine.yaml:15: events[1].classes: no class is called `crahs.*`",
            "mine.yaml:15: events[1].id: `one` is used twice (in mine.yaml): give it another",
            "mine.yaml:15: events[1].then: no class is called `no.such`",
            "mine.yaml:16: events[2].then: sets nothing",
            "mine.yaml:16: events[2].when: is missing",
            "mine.yaml:17: events[3].then: invalid value: string \"dorp\", expected `drop`, `keep`, or what to set",
            "mine.yaml:18: events[4]: missing field `id`",
            "mine.yaml:21: rules[0].cause: no class is called `crahs.exit`",
            "mine.yaml:28: rules[1].edge: unknown variant `objects`, expected one of",
            "mine.yaml:29: rules[2].weight: must be above 0 and at most 1",
            "mine.yaml:30: rules[3].id: is used twice: give it another",
            "mine.yaml:31: gone[0]: no class is called `no.such`",
        ],
    );
}

/// A piece of a file of rules, or of nonsense.
fn piece() -> impl Strategy<Value = String> {
    let words = "events|entries|rules|classes|when|then|id|drop|component|cause|effect|edge|reason|message|crash.exit|\
                 event.note|matches|true|has|all|\\(|\\)|\\[|\\]|\\{|\\}|: |- |, |\n|\n  |'|\"|&a|\\*a|!!int|<<|\\||>|#|[0-9]{1,20}|.";
    prop::collection::vec(words, 0..60).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused(text in piece()) {
        let _ = RuleSet::read(&[("any.yaml", &text)]);
    }

    #[test]
    fn any_condition_is_compiled_or_refused(
        condition in "(event\\.(note|labels|reason)|class|[0-9]{1,3}|'[a-z(]{0,4}'|\\.(matches|size|all|map)\\(|[()\\[\\]{}?:!+\\-*/%<>=&|,. a\u{e9}\0]|has\\(){0,24}",
        note in ".{0,40}",
    ) {
        let text = serde_json::json!({"events": [{"id": "a", "when": condition, "then": "drop"}]}).to_string();
        if let Ok(rules) = RuleSet::read(&[("any.yaml", &text)]) {
            rules.classifier.read("c", &event("kubelet", "BackOff", &note));
        }
    }
}
