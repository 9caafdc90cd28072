//! Charts: bars over time, and a calendar.

use epicenter_model::{Timestamp, instant, thousands};
use maud::{Markup, html};

/// Of bars, px.
const WIDE: i64 = 1_000;
const HIGH: i64 = 130;
/// Room for what is written below and on the left.
const FOOT: i64 = 18;
const SIDE: i64 = 46;
/// A day in a calendar, and the room that it takes.
const CELL: i64 = 13;
const STEP: i64 = 16;
const DAY: i64 = 86_400_000;
/// 1970-01-01 was a Thursday; weeks begin on Mondays.
const THURSDAY: i64 = 3;

/// How much came in stretches of the same length, `seconds` each.
pub(super) fn bars(what: &str, seconds: i64, rows: &[(Timestamp, i64)]) -> Markup {
    let most = rows.iter().map(|(_, number)| *number).max().unwrap_or_default().max(1);
    let each = (WIDE - SIDE) as f64 / rows.len().max(1) as f64;
    let label = |at: Timestamp| {
        let text = instant(at);
        text.get(if seconds < 86_400 { 5..16 } else { 0..10 }).unwrap_or_default().to_owned()
    };
    let high = |number: i64| if number == 0 { 0 } else { (number * HIGH / most).max(2) };
    let x = |place: usize| format!("{:.1}", SIDE as f64 + place as f64 * each);
    html! {
        figure {
            figcaption { (what) }
            div.scroll tabindex="0" role="region" aria-label=(what) {
                svg.bars viewBox={ "0 0 " (WIDE) " " (HIGH + FOOT + 4) } role="img" aria-label={ (what) ", " (thousands(most)) " at most" } {
                    @for share in [0, 1, 2] {
                        @let y = 4 + HIGH - share * HIGH / 2;
                        line.mark x1=(SIDE) x2=(WIDE) y1=(y) y2=(y) {}
                        @if share == 0 || most > 1 && share == 2 || most > 3 { text.mark x=(SIDE - 6) y=(y + 4) text-anchor="end" { (thousands(most * share / 2)) } }
                    }
                    @for (place, (since, number)) in rows.iter().enumerate() {
                        rect.bar x=(x(place)) y=(4 + HIGH - high(*number)) width=(format!("{:.1}", (each - 1.0).max(0.6))) height=(high(*number)) { title { (label(*since)) ": " (thousands(*number)) } }
                    }
                    @for place in marks(rows.len(), each) {
                        text.mark x=(x(place)) y=(HIGH + FOOT) { (label(rows[place].0)) }
                    }
                }
            }
        }
    }
}

/// Where something is written below: at some places, evenly, as far as there is room.
fn marks(rows: usize, each: f64) -> impl Iterator<Item = usize> {
    let has_room = move |place: &usize| *place == 0 || *place as f64 * each < (WIDE - 2 * SIDE) as f64;
    (0..rows).step_by(rows.div_ceil(6).max(1)).filter(has_room)
}

/// Days as squares, a column for each week, the more the darker.
pub(super) fn calendar(what: &str, days: &[(Timestamp, i64)]) -> Markup {
    let most = days.iter().map(|(_, number)| *number).max().unwrap_or_default();
    let day = |at: Timestamp| at.as_millis().div_euclid(DAY);
    let first = days.first().map_or(0, |(at, _)| day(*at) + THURSDAY).div_euclid(7);
    let place = |at: Timestamp| ((day(at) + THURSDAY).div_euclid(7) - first, (day(at) + THURSDAY).rem_euclid(7));
    let weeks = days.last().map_or(0, |(at, _)| place(*at).0) + 1;
    // Five steps, by thirds of a logarithm: a bad day must not make all others look the same.
    let shade = |number: i64| match number {
        0 => 0,
        number => 1 + ((number as f64).ln_1p() / (most as f64).ln_1p() * 3.99) as i64,
    };
    let (wide, high) = (34 + weeks * STEP, 18 + 7 * STEP);
    html! {
        figure {
            figcaption { (what) }
            div.scroll tabindex="0" role="region" aria-label=(what) {
                svg.calendar viewBox={ "0 0 " (wide) " " (high) } width=(wide) height=(high) role="img" aria-label={ (what) ", " (thousands(most)) " at most on a day" } {
                    @for (row, name) in [(0, "Mon"), (2, "Wed"), (4, "Fri")] { text.mark x="0" y=(18 + row * STEP + 10) { (name) } }
                    @for (at, number) in days {
                        @let (week, weekday) = place(*at);
                        @let date = instant(*at);
                        @let date = date.get(..10).unwrap_or_default();
                        @if date.ends_with("-01") { text.mark x=(34 + week * STEP) y="11" { (date.get(..7).unwrap_or_default()) } }
                        rect class={ "day shade" (shade(*number)) } x=(34 + week * STEP) y=(18 + weekday * STEP) width=(CELL) height=(CELL) rx="2" { title { (date) ": " (thousands(*number)) } }
                    }
                }
            }
        }
    }
}

/// A number in a table, with a bar as long as its share of the most.
pub(super) fn share(number: i64, most: i64) -> Markup {
    let percent = number * 100 / most.max(1);
    html! {
        td.number.share {
            (thousands(number))
            svg.length viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true" { rect width=(percent) height="4" {} }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_calendar_has_a_column_for_each_week() {
        // A Wednesday, and the two weeks after it.
        let first: Timestamp = "2026-07-01T00:00:00Z".parse().unwrap();
        let days: Vec<_> = (0..15).map(|day| (first.plus_millis(day * DAY), day)).collect();
        let svg = calendar("Incidents by day", &days).into_string();
        assert_eq!(svg.matches("<rect").count(), 15);
        let column = |svg: &str, date: &str| {
            let rect = svg.split("<rect").find(|rect| rect.contains(&format!("{date}:"))).unwrap().to_owned();
            (rect.split("x=\"").nth(1).unwrap().split('"').next().unwrap().to_owned(), rect.contains("shade4"))
        };
        assert_eq!(column(&svg, "2026-07-05").0, "34", "a Sunday ends the first week");
        assert_eq!(column(&svg, "2026-07-06").0, "50");
        assert!(column(&svg, "2026-07-15").1, "the most is the darkest");
        assert!(svg.contains("2026-07</text>"));
    }

    #[test]
    fn bars_are_as_high_as_what_they_stand_for() {
        let at = Timestamp::from_millis;
        let svg =
            bars("Events by hour", 3_600, &[(at(0), 0), (at(3_600_000), 10), (at(7_200_000), 1_000)]).into_string();
        for expected in ["height=\"0\"", "height=\"2\"", &format!("height=\"{HIGH}\""), "01-01 02:00: 1,000", ">1,000<"]
        {
            assert!(svg.contains(expected), "{expected}: {svg}");
        }
    }
}
