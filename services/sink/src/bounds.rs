//! Documents of bounded size, whatever the Events say.

use epicenter_model::{Incident, Note, ObjectRef, Recurrence};

/// Names of objects, bytes: Kubernetes allows no longer ones.
const NAME: usize = 253;
/// Classes, reasons, rules, bytes.
const WORD: usize = 128;
/// The title, bytes.
const TITLE: usize = 512;
/// A sentence of the explanation, bytes.
const SENTENCE: usize = 512;
const SENTENCES: usize = 8;
const REASONS: usize = 50;
const WORKLOADS: usize = 20;
const NAMESPACES: usize = 20;
const CANDIDATES: usize = 3;
const PREVIOUS: usize = 5;
const DAYS: usize = 7;
const NOTES: usize = 20;

/// Cuts `text` to at most `limit` bytes (3 or more), between characters, with `…` where something is missing. Control
/// characters become blanks: they have no place in a line, and JSON writes six bytes for one.
pub(crate) fn clip(text: &mut String, limit: usize) {
    if text.len() > limit {
        let end = text.floor_char_boundary(limit - '…'.len_utf8());
        text.truncate(end);
        text.push('…');
    }
    if text.contains(char::is_control) {
        *text = text.replace(char::is_control, " ");
    }
}

/// Bounds every text and every list, but for the members' number.
pub(crate) fn bound(document: &mut Incident) {
    clip(&mut document.title, TITLE);
    if let Some(id) = &mut document.merged_into {
        clip(id, NAME);
    }
    clip(&mut document.cause.class, WORD);
    bound_reference(&mut document.cause.object);
    document.cause.candidates.truncate(CANDIDATES);
    for candidate in &mut document.cause.candidates {
        clip(&mut candidate.class, WORD);
        bound_reference(&mut candidate.object);
    }
    bound_list(&mut document.explanation, SENTENCES, SENTENCE);
    document.impact.workloads.truncate(WORKLOADS);
    document.impact.workloads.iter_mut().for_each(bound_reference);
    bound_list(&mut document.impact.namespaces, NAMESPACES, NAME);
    bound_reasons(document);
    bound_recurrence(&mut document.recurrence);
    document.acknowledged.iter_mut().for_each(bound_note);
    if let Some(silenced) = &mut document.silenced {
        clip(&mut silenced.id, NAME);
        clip(&mut silenced.by, WORD);
        clip(&mut silenced.why, WORD);
    }
    document.notes.drain(..document.notes.len().saturating_sub(NOTES));
    document.notes.iter_mut().for_each(bound_note);
    for member in &mut document.members {
        for name in [&mut member.event_uid, &mut member.namespace, &mut member.name] {
            clip(name, NAME);
        }
        clip(&mut member.reason, WORD);
        clip(&mut member.role, WORD);
        let regarding = &mut member.regarding;
        for name in [&mut regarding.kind, &mut regarding.namespace, &mut regarding.name] {
            clip(name, NAME);
        }
        if let Some(because) = &mut member.because {
            clip(&mut because.rule, WORD);
            clip(&mut because.parent, NAME);
        }
    }
}

fn bound_list(list: &mut Vec<String>, items: usize, bytes: usize) {
    list.truncate(items);
    list.iter_mut().for_each(|text| clip(text, bytes));
}

fn bound_recurrence(recurrence: &mut Recurrence) {
    bound_list(&mut recurrence.previous, PREVIOUS, NAME);
    if let Some(hours) = &mut recurrence.hours {
        bound_list(&mut hours.days, DAYS, WORD);
    }
    if let Some(place) = &mut recurrence.place {
        bound_reference(&mut place.object);
    }
    if let Some(ended) = &mut recurrence.ended {
        ended.object.iter_mut().for_each(bound_reference);
        clip(&mut ended.reason, WORD);
        clip(&mut ended.by, WORD);
        clip(&mut ended.text, WORD);
    }
}

fn bound_note(note: &mut Note) {
    clip(&mut note.id, WORD);
    clip(&mut note.by, WORD);
    clip(&mut note.text, SENTENCE);
}

fn bound_reference(object: &mut ObjectRef) {
    let ObjectRef { api_version, kind, namespace, name, uid } = object;
    for part in [api_version, kind, namespace, name, uid] {
        clip(part, NAME);
    }
}

/// Keeps the most frequent reasons.
fn bound_reasons(document: &mut Incident) {
    let reasons = &mut document.events.by_reason;
    let long = |reason: &String| reason.len() > WORD || reason.contains(char::is_control);
    if reasons.len() <= REASONS && !reasons.keys().any(long) {
        return;
    }
    let mut rows: Vec<(String, i64)> = std::mem::take(reasons).into_iter().collect();
    rows.sort_by(|(a, x), (b, y)| y.cmp(x).then_with(|| a.cmp(b)));
    rows.truncate(REASONS);
    for (mut reason, count) in rows {
        clip(&mut reason, WORD);
        *reasons.entry(reason).or_default() += count;
    }
}

