//! What is told of receivers to whoever asks.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::http::StatusCode;
use epicenter_alerts::{Outlook, Receiver, outlook, reach, run};
use epicenter_bus::{Bus, Emit, Stop, topics};
use epicenter_model::{Codec, Incident, IncidentChange, IncidentState, Severity, Timestamp};

use crate::{LIMIT, context};

const TEXT: &str = "\
receivers:
  - {name: here, webhook: {url: 'http://HERE/hook'}}
  - {name: gone, webhook: {url: 'http://GONE/hook'}}
  - {name: screen, stdout: {}}
rules:
  - {name: all, receivers: [here, gone, screen], group_wait: 0s}
";

/// Writes the first version of each of those incidents.
fn write(bus: &Bus, at: i64, ids: &[&str]) {
    let (mut source, _) = bus.source("correlator", 0, b"correlator/").unwrap();
    for id in ids {
        let (state, severity) = (IncidentState::Open, Severity::High);
        let incident =
            Incident { id: (*id).into(), cluster: "c".into(), version: 1, state, severity, ..Incident::default() };
        let change = IncidentChange { at: Timestamp::from_millis(at), incident, ..IncidentChange::default() };
        let payload = Some(Codec::single_object().encode(&change).unwrap().into());
        let emit =
            Emit { topic: topics::INCIDENT_CHANGES.name, timestamp: at, key: "c".into(), payload, headers: vec![] };
        source.commit(&[emit], &[]).unwrap();
    }
}

async fn until(what: &str, bus: &Bus, done: impl Fn(&[Outlook]) -> bool) -> Vec<Outlook> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let found = outlook(bus, Some(&["gone", "here", "screen"])).unwrap();
        if done(&found) {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: {found:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tells_who_is_told_who_waits_and_who_is_not_served() {
    let here = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = here.local_addr().unwrap();
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    tokio::spawn(async move { axum::serve(here, Router::new().fallback(|| async { StatusCode::OK })).await });
    let directory = tempfile::tempdir().unwrap();
    let text = TEXT.replace("HERE", &at.to_string()).replace("GONE", &gone.to_string());
    let context = context(directory.path(), 1, &text);
    let bus = context.bus.clone();
    assert_eq!(outlook(&bus, None).unwrap(), []);
    let unserved = until("nobody is served", &bus, |_| true).await;
    assert!(unserved.iter().all(|it| !it.begun && it.unread == 0), "{unserved:?}");

    let stop = Stop::new();
    let threads: Vec<_> = context.alerts.receivers[..2]
        .iter()
        .map(|receiver| {
            let (context, receiver, stop) = (context.clone(), Arc::clone(receiver), stop.clone());
            std::thread::spawn(move || run(&context, &receiver, &stop).unwrap())
        })
        .collect();
    until("both have begun", &bus, |found| found[0].begun && found[1].begun).await;
    let first = 1_700_000_000_000;
    write(&bus, first, &["epc-1"]);
    let found = until("one is told, and the other waits", &bus, |found| {
        found[1].told.is_some() && found[1].unread == 0 && found[0].waits.is_some()
    })
    .await;
    assert_eq!((found[1].waits, found[0].told, found[2].begun), (None, None, false));
    // It waits with what it has, and reads no further.
    write(&bus, first + 1000, &["epc-2", "epc-3"]);
    let found = until("the other is behind", &bus, |found| found[0].unread >= 2 && found[1].unread == 0).await;
    assert!(found[0].oldest.is_some_and(|at| at >= Timestamp::from_millis(first)), "{found:?}");
    let known = outlook(&bus, None).unwrap();
    assert_eq!(known.iter().map(|it| it.receiver.as_str()).collect::<Vec<_>>(), ["gone", "here"]);

    let receivers: Vec<Arc<Receiver>> = context.alerts.receivers.clone();
    assert_eq!(reach(&receivers[0]).await, Some(Ok(at.to_string())));
    let refused = reach(&receivers[1]).await.unwrap().unwrap_err();
    assert!(refused.contains(&gone.to_string()), "{refused}");
    assert_eq!(reach(&receivers[2]).await, None);
    stop.request();
    tokio::task::spawn_blocking(|| threads.into_iter().for_each(|thread| thread.join().unwrap())).await.unwrap();
}
