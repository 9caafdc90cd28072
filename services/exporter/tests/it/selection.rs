//! What of a cluster is read, and what of that leaves it.

use epicenter_exporter::project::Kind;
use epicenter_exporter::{Replace, Resource, Selector, WatchState};
use epicenter_model::RawRecord;

use crate::fake::{Answer, Ask, Fake, LISTED, Site, event, first, installed, list, pod, refused, sent};

#[tokio::test(flavor = "multi_thread")]
async fn asks_for_what_is_selected() {
    let fake = Fake::start(first).await;
    let mut site = Site::new(fake.clone(), &[Kind::Pod]);
    let events = Selector { fields: "type!=Normal".into(), labels: String::new() };
    let pods = Selector { fields: "spec.nodeName=n1".into(), labels: "app in (a,b)".into() };
    site.config.selectors = [(Resource::Events, events), (Resource::Objects(Kind::Pod), pods)].into();
    site.start();
    site.until("both watches", |site| site.health.is_healthy()).await;
    site.stop().await;
    for ask in [fake.asked("list"), fake.asked("watch")].concat() {
        let asked = ["fieldSelector", "labelSelector"].map(|name| ask.query.get(name).map(String::as_str));
        let expected = match ask.resource.as_str() {
            "events" => [Some("type!=Normal"), None],
            _ => [Some("spec.nodeName=n1"), Some("app in (a,b)")],
        };
        assert_eq!(asked, expected, "{ask:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn says_which_selector_the_api_server_refuses() {
    let fake = Fake::start(|ask| match ask.resource.as_str() {
        "events" => refused(400, "BadRequest", ""),
        _ => first(ask),
    })
    .await;
    let mut site = Site::new(fake.clone(), &[]);
    site.config.selectors = [(Resource::Events, Selector { fields: "foo=bar".into(), labels: String::new() })].into();
    site.start();
    let refused = |site: &Site| match site.health.snapshot().watches.get("events") {
        Some(WatchState::Unavailable(why)) => why.contains("mend exporter.selectors.events"),
        _ => false,
    };
    site.until("a clear word", refused).await;
    assert!(!site.parts.is_ready());
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_are_selected_otherwise_are_listed_and_swept() {
    let fake = Fake::start(|ask| match (ask.resource.as_str(), ask.verb) {
        ("pods", "list") if ask.query.contains_key("labelSelector") => list(40, "", &[pod("a", 1, "Running")]),
        ("pods", "list") => list(30, "", &[pod("a", 1, "Running"), pod("b", 2, "Running")]),
        (_, "watch") => Answer::Open(Vec::new()),
        _ => list(10, "", &[]),
    })
    .await;
    let mut site = Site::new(fake.clone(), &[Kind::Pod]);
    site.start();
    site.expect(&["Pod a@1 listed", "Pod b@2 listed", "swept Pod"]).await;
    site.until("the watch", |site| site.health.is_healthy()).await;
    site.stop().await;
    site.config.selectors =
        [(Resource::Objects(Kind::Pod), Selector { labels: "app=a".into(), fields: String::new() })].into();
    for _ in 0..2 {
        site.start();
        let told = ["Pod a@1 listed", "Pod b@2 listed", "swept Pod", "Pod a@1 listed", "swept Pod"];
        site.expect(&told).await;
        site.until("the watch", |site| site.health.is_healthy()).await;
        site.stop().await;
    }
}

/// The Events `a` and `b` of the namespaces of the same names, and what is in the whole cluster.
fn two_namespaces(ask: &Ask) -> Answer {
    let of = |name: &str, version| event(name, version).replace("\"ns\"", &format!("\"{name}\""));
    let within = |name: &str| ask.path.contains(&format!("/namespaces/{name}/"));
    match (ask.verb, within("a"), within("b")) {
        ("list", true, _) => list(10, "", &[of("a", 3)]),
        ("list", _, true) => list(12, "", &[of("b", 4)]),
        ("list", ..) => list(20, "", &[of("a", 3), of("b", 4), of("c", 5)]),
        _ => Answer::Open(Vec::new()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_single_namespaces_and_then_all_without_repeating() {
    let fake = Fake::start(two_namespaces).await;
    let mut site = Site::new(fake.clone(), &[]);
    site.config.namespaces = vec!["a".into(), "b".into()];
    site.start();
    site.until("two Events", |site| site.told().len() == 2 && site.health.is_healthy()).await;
    site.stop().await;
    assert_eq!(site.position("b/events").unwrap().resource_version, "12");
    let mut told = site.told();
    told.sort();
    assert_eq!(told, ["event a@3 epoch 0 backfill", "event b@4 epoch 0 backfill"]);

    site.config.namespaces.clear();
    site.start();
    site.until("the third", |site| site.told().len() == 3 && site.health.is_healthy()).await;
    assert_eq!(site.told()[2], "event c@5 epoch 0 backfill");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_one_namespace_sweeps_that_one() {
    let fake = Fake::start(|ask| match (ask.resource.as_str(), ask.verb) {
        ("pods", "list") => list(30, "", &[]),
        _ => first(ask),
    })
    .await;
    let mut site = Site::new(fake, &[Kind::Pod, Kind::Node]);
    site.config.namespaces = vec!["a".into()];
    site.start();
    site.until("all", |site| site.health.is_healthy()).await;
    site.stop().await;
    let records = site.records();
    let swept = |record: &RawRecord| match record {
        RawRecord::Swept(swept) => Some((swept.kind.clone(), swept.namespace.clone())),
        _ => None,
    };
    let mut swept: Vec<_> = records.iter().filter_map(swept).collect();
    swept.sort();
    assert_eq!(swept, [("Node".into(), String::new()), ("Pod".into(), "a".into())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_redacted_does_not_leave_the_cluster() {
    let fake = Fake::start(first).await;
    let mut site = installed(&fake).await;
    fake.answer(|ask| match ask.verb {
        "watch" => Answer::Open(vec![
            sent("ADDED", &event("d", 11).replace("\"count\":1", r#""message":"token=secret of x","count":1"#)),
            sent(
                "ADDED",
                r#"{"metadata":{"name":"x","resourceVersion":"12"},"message":"token=secret","count":"secret"}"#,
            ),
            "token=secret".to_owned(),
        ]),
        _ => first(ask),
    });
    site.config.redact.replace = vec![Replace { pattern: r"token=\S+".into(), ..Replace::default() }];
    site.start();
    site.expect(&[LISTED.as_slice(), &["event d@11 epoch 0"]].concat()).await;
    site.until("two dead letters", |site| site.dead_letters().len() == 2).await;
    site.stop().await;
    let Some(RawRecord::Event(record)) =
        site.records().into_iter().rfind(|record| matches!(record, RawRecord::Event(_)))
    else {
        panic!("no Event")
    };
    assert_eq!(record.event.note, "*** of x");
    for letter in site.dead_letters() {
        assert!(letter.payload.is_empty() && !letter.error.contains("secret"), "{}", letter.error);
        assert!(letter.error.contains("held back, since exporter.redact is set"), "{}", letter.error);
    }
}
