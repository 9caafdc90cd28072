//! The kernel over TLS, with every way to say who one is.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use epicenter_bus::{Bus, Emit, Start, topics};
use epicenter_tests::certificates::Validity;
use epicenter_tests::kafka::Port;

use crate::site::{Site, everything, properties, showing};

/// An unsigned token of `user`, made anew by the client each time.
fn token(site: &Site, user: &str, life: Duration) -> BTreeMap<String, String> {
    let claims = format!("principal={user} lifeSeconds={}", life.as_secs());
    let mut all = site.trusting("SASL_SSL");
    all.extend(properties(&[
        ("sasl.mechanism", "OAUTHBEARER"),
        ("enable.sasl.oauthbearer.unsecure.jwt", "true"),
        ("sasl.oauthbearer.config", &claims),
    ]));
    all
}

fn emit(payload: &str) -> Emit {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Emit {
        topic: topics::EVENTS_RAW.name,
        timestamp: now.as_millis() as i64,
        key: "k".into(),
        payload: Some(payload.to_owned().into()),
        headers: vec![],
    }
}

/// What `bus` commits, it reads: in transactions, through every kind of client.
fn works(bus: &Bus, payload: &str) {
    let (mut source, _) = bus.source("exporter.x", 0, b"").unwrap();
    source.commit(&[emit(payload)], &[(b"x/events".to_vec(), b"1".to_vec())]).unwrap();
    let mut reader = bus.reader(topics::EVENTS_RAW.name, &[0], Start::Earliest).unwrap();
    let mut newest = None;
    while let Some(record) = reader.next(Duration::from_secs(2)).unwrap() {
        newest = record.payload;
    }
    assert_eq!(newest.as_deref(), Some(payload.as_bytes()));
    assert_eq!(bus.trouble(), None);
}

/// One broker for all ways: it takes longer to start than the rest.
#[test]
fn let_everybody_in_who_says_who_it_is() {
    let site = Site::new(&["scram"]);
    for user in ["scram", "certificate", "token"] {
        site.grant(&everything(&format!("User:{user}")));
    }
    let scram = site.bus(Port::Sasl, site.scram("scram", crate::site::PASSWORD));
    scram.create_topics().unwrap();
    crate::site::until("topics", || scram.check_topics().unwrap().is_empty().then_some(()));
    works(&scram, "by password");

    let certificate = site.authority.issue("certificate", "client", Validity::Current).unwrap();
    works(&site.bus(Port::MutualTls, showing(site.trusting("SSL"), &certificate)), "by certificate");

    works(&site.bus(Port::Sasl, token(&site, "token", Duration::from_secs(3600))), "by token");
}
