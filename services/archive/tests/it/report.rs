//! What a week of an archive comes to, in each form that it is written in.

use epicenter_archive::ask::Filter;
use epicenter_archive::report::{Report, html, markdown};
use epicenter_model::{
    Category, Cause, Context, EnrichedEvent, Incident, IncidentChange, IncidentState, ObjectRef, Severity, Timestamp,
};
use epicenter_runtime::QuerySection;
use expect_test::expect_file;

use crate::ask::{NOW, open};
use crate::log::{DAY, Site, event};

const MINUTE: i64 = 60_000_000;

/// Two days of two clusters whose people name things as they like, and incidents, one of which came again.
fn site() -> Site {
    let site = Site::new();
    for (partition, cluster) in [(0, "a"), (1, "b")] {
        let events = (0..40).map(|n| {
            let at = DAY + n / 20 * 24 * 60 * MINUTE + n * 20 * MINUTE;
            let event = event(cluster, n, at, if n % 10 == 0 { Severity::High } else { Severity::Low });
            let name = if n % 4 == 0 { "<script>alert('x')</script>|*web*" } else { "web" };
            let owners = vec![ObjectRef::named("Deployment", "shop", name)];
            EnrichedEvent { context: Context { owners, ..Context::default() }, ..event }
        });
        site.write(partition, &events.collect::<Vec<_>>());
    }
    site.archive(80);
    let incident = |id: &str, opened: i64, resolved: Option<i64>, class: &str, object: ObjectRef| {
        let at = |minute: i64| Timestamp::from_micros(DAY + minute * MINUTE);
        let state = if resolved.is_some() { IncidentState::Resolved } else { IncidentState::Open };
        let incident = Incident {
            id: id.to_owned(),
            cluster: "a".to_owned(),
            version: 1,
            state,
            severity: Severity::High,
            category: if class.starts_with("node") { Category::Node } else { Category::Image },
            cause: Cause { class: class.to_owned(), object, ..Cause::default() },
            opened_at: at(opened),
            last_event_at: at(resolved.unwrap_or(opened)),
            resolved_at: resolved.map(at),
            ..Incident::default()
        };
        IncidentChange { at: at(resolved.unwrap_or(opened)), incident, ..IncidentChange::default() }
    };
    let (registry, node) = (ObjectRef::named("Registry", "", "<b>r&d</b>"), ObjectRef::named("Node", "", "n1"));
    let merged = incident("epc-dddddddddd", 12, None, "image.pull.auth", registry.clone());
    let merged = IncidentChange {
        incident: Incident {
            state: IncidentState::Merged,
            merged_into: Some("epc-aaaaaaaaaa".into()),
            ..merged.incident
        },
        ..merged
    };
    site.write_changes(&[
        incident("epc-aaaaaaaaaa", 10, Some(40), "image.pull.auth", registry.clone()),
        incident("epc-bbbbbbbbbb", 1500, Some(1510), "image.pull.auth", registry),
        incident("epc-cccccccccc", 2000, None, "node.not_ready", node),
        merged,
        // It opened before the time that is asked for.
        incident("epc-eeeeeeeeee", -3000, Some(60), "node.not_ready", ObjectRef::named("Node", "", "n2")),
    ]);
    site
}

#[test]
fn a_week_is_told_in_each_form() {
    let site = site();
    let archive = open(&site, QuerySection::default());
    let of = |asked: &[(&str, &str)]| {
        let mut filter = Filter::new(NOW);
        for (key, value) in asked {
            assert!(filter.set(key, value, NOW).unwrap(), "{key}");
        }
        site.runtime.block_on(Report::of(&archive, &filter, NOW)).unwrap()
    };
    let report = of(&[]);
    let json = serde_json::to_string_pretty(&report).unwrap() + "\n";
    expect_file!["../golden/report.json"].assert_eq(&json);
    expect_file!["../golden/report.md"].assert_eq(&markdown(&report));
    let page = html(&report);
    expect_file!["../golden/report.html"].assert_eq(&page);
    assert!(!page.contains("<script") && !page.contains("<b>") && !page.contains("src=") && !page.contains("http"));
    let total: i64 = report.calendar.iter().map(|day| day.events).sum();
    assert_eq!((total, report.total.events, report.calendar.len()), (80, 80, 7));

    let two_days = of(&[("from", "2026-11-20"), ("to", "2026-11-22"), ("cluster", "b"), ("namespace", "shop")]);
    assert_eq!((two_days.total.events, two_days.total.incidents), (40, 0));
    assert_eq!((two_days.stretches.seconds, two_days.stretches.rows.len()), (3600, 48));
    let none = of(&[("to", "2026-11-20")]);
    assert!(markdown(&none).starts_with("# Kubernetes incidents, 2026-11-20 to 2026-11-20\n"), "{}", markdown(&none));
    assert_eq!(none.total, Default::default());
}
