//! Messages that nobody has written: whatever they say, they are read, and say nothing in another's name.

use std::sync::LazyLock;

use epicenter_model::Event;
use proptest::prelude::*;

use crate::Catalog;

/// More objects than any message truly names.
const NAMED: usize = 100;

static EXAMPLES: LazyLock<Vec<Event>> = LazyLock::new(|| Catalog::builtin().example_events().cloned().collect());

/// Messages of examples, cut, joined, repeated, and with anything between.
fn message() -> impl Strategy<Value = String> {
    let known = || prop::sample::select(EXAMPLES.as_slice()).prop_map(|event| event.note);
    let part = prop_oneof![
        4 => known(),
        2 => (known(), any::<prop::sample::Index>()).prop_map(|(note, at)| {
            let cut = if note.is_empty() { 0 } else { at.index(note.len()) };
            note[..note.floor_char_boundary(cut)].to_owned()
        }),
        1 => ".{0,40}",
        1 => prop::sample::select(&["\n", "\0", "\"", ": ", "(combined from similar events): ", "0/0 nodes are available: "][..])
            .prop_map(str::to_owned),
        1 => (known(), 2_usize..200).prop_map(|(note, times)| note.repeat(times)),
    ];
    prop::collection::vec(part, 0..5).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_message_is_read(event in prop::sample::select(EXAMPLES.as_slice()), note in message()) {
        let event = Event { note, ..event };
        let (catalog, length) = (Catalog::builtin(), event.note.len());
        let found = catalog.classify(&event);
        prop_assert!(catalog.classes().get(found.class).is_some(), "{}", found.class);
        prop_assert!(found.entities.len() <= NAMED, "{} objects in {length} bytes", found.entities.len());
        prop_assert!(found.entities.iter().all(|named| named.name.len() <= length));
    }

    /// What a component of one's own writes is its own, though it be word for word what the kubelet writes.
    #[test]
    fn a_message_that_imitates_another_is_nobody_elses(note in message(), warning in any::<bool>()) {
        let event_type = if warning { "Warning" } else { "Normal" }.to_owned();
        let event =
            Event { component: "shop.example.com/checkout".into(), reason: "Declined".into(), note, event_type, ..Event::default() };
        let found = Catalog::builtin().classify(&event);
        prop_assert_eq!(found.class, if warning { "unknown.warning" } else { "unknown.normal" });
        prop_assert!(found.entities.is_empty());
    }
}

/// `EPICENTER_FUZZ` is how many cases are tried.
fn cases() -> u32 {
    std::env::var("EPICENTER_FUZZ").map_or(256, |cases| cases.parse().expect("EPICENTER_FUZZ is a number of cases"))
}
