//! A report as Markdown.

use std::fmt::Write;

use epicenter_model::{span, thousands};

use super::{Report, Stretch, Sum};

/// Cells of a bar.
const BAR: usize = 30;

/// The report as Markdown, which reads well on a terminal, too.
pub fn markdown(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "# Kubernetes incidents, {} to {}\n", day(report.from), day(report.to));
    let _ = writeln!(text, "{}\n", scope(report, escaped));
    let Sum { incidents, open, events, occurrences, resolved_p50, resolved_p95 } = &report.total;
    let _ = writeln!(
        text,
        "**{} incidents**, {} of them open. {} Events, {} occurrences. Time to resolve: {} (median), {} (95 %).\n",
        thousands(*incidents),
        thousands(*open),
        thousands(*events),
        thousands(*occurrences),
        took(*resolved_p50),
        took(*resolved_p95)
    );
    over_time(&mut text, report);
    let of =
        |sum: &Sum| [thousands(sum.incidents), thousands(sum.open), took(sum.resolved_p50), took(sum.resolved_p95)];
    let and_events = |name: String, sum: &Sum| {
        let [incidents, open, p50, p95] = of(sum);
        vec![name, incidents, open, p50, p95, thousands(sum.events), thousands(sum.occurrences)]
    };
    let sums = ["Incidents", "Open", "Resolved in (median)", "95 %", "Events", "Occurrences"];
    let head = |first| [&[first], &sums[..]].concat();
    let severities = report.severities.iter().map(|share| and_events(share.name.to_string(), &share.sum));
    table(&mut text, "Severity", &head("Severity"), severities);
    let categories = report.categories.iter().map(|share| and_events(share.name.to_string(), &share.sum));
    table(&mut text, "Categories", &head("Category"), categories);
    let causes = report.causes.iter().map(|share| [vec![share.name.clone()], of(&share.sum).to_vec()].concat());
    table(&mut text, "Top causes", &head("Cause")[..5], causes);
    let recurring = report.recurring.iter().map(|it| {
        let cause = vec![it.cluster.clone(), it.object.to_string(), it.class.clone()];
        [cause, of(&it.sum).to_vec()].concat()
    });
    let again = [&["Cluster", "Object", "Cause"], &sums[..4]].concat();
    table(&mut text, "Came more than once", &again, recurring);
    let workloads = report.workloads.iter().map(|it| {
        vec![it.cluster.clone(), it.namespace.clone(), it.name.clone(), thousands(it.events), thousands(it.occurrences)]
    });
    table(&mut text, "Noisiest workloads", &["Cluster", "Namespace", "Workload", "Events", "Occurrences"], workloads);
    text.truncate(text.trim_end().len());
    text + "\n"
}

fn over_time(text: &mut String, report: &Report) {
    let most = |count: fn(&Stretch) -> i64| report.stretches.rows.iter().map(count).max().unwrap_or(0).max(1);
    let (incidents, events) = (most(|row| row.incidents), most(|row| row.events));
    let bar = |count: i64, most: i64| {
        let cells = (count * BAR as i64 + most - 1) / most;
        "█".repeat(cells.try_into().unwrap_or(0))
    };
    let rows = report.stretches.rows.iter().map(|row| {
        let since = report.stretches.since(row.since);
        let (opened, heard) = (thousands(row.incidents), thousands(row.events));
        vec![since, opened, bar(row.incidents, incidents), heard, bar(row.events, events)]
    });
    table(
        text,
        &format!("By {}", report.stretches.unit()),
        &["Since (UTC)", "Incidents opened", "", "Events", ""],
        rows,
    );
}

/// A section with a table; nothing when there are no rows.
fn table(text: &mut String, title: &str, head: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return;
    }
    let _ = writeln!(text, "## {title}\n\n| {} |\n|{}", head.join(" | "), "---|".repeat(head.len()));
    for row in rows {
        let cells: Vec<_> = row.iter().map(|cell| escaped(cell)).collect();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text.push('\n');
}

/// What the report is about; `plain` keeps a name from being more than a name.
pub(super) fn scope(report: &Report, plain: fn(&str) -> String) -> String {
    let list = |what: &str, one: &str, names: &[String]| match names {
        [] => format!("all {what}"),
        [name] => format!("{one} {}", plain(name)),
        names => format!("{what} {}", names.iter().map(|name| plain(name)).collect::<Vec<_>>().join(", ")),
    };
    format!(
        "Of {}, {}.",
        list("clusters", "cluster", &report.clusters),
        list("namespaces", "namespace", &report.namespaces)
    )
}

pub(super) fn day(at: epicenter_model::Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

/// How long something took, s.
pub(super) fn took(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "–".to_owned(), |seconds| span(seconds.round() as i64 * 1000))
}

/// Text that stays text: neither table nor tag nor emphasis.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\\' | '|' | '<' | '>' | '*' | '_' | '`' | '[' | ']' | '#' => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
