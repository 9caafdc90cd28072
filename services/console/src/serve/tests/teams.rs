//! Who sees what, by their token.

use epicenter_model::Matcher;
use epicenter_runtime::Secret;

use super::*;

#[tokio::test]
async fn a_link_from_elsewhere_is_asked_for_again_from_here() {
    let tokens = vec![("a secret".to_owned(), Access::whole())];
    let desk = Desk::new(Guard { tokens, loopback: false, hosts: Vec::new() });
    let from = |site: &str| request("GET", "/incidents/epc-a?x=1", &[("sec-fetch-site", site)], "");
    let (status, headers, text) = desk.send(from("cross-site")).await;
    assert_eq!((status, of(&headers, "refresh")), (StatusCode::OK, "0; url=/incidents/epc-a?x=1"));
    assert!(text.contains("href=\"/incidents/epc-a?x=1\"") && !text.contains("No such"), "{text}");
    assert_eq!(desk.send(from("same-origin")).await.0, StatusCode::SEE_OTHER, "then it is a matter of the login");
}

#[tokio::test]
async fn does_not_start_without_the_tokens_that_it_is_to_ask_for() {
    let directory = tempfile::tempdir().unwrap();
    let (console, _) = console(directory.path());
    let token = Secret { env: Some("EPICENTER_NONESUCH".into()), file: None };
    let team = TokenConfig { name: "shop".into(), token, ..TokenConfig::default() };
    let error = serve(&ConsoleConfig::default(), &[team], console, CancellationToken::new()).await.err().unwrap();
    assert!(error.to_string().starts_with("admin.tokens: shop: the secret's environment variable"), "{error}");
}

