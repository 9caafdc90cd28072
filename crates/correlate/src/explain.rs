//! An incident in words.

use std::fmt::Write;
use std::ops::Bound;
use std::sync::Arc;

use epicenter_model::{Impact, ObjectRef, Timestamp};

use crate::live::{Candidate, Live};
use crate::memory::Known;
use crate::phrase::{capital, clock, push_plural};
use crate::rank::Ranked;
use crate::recall::recall;
use crate::row::Row;
use crate::rules::Rules;
use crate::template::fill;
use crate::words::{Root, Words};

/// How the reasons of what is out of the ordinary begin.
const PATTERN: &str = "Pattern";
/// Most sentences.
const SENTENCES: usize = 8;

/// Title and sentences.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Text {
    pub title: String,
    pub sentences: Vec<String>,
}

/// What happened and when, what its Event says, what it explains, what it touches, what was before, and what to look at.
pub(crate) fn explain(rules: &Rules, live: &mut Live, ranked: &[Ranked], impact: &Impact, known: &Known) -> Text {
    let Some(best) = ranked.first() else { return Text::default() };
    let candidate = &live.head.candidates[best.index];
    let row = live.rows.get(&candidate.row);
    let trigger = candidate.trigger.and_then(|number| Some((number, live.rows.get(&number)?.last)));
    let root = Root {
        candidate: best.index,
        first: candidate.first,
        observed: best.observed,
        row: row.is_some(),
        workload: row.and_then(|row| row.workload.clone()),
        trigger,
        rules: Arc::clone(rules.name()),
    };
    let words = match live.words.take() {
        Some(words) if words.of == root => words,
        _ => words(rules, live, root),
    };
    debug_assert_eq!(words, self::words(rules, live, words.of.clone()), "what is kept is what would be said anew");
    let mut sentences = Vec::with_capacity(SENTENCES);
    sentences.push(words.began.clone());
    sentences.extend(words.said.clone());
    sentences.extend(spread(rules, live, candidate));
    let touched = Touched::of(impact, live.pods_of_workloads());
    let others = touched.as_ref().filter(|_| !is_all(candidate, impact));
    sentences.extend(others.map(|touched| touched.sentence(impact)));
    sentences.extend(pattern(rules, live, candidate));
    sentences.extend(recall(&known.recurrence, &candidate.object, known.watched_ms));
    sentences.extend(words.hidden.iter().chain(&words.command).cloned());
    let title = match touched.filter(|_| goes_beyond(candidate, row, impact)) {
        Some(touched) => [&*words.title, ": ", &touched.what, " affected", &touched.whose].concat(),
        None => words.title.clone(),
    };
    live.words = Some(words);
    Text { title, sentences }
}

fn words(rules: &Rules, live: &Live, of: Root) -> Words {
    let candidate = &live.head.candidates[of.candidate];
    let row = live.rows.get(&candidate.row);
    let info = rules.classes.get(&candidate.class);
    let common = candidate.common.as_ref().and_then(|id| rules.common_of(id));
    let fill = |template: &str| fill(template, candidate, row, common.is_some());
    let (heart, what, command) = match (common, info) {
        (Some(common), _) => (fill(&common.rule.title), fill(&common.rule.why), fill(&common.rule.kubectl)),
        (None, Some(info)) => (fill(&info.title), fill(&info.explain), fill(&info.kubectl)),
        (None, None) => (format!("{} reports {}", candidate.object, candidate.class), String::new(), String::new()),
    };
    let began = format!("It began at {}", clock(candidate.first));
    let began = match candidate.trigger.and_then(|number| live.rows.get(&number)) {
        Some(change) => format!("{began}, {}.", after(change, candidate.first)),
        None => format!("{began}."),
    };
    let hidden = &rules.class(&candidate.class).hidden;
    let hidden = if candidate.trigger.is_none() && candidate.common.is_none() && !hidden.is_empty() {
        Some(fill(hidden))
    } else {
        let unseen = !of.observed && candidate.common.is_none();
        unseen.then(|| "The cause does not show in Events: this is the first thing that went wrong.".to_owned())
    };
    Words {
        of,
        title: capital(&heart),
        began: if what.is_empty() { began } else { format!("{what} {began}") },
        said: row
            .and_then(|row| Some(format!("Event {} says: \u{201c}{}\u{201d}", row.reason, live.quotes.of(&row.uid)?))),
        hidden,
        command: (!command.is_empty()).then(|| format!("Look at: {command}")),
    }
}

