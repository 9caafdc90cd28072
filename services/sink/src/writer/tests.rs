use epicenter_model::{IncidentState, ObjectRef, Severity};
use serde_json::Value;

use super::*;
use crate::fake::Fake;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const HOUR: i64 = 3600 * 1000;

fn document(id: &str, version: i64) -> Incident {
    let mut document = Incident {
        id: id.into(),
        version,
        cluster: "prod/eu".into(),
        severity: Severity::High,
        title: "web is down".into(),
        opened_at: NOW.plus_millis(-1000),
        last_event_at: NOW.plus_millis(-500),
        ..Incident::default()
    };
    document.impact.workloads = vec![ObjectRef::named("Deployment", "shop", "web")];
    document
}

fn ended(id: &str, version: i64, at: Timestamp) -> Incident {
    Incident { state: IncidentState::Resolved, resolved_at: Some(at), ..document(id, version) }
}

fn writer(fake: &Fake, max_objects: usize) -> Writer {
    Writer::new(fake.client(), "prod/eu".into(), ObjectsConfig { max_objects, ..ObjectsConfig::default() })
}

async fn apply(writer: &mut Writer, document: Incident) -> Result<(), Blocked> {
    writer.perform(&Work::Apply(Box::new(document)), NOW).await
}

fn names(fake: &Fake) -> Vec<String> {
    fake.world().objects.keys().cloned().collect()
}

#[tokio::test(start_paused = true)]
async fn shows_a_document_and_tells_what_happened() {
    let fake = Fake::default();
    let mut writer = writer(&fake, 10);
    apply(&mut writer, document("i", 1)).await.unwrap();
    apply(&mut writer, document("i", 2)).await.unwrap();
    apply(&mut writer, ended("i", 3, NOW)).await.unwrap();
    let world = fake.world();
    let object = &world.objects["i"];
    assert_eq!((object["spec"]["id"].as_str(), object["spec"]["cluster"].as_str()), (Some("i"), Some("prod/eu")));
    assert_eq!((&object["status"]["version"], &object["status"]["state"]), (&json!(3), &json!("resolved")));
    let labels = json!({"epicenter.dev/cluster": "prod_eu", "epicenter.dev/severity": "high",
        "epicenter.dev/state": "resolved", "epicenter.dev/category": "other"});
    assert_eq!(object["metadata"]["labels"], labels);
    let events: Vec<_> = world.events.iter().map(|(name, event)| (name.as_str(), event["reason"].as_str())).collect();
    assert_eq!(events, [("i.1.opened", Some("IncidentOpened")), ("i.3.resolved", Some("IncidentResolved"))]);
    let (object, status) =
        ("PATCH epicenter.dev/v1alpha1/incidents/i", "PATCH epicenter.dev/v1alpha1/incidents/i/status");
    let event = "POST events.k8s.io/v1/namespaces/shop/events";
    // What changes no label needs one write.
    assert_eq!(world.writes, [object, event, status, status, event, status, object]);
}

#[tokio::test(start_paused = true)]
async fn repeats_without_effect_and_never_goes_back() {
    let fake = Fake::default();
    let mut writer = writer(&fake, 10);
    apply(&mut writer, document("i", 5)).await.unwrap();
    let writes = fake.world().writes.len();
    for version in [5, 4] {
        apply(&mut writer, document("i", version)).await.unwrap();
    }
    assert_eq!(fake.world().writes.len(), writes);
    fake.fail("/incidents/i/status", 422, crate::crd::GUARD_MESSAGE);
    apply(&mut writer, document("i", 6)).await.unwrap();
    assert_eq!(fake.status("i", "version"), json!(5), "somebody else has written something newer");
}

#[tokio::test(start_paused = true)]
async fn begins_again_in_a_new_epoch() {
    let fake = Fake::default();
    apply(&mut writer(&fake, 10), document("i", 5)).await.unwrap();
    let config = ObjectsConfig { log_epoch: 1, ..ObjectsConfig::default() };
    let mut writer = Writer::new(fake.client(), "prod/eu".into(), config);
    apply(&mut writer, document("i", 1)).await.unwrap();
    assert_eq!((fake.status("i", "version"), fake.status("i", "logEpoch")), (json!(1), json!(1)));
}