/// Logs in, and gives the cookie.
async fn cookie_of(desk: &Desk, token: &str) -> String {
    let (status, headers, _) = desk.post("/login", &format!("token={token}&to=/")).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn each_team_sees_its_own() {
    let team = |namespaces: &[&str], write: bool| {
        let namespaces = namespaces.iter().map(|name| (*name).to_owned()).collect();
        Access::of(&TokenConfig { name: "team".into(), namespaces, write, ..TokenConfig::default() })
    };
    let tokens = vec![
        ("all".to_owned(), Access::whole()),
        ("shop".to_owned(), team(&["shop"], true)),
        ("reader".to_owned(), team(&["shop"], false)),
        ("bank".to_owned(), team(&["ban*"], true)),
    ];
    let desk = Desk::new(Guard { tokens, loopback: false, hosts: Vec::new() });
    let mut shared = incident("epc-both", Severity::High);
    shared.impact.namespaces = vec!["bank".into(), "shop".into()];
    let of_bank = |mut incident: Incident| {
        incident.cause.object = ObjectRef::named("Pod", "bank", "vault");
        incident.title = "Pod vault cannot start".into();
        incident
    };
    let member = |namespace: &str| Member {
        event_uid: namespace.into(),
        regarding: MemberObject { kind: "Pod".into(), namespace: namespace.into(), name: format!("in-{namespace}") },
        role: "symptom".into(),
        ..Member::default()
    };
    shared.members = vec![member("bank"), member("shop")];
    for incident in [shared, incident("epc-shop", Severity::Low), of_bank(incident("epc-bank", Severity::Low))] {
        desk.put(&incident);
    }
    for namespace in ["bank", "shop"] {
        let event = Event {
            reason: format!("Heard-{namespace}"),
            regarding: ObjectRef::named("Pod", namespace, "p"),
            ..Event::default()
        };
        let heard = EnrichedEvent { cluster: "c".into(), event, ..EnrichedEvent::default() };
        desk.board.enriched(&Codec::single_object().encode(&heard).unwrap()).unwrap();
        let matcher = Matcher { namespace: namespace.into(), ..Matcher::default() };
        let silence = Silence {
            id: namespace.into(),
            cluster: "c".into(),
            matcher,
            why: format!("Why-{namespace}"),
            ..Silence::default()
        };
        let key = format!("c/{namespace}");
        desk.board.silence_row(key.as_bytes(), Some(&Codec::single_object().encode(&silence).unwrap())).unwrap();
    }
    let position =
        WatchPosition { cluster: "c".into(), resource: "events".into(), at: clock(), ..WatchPosition::default() };
    desk.board.position_row(b"c/events", Some(&Codec::single_object().encode(&position).unwrap())).unwrap();
    let get = async |token: &str, path: &str| {
        let cookie = cookie_of(&desk, token).await;
        let (status, _, text) = desk.send(request("GET", path, &[("cookie", &cookie)], "")).await;
        (status, text)
    };
    let check = async |token: &str, path: &str, shown: &[&str], hidden: &[&str]| {
        let (status, text) = get(token, path).await;
        assert_eq!(status, StatusCode::OK, "{token} {path}");
        shown.iter().for_each(|it| assert!(text.contains(it), "{token} {path} lacks {it}: {text}"));
        hidden.iter().for_each(|it| assert!(!text.contains(it), "{token} {path} tells {it}: {text}"));
    };
    check("all", "/", &["epc-both", "epc-shop", "epc-bank", "id=\"open-count\">3<"], &[]).await;
    check("shop", "/", &["epc-both", "epc-shop", "id=\"open-count\">2<", "team"], &["epc-bank", "bank"]).await;
    check("shop", "/?namespace=bank", &[], &["epc-both", "epc-bank"]).await;
    check("bank", "/", &["epc-both", "epc-bank", "id=\"open-count\">2<"], &["epc-shop"]).await;
    check("shop", "/incidents/epc-both", &["in-shop", "Acknowledge"], &["in-bank"]).await;
    check("reader", "/incidents/epc-both", &["in-shop", "for reading only"], &["in-bank", "Acknowledge"]).await;
    // It is like the others, and what is like it is told to those who see that.
    check("shop", "/incidents/epc-shop", &["epc-both"], &["epc-bank", "vault"]).await;
    check("shop", "/search", &["Heard-shop"], &["Heard-bank"]).await;
    check("bank", "/search?reason=Heard-shop,Heard-bank", &["<b>Heard-bank"], &["<b>Heard-shop"]).await;
    check("shop", "/silences", &["Why-shop", "New silence"], &["Why-bank"]).await;
    check("reader", "/silences", &["Why-shop"], &["New silence", "End it"]).await;
    check("shop", "/clusters", &["<b>c</b>"], &["This process"]).await;
    for path in ["/incidents/epc-bank", "/incidents/epc-bank/past", "/events?incident=epc-bank"] {
        assert_eq!(get("shop", path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    let say = async |token: &str, path: &str, form: &str| {
        let cookie = cookie_of(&desk, token).await;
        desk.send(request("POST", path, &[("origin", "http://localhost:1"), ("cookie", &cookie)], form)).await
    };
    let note = "act=note&by=anna&why=x";
    let (status, _, text) = say("shop", "/incidents/epc-bank", note).await;
    assert!(status == StatusCode::NOT_FOUND && text.contains("epc-bank"), "{status} {text}");
    assert_eq!(say("reader", "/incidents/epc-shop", note).await.0, StatusCode::FORBIDDEN);
    assert_eq!(say("shop", "/silences", "by=anna&namespace=bank&cluster=c&for=1h").await.0, StatusCode::FORBIDDEN);
    let mut raw = desk.bus.reader(EVENTS_RAW.name, &[0], Start::Earliest).unwrap();
    assert!(raw.next(Duration::ZERO).unwrap().is_none(), "nothing was said");
    tokio::time::pause();
    assert_eq!(say("shop", "/incidents/epc-shop", note).await.0, StatusCode::SEE_OTHER);
    assert!(raw.next(Duration::from_secs(5)).unwrap().is_some());
}
