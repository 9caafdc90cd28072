//! Why: the tree of causes of an incident.

use std::collections::BTreeSet;
use std::fmt::Write;

use epicenter_correlate::Rules;
use epicenter_model::{Branch, Incident, Member};

use super::{Paint, detail, span};

/// An incident with its tree of causes, and a sentence for each rule in it.
pub fn explained(incident: &Incident, rules: &Rules, paint: Paint) -> String {
    let mut text = detail(incident, false, paint);
    let mut drawn = String::new();
    rows(&mut drawn, &incident.causes(), "    ", None, paint);
    let _ = writeln!(text, "  Why:\n{}", drawn.trim_end());
    if incident.truncated > 0 {
        let _ = writeln!(text, "    and {} more Events", incident.truncated);
    }
    let used: BTreeSet<&str> =
        incident.members.iter().filter_map(|member| Some(member.because.as_ref()?.rule.as_str())).collect();
    for (rule, why) in used.into_iter().filter_map(|rule| Some((rule, rules.why(rule)?))) {
        let _ = writeln!(text, "  {}: {why}", paint.faint(rule));
    }
    text
}

/// Draws branches side by side: `fork` begins the line of each, and its trunk those below it.
fn rows(text: &mut String, branches: &[Branch<'_>], indent: &str, fork: Option<(&str, &str)>, paint: Paint) {
    for (number, branch) in (1..).zip(branches) {
        let (fork, trunk) = match fork {
            Some(_) if number == branches.len() => ("└─ ", "   "),
            Some(fork) => fork,
            None => ("", ""),
        };
        // Writing to a String cannot fail.
        let _ = match branch {
            Branch::Member { member, .. } => writeln!(text, "{indent}{fork}{}", line(member, paint)),
            Branch::More { count, rule, reason, kind } => {
                writeln!(text, "{indent}{fork}and {count} more: {reason} of a {kind} ({rule})")
            }
        };
        if let Branch::Member { below, .. } = branch {
            rows(text, below, &format!("{indent}{trunk}"), Some(("├─ ", "│  ")), paint);
        }
    }
}

/// `FailedMount of Pod shop/web-1 (symptom, 3 times)  12s later, by some-rule, 80 %`.
fn line(member: &Member, paint: Paint) -> String {
    let object = &member.regarding;
    let place = if object.namespace.is_empty() { String::new() } else { format!("{}/", object.namespace) };
    let times = if member.occurrences > 1 { format!(", {} times", member.occurrences) } else { String::new() };
    let what = format!("{} of {} {place}{} ({}{times})", member.reason, object.kind, object.name, member.role);
    match &member.because {
        Some(because) => {
            let order = if because.lag_ms < 0 { "earlier" } else { "later" };
            let lag = match span(because.lag_ms.abs()) {
                lag if lag == "0s" => "at the same time".to_owned(),
                lag => format!("{lag} {order}"),
            };
            let why = format!("{lag}, by {}, {:.0} %", because.rule, because.score * 100.0);
            format!("{what}  {}", paint.faint(&why))
        }
        None => what,
    }
}

#[cfg(test)]
mod tests {
    use epicenter_model::{Because, MemberObject};

    use super::*;

    fn member(uid: &str, role: &str, parent: Option<(&str, &str, i64)>) -> Member {
        Member {
            event_uid: uid.into(),
            reason: format!("R{}", uid.chars().next().unwrap_or_default()),
            regarding: MemberObject { kind: "Pod".into(), namespace: "shop".into(), name: uid.into() },
            role: role.into(),
            occurrences: 1,
            because: parent.map(|(parent, rule, lag_ms)| Because {
                rule: rule.into(),
                parent: parent.into(),
                lag_ms,
                score: 0.8,
            }),
            ..Member::default()
        }
    }

    #[track_caller]
    fn check(members: Vec<Member>, expected: &[&str]) {
        let incident = Incident { members, ..Incident::default() };
        let rules = epicenter_rules::RuleSet::builtin().causal;
        let text = explained(&incident, &rules, Paint::PLAIN);
        let (_, tree) = text.split_once("  Why:\n").unwrap();
        assert_eq!(tree.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn draws_causes_above_what_they_bring_about() {
        let by = Some(("a", "node-down.eviction", 300_000));
        let members = vec![
            member("b1", "symptom", by),
            member("a", "root", Some(("s", "rollout.crash", 1_000))),
            member("c", "symptom", Some(("b1", "same-object", -2_000))),
            member("b2", "symptom", by),
            member("b3", "symptom", by),
            member("b4", "symptom", by),
            member("b5", "symptom", by),
            member("r1", "recovery", None),
            member("r2", "recovery", None),
            member("r3", "recovery", None),
            member("r4", "recovery", None),
            member("d", "symptom", Some(("gone", "same-cause", 0))),
            member("s", "change", None),
        ];
        check(
            members,
            &[
                "    Rs of Pod shop/s (change)",
                "    └─ Ra of Pod shop/a (root)  1s later, by rollout.crash, 80 %",
                "       ├─ Rb of Pod shop/b1 (symptom)  5m later, by node-down.eviction, 80 %",
                "       │  └─ Rc of Pod shop/c (symptom)  2s earlier, by same-object, 80 %",
                "       ├─ Rb of Pod shop/b2 (symptom)  5m later, by node-down.eviction, 80 %",
                "       ├─ Rb of Pod shop/b3 (symptom)  5m later, by node-down.eviction, 80 %",
                "       └─ and 2 more: Rb of a Pod (node-down.eviction)",
                "    Rd of Pod shop/d (symptom)  at the same time, by same-cause, 80 %",
                "    Rr of Pod shop/r1 (recovery)",
                "    Rr of Pod shop/r2 (recovery)",
                "    Rr of Pod shop/r3 (recovery)",
                "    and 1 more: Rr of a Pod (recovery)",
                "  node-down.eviction: Pods are moved off a node that stays down for five minutes.",
                "  rollout.crash: The pods of the new version fail.",
                "  same-cause: Both have the same object to blame.",
                "  same-object: Both are about the same object.",
            ],
        );
    }

    #[test]
    fn a_circle_is_drawn_once() {
        let members =
            vec![member("a", "symptom", Some(("b", "r", 0))), member("b", "symptom", Some(("a", "r", 1_000)))];
        check(
            members,
            &[
                "    Ra of Pod shop/a (symptom)  at the same time, by r, 80 %",
                "    └─ Rb of Pod shop/b (symptom)  1s later, by r, 80 %",
            ],
        );
    }
}
