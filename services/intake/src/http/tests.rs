use axum::body::{Body, to_bytes};
use epicenter_bus::{Bus, Emit, LocalConfig, Start, topics};
use epicenter_model::{Codec, FLEET, Impact, Incident, Member, MemberObject, RawRecord, Timestamp, WatchPosition};
use epicenter_runtime::TokenConfig;
use tower::ServiceExt;

use super::*;

/// A log in which an exporter has read cluster `test` until second 50, and in which there is an incident.
fn log(directory: &std::path::Path) -> Bus {
    let retention = Duration::from_secs(3600);
    let bus = Bus::local(LocalConfig { directory: directory.to_owned(), partitions: 1, retention }).unwrap();
    let codec = Codec::single_object();
    let at = Timestamp::from_millis(50_000);
    let position = WatchPosition { cluster: "test".into(), cluster_uid: "uid".into(), at, ..WatchPosition::default() };
    let incident = Incident { id: "epc-a".into(), cluster: "test".into(), version: 1, ..Incident::default() };
    let impact = Impact { namespaces: vec!["bank".into(), "shop".into()], ..Impact::default() };
    let of_shop = Incident { id: "epc-s".into(), impact, ..incident.clone() };
    let regarding = MemberObject { kind: "Cluster".into(), name: "test".into(), ..MemberObject::default() };
    let members = vec![Member { name: "epc-a".into(), regarding, ..Member::default() }];
    let of_fleet = Incident { id: "epc-f".into(), cluster: FLEET.into(), members, ..incident.clone() };
    let of_other = Incident { id: "epc-o".into(), cluster: "other".into(), ..incident.clone() };
    let rows = [
        (topics::POSITIONS.name, "test/heartbeat", codec.encode(&position).unwrap()),
        (topics::INCIDENTS.name, "test/epc-a", codec.encode(&incident).unwrap()),
        (topics::INCIDENTS.name, "test/epc-s", codec.encode(&of_shop).unwrap()),
        (topics::INCIDENTS.name, "fleet/epc-f", codec.encode(&of_fleet).unwrap()),
        (topics::INCIDENTS.name, "other/epc-o", codec.encode(&of_other).unwrap()),
    ];
    for (table, key, value) in rows {
        let (mut source, _) = bus.source_in(table, "test", 0, b"").unwrap();
        source.commit(&[], &[(key.as_bytes().to_vec(), value)]).unwrap();
    }
    bus
}

