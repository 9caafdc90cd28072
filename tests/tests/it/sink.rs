//! Incident objects on a real API server.

use std::time::Duration;

use epicenter_bus::topics::INCIDENTS;
use epicenter_bus::{Bus, Emit, LocalConfig, Source};
use epicenter_model::{Because, Codec, Incident, IncidentState, Member, ObjectRef, Severity, Timestamp};
use epicenter_runtime::Health;
use epicenter_sink::{ObjectsConfig, run_objects};
use epicenter_tests::kube::{ControlPlane, Options};
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio_util::sync::CancellationToken;

const LIMIT: Duration = Duration::from_secs(60);
const DEFINITION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/crds/incidents.yaml");

/// A control plane, a log, and a runtime for the sink between them.
struct Site {
    plane: ControlPlane,
    bus: Bus,
    source: Source,
    runtime: tokio::runtime::Runtime,
    client: kube::Client,
    _directory: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let plane = ControlPlane::start(Options::default()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let retention = Duration::from_secs(3600);
        let config = LocalConfig { directory: directory.path().to_owned(), partitions: 1, retention };
        let bus = Bus::local(config).unwrap();
        let (source, _) = bus.source("test", 0, b"").unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let kubeconfig = Kubeconfig::read_from(plane.kubeconfig()).unwrap();
        let client = runtime.block_on(async {
            let options = KubeConfigOptions::default();
            let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
            config.default_retry = false;
            epicenter_exporter::choose_cryptography();
            kube::Client::try_from(config).unwrap()
        });
        Self { plane, bus, source, runtime, client, _directory: directory }
    }

    fn publish(&mut self, document: &Incident) {
        let emit = Emit {
            topic: INCIDENTS.name,
            timestamp: document.last_event_at.as_millis(),
            key: format!("{}/{}", document.cluster, document.id).into(),
            payload: Some(Codec::single_object().encode(document).unwrap().into()),
            headers: vec![],
        };
        self.source.commit(&[emit], &[]).unwrap();
    }

    /// Runs the sink until `meanwhile` has returned.
    fn run(&self, config: &ObjectsConfig, meanwhile: impl FnOnce(&Health)) {
        let (token, health) = (CancellationToken::new(), Health::new());
        let task = self.runtime.spawn(run_objects(
            self.client.clone(),
            self.bus.clone(),
            Codec::single_object(),
            "prod".into(),
            config.clone(),
            token.clone(),
            health.clone(),
        ));
        meanwhile(&health);
        token.cancel();
        self.runtime.block_on(task).unwrap().unwrap();
    }

    /// Waits until the sink says what is wrong.
    fn says(&self, health: &Health, expected: &str) {
        let what = format!("the sink says {expected:?}");
        let said = || health.report().into_values().flatten().next().unwrap_or_default();
        let outcome = self.plane.until(&what, LIMIT, |_| Ok(said().contains(expected)));
        outcome.unwrap_or_else(|error| panic!("{error}; it says {:?}", said()));
    }

    /// Waits until `kubectl get incidents` with `arguments` prints just that.
    fn shows(&self, arguments: &[&str], expected: &str) {
        let all = [&["get", "incidents"], arguments].concat();
        let what = format!("kubectl {} prints {expected:?}", all.join(" "));
        self.plane.until(&what, LIMIT, |plane| Ok(plane.kubectl(&all)? == expected)).unwrap();
    }
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap())
}

fn document(id: &str, version: i64, state: IncidentState) -> Incident {
    let mut document = Incident {
        id: id.into(),
        version,
        cluster: "prod".into(),
        state,
        severity: Severity::High,
        title: "Deployment default/web: image not found".into(),
        opened_at: now(),
        last_event_at: now(),
        resolved_at: (state == IncidentState::Resolved).then(now),
        ..Incident::default()
    };
    document.cause.class = "image.pull.not_found".into();
    document.cause.object = ObjectRef { api_version: "v1".into(), ..ObjectRef::named("Pod", "default", "web-1") };
    document.impact.workloads = vec![ObjectRef::named("Deployment", "default", "web")];
    document.events.occurrences = 12;
    document
}