/// Leaves out what matters least until `size` gives no more than `limit` bytes: members from the end, then notes from the
/// oldest on, then the root, workloads, namespaces, reasons, earlier incidents, the explanation's end, candidates. What then remains of a bounded
/// document is below 12 KiB in Avro and in JSON.
pub(crate) fn fit(document: &mut Incident, limit: usize, size: impl Fn(&Incident) -> usize) {
    while size(document) > limit {
        if document.members.len() <= 1 && !document.notes.is_empty() {
            document.notes.remove(0);
            continue;
        }
        if !document.members.is_empty() {
            let last = document.members.iter().rposition(|member| member.role != "root").unwrap_or(0);
            document.members.remove(last);
            document.truncated += 1;
            continue;
        }
        let dropped = document.impact.workloads.pop().is_some()
            || document.impact.namespaces.pop().is_some()
            || document.events.by_reason.pop_last().is_some()
            || document.recurrence.previous.pop().is_some()
            || document.recurrence.ended.take().is_some()
            || document.recurrence.place.take().is_some()
            || document.explanation.pop().is_some()
            || document.cause.candidates.pop().is_some();
        if !dropped {
            return;
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use epicenter_model::{Because, Candidate, Ending, Hours, Member, MemberObject, Place, Silenced};

    use super::*;

    /// As much of everything as could come, in the characters that take the most bytes in JSON.
    pub(crate) fn worst(filling: &str) -> Incident {
        let text = filling.repeat(2000);
        let object = || ObjectRef {
            api_version: text.clone(),
            kind: text.clone(),
            namespace: text.clone(),
            name: text.clone(),
            uid: text.clone(),
        };
        let mut incident = Incident {
            id: "epc-aaaaaaaaaa".into(),
            version: i64::MAX,
            cluster: "\"".repeat(253),
            merged_into: Some(text.clone()),
            title: text.clone(),
            explanation: vec![text.clone(); 30],
            ..Incident::default()
        };
        incident.cause.class = text.clone();
        incident.cause.object = object();
        incident.cause.confidence = 0.123_456_789_012_345_67;
        incident.cause.candidates =
            vec![Candidate { class: text.clone(), object: object(), ..Candidate::default() }; 9];
        incident.impact.workloads = vec![object(); 30];
        incident.impact.namespaces = vec![text.clone(); 30];
        incident.events.objects = 9000;
        incident.events.by_reason = (0..200).map(|n| (format!("{n}{text}"), i64::MAX / 1000)).collect();
        incident.recurrence.previous = vec![text.clone(); 30];
        incident.recurrence.hours = Some(Hours { days: vec![text.clone(); 30], ..Hours::default() });
        incident.recurrence.place = Some(Place { object: object(), count: i64::MAX });
        incident.recurrence.ended = Some(Ending {
            object: Some(object()),
            reason: text.clone(),
            by: text.clone(),
            text: text.clone(),
            ..Ending::default()
        });
        let member = |n: i64| Member {
            event_uid: format!("{n}{text}"),
            namespace: text.clone(),
            name: text.clone(),
            reason: text.clone(),
            regarding: MemberObject { kind: text.clone(), namespace: text.clone(), name: text.clone() },
            role: if n == 7 { "root".into() } else { text.clone() },
            occurrences: n,
            because: Some(Because { rule: text.clone(), parent: text.clone(), ..Because::default() }),
        };
        incident.members = (0..50).map(member).collect();
        incident.truncated = 8950;
        let note = || Note { id: text.clone(), by: text.clone(), text: text.clone(), ..Note::default() };
        incident.acknowledged = Some(note());
        incident.silenced =
            Some(Silenced { id: text.clone(), by: text.clone(), why: text.clone(), ..Silenced::default() });
        incident.notes = vec![note(); 30];
        incident
    }

    #[track_caller]
    fn check_clip(text: &str, limit: usize, expected: &str) {
        let mut clipped = text.to_owned();
        clip(&mut clipped, limit);
        assert_eq!(clipped, expected);
        assert!(clipped.len() <= limit);
    }

    #[test]
    fn clips_between_characters() {
        check_clip("short", 5, "short");
        check_clip("longer", 5, "lo…");
        check_clip("ééé", 5, "é…");
        check_clip("日本語", 8, "日…");
        check_clip("🦀🦀", 7, "🦀…");
        check_clip("🦀🦀", 6, "…");
        check_clip("a\nb\u{0}c", 9, "a b c");
    }

    #[test]
    fn leaves_a_usual_document_alone() {
        let mut document = Incident { title: "Node a is not ready".into(), ..Incident::default() };
        document.events.by_reason.insert("NodeNotReady".into(), 3);
        let before = document.clone();
        bound(&mut document);
        fit(&mut document, 1000, |_| 1000);
        assert_eq!(document, before);
    }

    #[test]
    fn keeps_the_most_frequent_reasons() {
        let mut document = Incident::default();
        document.events.by_reason = (0..60).map(|n| (format!("R{n:02}"), n)).collect();
        bound(&mut document);
        let kept: Vec<_> = document.events.by_reason.keys().map(String::as_str).collect();
        assert_eq!((kept.len(), kept[0], kept[49]), (50, "R10", "R59"));
    }

    #[test]
    fn drops_the_root_last_and_counts_members() {
        let mut document = worst("x");
        bound(&mut document);
        fit(&mut document, 1, |document| document.members.len());
        assert_eq!((document.members.len(), document.members[0].role.as_str()), (1, "root"));
        assert_eq!(document.truncated, 8999);
        assert_eq!(document.impact.workloads.len(), 20, "members go before workloads");
    }

    #[test]
    fn what_remains_at_worst_is_small() {
        for filling in ["\"", "\u{0}", "é", "日", "🦀", "\u{2028}"] {
            let mut document = worst(filling);
            bound(&mut document);
            fit(&mut document, 0, |_| 1);
            let length = serde_json::to_vec(&document).unwrap().len();
            assert!(length < 12 * 1024, "{filling:?}: {length}");
        }
    }
}