/// What is out of the ordinary about it, but for what it began with: the newest.
fn pattern(rules: &Rules, live: &Live, candidate: &Candidate) -> Option<String> {
    // Of the few incidents that have any.
    let from = (Bound::Included(PATTERN), Bound::Unbounded);
    live.head.by_reason.range::<str, _>(from).next().filter(|(reason, _)| reason.starts_with(PATTERN))?;
    let found = |(number, row): &(&u32, &Row)| row.reason.starts_with(PATTERN) && **number != candidate.row;
    let (_, row) = live.rows.iter().rev().find(found)?;
    let info = rules.classes.get(&row.class)?;
    Some(fill(&info.explain, candidate, Some(row), false))
}

/// What the root leads to, by the rule that was used most.
fn spread(rules: &Rules, live: &Live, candidate: &Candidate) -> Option<String> {
    let effects = live.head.rules.iter().filter_map(|(id, count)| Some((rules.causal_of(id)?, *count)));
    let caused = effects.filter(|(causal, _)| {
        causal.causes.contains(&candidate.class)
            && !(causal.rule.edge == causal.rule.of && causal.rule.edge == crate::edge::Edge::Object)
    });
    let (causal, count) = caused.max_by_key(|(causal, count)| (*count, std::cmp::Reverse(&causal.rule.id)))?;
    let mut text = String::with_capacity(causal.rule.why.len() + 40);
    text.extend([causal.rule.why.as_str(), " That explains "]);
    push_plural(&mut text, count, "Event");
    text.push('.');
    Some(text)
}

/// `12 s after Deployment shop/web was changed`.
fn after(change: &Row, first: Timestamp) -> String {
    let seconds = (first.millis_since(change.last) / 1000).max(0);
    let what = ObjectRef::named(&change.kind, &change.object_namespace, &change.object_name);
    format!("{seconds} s after {what} changed ({}, {})", change.reason, clock(change.last))
}

/// What is touched, and whose part of it is: `3 pods of Deployment shop/web`; `3 pods` and `, 2 of them of 2 workloads` when the
/// workload of some is not known.
struct Touched {
    what: String,
    whose: String,
}

impl Touched {
    /// `owned` are the pods whose workload is known.
    fn of(impact: &Impact, owned: i64) -> Option<Self> {
        let (pods, count) = (impact.pods, impact.workload_count);
        let mut touched = Self { what: String::with_capacity(96), whose: String::new() };
        let Self { what, whose } = &mut touched;
        if pods > 0 {
            push_plural(what, pods, "pod");
        }
        let to = match (pods, owned) {
            (0, _) => what,
            (_, 0) if count > 0 => {
                what.push_str(" and ");
                what
            }
            _ if pods == owned => {
                what.push_str(" of ");
                what
            }
            _ if count > 0 => {
                _ = write!(whose, ", {owned} of them of ");
                whose
            }
            _ => what,
        };
        match (count, impact.workloads.first()) {
            (0, _) => {}
            (1, Some(ObjectRef { kind, namespace, name, .. })) if !namespace.is_empty() => {
                to.extend([kind.as_str(), " ", namespace, "/", name]);
            }
            (1, Some(workload)) => to.push_str(&workload.to_string()),
            (count, _) => push_plural(to, count, "workload"),
        }
        (!touched.what.is_empty()).then_some(touched)
    }

    /// `It touches 387 pods of 12 workloads in 3 namespaces.`
    fn sentence(&self, impact: &Impact) -> String {
        let mut text = ["It touches ", &self.what, &self.whose].concat();
        if impact.namespaces.len() > 1 {
            _ = write!(text, " in {} namespaces", impact.namespaces.len());
        }
        text.push('.');
        text
    }
}

/// The object to blame is all that is affected.
fn is_all(candidate: &Candidate, impact: &Impact) -> bool {
    let is = |workload: &ObjectRef| workload.full_name() == candidate.object.full_name();
    impact.pods == 0 && impact.workload_count == 1 && impact.workloads.iter().all(is)
}

/// More is affected than the object that the title names.
fn goes_beyond(candidate: &Candidate, row: Option<&Row>, impact: &Impact) -> bool {
    let named =
        row.is_some_and(|row| *row.kind == *candidate.object.kind && *row.object_name == *candidate.object.name);
    match (impact.pods, impact.workload_count, impact.workloads.first()) {
        (0, ..) | (1, 0, _) => false,
        (_, 1, Some(workload)) => !named || workload.full_name() != candidate.object.full_name(),
        _ => true,
    }
}
