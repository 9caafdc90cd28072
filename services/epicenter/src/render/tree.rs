//! Why: the tree of causes of an incident.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use epicenter_correlate::Rules;
use epicenter_model::{Incident, Member};

use super::{Paint, detail, span};

/// Of what comes of the same parent by the same rule, so many are shown.
const ALIKE: usize = 3;
/// The deepest level that is drawn.
const LEVELS: usize = 20;

/// An incident with its tree of causes, and a sentence for each rule in it.
pub fn explained(incident: &Incident, rules: &Rules, paint: Paint) -> String {
    let mut text = detail(incident, false, paint);
    let members = &incident.members;
    let uids: BTreeSet<&str> = members.iter().map(|member| member.event_uid.as_str()).collect();
    let mut tree = Tree { members, below: BTreeMap::new(), seen: BTreeSet::new(), text: String::new(), paint };
    let mut tops = Vec::new();
    for (index, member) in members.iter().enumerate() {
        let parent = member.because.as_ref().map(|because| because.parent.as_str());
        match parent.filter(|parent| uids.contains(parent) && *parent != member.event_uid) {
            Some(parent) => tree.below.entry(parent).or_default().push(index),
            None => tops.push(index),
        }
    }
    // What brought the root about stands first, what is no cause last.
    let origin = origin(members);
    tops.sort_by_key(|index| (Some(*index) != origin, members[*index].role == "recovery"));
    tree.rows(tops, "    ", None, 0);
    // What only a circle leads to.
    (0..members.len()).for_each(|index| tree.draw(index, "    ", "    ", 0));
    let drawn = tree.text;
    let _ = writeln!(text, "  Why:\n{}", drawn.trim_end());
    if incident.truncated > 0 {
        let _ = writeln!(text, "    and {} more Events", incident.truncated);
    }
    let used: BTreeSet<&str> =
        members.iter().filter_map(|member| Some(member.because.as_ref()?.rule.as_str())).collect();
    for (rule, why) in used.into_iter().filter_map(|rule| Some((rule, rules.why(rule)?))) {
        let _ = writeln!(text, "  {}: {why}", paint.faint(rule));
    }
    text
}

struct Tree<'i> {
    members: &'i [Member],
    /// By the parent's uid.
    below: BTreeMap<&'i str, Vec<usize>>,
    seen: BTreeSet<usize>,
    text: String,
    paint: Paint,
}

impl Tree<'_> {
    /// Draws a member and what it brings about; `first` begins its line, `next` those below it.
    fn draw(&mut self, index: usize, first: &str, next: &str, level: usize) {
        if !self.seen.insert(index) {
            return;
        }
        let member = &self.members[index];
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{first}{}", line(member, self.paint));
        let children = self.below.get(member.event_uid.as_str()).cloned().unwrap_or_default();
        self.rows(children, next, Some(("├─ ", "│  ")), level + 1);
    }

    /// Draws members side by side, of those that are alike the first ones.
    fn rows(&mut self, indices: Vec<usize>, indent: &str, fork: Option<(&str, &str)>, level: usize) {
        let mut alike: BTreeMap<(&str, &str, &str), usize> = BTreeMap::new();
        let mut more = alike.clone();
        let mut rows = Vec::new();
        for index in indices {
            let member = &self.members[index];
            let rule = member.because.as_ref().map_or(member.role.as_str(), |because| because.rule.as_str());
            let kind = (rule, member.reason.as_str(), member.regarding.kind.as_str());
            let count = alike.entry(kind).or_default();
            *count += 1;
            // What brings something about is always shown.
            let leaf = !self.below.contains_key(member.event_uid.as_str());
            if *count > ALIKE && leaf && member.role != "root" || level >= LEVELS {
                self.seen.insert(index);
                *more.entry(kind).or_default() += 1;
            } else {
                rows.push(index);
            }
        }
        let last = rows.len() + more.len();
        let branch = |number: usize| match fork {
            Some(_) if number == last => ("└─ ", "   "),
            Some(fork) => fork,
            None => ("", ""),
        };
        for (number, index) in (1..).zip(&rows) {
            let (fork, trunk) = branch(number);
            self.draw(*index, &format!("{indent}{fork}"), &format!("{indent}{trunk}"), level);
        }
        for (number, ((rule, reason, kind), count)) in (rows.len() + 1..).zip(more) {
            let _ = writeln!(self.text, "{indent}{}and {count} more: {reason} of a {kind} ({rule})", branch(number).0);
        }
    }
}

/// The member at the top of the tree in which the root is.
fn origin(members: &[Member]) -> Option<usize> {
    let by_uid: BTreeMap<&str, usize> = (0..).zip(members).map(|(index, it)| (it.event_uid.as_str(), index)).collect();
    let mut at = members.iter().position(|member| member.role == "root")?;
    let mut seen = BTreeSet::new();
    while seen.insert(at) {
        let above = members[at].because.as_ref().and_then(|because| by_uid.get(because.parent.as_str()));
        at = *above.unwrap_or(&at);
    }
    Some(at)
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
