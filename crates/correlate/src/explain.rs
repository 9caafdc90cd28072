//! An incident in words.

use std::fmt::Write;
use std::ops::Bound;
use std::sync::Arc;

use epicenter_model::{Impact, ObjectRef, Timestamp};

use crate::live::{Candidate, Live, Row};
use crate::memory::Known;
use crate::rank::Ranked;
use crate::recall::recall;
use crate::rules::Rules;

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

/// What is said of a root, for as long as nothing of it changes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Words {
    of: Root,
    title: String,
    began: String,
    said: Option<String>,
    hidden: Option<String>,
    command: Option<String>,
}

/// What these words follow from: the candidate, its beginning, its row and its workload, the change before it, and the rules.
#[derive(Clone, Debug, PartialEq)]
struct Root {
    candidate: usize,
    first: Timestamp,
    observed: bool,
    row: bool,
    workload: Option<Arc<ObjectRef>>,
    trigger: Option<(u32, Timestamp)>,
    rules: Arc<str>,
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

fn push_plural(text: &mut String, count: i64, noun: &str) {
    let end = if count == 1 { "" } else { "s" };
    _ = write!(text, "{count} {noun}{end}");
}

pub(crate) fn plural(count: i64, noun: &str) -> String {
    let mut text = String::new();
    push_plural(&mut text, count, noun);
    text
}

/// `11:02:04 UTC` of an RFC 3339 instant.
pub(crate) fn clock(at: Timestamp) -> String {
    let second = at.as_micros().div_euclid(1_000_000).rem_euclid(86_400);
    format!("{:02}:{:02}:{:02} UTC", second / 3600, second / 60 % 60, second % 60)
}

pub(crate) fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// Fills in what is known of the root: `{placeholders}`, and what stands in brackets only where all of its placeholders are known.
fn fill(template: &str, candidate: &Candidate, row: Option<&Row>, common: bool) -> String {
    let mut text = String::with_capacity(template.len() + 64);
    let mut rest = template;
    while let Some((before, part, after)) = optional(rest) {
        put(&mut text, before, candidate, row, common);
        if placeholders(part).all(|name| value(name, candidate, row, common).is_some()) {
            put(&mut text, part, candidate, row, common);
        }
        rest = after;
    }
    put(&mut text, rest, candidate, row, common);
    text
}

/// The first brackets that hold a placeholder: what is before them, in them and after them.
fn optional(template: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    loop {
        let open = from + template[from..].find('[')?;
        let close = open + template[open..].find(']')?;
        let part = &template[open + 1..close];
        if placeholders(part).next().is_some() {
            return Some((&template[..open], part, &template[close + 1..]));
        }
        from = close + 1;
    }
}

fn placeholders(part: &str) -> impl Iterator<Item = &str> {
    part.split('{').skip(1).filter_map(|after| after.split_once('}')).map(|(name, _)| name)
}

/// Replaces `{placeholders}`; what is not known becomes `its` and the name.
fn put(text: &mut String, template: &str, candidate: &Candidate, row: Option<&Row>, common: bool) {
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        let Some((name, tail)) = after.split_once('}') else {
            text.push('{');
            rest = after;
            continue;
        };
        match value(name, candidate, row, common) {
            Some(value) => text.push_str(&value),
            None if name == "namespace" => {
                let kept = text.trim_end_matches("-n ").trim_end().len();
                text.truncate(kept);
            }
            None => {
                // `image {image}` becomes `its image`.
                let doubled = text.len().checked_sub(name.len() + 1).filter(|at| {
                    text.get(*at..)
                        .is_some_and(|end| end[..name.len()].eq_ignore_ascii_case(name) && end.ends_with(' '))
                });
                text.truncate(doubled.unwrap_or(text.len()));
                text.extend(["its ", name]);
            }
        }
        rest = tail;
    }
    text.push_str(rest);
}

/// It is what the row is about, or its workload.
fn is_of(row: &Row, object: &ObjectRef) -> bool {
    (&*row.kind, &*row.object_namespace, &*row.object_name) == object.full_name()
        || row.workload.as_ref().is_some_and(|workload| workload.full_name() == object.full_name())
}

fn value(name: &str, candidate: &Candidate, row: Option<&Row>, common: bool) -> Option<String> {
    let object = &candidate.object;
    let found = match (name, row.filter(|_| !common)) {
        ("kind", Some(row)) => row.kind.to_string(),
        ("namespace", Some(row)) => row.object_namespace.to_string(),
        ("name", Some(row)) => row.object_name.to_string(),
        ("kind", None) => object.kind.clone(),
        ("namespace", None) => object.namespace.clone(),
        ("name", None) => object.name.clone(),
        ("container", _) => row?.container.to_string(),
        ("blamed", _) if is_of(row?, object) => String::new(),
        ("blamed", _) => object.to_string(),
        ("workload", _) => match row?.workload.as_ref() {
            Some(workload) => workload.to_string(),
            None => ObjectRef::named(&row?.kind, &row?.object_namespace, &row?.object_name).to_string(),
        },
        ("config", row) => {
            let told = row.into_iter().flat_map(|row| row.named.iter()).map(|(kind, name)| (&**kind, &**name));
            let of = |(kind, name): (&str, &str)| match kind {
                "ConfigMap" => Some(format!("config map {name}")),
                "Secret" => Some(format!("secret {name}")),
                _ => None,
            };
            std::iter::once((object.kind.as_str(), object.name.as_str())).chain(told).find_map(of)?
        }
        ("node", _) if *row?.kind == *"Node" => row?.object_name.to_string(),
        ("node", _) if !row?.node.is_empty() => row?.node.to_string(),
        (other, _) => {
            let of_kind = |kind: &str| kind.eq_ignore_ascii_case(other);
            match row?.named.iter().find(|(kind, _)| of_kind(kind)) {
                Some((_, name)) => name.to_string(),
                None if of_kind(&object.kind) => object.name.clone(),
                None => String::new(),
            }
        }
    };
    (!found.is_empty()).then_some(found)
}