/// Fails the given request once, then repeats: the end must be the same as without the fault.
#[track_caller]
fn check_repeated(faults: &[(&'static str, u16)], blocked: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let fake = Fake::default();
        for (request, code) in faults {
            fake.fail(request, *code, "not now");
        }
        let mut writer = writer(&fake, 10);
        let mut count = 0;
        while apply(&mut writer, document("i", 1)).await.is_err() {
            count += 1;
            assert!(count < 10, "{faults:?}");
        }
        assert_eq!(count, blocked, "{faults:?}");
        let world = fake.world();
        assert!(world.faults.is_empty(), "each fault was met");
        assert_eq!(world.objects["i"]["status"]["version"], 1);
        assert_eq!(world.events.keys().collect::<Vec<_>>(), ["i.1.opened"]);
    });
}

#[test]
fn converges_whatever_fails_on_the_way() {
    check_repeated(&[("GET /apis/epicenter.dev/v1alpha1/incidents/i", 503)], 1);
    check_repeated(&[("/incidents/i", 404)], 0);
    check_repeated(&[("PATCH /apis/epicenter.dev/v1alpha1/incidents/i", 429)], 1);
    check_repeated(&[("/events", 500)], 1);
    check_repeated(&[("/incidents/i/status", 500)], 1);
    check_repeated(&[("/incidents/i/status", 404)], 0);
    check_repeated(&[("/incidents/i/status", 500), ("/events", 503), ("/incidents/i/status", 503)], 3);
}

#[track_caller]
fn check_blocked(request: &'static str, code: u16, expected: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let fake = Fake::default();
    // What is not found is tried twice.
    (0..2).for_each(|_| fake.fail(request, code, "no"));
    let blocked = runtime.block_on(async { apply(&mut writer(&fake, 10), document("i", 1)).await.unwrap_err() });
    assert!(blocked.why.contains(expected), "{}", blocked.why);
}

#[test]
fn says_what_is_missing_and_how_to_mend_it() {
    let patch = "PATCH /apis/epicenter.dev/v1alpha1/incidents/i";
    let missing = "incidents.epicenter.dev does not exist in cluster prod/eu, or not as v1alpha1: install it: `epicenter crd | kubectl apply";
    check_blocked(patch, 404, missing);
    check_blocked(patch, 403, "403 no. Allow get, list, create, patch and delete of incidents.epicenter.dev");
}

#[tokio::test(start_paused = true)]
async fn leaves_out_what_is_refused_for_good() {
    let fake = Fake::default();
    let mut writer = writer(&fake, 10);
    fake.fail("/incidents/i/status", 422, "status.state: Unsupported value");
    apply(&mut writer, document("i", 1)).await.unwrap();
    fake.fail("/events", 403, "forbidden");
    apply(&mut writer, document("j", 1)).await.unwrap();
    assert_eq!(fake.status("j", "version"), json!(1), "an Event that is not allowed holds nothing up");
    assert!(fake.world().events.contains_key("i.1.opened"));
    assert!(!fake.world().events.contains_key("j.1.opened"));
}

#[tokio::test(start_paused = true)]
async fn removes_what_ended_long_ago_and_what_is_too_much() {
    let fake = Fake::default();
    let mut first = writer(&fake, 1000);
    for n in 0..120 {
        apply(&mut first, ended(&format!("ended-{n:03}"), 1, NOW.plus_millis(-n * 1000))).await.unwrap();
    }
    apply(&mut first, ended("expired", 1, NOW.plus_millis(-24 * HOUR + 1))).await.unwrap();
    apply(&mut first, document("open", 1)).await.unwrap();
    let mut other = serde_json::to_value(&fake.world().objects["ended-119"]).unwrap();
    other["spec"]["cluster"] = json!("prod_eu");
    fake.world().objects.insert("other".into(), other);

    // It knows only what it lists, in pages.
    let mut second = writer(&fake, 111);
    second.perform(&Work::Sweep, NOW.plus_millis(HOUR)).await.unwrap();
    let names = names(&fake);
    assert_eq!((names.len(), names[0].as_str(), names[109].as_str()), (112, "ended-000", "ended-109"));
    assert_eq!(names[110..], ["open", "other"]);
}

