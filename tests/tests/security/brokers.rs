//! The kernel over TLS, with every way to say who one is.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use data_encoding::BASE64URL_NOPAD;
use epicenter_bus::{Bus, Emit, Fault, Start, topics};
use epicenter_runtime::TokenFile;
use epicenter_tests::certificates::Validity;
use epicenter_tests::kafka::Port;

use crate::provider;
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

/// An unsigned token of `user`.
pub fn unsigned(user: &str, life: Duration) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    let claims = format!("{{\"sub\":\"{user}\",\"iat\":{now},\"exp\":{}}}", now + life.as_secs_f64());
    let encode = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
    format!("{}.{}.", encode("{\"alg\":\"none\"}"), encode(&claims))
}

/// An unsigned token of `user`, as whoever renews it writes it.
fn renew(file: &Path, user: &str, life: Duration) {
    let next = file.with_extension("next");
    std::fs::write(&next, unsigned(user, life)).unwrap();
    std::fs::rename(next, file).unwrap();
}

/// While its token is renewed a client goes on, though each of them lives for seconds; when it is not, it stands and says why,
/// and goes on by itself.
fn goes_on_while_its_token_is_renewed(site: &Site) {
    const LIFE: Duration = Duration::from_secs(5);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    renew(&file, "token", LIFE);
    let mut with_mechanism = site.trusting("SASL_SSL");
    with_mechanism.extend(properties(&[("sasl.mechanism", "OAUTHBEARER")]));
    let bus = site.bus_with(Port::Sasl, |config| {
        config.properties = with_mechanism;
        config.tokens = Some(Arc::new(TokenFile(file.clone())));
    });
    let partition = 1;
    let (mut source, _) = bus.source("exporter.renewed", partition, b"").unwrap();
    let mut reader = bus.reader(topics::EVENTS_RAW.name, &[partition], Start::Earliest).unwrap();
    let mut commit = |n: usize| {
        let record = emit(&n.to_string());
        crate::site::until("it is committed", || match source.commit(std::slice::from_ref(&record), &[]) {
            Ok(()) => Some(()),
            Err(Fault::Retry { .. }) => None,
            Err(fault) => panic!("{fault}"),
        });
        crate::site::until("it is read", || reader.next(Duration::from_millis(200)).unwrap().map(|read| read.payload));
    };
    let began = Instant::now();
    let mut written = 0;
    while began.elapsed() < 3 * LIFE {
        renew(&file, "token", LIFE);
        commit(written);
        written += 1;
        std::thread::sleep(LIFE / 5);
    }
    assert!(written > 5);
    std::thread::sleep(LIFE + LIFE / 5);
    // A new client says it at once.
    let Err(fault) = bus.source("exporter.late", partition, b"") else { panic!("an expired token was taken") };
    assert!(!matches!(fault, Fault::Fenced { .. }), "{fault}");
    let said = crate::site::until("why it stands", || bus.trouble().filter(|said| said.contains("expired")));
    assert!(said.contains("bus.kafka.token_file") && said.contains("who renews it"), "{said}");
    let refused = bus.create_topics().unwrap_err().to_string();
    assert!(refused.contains("token"), "{refused}");
    renew(&file, "token", Duration::from_secs(600));
    commit(written);
    crate::site::until("nothing is in the way", || bus.trouble().is_none().then_some(()));
    assert_eq!(bus.check_topics().unwrap(), []);
    assert_eq!(bus.create_topics().unwrap(), Vec::<String>::new());
}

pub fn emit(payload: &str) -> Emit {
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
pub fn works(bus: &Bus, payload: &str) {
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
    goes_on_while_its_token_is_renewed(&site);
    provider::goes_on_by_the_credentials_of_a_client(&site);
}
