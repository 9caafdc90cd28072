//! However much happens, memory is bounded, and what does not fit is counted.
#![allow(clippy::unwrap_used, clippy::panic)]

mod fixture;

use std::collections::BTreeSet;

use epicenter_correlate::{Bounds, ClusterState, Effects, Rules, apply};
use epicenter_model::EnrichedRecord;
use fixture::{records, rules};

/// Applies copies of one Event, each about another object. Gives the state and the number of entries that are stored.
fn storm(line: &str, objects: usize) -> (ClusterState, usize) {
    let (state, stored) = storm_under(&rules(), line, objects);
    (state, stored.len())
}

/// As [`storm`], by rules with bounds of their own. Gives the keys that are stored.
fn storm_under(rules: &Rules, line: &str, objects: usize) -> (ClusterState, BTreeSet<Vec<u8>>) {
    let EnrichedRecord::Event(template) = records(line).remove(0) else { panic!("{line} is no Event") };
    let mut state = ClusterState::new("test");
    let mut stored = BTreeSet::new();
    for number in 0..objects {
        let mut event = template.clone();
        event.event.uid = format!("e{number}");
        event.event.regarding.name = format!("{}-{number}", event.event.regarding.name);
        event.event.regarding.uid = format!("u{number}");
        let mut effects = Effects::default();
        apply(rules, &mut state, &EnrichedRecord::Event(event), &mut effects);
        state.flush(|key, value| {
            if value.is_some() {
                stored.insert(key)
            } else {
                stored.remove(&key)
            };
        });
    }
    (state, stored)
}

#[test]
fn forgets_the_oldest_of_too_many_objects() {
    let (state, stored) = storm("0 unknown.normal Foo/shop/a", 210_000);
    // Room is made before a record, so that there is one object more; and the clock, the writer and the memory.
    assert_eq!((state.dropped().objects, stored), (9_999, 200_004));
}

#[test]
fn closes_the_quietest_of_too_many_incidents() {
    let (state, _) = storm("0 unknown.warning Foo/shop/a", 20_500);
    assert_eq!((state.open(), state.dropped().incidents), (20_000, 500));
}

#[test]
fn counts_the_members_that_it_does_not_remember() {
    let (state, stored) = storm("0 config.secret_missing Foo/shop/a text=Secret/shop/db", 10_300);
    assert_eq!((state.open(), state.dropped().members), (1, 300));
    // Each object has a series of its own, as far as there is room.
    assert_eq!((state.dropped().series, stored), (10_300 - 4_096, 10_000 + 10_300 + 4_096 + 5));
}

/// Whatever bounds are set hold, in memory and in what is stored, under a storm of objects each of which fails; all that does not
/// fit is counted.
#[test]
fn a_storm_of_distinct_objects_stays_within_the_bounds() {
    let bounds = Bounds { objects: 300, incidents: 50, members_of_one: 20, members: 100 };
    let rules = rules().bounded(bounds);
    for (line, what) in [
        ("0 unknown.warning Foo/shop/a", "incidents"),
        ("0 config.secret_missing Foo/shop/a text=Secret/shop/db", "members"),
        ("0 crash.back_off Pod/shop/a node=n1 images=r.io/a:1", "objects"),
    ] {
        let (state, stored) = storm_under(&rules, line, 5_000);
        // Each member, incident, object and redirect is one entry; fingerprints have a bound of their own.
        let most = bounds.objects + bounds.incidents + bounds.members + 10;
        let of = |tag: u8| stored.iter().filter(|key| key[0] == tag).count();
        let kept = of(b'e') + of(b'i') + of(b'm') + of(b'r');
        assert!(kept <= most, "{what}: {kept} entries");
        assert!(
            of(b'e') <= bounds.objects + 10 && of(b'i') <= bounds.incidents && of(b'm') <= bounds.members,
            "{what}"
        );
        let dropped = state.dropped();
        let counted = match what {
            "incidents" => dropped.incidents,
            "members" => dropped.members,
            _ => dropped.objects,
        };
        assert!(counted > 4_000, "{what}: {dropped:?}");
    }
}
