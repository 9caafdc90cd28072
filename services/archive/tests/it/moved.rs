//! A log that was moved to other topics.

use std::collections::BTreeMap;

use epicenter_archive::{ArchiveError, moved, whole};
use epicenter_bus::{Bus, LocalConfig};
use epicenter_model::{EnrichedEvent, Severity};
use std::time::Duration;

use crate::log::{DAY, Site, event};

fn events(cluster: &str, numbers: std::ops::Range<i64>) -> Vec<EnrichedEvent> {
    numbers.map(|n| event(cluster, n, DAY + n * 1_000_000, Severity::Medium)).collect()
}

#[test]
fn goes_on_without_a_repetition_and_without_a_gap() {
    let mut site = Site::new();
    site.write(0, &events("a", 0..30));
    site.write(1, &events("b", 0..20));
    site.archive(50);
    site.write(1, &events("b", 20..25));
    let ready = |site: &Site| whole::<EnrichedEvent>(&site.context.store, &site.context.bus, 1, site.runtime.handle());
    let error = ready(&site).unwrap_err();
    assert!(matches!(error, ArchiveError::Behind { topic: "events.enriched" }), "{error}");
    site.archive(55);
    ready(&site).unwrap();

    // All of it is copied, to other partitions.
    let elsewhere = tempfile::tempdir().unwrap();
    let retention = Duration::from_secs(30 * 86_400);
    let new = LocalConfig { directory: elsewhere.path().join("log"), partitions: 3, retention };
    site.context.bus = Bus::local(new).unwrap();
    site.write(2, &events("b", 0..25));
    site.write(0, &events("a", 0..30));
    for _ in 0..2 {
        moved::<EnrichedEvent>(&site.context.store, &site.context.bus, 2, site.runtime.handle()).unwrap();
    }
    site.write(2, &events("b", 25..40));
    site.write(1, &events("c", 0..10));
    site.archive(80);
    let counted =
        site.query("SELECT \"cluster\", count(*), count(DISTINCT event_uid) FROM events GROUP BY 1 ORDER BY 1");
    let counted: BTreeMap<_, _> =
        counted.into_iter().map(|row| (row[0].clone(), (row[1].clone(), row[2].clone()))).collect();
    let expected = [("a", "30"), ("b", "40"), ("c", "10")];
    let expected = expected.map(|(cluster, n)| (cluster.to_owned(), (n.to_owned(), n.to_owned())));
    assert_eq!(counted, BTreeMap::from(expected));
}
