//! From YAML, as `kubectl … -o yaml` and must-gather write it, to JSON.

use std::path::Path;

use serde_json::Value;

use super::ReplayError;

/// Whether `text` is YAML and no JSON, by its first line that says something: a key, or an entry of a list.
pub fn is_yaml(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim_end);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with('#') && *line != "---");
    first.is_some_and(|line| match line.split_once(':') {
        Some((key, rest)) if rest.is_empty() || rest.starts_with(' ') => {
            key.trim_start_matches("- ").chars().all(|letter| letter.is_ascii_alphanumeric())
        }
        _ => false,
    })
}

/// The documents in `text` as JSON, each on the line where it begins in `text`, so that a place in the one is a place in the
/// other.
pub fn to_json(file: &Path, text: &str) -> Result<String, ReplayError> {
    let mut json = String::new();
    let mut lines = 0;
    for (first, document) in documents(text) {
        let value = parse(document).map_err(|error| {
            let at = error.location();
            let line = first + at.map_or(0, |at| usize::try_from(at.line()).unwrap_or_default().saturating_sub(1));
            let said = error.without_snippet().to_string();
            // Its own place is that in the document.
            let what = said.split(" at line ").next().unwrap_or_default();
            ReplayError::Malformed {
                file: file.to_owned(),
                place: format!("line {} column {}", line + 1, at.map_or(1, |at| at.column())),
                what: format!("no YAML ({what})"),
            }
        })?;
        if value.is_null() {
            continue;
        }
        json.extend(std::iter::repeat_n('\n', first - lines));
        lines = first;
        json.push_str(&value.to_string());
    }
    Ok(json)
}

/// Each document with its first line, from 0. A line that begins with the marker is never within one: what is in a text is
/// indented.
fn documents(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut rest = text;
    let mut line = 0;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.match_indices("\n---").map(|(at, _)| at + 1).next().unwrap_or(rest.len());
        let (document, behind) = rest.split_at(end);
        let first = line;
        line += document.matches('\n').count();
        rest = behind;
        Some((first, document))
    })
}

/// The API's objects have no aliases: without them, YAML cannot become more than it is. Their number has no limit, and their
/// depth that of JSON.
fn parse(document: &str) -> Result<Value, serde_saphyr::Error> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_anchors: 0,
            max_aliases: 0,
            max_depth: 128,
            max_events: usize::MAX,
            max_nodes: usize::MAX,
            max_total_scalar_bytes: usize::MAX,
        },
    };
    serde_saphyr::from_str_with_options(document, options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(yaml: &str, expected: &str) {
        assert!(is_yaml(yaml), "{yaml}");
        assert_eq!(to_json(Path::new("f.yaml"), yaml).unwrap(), expected);
    }

    #[track_caller]
    fn check_error(yaml: &str, expected: &str) {
        let error = to_json(Path::new("f.yaml"), yaml).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn reads_documents_where_they_are() {
        check("kind: Event\ncount: 2\n", r#"{"count":2,"kind":"Event"}"#);
        check("---\nkind: A\n---\n# nothing\n---\n\nkind: B\n", "{\"kind\":\"A\"}\n\n\n\n{\"kind\":\"B\"}");
        check("items:\n- message: |\n    a\n    --- b\n", r#"{"items":[{"message":"a\n--- b\n"}]}"#);
        check(
            "- name: 'no'\n  at: 2026-01-01T00:00:00Z\n  resourceVersion: \"12\"\n",
            r#"[{"at":"2026-01-01T00:00:00Z","name":"no","resourceVersion":"12"}]"#,
        );
    }

    #[test]
    fn says_where_it_is_no_yaml() {
        check_error(
            "kind: A\n---\nkind: B\n message: x\n",
            "f.yaml: no YAML (mapping values are not allowed in this context) at line 4 column 9.",
        );
        check_error("a: &a [x]\nb: *a\n", "f.yaml: no YAML (");
    }

    #[test]
    fn tells_it_from_json_and_from_text() {
        let yaml = ["kind: A", "---\n# as it was\naction: null\n", "- apiVersion: v1\n", "items:\n- kind: A\n"];
        let other =
            ["", "hello", r#"{"kind":"A"}"#, "[1]", "{\n  \"kind\": \"A\"", "NAMESPACE  LAST SEEN", "10:32:01 up"];
        for (text, expected) in yaml.iter().map(|text| (text, true)).chain(other.iter().map(|text| (text, false))) {
            assert_eq!(is_yaml(text), expected, "{text}");
        }
    }
}
