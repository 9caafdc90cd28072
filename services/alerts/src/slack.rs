//! Incoming webhooks of Slack, and of what understands the same.

use serde_json::json;

use crate::notice::{Kind, Notice};

/// Characters of a block's text; Slack allows 3000 after escaping.
const LONGEST: usize = 1400;

/// A message with a text for notifications and blocks for the channel.
pub(crate) fn body(notice: &Notice) -> String {
    let incident = &notice.incident;
    let sign = match notice.kind {
        Kind::Resolved => ":white_check_mark:",
        Kind::Firing | Kind::Worse | Kind::Repeat => ":rotating_light:",
    };
    let (summary, description) = (escaped(&notice.summary()), escaped(&notice.description()));
    let facts = [
        escaped(&format!("{} · {} · since {}", incident.cluster, incident.category, incident.opened_at)),
        // Ours, and without a mark in it: an id has none.
        format!("`{}`", notice.command()),
    ];
    let section = |text: &str| json!({"type": "section", "text": {"type": "mrkdwn", "text": text}});
    let mut blocks = vec![section(&format!("{sign} *{summary}*"))];
    if !description.is_empty() {
        blocks.push(section(&description));
    }
    blocks.push(json!({"type": "context", "elements": [{"type": "mrkdwn", "text": facts.join(" · ")}]}));
    json!({"text": format!("{sign} {summary}"), "blocks": blocks}).to_string()
}

/// `text` without a meaning to Slack: what an Event's message says must not mention a channel, make a link or a format.
/// The three characters are those of Slack's own rule; its marks have no escape, so that each gets a space of no width.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars().take(LONGEST) {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '*' | '_' | '~' | '`' => out.extend(['\u{200b}', c, '\u{200b}']),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    if text.chars().nth(LONGEST).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(escaped(text), expected);
    }

    #[test]
    fn takes_the_meaning_out_of_messages() {
        check("a <!channel> & b", "a &lt;!channel&gt; &amp; b");
        check("*now*", "\u{200b}*\u{200b}now\u{200b}*\u{200b}");
        check("one\ntwo", "one two");
        check(&"x".repeat(2000), &("x".repeat(LONGEST) + "…"));
    }
}
