use super::*;

fn row(board: &Board, id: &str, version: i64, severity: Severity, state: IncidentState, at: i64) {
    let incident = Incident {
        id: id.into(),
        cluster: "c".into(),
        version,
        severity,
        state,
        opened_at: Timestamp::from_millis(at),
        last_event_at: Timestamp::from_millis(at),
        ..Incident::default()
    };
    let document = Codec::single_object().encode(&incident).unwrap();
    board.incident_row(format!("c/{id}").as_bytes(), Some(&document)).unwrap();
}

fn ids<'s>(shown: impl Iterator<Item = &'s Shown>) -> Vec<String> {
    shown.map(|shown| shown.head.id.clone()).collect()
}

#[test]
fn shows_the_worst_first_and_each_once() {
    let board = Board::new(Codec::single_object());
    row(&board, "a", 1, Severity::Low, IncidentState::Open, 1);
    row(&board, "b", 1, Severity::High, IncidentState::Open, 1);
    row(&board, "c", 1, Severity::High, IncidentState::Open, 2);
    row(&board, "a", 3, Severity::Critical, IncidentState::Open, 1);
    row(&board, "a", 2, Severity::Low, IncidentState::Open, 1);
    assert_eq!(board.look(|held| ids(held.open())), ["a", "c", "b"]);
    row(&board, "b", 2, Severity::High, IncidentState::Resolved, 1);
    assert_eq!(
        board.look(|held| (ids(held.open()), ids(held.ended()))),
        (vec!["a".into(), "c".into()], vec!["b".into()])
    );
    board.incident_row(b"c/a", None).unwrap();
    assert_eq!(board.look(|held| (held.open_count(), held.find("a").is_some())), (1, false));
    assert_eq!(board.incident("c").unwrap().unwrap().severity, Severity::High);
    assert!(board.incident("none").unwrap().is_none());
}

#[test]
fn holds_no_more_than_it_may() {
    let board = Board::new(Codec::single_object());
    for number in 0..ENDED + 10 {
        row(&board, &format!("e{number}"), 1, Severity::Low, IncidentState::Resolved, number as i64);
    }
    board.look(|held| {
        assert_eq!(held.incidents.len(), ENDED);
        assert_eq!(held.ended().next().unwrap().head.id, format!("e{}", ENDED + 9), "the newest stay");
        assert_eq!(held.changes.len(), CHANGES);
    });
    let long = Event { note: "ü".repeat(TEXT), ..Event::default() };
    for _ in 0..EVENTS + 1 {
        board.held.write().hear(EnrichedEvent { event: long.clone(), ..EnrichedEvent::default() });
    }
    board.look(|held| {
        assert_eq!(held.events.len(), EVENTS);
        assert_eq!(held.events().next().unwrap().message.len(), TEXT);
    });
}

#[test]
fn knows_what_changed_since() {
    let board = Board::new(Codec::single_object());
    row(&board, "a", 1, Severity::Low, IncidentState::Open, 1);
    let before = board.look(Held::version);
    row(&board, "b", 1, Severity::Low, IncidentState::Open, 1);
    assert!(board.look(|held| held.changed_since(before, "b") && !held.changed_since(before, "a")));
    for version in 0..CHANGES as i64 {
        row(&board, "b", version + 2, Severity::Low, IncidentState::Open, 1);
    }
    assert!(board.look(|held| held.changed_since(before, "a")), "it is not known any more");
}

use epicenter_model::Event;
