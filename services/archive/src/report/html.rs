//! A report as a page of HTML that needs nothing else: no script, no other file.

use std::fmt::Write;

use epicenter_model::{Timestamp, thousands};

use super::markdown::{day, scope, took};
use super::{DAY, Report, Stretch, Sum, Workload};

const STYLE: &str = include_str!("report.css");
/// Units of a drawing.
const WIDTH: i64 = 900;
const HEIGHT: i64 = 90;
const CELL: i64 = 16;
/// 1970-01-01 was a Thursday; weeks begin on Mondays.
const THURSDAY: i64 = 3;

/// The report as a page. Every text in it is escaped.
pub fn html(report: &Report) -> String {
    let mut page = String::new();
    let title = format!("Kubernetes incidents, {} to {}", day(report.from), day(report.to));
    // Writing to a String cannot fail.
    let _ = writeln!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n\
         <p class=\"scope\">{}</p>",
        scope(report, escaped)
    );
    figures(&mut page, &report.total);
    over_time(&mut page, report);
    calendar(&mut page, &report.calendar);
    let of = |sum: &Sum| {
        [
            Cell::Number(thousands(sum.incidents)),
            Cell::Number(thousands(sum.open)),
            Cell::Number(took(sum.resolved_p50)),
            Cell::Number(took(sum.resolved_p95)),
        ]
    };
    let heard = |sum: &Sum| [Cell::Number(thousands(sum.events)), Cell::Number(thousands(sum.occurrences))];
    let incidents = ["Incidents", "Open", "Resolved in (median)", "95 %"];
    let heads = ["Events", "Occurrences"];
    let rows = report.severities.iter().map(|it| row([it.name.name()], [&of(&it.sum)[..], &heard(&it.sum)].concat()));
    table(&mut page, "Severity", &["Severity"], &[&incidents[..], &heads].concat(), rows);
    let rows = report.categories.iter().map(|it| row([it.name.name()], [&of(&it.sum)[..], &heard(&it.sum)].concat()));
    table(&mut page, "Categories", &["Category"], &[&incidents[..], &heads].concat(), rows);
    let rows = report.causes.iter().map(|it| row([it.name.as_str()], of(&it.sum).to_vec()));
    table(&mut page, "Top causes", &["Cause"], &incidents, rows);
    let rows = report
        .recurring
        .iter()
        .map(|it| row([it.cluster.as_str(), &it.object.to_string(), &it.class], of(&it.sum).to_vec()));
    table(&mut page, "Came more than once", &["Cluster", "Object", "Cause"], &incidents, rows);
    let rows = report.workloads.iter().map(|Workload { cluster, namespace, name, events, occurrences }| {
        let numbers = vec![Cell::Number(thousands(*events)), Cell::Number(thousands(*occurrences))];
        row([cluster.as_str(), namespace, name], numbers)
    });
    table(&mut page, "Noisiest workloads", &["Cluster", "Namespace", "Workload"], &heads, rows);
    let _ = writeln!(
        page,
        "<footer>From {} to {}, log time. Written by epicenter {}.</footer>\n</body>\n</html>",
        report.from,
        report.to,
        env!("CARGO_PKG_VERSION")
    );
    page
}

fn figures(page: &mut String, total: &Sum) {
    let Sum { incidents, open, events, occurrences, resolved_p50, resolved_p95 } = total;
    let figures = [
        ("Incidents", thousands(*incidents)),
        ("Open", thousands(*open)),
        ("Events", thousands(*events)),
        ("Occurrences", thousands(*occurrences)),
        ("Resolved in (median)", took(*resolved_p50)),
        ("95 % within", took(*resolved_p95)),
    ];
    let figures = figures.map(|(what, value)| format!("<div><dt>{what}</dt><dd>{value}</dd></div>\n"));
    let _ = writeln!(page, "<dl>\n{}</dl>", figures.concat());
}