#[tokio::test(start_paused = true)]
async fn gives_the_room_to_the_most_severe() {
    let fake = Fake::default();
    let mut writer = writer(&fake, 2);
    let with = |id: &str, severity| Incident { severity, ..document(id, 1) };
    apply(&mut writer, with("low", Severity::Low)).await.unwrap();
    apply(&mut writer, with("high", Severity::High)).await.unwrap();
    apply(&mut writer, with("info", Severity::Info)).await.unwrap();
    assert_eq!(names(&fake), ["high", "low"]);
    apply(&mut writer, with("critical", Severity::Critical)).await.unwrap();
    assert_eq!(names(&fake), ["critical", "high"]);
    apply(&mut writer, ended("high", 2, NOW)).await.unwrap();
    apply(&mut writer, with("low", Severity::Low)).await.unwrap();
    assert_eq!(names(&fake), ["critical", "low"]);
}

#[tokio::test(start_paused = true)]
async fn brings_back_what_somebody_deleted_and_removes_what_the_table_forgot() {
    let fake = Fake::default();
    let mut writer = writer(&fake, 10);
    apply(&mut writer, document("i", 1)).await.unwrap();
    fake.world().objects.clear();
    apply(&mut writer, document("i", 2)).await.unwrap();
    assert_eq!(names(&fake), ["i"]);
    writer.perform(&Work::Remove("i".into()), NOW).await.unwrap();
    writer.perform(&Work::Remove("i".into()), NOW).await.unwrap();
    assert_eq!(names(&fake), Vec::<String>::new());
    apply(&mut writer, ended("old", 1, NOW.plus_millis(-25 * HOUR))).await.unwrap();
    assert_eq!(names(&fake), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn puts_right_what_somebody_edited() {
    let fake = Fake::default();
    let mut writer = writer(&fake, 10);
    apply(&mut writer, document("i", 1)).await.unwrap();
    let right = fake.world().objects["i"].clone();
    {
        let mut world = fake.world();
        let object = world.objects.get_mut("i").unwrap();
        object["status"]["title"] = json!("all is well");
        object["metadata"]["labels"] = json!({"epicenter.dev/severity": "info"});
    }
    apply(&mut writer, document("i", 2)).await.unwrap();
    let object = fake.world().objects["i"].clone();
    assert_eq!(object["metadata"]["labels"], right["metadata"]["labels"]);
    assert_eq!(object["status"]["title"], right["status"]["title"]);
}

#[tokio::test(start_paused = true)]
async fn writes_no_faster_than_configured() {
    let fake = Fake::default();
    let config = ObjectsConfig { writes_per_second: 2, ..ObjectsConfig::default() };
    let mut writer = Writer::new(fake.client(), "prod/eu".into(), config);
    let start = tokio::time::Instant::now();
    for version in 1..=9 {
        apply(&mut writer, document("i", version)).await.unwrap();
    }
    // Nine status writes, one object and one Event: the first at once. The clock is the test's own.
    assert_eq!(fake.world().writes.len(), 11);
    assert_eq!(start.elapsed(), Duration::from_secs(5));
}

#[track_caller]
fn check_label(text: &str, expected: &str) {
    assert_eq!(label(text), expected);
}

#[test]
fn makes_label_values() {
    check_label("prod-eu.1", "prod-eu.1");
    check_label("arn:aws:eks:eu/prod-", "arn_aws_eks_eu_prod");
    check_label("日本", "");
    check_label(&format!("{}--", "a".repeat(62)), &"a".repeat(62));
}

#[tokio::test(start_paused = true)]
async fn installs_the_definition() {
    let fake = Fake::default();
    crate::install_crd(&fake.client()).await.unwrap();
    let crd: Value = fake.world().crd.clone().unwrap();
    assert_eq!(crd["metadata"]["name"], "incidents.epicenter.dev");
    fake.fail("/incidents.epicenter.dev", 403, "customresourcedefinitions is forbidden");
    let error = crate::install_crd(&fake.client()).await.unwrap_err();
    assert!(
        error.to_string().ends_with("let one install it: `epicenter crd | kubectl apply --server-side -f -`"),
        "{error}"
    );
}
