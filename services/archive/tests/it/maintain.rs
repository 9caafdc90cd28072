//! What becomes of old files and rows.

use epicenter_archive::{Compacted, Expired};
use epicenter_model::{Category, Severity};
use epicenter_runtime::{RetentionRule, RetentionSection};
use jiff::civil::Date;

use crate::log::{DAY, Site, event};

const A_DAY: i64 = 86_400_000_000;

fn date(day: i8) -> Date {
    Date::constant(2026, 11, day)
}

/// Three days of two clusters, archived in many small files.
fn site() -> Site {
    let site = Site::new();
    for round in 0..4 {
        for (partition, cluster) in [(0, "a"), (1, "b")] {
            let events = (0..30).map(|n| {
                let number = round * 30 + n;
                let severity = if number % 5 == 0 { Severity::Critical } else { Severity::Info };
                event(cluster, number, DAY + n % 3 * A_DAY + number * 1_000_000, severity)
            });
            site.write(partition, &events.collect::<Vec<_>>());
        }
        site.archive(usize::try_from(round * 60 + 60).unwrap());
    }
    site
}

#[test]
fn merges_the_files_of_days_that_are_over_sorted_by_time() {
    let site = site();
    let before = site.times();
    let mut table = site.table();
    let done = site.runtime.block_on(table.compact(date(22))).unwrap();
    assert_eq!((done.partitions, done.after), (4, 4), "two days of two clusters, and not the present one");
    assert!(done.before >= 16, "{done:?}");
    assert_eq!(site.times(), before);
    let again = site.runtime.block_on(table.compact(date(22))).unwrap();
    assert_eq!(again, Compacted::default());
    let order = site.query("SELECT time FROM events WHERE \"date\" = '2026-11-20' AND \"cluster\" = 'a'");
    assert!(order.is_sorted() && order.len() == 40, "{order:?}");
    assert_eq!(site.runtime.block_on(table.vacuum()).unwrap().files, 0, "they are of today");
}

/// A day of one cluster, of which a quarter fits into the memory that there is for sorting.
#[test]
fn merges_more_than_the_memory_for_sorting() {
    let mut site = Site::new();
    site.context.config.batch.rows = 8_000;
    let note = "x".repeat(6_000);
    for first in (0..40_000).step_by(1_000) {
        // Later ones first: there is something to sort.
        let events = (first..first + 1_000).map(|n| {
            let mut event = event("a", n, DAY + (40_000 - n) * 1_000_000, Severity::Info);
            event.event.note.clone_from(&note);
            event
        });
        site.write(0, &events.collect::<Vec<_>>());
    }
    site.archive(40_000);
    let mut table = site.table();
    let done = site.runtime.block_on(table.compact(date(22))).unwrap();
    assert!(done.partitions == 1 && done.before >= 5 && done.after < done.before, "{done:?}");
    assert_eq!(site.rows(), 40_000);
}

#[test]
fn deletes_what_is_kept_no_longer_and_says_so_before() {
    let site = site();
    let mut table = site.table();
    let retention = RetentionSection {
        rules: vec![
            RetentionRule { category: vec![], severity: vec![Severity::Critical], days: 0 },
            RetentionRule { category: vec![Category::Probe], severity: vec![], days: 1 },
        ],
        days: 30,
    };
    let run = |today: i8, table: &mut epicenter_archive::Table| {
        let today = date(today);
        let expired = site.runtime.block_on(table.expired(&retention, today)).unwrap();
        (expired, site.runtime.block_on(table.retain(&retention, today)).unwrap())
    };
    let of = |rows| Expired { category: "probe".into(), severity: "info".into(), rows };
    assert_eq!(run(21, &mut table), (vec![], 0), "a day is a whole one");
    assert_eq!(run(22, &mut table), (vec![of(64)], 64));
    assert_eq!(run(22, &mut table), (vec![], 0));
    let left = site.query("SELECT \"date\", severity, count(*) FROM events GROUP BY 1, 2 ORDER BY 1, 2");
    let row = |day: &str, severity: &str, count: &str| vec![day.to_owned(), severity.to_owned(), count.to_owned()];
    assert_eq!(
        left,
        [
            row("2026-11-20", "critical", "16"),
            row("2026-11-21", "critical", "16"),
            row("2026-11-21", "info", "64"),
            row("2026-11-22", "critical", "16"),
            row("2026-11-22", "info", "64"),
        ]
    );
    // What is deleted stays deleted: the position does not depend on rows.
    site.write(0, &[event("a", 1000, DAY + 3 * A_DAY, Severity::Low)]);
    site.archive(177);
}