/// Two rows of bars: incidents that opened, and Events.
fn over_time(page: &mut String, report: &Report) {
    let rows = &report.stretches.rows;
    let unit = report.stretches.unit();
    let name = |at: Timestamp| report.stretches.since(at);
    let _ = writeln!(page, "<section>\n<h2>By {unit}</h2>");
    let mut chart = |what: &str, class: &str, count: fn(&Stretch) -> i64| {
        let most = rows.iter().map(count).max().unwrap_or(0);
        let (wide, bottom) = (WIDTH / (rows.len() as i64).max(1), HEIGHT + 12);
        let _ = writeln!(
            page,
            "<figure>\n<figcaption>{what}, {} at most in a {unit}</figcaption>\n<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" \
             aria-label=\"{what} by {unit}\">",
            thousands(most),
            HEIGHT + 14
        );
        for (n, row) in (0..).zip(rows) {
            let high = count(row) * HEIGHT / most.max(1);
            let high = if count(row) > 0 { high.max(1) } else { 0 };
            let _ = writeln!(
                page,
                "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{high}\"><title>{}: {}</title></rect>",
                n * wide,
                HEIGHT - high,
                (wide - 1).max(1),
                name(row.since),
                thousands(count(row))
            );
        }
        if let (Some(first), Some(last)) = (rows.first(), rows.last()) {
            let end = rows.len() as i64 * wide;
            let _ = writeln!(
                page,
                "<text x=\"0\" y=\"{bottom}\">{}</text>\n<text x=\"{end}\" y=\"{bottom}\" text-anchor=\"end\">{}</text>",
                name(first.since),
                name(last.since)
            );
        }
        page.push_str("</svg>\n</figure>\n");
    };
    chart("Incidents opened", "bar", |row| row.incidents);
    chart("Events", "event", |row| row.events);
    page.push_str("</section>\n");
}

/// A column for each week, a cell for each day: the darker, the more incidents.
fn calendar(page: &mut String, days: &[Stretch]) {
    let weekday = |at: Timestamp| (at.as_millis().div_euclid(DAY * 1000) + THURSDAY).rem_euclid(7);
    let Some(first) = days.first() else { return };
    let most = days.iter().map(|day| day.incidents).max().unwrap_or(0).max(1);
    let (shift, left) = (weekday(first.since), 32);
    let weeks = (days.len() as i64 + shift + 6) / 7;
    let _ = writeln!(
        page,
        "<section>\n<h2>Calendar</h2>\n<figure>\n<figcaption>Incidents opened by day, UTC; {} at most</figcaption>\n\
         <svg width=\"{1}\" height=\"{2}\" viewBox=\"0 0 {1} {2}\" role=\"img\" aria-label=\"Incidents opened by day\">",
        thousands(most),
        left + weeks * CELL,
        7 * CELL
    );
    for (row, name) in [(0, "Mon"), (2, "Wed"), (4, "Fri")] {
        let _ = writeln!(page, "<text x=\"0\" y=\"{}\">{name}</text>", row * CELL + 12);
    }
    for (n, it) in (shift..).zip(days) {
        let _ = writeln!(
            page,
            "<rect class=\"day\" x=\"{}\" y=\"{}\" width=\"{size}\" height=\"{size}\" fill-opacity=\"{:.2}\"><title>{}: {} incidents, {} \
             Events</title></rect>",
            left + n / 7 * CELL,
            n % 7 * CELL,
            it.incidents as f64 / most as f64,
            day(it.since),
            thousands(it.incidents),
            thousands(it.events),
            size = CELL - 2,
        );
    }
    page.push_str("</svg>\n</figure>\n</section>\n");
}

/// What stands in a table.
#[derive(Clone)]
enum Cell {
    Text(String),
    Number(String),
}

fn row<const N: usize>(names: [&str; N], numbers: Vec<Cell>) -> Vec<Cell> {
    names.iter().map(|name| Cell::Text((*name).to_owned())).chain(numbers).collect()
}

/// A section with a table; nothing when there are no rows.
fn table(page: &mut String, title: &str, names: &[&str], numbers: &[&str], rows: impl Iterator<Item = Vec<Cell>>) {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return;
    }
    let names = names.iter().map(|name| format!("<th>{name}</th>"));
    let numbers = numbers.iter().map(|name| format!("<th class=\"number\">{name}</th>"));
    let head: String = names.chain(numbers).collect();
    let _ = writeln!(
        page,
        "<section>\n<h2>{title}</h2>\n<div class=\"table\"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>"
    );
    for row in rows {
        let cells = row.iter().map(|cell| match cell {
            Cell::Text(text) => format!("<td>{}</td>", escaped(text)),
            Cell::Number(text) => format!("<td class=\"number\">{text}</td>"),
        });
        let _ = writeln!(page, "<tr>{}</tr>", cells.collect::<String>());
    }
    page.push_str("</tbody>\n</table></div>\n</section>\n");
}

/// Text that stays text, in an element and in an attribute.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