/// A document with more of everything than an object can hold.
fn huge(id: &str) -> Incident {
    let mut document = document(id, 1, IncidentState::Open);
    let text = "\"日🦀".repeat(200);
    document.explanation = vec![text.clone(); 8];
    document.impact.workloads = vec![ObjectRef::named("Deployment", "default", &text); 20];
    document.events.objects = 400;
    document.events.by_reason = (0..50).map(|n| (format!("Reason{n}"), n)).collect();
    let member = |n: i64| Member {
        event_uid: n.to_string(),
        name: text.clone(),
        because: Some(Because { rule: text.clone(), ..Because::default() }),
        ..Member::default()
    };
    document.members = (0..50).map(member).collect();
    document.truncated = 350;
    document
}

#[test]
fn incidents_are_objects_that_never_go_back() {
    let mut site = Site::new();
    let config = ObjectsConfig::default();
    site.publish(&document("epc-a", 1, IncidentState::Open));
    site.publish(&document("epc-a", 2, IncidentState::Open));
    site.run(&config, |health| {
        site.says(
            health,
            "does not exist in cluster prod, or not as v1alpha1: install it: `epicenter crd | kubectl apply --server-side -f -`",
        );
        site.plane.apply(DEFINITION.as_ref()).unwrap();
        site.runtime.block_on(epicenter_sink::install_crd(&site.client)).unwrap();
        site.shows(&["-o", "jsonpath={.items[*].status.version}"], "2");
        site.plane.until("it is well again", LIMIT, |_| Ok(health.is_ready())).unwrap();
    });

    let table = site.plane.kubectl(&["get", "inc"]).unwrap();
    let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let header = "NAME SEVERITY STATE CATEGORY CAUSE EVENTS OPENED TITLE";
    assert_eq!(lines.next().unwrap().join(" "), header, "{table}");
    let row = lines.next().unwrap();
    assert_eq!(row[..6], ["epc-a", "high", "open", "other", "image.pull.not_found", "12"], "{table}");
    assert!(table.trim_end().ends_with("Deployment default/web: image not found"), "{table}");

    let back = ["patch", "incident", "epc-a", "--subresource=status", "--type=merge", "-p"];
    let refused = site.plane.kubectl(&[&back[..], &[r#"{"status":{"version":1}}"#]].concat()).unwrap_err();
    assert!(refused.to_string().contains("an incident never goes back to an earlier version"), "{refused}");
    let epoch = r#"{"status":{"version":1,"logEpoch":1}}"#;
    site.plane.kubectl(&[&back[..], &[epoch]].concat()).unwrap();
    let other = ["patch", "incident", "epc-a", "--type=merge", "-p", r#"{"spec":{"id":"epc-b"}}"#];
    let refused = site.plane.kubectl(&other).unwrap_err();
    assert!(refused.to_string().contains("an object stands for one incident"), "{refused}");

    // The object is of a later epoch now: what this log says is older.
    site.publish(&document("epc-a", 3, IncidentState::Open));
    site.publish(&huge("epc-huge"));
    site.run(&config, |_| site.shows(&["epc-huge", "-o", "jsonpath={.status.state}"], "open"));
    site.shows(&["epc-a", "-o", "jsonpath={.status.version}"], "1");
    let raw = site.plane.kubectl(&["get", "--raw", "/apis/epicenter.dev/v1alpha1/incidents/epc-huge"]).unwrap();
    println!("{table}an object with more than it can hold: {} bytes", raw.len());
    assert!(raw.len() < 16 * 1024, "an object of {} bytes", raw.len());
    assert!(raw.len() > 8 * 1024 && raw.contains("managedFields"), "{raw}");
}

#[test]
fn transitions_are_events_on_the_workload_and_what_ended_goes() {
    let mut site = Site::new();
    site.runtime.block_on(epicenter_sink::install_crd(&site.client)).unwrap();
    site.publish(&document("epc-a", 1, IncidentState::Open));
    site.publish(&Incident { backfill: true, ..document("epc-old", 1, IncidentState::Open) });
    let config = ObjectsConfig::default();
    site.run(&config, |_| site.shows(&["-o", "jsonpath={.items[*].status.state}"], "open open"));
    site.publish(&document("epc-a", 2, IncidentState::Resolved));
    let condition = "jsonpath={.status.conditions[?(@.type==\"Active\")].status}";
    let told = "jsonpath={.items[*].reason}";
    site.run(&config, |_| {
        site.shows(&["epc-a", "-o", "jsonpath={.status.state}"], "resolved");
        site.shows(&["epc-a", "-o", condition], "False");
        site.shows(&["-l", "epicenter.dev/state=resolved", "-o", "name"], "incident.epicenter.dev/epc-a\n");
        let resolved =
            |plane: &ControlPlane| Ok(plane.kubectl(&["get", "events", "-o", told])?.contains("IncidentResolved"));
        site.plane.until("the end is told", LIMIT, resolved).unwrap();
    });

    let shown = "jsonpath={range .items[*]}{.type} {.reason} {.involvedObject.kind}/{.involvedObject.name} \
                 {.related.name} {.reportingComponent}{\"\\n\"}{end}";
    let events = site.plane.kubectl(&["get", "events", "--sort-by=.reason", "-o", shown]).unwrap();
    let expected = "Warning IncidentOpened Deployment/web web-1 epicenter.dev/sink\n\
                    Normal IncidentResolved Deployment/web web-1 epicenter.dev/sink\n";
    assert_eq!(events, expected);

    let config = ObjectsConfig { retention_hours: 0, ..config };
    site.run(&config, |_| site.shows(&["-o", "name"], "incident.epicenter.dev/epc-old\n"));
}

#[test]
fn what_somebody_edits_or_deletes_is_put_right_with_the_next_change() {
    let mut site = Site::new();
    site.runtime.block_on(epicenter_sink::install_crd(&site.client)).unwrap();
    let all = ["epc-edited", "epc-deleted"];
    let shown = [
        "-o",
        "jsonpath={range .items[*]}{.metadata.labels.epicenter\\.dev/severity} {.status.severity} {.status.version}{\"\\n\"}{end}",
    ];
    let config = ObjectsConfig::default();
    all.iter().for_each(|id| site.publish(&document(id, 1, IncidentState::Open)));
    site.run(&config, |_| site.shows(&shown, "high high 1\nhigh high 1\n"));
    let edited = ["incident", "epc-edited"];
    let label = ["epicenter.dev/severity=info", "--overwrite"];
    let status = ["--subresource=status", "--type=merge", "-p", r#"{"status":{"severity":"info"}}"#];
    site.plane.kubectl(&[&["label"], &edited[..], &label].concat()).unwrap();
    site.plane.kubectl(&[&["patch"], &edited[..], &status].concat()).unwrap();
    site.plane.kubectl(&["delete", "incident", "epc-deleted"]).unwrap();
    site.shows(&shown, "info info 1\n");
    all.iter().for_each(|id| site.publish(&document(id, 2, IncidentState::Open)));
    site.run(&config, |_| site.shows(&shown, "high high 2\nhigh high 2\n"));
}

#[test]
fn a_definition_of_another_version_is_named_until_it_is_replaced() {
    let mut site = Site::new();
    let ours = std::fs::read_to_string(DEFINITION).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let apply = |site: &Site, from: &str, to: &str| {
        let other = ours.replace(from, to);
        assert_ne!(other, ours);
        std::fs::write(file.path(), other).unwrap();
        let forced = ["apply", "--server-side", "--force-conflicts", "-f"];
        site.plane.kubectl(&[&forced[..], &[file.path().to_str().unwrap()]].concat()).unwrap();
    };
    let versions = ["-o", "jsonpath={.items[*].status.version}"];
    site.publish(&document("epc-a", 1, IncidentState::Open));
    site.run(&ObjectsConfig::default(), |health| {
        apply(&site, "name: v1alpha1\n", "name: v1beta1\n");
        site.says(health, "does not exist in cluster prod, or not as v1alpha1: install it: `epicenter crd |");
        site.plane.kubectl(&["delete", "crd", "incidents.epicenter.dev"]).unwrap();
        apply(&site, "              backfill:\n", "              formerly:\n");
        site.says(health, "The custom resource definition is older than this version: install it: `epicenter crd |");
        site.runtime.block_on(epicenter_sink::install_crd(&site.client)).unwrap();
        site.shows(&versions, "1");
    });
    // A newer one knows more.
    apply(&site, "              backfill:\n", "              novel: {type: string}\n              backfill:\n");
    site.publish(&document("epc-a", 2, IncidentState::Open));
    site.run(&ObjectsConfig::default(), |_| site.shows(&versions, "2"));
}
