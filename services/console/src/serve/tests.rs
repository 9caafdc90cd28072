use axum::body::Body;
use axum::http::header;
use epicenter_bus::topics::EVENTS_RAW;
use epicenter_bus::{Bus, LocalConfig, Start};
use epicenter_model::{
    Act, Action, Because, Codec, EndedBy, Ending, EnrichedEvent, Event, Hours, Incident, IncidentState, Member,
    MemberObject, Note, Novelty, ObjectRef, Place, RawRecord, Recurrence, Severity, Silence, WatchPosition,
};
use http_body_util::BodyExt as _;
use tempfile::TempDir;
use tower::ServiceExt as _;

use super::*;

mod teams;

const EVIL: &str = "<script>alert(1)</script><img src=x onerror=\"alert(2)\">'\"&";

fn clock() -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000)
}

/// What a console is made of, on a log with one cluster.
fn console(directory: &std::path::Path) -> (Console, Bus) {
    let config = LocalConfig { directory: directory.to_owned(), partitions: 1, retention: Duration::MAX };
    let bus = Bus::local(config).unwrap();
    let position = WatchPosition {
        cluster: "c".into(),
        cluster_uid: "u".into(),
        resource: "events".into(),
        at: clock(),
        ..WatchPosition::default()
    };
    let (mut source, _) = bus.source("exporter.c", 0, b"c/").unwrap();
    let codec = Codec::single_object();
    source.commit(&[], &[(b"c/events".to_vec(), codec.encode(&position).unwrap())]).unwrap();
    let console = Console {
        board: Board::new(codec.clone()),
        intake: Intake::new(bus.clone(), codec),
        past: None,
        rules: epicenter_rules::RuleSet::builtin().causal,
        health: Health::new(),
        user: String::new(),
        clock: Arc::new(clock),
    };
    (console, bus)
}

/// A console as browsers see it.
struct Desk {
    router: Router,
    board: Board,
    bus: Bus,
    stop: CancellationToken,
    _directory: TempDir,
}

impl Desk {
    fn new(guard: Guard) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (console, bus) = console(directory.path());
        let (board, stop) = (console.board.clone(), CancellationToken::new());
        Self { router: router(console, guard, stop.clone()), board, bus, stop, _directory: directory }
    }

    fn open() -> Self {
        Self::new(Guard { tokens: Vec::new(), loopback: true, hosts: Vec::new() })
    }

    /// An incident in the table of the log, and on the board.
    fn put(&self, incident: &Incident) {
        let document = Codec::single_object().encode(incident).unwrap();
        let key = format!("{}/{}", incident.cluster, incident.id).into_bytes();
        self.board.incident_row(&key, Some(&document)).unwrap();
        let (mut source, _) = self.bus.source_in("incidents", "of a test", 0, b"\0").unwrap();
        source.commit(&[], &[(key, document)]).unwrap();
    }

    async fn send(&self, request: Request) -> (StatusCode, HeaderMap, String) {
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn get(&self, path: &str) -> (StatusCode, HeaderMap, String) {
        self.send(request("GET", path, &[], "")).await
    }

    async fn post(&self, path: &str, form: &str) -> (StatusCode, HeaderMap, String) {
        self.send(request("POST", path, &[("origin", "http://localhost:1")], form)).await
    }
}

fn of<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers[name].to_str().unwrap()
}

fn request(method: &str, path: &str, headers: &[(&str, &str)], form: &str) -> Request {
    let mut request = axum::http::Request::builder().method(method).uri(path).header("host", "localhost:1");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let kind = "application/x-www-form-urlencoded";
    request.header(header::CONTENT_TYPE, kind).body(Body::from(form.to_owned())).unwrap()
}

fn incident(id: &str, severity: Severity) -> Incident {
    let mut incident = Incident {
        id: id.into(),
        version: 1,
        cluster: "c".into(),
        severity,
        title: format!("Pod {id} cannot start"),
        opened_at: clock().plus_millis(-60_000),
        last_event_at: clock(),
        ..Incident::default()
    };
    incident.cause.class = "image.pull.not_found".into();
    incident.cause.object = ObjectRef::named("Pod", "shop", id);
    incident
}

