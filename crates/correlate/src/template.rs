//! Templates of the classes' and rules' sentences.

use epicenter_model::ObjectRef;

use crate::live::Candidate;
use crate::row::Row;

/// Fills in what is known of the root: `{placeholders}`, and what stands in brackets only where all of its placeholders are known.
pub(crate) fn fill(template: &str, candidate: &Candidate, row: Option<&Row>, common: bool) -> String {
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

/// Replaces `{placeholders}`; what is not known becomes `its` and the placeholder, and a namespace or name nothing.
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
            None if name == "namespace" || name == "name" => {
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
