//! However much happens, memory is bounded, and what does not fit is counted.
#![allow(clippy::unwrap_used, clippy::panic)]

mod fixture;

use std::collections::BTreeSet;

use epicenter_correlate::{ClusterState, Effects, apply};
use epicenter_model::EnrichedRecord;
use fixture::{records, rules};

/// Applies copies of one Event, each about another object. Gives the state and the number of entries that are stored.
fn storm(line: &str, objects: usize) -> (ClusterState, usize) {
    let rules = rules();
    let EnrichedRecord::Event(template) = records(line).remove(0) else { panic!("{line} is no Event") };
    let mut state = ClusterState::new("test");
    let mut stored = BTreeSet::new();
    for number in 0..objects {
        let mut event = template.clone();
        event.event.uid = format!("e{number}");
        event.event.regarding.name = format!("{}-{number}", event.event.regarding.name);
        event.event.regarding.uid = format!("u{number}");
        let mut effects = Effects::default();
        apply(&rules, &mut state, &EnrichedRecord::Event(event), &mut effects);
        for (key, value) in effects.puts {
            if value.is_some() {
                stored.insert(key)
            } else {
                stored.remove(&key)
            };
        }
    }
    (state, stored.len())
}

#[test]
fn forgets_the_oldest_of_too_many_objects() {
    let (state, stored) = storm("0 unknown.normal Foo/shop/a", 210_000);
    // Room is made before a record, so that there is one object more, and the clock.
    assert_eq!((state.dropped().objects, stored), (9_999, 200_002));
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
    assert_eq!(stored, 10_000 + 10_300 + 3);
}