#[tokio::test]
async fn what_others_wrote_is_text_everywhere() {
    let desk = Desk::open();
    let evil = || EVIL.to_owned();
    let mut incident = incident("epc-evil", Severity::High);
    let because = Because { rule: evil(), parent: "a".into(), lag_ms: 1, score: 0.5 };
    let object = || MemberObject { kind: evil(), namespace: evil(), name: evil() };
    let member = |uid: &str, because| Member {
        event_uid: uid.into(),
        reason: evil(),
        regarding: object(),
        role: evil(),
        because,
        ..Member::default()
    };
    incident.title = evil();
    incident.explanation = vec![evil(), format!("Look at: {EVIL}")];
    incident.cause.class = evil();
    incident.cause.object = ObjectRef::named(EVIL, EVIL, EVIL);
    incident.impact.namespaces = vec![evil()];
    incident.impact.workloads = vec![ObjectRef::named(EVIL, EVIL, EVIL)];
    incident.events.by_reason = [(evil(), 1)].into();
    incident.recurrence.count = 1;
    incident.recurrence.previous = vec![evil()];
    incident.members = vec![member("a", None), member("b", Some(because))];
    incident.notes = vec![Note { by: evil(), text: evil(), ..Note::default() }];
    incident.acknowledged = Some(Note { by: evil(), text: evil(), act: Act::Acknowledge, ..Note::default() });
    desk.put(&incident);
    let event = Event { uid: "a".into(), reason: evil(), note: evil(), ..Event::default() };
    let heard = EnrichedEvent { cluster: "c".into(), class: evil(), event, ..EnrichedEvent::default() };
    desk.board.enriched(&Codec::single_object().encode(&heard).unwrap()).unwrap();
    let silence = Silence { id: evil(), cluster: evil(), by: evil(), why: evil(), ..Silence::default() };
    desk.board.silence_row(b"c/s", Some(&Codec::single_object().encode(&silence).unwrap())).unwrap();

    let query: String = url::form_urlencoded::byte_serialize(EVIL.as_bytes()).collect();
    for page in [
        "/".to_owned(),
        format!("/?text={query}&cluster={query}"),
        format!("/?severity={query}"),
        "/incidents/epc-evil".to_owned(),
        "/incidents/epc-evil/past".to_owned(),
        format!("/incidents/{query}"),
        "/search".to_owned(),
        format!("/search?text={query}&incident={query}"),
        "/silences".to_owned(),
        "/clusters".to_owned(),
        format!("/login?to={query}"),
    ] {
        let (_, _, text) = desk.get(&page).await;
        assert!(!text.contains("<script>alert") && !text.contains("<img"), "{page}: {text}");
        // A quote that ends an attribute would let in others.
        assert!(!text.contains("onerror=\"alert"), "{page}: {text}");
    }
    let (_, _, text) = desk.get("/incidents/epc-evil").await;
    assert!(text.matches("&lt;script&gt;alert(1)").count() > 15, "{text}");
    let form = format!("act=shout&by={query}&why={query}");
    let (status, _, text) = desk.post("/incidents/epc-evil", &form).await;
    assert!(status == StatusCode::BAD_REQUEST && !text.contains("<script>alert"), "{text}");
}

#[tokio::test]
async fn every_answer_says_what_a_browser_may_do() {
    let desk = Desk::open();
    for path in ["/", "/nowhere", "/incidents/none", "/login"] {
        let (_, headers, _) = desk.get(path).await;
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';") && !policy.contains("unsafe"), "{path}");
        assert_eq!(
            (of(&headers, "x-content-type-options"), of(&headers, "x-frame-options")),
            ("nosniff", "DENY"),
            "{path}"
        );
        assert_eq!(headers["cache-control"], "no-store", "{path}");
    }
    let (_, _, page) = desk.get("/").await;
    let script = page.split('"').find(|part| part.ends_with("console.js")).unwrap();
    let (status, headers, _) = desk.get(script).await;
    assert_eq!((status, of(&headers, "content-type")), (StatusCode::OK, "text/javascript; charset=utf-8"));
    assert!(headers["cache-control"].to_str().unwrap().contains("immutable"));
    assert!(!page.contains("style=") && !page.contains(" onclick"), "the policy would refuse it");
}

#[tokio::test]
async fn other_names_and_other_sites_are_refused() {
    let desk = Desk::open();
    let rebound = axum::http::Request::get("/").header("host", "evil.example").body(Body::empty()).unwrap();
    assert_eq!(desk.send(rebound).await.0, StatusCode::MISDIRECTED_REQUEST);
    desk.put(&incident("epc-a", Severity::High));
    for headers in [&[("origin", "https://evil.example")][..], &[("sec-fetch-site", "cross-site")]] {
        let forged = request("POST", "/incidents/epc-a", headers, "act=resolve&by=mallory");
        assert_eq!(desk.send(forged).await.0, StatusCode::FORBIDDEN, "{headers:?}");
    }
    let mut raw = desk.bus.reader(EVENTS_RAW.name, &[0], Start::Earliest).unwrap();
    assert!(raw.next(Duration::ZERO).unwrap().is_none(), "nothing was said");
}