struct Site {
    bus: Bus,
    places: Arc<Semaphore>,
    access: Access,
    _directory: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (bus, places) = (log(directory.path()), Arc::new(Semaphore::new(1)));
        Self { bus, places, access: Access::whole(), _directory: directory }
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> (u16, String) {
        let intake = Intake::new(self.bus.clone(), Codec::single_object());
        let mut request = Request::post(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let routes = routes_with(intake, Arc::clone(&self.places)).layer(Extension(self.access.clone()));
        let answer = routes.oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        (status, String::from_utf8(to_bytes(answer.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap())
    }

    fn written(&self) -> Vec<RawRecord> {
        let mut reader = self.bus.reader(topics::EVENTS_RAW.name, &[0], Start::Earliest).unwrap();
        let records = std::iter::from_fn(|| reader.next(Duration::ZERO).unwrap());
        let codec = Codec::single_object();
        records.map(|record| RawRecord::decode(&codec, &record.payload.unwrap()).unwrap()).collect()
    }
}

const COMMANDS: &str = "/api/v1/commands";
const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

#[tokio::test]
async fn what_is_not_said_is_filled_in() {
    let site = Site::new();
    let body = r#"{"by": "anna", "action": "acknowledge", "incident": "epc-a"}"#;
    let (status, answer) = site.post(COMMANDS, JSON, body).await;
    assert_eq!(status, 202, "{answer}");
    let [RawRecord::Command(written)] = &site.written()[..] else { panic!("{:?}", site.written()) };
    assert_eq!((written.cluster.as_str(), written.at), ("test", Timestamp::from_millis(50_000)));
    assert!(!written.id.is_empty() && written.given_at > written.at, "{written:?}");
    assert_eq!(serde_json::from_str::<epicenter_model::Command>(&answer).unwrap(), **written);
}

#[tokio::test]
async fn says_what_is_wrong_and_writes_nothing() {
    let site = Site::new();
    let check = async |path: &str, headers: &[(&str, &str)], body: &str, (expected, why): (u16, &str)| {
        let (status, said) = site.post(path, headers, body.to_owned()).await;
        assert!(status == expected && said.contains(why), "{status} {said}");
    };
    let of = |action: &str| format!(r#"{{"by": "anna", "action": {action}}}"#);
    check(COMMANDS, JSON, &of(r#""note", "incident": "epc-b", "why": "x""#), (404, "no incident epc-b")).await;
    check(COMMANDS, JSON, &of(r#""unacknowledge", "incident": "epc-a""#), (400, "epc-a is not acknowledged")).await;
    check(COMMANDS, JSON, &of(r#""unsilence", "silence": "s", "cluster": "fleet""#), (400, "`fleet` stands for")).await;
    let parts = "which follows from those of several clusters: join or part the incidents that it is made of, such as epc-a in test";
    let split = of(r#""split", "incident": "epc-f", "objects": ["Pod/shop/web"]"#);
    check(COMMANDS, JSON, &split, (400, &format!("split is not for incident epc-f, {parts}"))).await;
    let merge = |id: &str, other: &str| of(&format!(r#""merge", "incident": "{id}", "other": "{other}""#));
    check(COMMANDS, JSON, &merge("epc-f", "epc-a"), (400, &format!("merge is not for incident epc-f, {parts}"))).await;
    check(COMMANDS, JSON, &merge("epc-a", "epc-f"), (400, &format!("merge is not for incident epc-f, {parts}"))).await;
    check(COMMANDS, JSON, &merge("epc-a", "epc-o"), (400, "epc-o of cluster other: only incidents of one cluster"))
        .await;
    let silence = of(r#""silence", "endsAt": "2999-01-01T00:00:00Z", "matcher": {"incident": "epc-f"}"#);
    let instead =
        "acknowledge it (`epicenter ack epc-f`), or silence the incidents that it is made of, such as epc-a in test";
    check(COMMANDS, JSON, &silence, (400, instead)).await;
    let past = of(r#""silence", "endsAt": "1970-01-01T00:00:40Z""#);
    check(COMMANDS, JSON, &past, (400, "it ends at 1970-01-01T00:00:40Z, and the log of cluster test is at")).await;
    check("/v1/events", &[], "[]", (415, "set content-type to")).await;
    check("/v1/events", &[("ce-id", "1"), JSON[0]], "{}", (415, "structured mode")).await;
    check("/v1/events?cluster=other", JSON, "[]", (404, "there is no cluster other")).await;
    check("/v1/events", JSON, &" ".repeat(LARGEST + 1), (413, "")).await;
    let place = Arc::clone(&site.places).try_acquire_owned().unwrap();
    check("/v1/events", JSON, "[]", (503, "too many requests at once")).await;
    drop(place);
    check("/v1/events", JSON, "[]", (202, r#"{"accepted":0}"#)).await;
    assert!(site.written().is_empty());
    assert_eq!(site.places.available_permits(), 1);
}

#[test]
fn incidents_are_known_as_they_are_now() {
    let site = Site::new();
    let codec = Codec::single_object();
    let intake = Intake::new(site.bus.clone(), codec.clone());
    let note = |id: &str| {
        let form = json!({"by": "anna", "action": "note", "why": "x", "incident": id});
        intake.command(serde_json::from_value(form).unwrap(), &Access::whole()).map(|written| written.cluster)
    };
    assert_eq!(note("epc-a").unwrap(), "test");
    let put = |id: &str, incident: Option<Incident>| {
        let (mut source, _) = site.bus.source("publisher", 0, b"\0").unwrap();
        let payload = incident.map(|incident| codec.encode(&incident).unwrap().into());
        let (topic, key, headers) = (topics::INCIDENTS.name, format!("test/{id}").into_bytes().into(), Vec::new());
        source.commit(&[Emit { topic, timestamp: 0, key, payload, headers }], &[]).unwrap();
    };
    assert!(matches!(note("epc-n"), Err(IntakeError::Unknown(_))));
    put("epc-n", Some(Incident { id: "epc-n".into(), cluster: "test".into(), ..Incident::default() }));
    assert_eq!(note("epc-n").unwrap(), "test", "it is read on");
    put("epc-n", None);
    put("epc-a", None);
    assert!(matches!(note("epc-n"), Err(IntakeError::Unknown(_))), "it was deleted");
    assert!(matches!(note("epc-a"), Err(IntakeError::Unknown(_))));
    assert_eq!(site.written().len(), 2);
}

#[tokio::test]
async fn a_token_is_for_its_own_namespaces() {
    let mut site = Site::new();
    let token = TokenConfig { namespaces: vec!["shop".into()], write: true, ..TokenConfig::default() };
    site.access = Access::of(&TokenConfig { name: "shop-team".into(), ..token.clone() });
    let check = async |site: &Site, path: &str, body: String, (expected, why): (u16, &str)| {
        let (status, said) = site.post(path, JSON, body.clone()).await;
        assert!(status == expected && said.contains(why), "{body}: {status} {said}");
    };
    let of = |action: &str| format!(r#"{{"by": "anna", "action": {action}}}"#);
    let note = |incident: &str| of(&format!(r#""note", "why": "x", "incident": "{incident}""#));
    check(&site, COMMANDS, note("epc-s"), (202, "epc-s")).await;
    check(&site, COMMANDS, note("epc-a"), (404, "there is no incident epc-a")).await;
    check(&site, COMMANDS, of(r#""merge", "incident": "epc-s", "other": "epc-a""#), (404, "no incident epc-a")).await;
    let silence =
        |matcher: &str| of(&format!(r#""silence", "endsAt": "2999-01-01T00:00:00Z", "matcher": {{{matcher}}}"#));
    check(&site, COMMANDS, silence(""), (403, "the token of shop-team is for silences of one incident")).await;
    check(&site, COMMANDS, silence(r#""namespace": "bank""#), (403, "name it")).await;
    check(&site, COMMANDS, silence(r#""incident": "epc-a""#), (404, "no incident epc-a")).await;
    check(&site, COMMANDS, silence(r#""namespace": "shop""#), (202, "shop")).await;
    check(&site, COMMANDS, silence(r#""incident": "epc-s""#), (202, "epc-s")).await;
    check(&site, COMMANDS, of(r#""unsilence", "silence": "s""#), (404, "has no silence s")).await;
    let event = |namespace: &str| {
        format!(
            r#"[{{"source": "/x", "id": "1", "reason": "B", "message": "m",
            "regarding": "Pod/{namespace}/p"}}]"#
        )
    };
    let (status, said) = site.post("/v1/events", JSON, event("bank")).await;
    assert!(status == 403 && said.contains("not about Pod bank/p"), "{status} {said}");
    let (status, said) = site.post("/v1/events", JSON, event("shop")).await;
    assert_eq!(status, 202, "{said}");
    assert_eq!(site.written().len(), 4);
    site.access = Access::of(&TokenConfig { write: false, ..token });
    check(&site, COMMANDS, note("epc-s"), (403, "for reading only")).await;
    assert_eq!(site.written().len(), 4);
}
