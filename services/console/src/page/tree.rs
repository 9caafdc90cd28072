//! The tree of causes, drawn: causes on the left, what they brought about on the right.

use epicenter_model::{Branch, Incident, Member, span};
use maud::{Markup, html};

use super::{clipped, object};

/// A box, and the room between boxes, px.
const WIDE: i64 = 252;
const HIGH: i64 = 58;
const BESIDE: i64 = 84;
const BELOW: i64 = 14;
/// Characters that a box has room for, in a bold line, a line, and a small one.
const BOLD: usize = 30;
const PLAIN: usize = 36;
const SMALL: usize = 40;

/// What is drawn where.
struct Drawing<'i> {
    boxes: Vec<(i64, i64, &'i Branch<'i>)>,
    /// From the right of a box to the left of another one, and what is written there.
    links: Vec<((i64, i64), (i64, i64), String)>,
    /// Where the next leaf is.
    next: i64,
    wide: i64,
}

/// The tree of an incident that has members.
pub(super) fn tree(incident: &Incident) -> Markup {
    let branches = incident.causes();
    let mut drawing = Drawing { boxes: Vec::new(), links: Vec::new(), next: 1, wide: 0 };
    for branch in &branches {
        drawing.place(branch, 0);
    }
    let Drawing { boxes, links, next, wide } = &drawing;
    let high = next - BELOW + 1;
    let what = format!("Tree of causes: {} Events, causes on the left", incident.members.len());
    html! {
        div.scroll tabindex="0" role="region" aria-label="Tree of causes" {
            svg.tree viewBox={ "0 0 " (wide) " " (high) } width=(wide) height=(high) role="img" aria-label=(what) {
                @for ((x1, y1), (x2, y2), label) in links {
                    @let middle = (x1 + x2) / 2;
                    path.link d={ "M" (x1) " " (y1) " C" (middle) " " (y1) " " (middle) " " (y2) " " (x2) " " (y2) } {}
                    text.lag x=(x2 - 6) y=(y2 - 5) text-anchor="end" { (label) }
                }
                @for (x, y, branch) in boxes { (draw(*x, *y, branch)) }
            }
        }
    }
}

impl<'i> Drawing<'i> {
    /// Places a branch, leaves below each other and causes beside the first of what they brought about; gives its middle.
    fn place(&mut self, branch: &'i Branch<'i>, level: i64) -> i64 {
        let x = level * (WIDE + BESIDE) + 1;
        self.wide = self.wide.max(x + WIDE + 1);
        let below: &[Branch<'_>] = if let Branch::Member { below, .. } = branch { below } else { &[] };
        let middles: Vec<i64> = below.iter().map(|branch| self.place(branch, level + 1)).collect();
        let middle = middles.first().copied().unwrap_or_else(|| {
            let middle = self.next + HIGH / 2;
            self.next += HIGH + BELOW;
            middle
        });
        for (middle_of, branch) in middles.iter().zip(below) {
            self.links.push(((x + WIDE, middle), (x + WIDE + BESIDE, *middle_of), lag(branch)));
        }
        self.boxes.push((x, middle - HIGH / 2, branch));
        middle
    }
}

/// How much later than its cause it happened.
fn lag(branch: &Branch<'_>) -> String {
    let Branch::Member { member: Member { because: Some(because), .. }, .. } = branch else { return String::new() };
    match (because.lag_ms, span(because.lag_ms.abs())) {
        (_, lag) if lag == "0s" => "at once".to_owned(),
        (..0, lag) => format!("−{lag}"),
        (_, lag) => format!("+{lag}"),
    }
}

fn draw(x: i64, y: i64, branch: &Branch<'_>) -> Markup {
    let (role, whole, lines) = match branch {
        Branch::Member { member, .. } => {
            let it = &member.regarding;
            let times = if member.occurrences > 1 { format!(" ×{}", member.occurrences) } else { String::new() };
            let object = object(&it.kind, &it.namespace, &it.name);
            let because = member.because.as_ref();
            let because = because.map(|it| format!("{} · {:.0} %", it.rule, it.score * 100.0));
            let third = because.unwrap_or_else(|| member.role.clone());
            let whole = format!("{}{times} of {object}: {} ({third})", member.reason, member.role);
            (member.role.as_str(), whole, [format!("{}{times}", member.reason), object, third])
        }
        Branch::More { count, rule, reason, kind } => {
            let lines = [format!("and {count} more"), format!("{reason} of a {kind}"), (*rule).to_owned()];
            ("more", lines.join(", "), lines)
        }
    };
    let [first, second, third] = lines;
    html! {
        g class={ "box " (role) } {
            title { (whole) }
            rect.card x=(x) y=(y) width=(WIDE) height=(HIGH) rx="6" {}
            rect.stripe x=(x) y=(y) width="4" height=(HIGH) rx="2" {}
            text.first x=(x + 14) y=(y + 19) { (clipped(&first, BOLD)) }
            text.second x=(x + 14) y=(y + 35) { (clipped(&second, PLAIN)) }
            text.third x=(x + 14) y=(y + 50) { (clipped(&third, SMALL)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use epicenter_model::{Because, MemberObject};

    use super::*;

    fn member(uid: &str, parent: Option<&str>) -> Member {
        let because = |parent: &str| Because { rule: "r".into(), parent: parent.into(), lag_ms: 2_000, score: 0.8 };
        Member {
            event_uid: uid.into(),
            reason: format!("<{uid}>"),
            regarding: MemberObject { kind: "Pod".into(), namespace: "shop".into(), name: uid.into() },
            role: "symptom".into(),
            occurrences: 1,
            because: parent.map(because),
            ..Member::default()
        }
    }

    #[test]
    fn draws_a_box_for_each_and_a_line_for_what_explains_it() {
        let members = vec![member("a", None), member("b", Some("a")), member("c", Some("b")), member("d", Some("a"))];
        let incident = Incident { members, ..Incident::default() };
        let svg = tree(&incident).into_string();
        assert_eq!((svg.matches("<rect class=\"card\"").count(), svg.matches("<path class=\"link\"").count()), (4, 3));
        assert!(svg.contains("&lt;a&gt;") && !svg.contains("<a>"), "{svg}");
        assert!(svg.contains(&format!("width=\"{}\"", 3 * WIDE + 2 * BESIDE + 2)), "three levels: {svg}");
        assert!(svg.contains("+2s") && svg.matches("class=\"box symptom\"").count() == 4);
    }
}