#[tokio::test]
async fn a_token_is_asked_for_at_a_login_or_in_a_header() {
    let tokens = vec![("a secret".to_owned(), Access::whole())];
    let desk = Desk::new(Guard { tokens, loopback: false, hosts: Vec::new() });
    let (status, headers, _) = desk.get("/incidents/epc-a?x=1").await;
    assert_eq!((status, of(&headers, "location")), (StatusCode::SEE_OTHER, "/login?to=%2Fincidents%2Fepc-a%3Fx%3D1"));
    assert_eq!(desk.get("/events").await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(desk.post("/silences", "by=x").await.0, StatusCode::UNAUTHORIZED);
    let bearer = |token: &str| request("GET", "/clusters", &[("authorization", token)], "");
    assert_eq!(desk.send(bearer("Bearer a secret")).await.0, StatusCode::OK);
    assert_eq!(desk.send(bearer("Bearer a secre")).await.0, StatusCode::SEE_OTHER);

    assert_eq!(desk.post("/login", "token=wrong&to=/").await.0, StatusCode::UNAUTHORIZED);
    let (status, headers, _) = desk.post("/login", "token=a+secret&to=%2Fsearch").await;
    assert_eq!((status, of(&headers, "location")), (StatusCode::SEE_OTHER, "/search"));
    let cookie = headers["set-cookie"].to_str().unwrap();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict") && !cookie.contains("secret"),
        "{cookie}"
    );
    let cookie = cookie.split(';').next().unwrap();
    let page = request("GET", "/", &[("cookie", cookie)], "");
    let (status, _, text) = desk.send(page).await;
    assert!(status == StatusCode::OK && text.contains("Log out"), "{status}");
    let (_, headers, _) = desk.post("/login", "token=a+secret&to=%2F%2Fevil.example").await;
    assert_eq!(headers["location"], "/");
}

#[tokio::test]
async fn what_is_said_is_a_command_in_the_log() {
    let desk = Desk::open();
    desk.put(&incident("epc-a", Severity::High));
    // It is seen when the services carry it out, which here nobody does.
    tokio::time::pause();
    let (status, headers, _) = desk.post("/incidents/epc-a", "act=acknowledge&by=Anna&why=mine").await;
    assert_eq!((status, of(&headers, "location")), (StatusCode::SEE_OTHER, "/incidents/epc-a?done=written"));
    assert!(headers["set-cookie"].to_str().unwrap().starts_with("epicenter_by=Anna;"));
    let mut raw = desk.bus.reader(EVENTS_RAW.name, &[0], Start::Earliest).unwrap();
    let record = raw.next(Duration::from_secs(5)).unwrap().unwrap();
    let written = RawRecord::decode(&Codec::single_object(), &record.payload.unwrap()).unwrap();
    let RawRecord::Command(command) = written else { panic!("{written:?}") };
    assert_eq!(command.action, Action::Incident { id: "epc-a".into(), act: Act::Acknowledge });
    assert_eq!((command.cluster.as_str(), command.by.as_str(), command.why.as_str()), ("c", "Anna", "mine"));

    for (form, expected) in [
        ("act=resolve", "Say who you are."),
        ("act=note&by=anna", "Write the note first."),
        ("act=unacknowledge&by=anna", "incident epc-a is not acknowledged"),
    ] {
        let (status, _, text) = desk.post("/incidents/epc-a", form).await;
        assert!(status == StatusCode::BAD_REQUEST && text.contains(expected), "{form}: {status} {text}");
    }
    let (status, _, text) = desk.post("/silences", "by=anna&for=1h").await;
    assert!(status == StatusCode::BAD_REQUEST && text.contains("Say of which incidents"), "{text}");
    let large = format!("act=note&by=anna&why={}", "x".repeat(LARGEST));
    assert_eq!(desk.post("/incidents/epc-a", &large).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    let (_, headers, _) = desk.post("/incidents/epc-a%0D%0Aset-cookie:%20x=1", "act=resolve&by=a").await;
    assert!(headers.get("set-cookie").is_none());
}

#[tokio::test]
async fn ten_thousand_incidents_come_in_pages() {
    let desk = Desk::open();
    for number in 0..10_000 {
        let severity = Severity::ALL[number % Severity::ALL.len()];
        let mut incident = incident(&format!("epc-{number:05}"), severity);
        incident.impact.namespaces = vec![format!("team-{}", number % 50)];
        let document = Codec::single_object().encode(&incident).unwrap();
        desk.board.incident_row(format!("c/{}", incident.id).as_bytes(), Some(&document)).unwrap();
    }
    let rows = |text: &str| text.matches("<a class=\"title\"").count();
    let (_, _, text) = desk.get("/").await;
    assert!(rows(&text) == 100 && text.contains("Page 1 of 100, 10,000 incidents"), "{}", rows(&text));
    assert!(text.contains("critical") && !text.contains("class=\"severity low\""), "the worst first");
    let (_, _, text) = desk.get("/?namespace=team-7&severity=high&page=1").await;
    assert!(!text.contains("Page 1 of") && rows(&text) == 0, "7 mod 5 is never high: {}", rows(&text));
    let (_, _, text) = desk.get("/?namespace=team-8").await;
    assert!(rows(&text) == 100 && text.contains("Page 1 of 2, 200 incidents"), "{}", rows(&text));
    let (_, _, text) = desk.get("/?text=EPC-00042").await;
    assert!(rows(&text) == 1 && text.contains("epc-00042"));
    assert_eq!(desk.get("/?page=x").await.0, StatusCode::BAD_REQUEST);
    let (status, _, text) = desk.get("/?page=999999").await;
    assert!(status == StatusCode::OK && rows(&text) == 0);
}

#[tokio::test]
async fn says_what_is_not_there_and_how_to_have_it() {
    let desk = Desk::open();
    let (_, _, text) = desk.get("/").await;
    assert!(text.contains("Nothing is wrong.") && text.contains("Reading the incidents from the log"), "{text}");
    desk.board.caught_up("incidents");
    let (_, _, text) = desk.get("/").await;
    assert!(!text.contains("Reading the incidents"), "{text}");
    let (status, _, text) = desk.get("/incidents/epc-none").await;
    assert!(status == StatusCode::NOT_FOUND && text.contains("There is no incident epc-none"), "{text}");
    let (_, _, text) = desk.get("/search?from=30d").await;
    assert!(text.contains("There is no archive here") && text.contains("archive.location"), "{text}");
}

#[tokio::test]
async fn an_incident_is_told_with_its_like() {
    let desk = Desk::open();
    let mut before = incident("epc-before", Severity::High);
    (before.state, before.resolved_at) = (IncidentState::Resolved, Some(clock()));
    before.notes =
        vec![Note { act: Act::Resolve, by: "anna".into(), text: "pushed the tag".into(), ..Note::default() }];
    let mut now = incident("epc-now", Severity::High);
    let at = |text: &str| Some(text.parse().unwrap());
    let days = ["Mon", "Tue", "Wed", "Thu", "Fri"].map(str::to_owned).into();
    let workload = ObjectRef::named("Deployment", "shop", "web");
    now.recurrence = Recurrence {
        count: 6,
        previous: vec!["epc-before".into(), "epc-gone".into()],
        first_at: at("2027-01-01T09:05:00Z"),
        last_at: at("2027-01-14T09:12:00Z"),
        period_ms: Some(86_400_000),
        hours: Some(Hours { days, from_hour: 9, to_hour: 10, count: 5 }),
        place: Some(Place { object: ObjectRef::named("Node", "", "n3"), count: 3 }),
        scaled_up: 4,
        ended: Some(Ending {
            how: EndedBy::Change,
            at: clock(),
            lasted_ms: 720_000,
            object: Some(workload),
            reason: "ScalingReplicaSet".into(),
            by: "anna".into(),
            text: "<rolled back>".into(),
        }),
        novelty: Novelty::Known,
    };
    let alike = incident("epc-alike", Severity::Low);
    [&before, &now, &alike].into_iter().for_each(|it| desk.put(it));
    let (_, _, text) = desk.get("/incidents/epc-now").await;
    for expected in [
        "<b>6 times</b> in the 30 days before, with the same cause, about every 1d",
        "last on Thu 2027-01-14 09:12 UTC, first on Fri 2027-01-01 09:05 UTC",
        "Mostly <b>Mon-Fri between 09:00 and 10:00 UTC</b>, 5 of 6",
        "on <b>Node n3</b>, 3 of 6",
        "soon after an autoscaler had added pods, 4 of 6",
        "after <b>12m</b>, when Deployment shop/web changed (ScalingReplicaSet); anna said: &quot;&lt;rolled back&gt;&quot;",
        "same cause",
        "pushed the tag",
        "ended by anna after",
        "href=\"/incidents/epc-gone\"",
        "href=\"/incidents/epc-alike\"",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[tokio::test]
async fn browsers_that_listen_are_counted_and_their_streams_end_with_the_process() {
    let desk = Desk::open();
    let listen = || desk.router.clone().oneshot(request("GET", "/events", &[], ""));
    let mut streams = Vec::new();
    for _ in 0..BROWSERS {
        let answer = listen().await.unwrap();
        assert_eq!((answer.status(), of(answer.headers(), "content-type")), (StatusCode::OK, "text/event-stream"));
        streams.push(answer);
    }
    let refused = listen().await.unwrap();
    assert_eq!((refused.status(), of(refused.headers(), "retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "30"));
    streams.pop();
    let answer = listen().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "who goes makes room");
    tokio::time::pause();
    desk.stop.cancel();
    let said = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(said.starts_with(b"event: hello"), "{said:?}");
}
