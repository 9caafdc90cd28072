//! The roles of the chart are exactly enough: with them the services do their work, and without any one verb of them the
//! service says what it may not do.

use std::time::Duration;

use epicenter::cluster::Cluster;
use epicenter::settings::ClusterConfig;
use epicenter_bus::topics::INCIDENTS;
use epicenter_bus::{Bus, Emit, LocalConfig, Source};
use epicenter_exporter::project::Kind;
use epicenter_exporter::{Claims, ExporterConfig, Log, WatchState};
use epicenter_intake::Intake;
use epicenter_model::{Codec, Incident, ObjectRef, Severity, Timestamp};
use epicenter_runtime::{Health, Metrics, Traces};
use epicenter_sink::ObjectsConfig;
use epicenter_tests::chart::{self, NAMESPACE};
use epicenter_tests::kube::{ControlPlane, Options};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const LIMIT: Duration = Duration::from_secs(60);
const VALUES: [&str; 2] = ["kafka.bootstrap=kafka:9092", "cluster=test"];

/// One verb on one resource, or on one object of it.
#[derive(Clone, Debug, PartialEq)]
struct Right {
    verb: String,
    group: String,
    resource: String,
    name: Option<String>,
}

impl Right {
    /// What the API server says to who does not have it.
    fn refusal(&self) -> String {
        format!("cannot {} resource \"{}\"", self.verb, self.resource)
    }

    fn rule(&self) -> Value {
        let names: Vec<_> = self.name.iter().collect();
        let (group, resource, verb) = (&self.group, &self.resource, &self.verb);
        json!({"apiGroups": [group], "resources": [resource], "verbs": [verb], "resourceNames": names})
    }
}

fn rights(role: &Value) -> Vec<Right> {
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let mut rights = Vec::new();
    for rule in role["rules"].as_array().unwrap() {
        let name = texts(&rule["resourceNames"]).pop();
        for (group, resource) in texts(&rule["apiGroups"])
            .iter()
            .flat_map(|group| texts(&rule["resources"]).into_iter().map(move |resource| (group.clone(), resource)))
        {
            for verb in texts(&rule["verbs"]) {
                let (group, resource, name) = (group.clone(), resource.clone(), name.clone());
                rights.push(Right { verb, group, resource, name });
            }
        }
    }
    rights
}

/// A control plane with the chart's roles, and a log.
struct Site {
    plane: ControlPlane,
    bus: Bus,
    source: Source,
    runtime: tokio::runtime::Runtime,
    roles: Vec<Value>,
    _directory: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let plane = ControlPlane::start(Options::default()).unwrap();
        chart::install_access(&plane, &VALUES).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let config = LocalConfig { directory: directory.path().into(), partitions: 1, retention: LIMIT };
        let bus = Bus::local(config).unwrap();
        let (source, _) = bus.source("test", 0, b"").unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let mut roles = serde_saphyr::from_multiple::<Value>(&chart::render(&VALUES).unwrap()).unwrap();
        roles.retain(|object| object["kind"] == "ClusterRole");
        Self { plane, bus, source, runtime, roles, _directory: directory }
    }

    fn role(&self, service: &str) -> Value {
        let of = |role: &&Value| role["metadata"]["name"].as_str().unwrap().ends_with(service);
        self.roles.iter().find(of).unwrap().clone()
    }

    /// Binds the service to `rights`, from now on.
    fn grant(&self, service: &str, rights: &[Right], but: Option<&Right>) {
        let mut role = self.role(service);
        let left = rights.iter().filter(|right| Some(*right) != but);
        role["rules"] = left.map(Right::rule).collect();
        self.plane.apply_text(&role.to_string()).unwrap();
        let account = format!("--as=system:serviceaccount:{NAMESPACE}:epicenter-{service}");
        for right in rights {
            let name = right.name.as_ref().map_or_else(String::new, |name| format!("/{name}"));
            let group = if right.group.is_empty() { String::new() } else { format!(".{}", right.group) };
            let (resource, part) = right.resource.split_once('/').unwrap_or((&right.resource, ""));
            let (what, part) = (format!("{resource}{group}{name}"), format!("--subresource={part}"));
            // It answers by its exit code, too.
            let can = |plane: &ControlPlane| {
                plane.kubectl(&["auth", "can-i", &right.verb, &what, &part, "--all-namespaces", &account]).is_ok()
            };
            if Some(right) == but || but.is_none() {
                let expected = but.is_none();
                self.plane.until("the API server knows the role", LIMIT, |plane| Ok(can(plane) == expected)).unwrap();
            }
        }
    }

    /// A client with the service's own token.
    fn client(&self, service: &str, make: impl FnOnce(&Cluster) -> anyhow::Result<kube::Client>) -> kube::Client {
        let kubeconfig = self.plane.kubeconfig_of(NAMESPACE, &format!("epicenter-{service}")).unwrap();
        let settings = ClusterConfig { kubeconfig: kubeconfig.display().to_string(), context: String::new() };
        self.runtime.block_on(async { make(&Cluster::open(&settings).await.unwrap()) }).unwrap()
    }

    /// Runs an exporter until `holds`.
    fn export(&self, name: &str, holds: impl Fn(&epicenter_exporter::Health, &Health) -> bool) {
        let config = ExporterConfig { cluster: name.into(), unavailable_retry_ms: 200, ..ExporterConfig::default() };
        let (token, parts) = (CancellationToken::new(), Health::new());
        let health = epicenter_exporter::Health::new(name, parts.clone(), Metrics::default());
        let client = self.client("exporter", |cluster| cluster.client());
        let (clock, codec) = (epicenter_runtime::system_clock(), Codec::single_object());
        let log = Log { bus: self.bus.clone(), codec, clock, traces: Traces::default() };
        let run = epicenter_exporter::run(config, client, log, Claims::default(), health.clone(), token.clone());
        let task = self.runtime.spawn(run);
        let outcome = self.plane.until("the exporter tells", LIMIT, |_| Ok(holds(&health, &parts)));
        token.cancel();
        self.runtime.block_on(task).unwrap().unwrap();
        outcome.unwrap_or_else(|error| panic!("{name}: {error}: {:?} {:?}", parts.report(), health.snapshot().watches));
    }

    fn publish(&mut self, cluster: &str, document: Option<&Incident>) {
        let emit = Emit {
            topic: INCIDENTS.name,
            timestamp: now().as_millis(),
            key: format!("{cluster}/{cluster}").into(),
            payload: document.map(|document| Codec::single_object().encode(document).unwrap().into()),
            headers: vec![],
        };
        self.source.commit(&[emit], &[]).unwrap();
    }

    /// Runs a sink until `holds`.
    fn sink(&self, name: &str, holds: impl Fn(&Health, &Metrics) -> bool) {
        let (token, health, metrics) = (CancellationToken::new(), Health::new(), Metrics::default());
        let client = self.client("sink", |cluster| cluster.asking(name, &metrics));
        let (config, codec) = (ObjectsConfig::default(), Codec::single_object());
        let (bus, cancel) = (self.bus.clone(), token.clone());
        let run = epicenter_sink::run_objects(client, bus, codec, name.into(), config, cancel, health.clone());
        let task = self.runtime.spawn(run);
        let (client, intake) =
            (self.client("sink", Cluster::client), Intake::new(self.bus.clone(), Codec::single_object()));
        let read = epicenter_intake::run_annotations(client, intake, name.into(), token.clone(), health.clone());
        let reading = self.runtime.spawn(read);
        let outcome = self.plane.until("the sink tells", LIMIT, |_| Ok(holds(&health, &metrics)));
        token.cancel();
        self.runtime.block_on(task).unwrap().unwrap();
        let Ok(()) = self.runtime.block_on(reading).unwrap();
        outcome.unwrap_or_else(|error| panic!("{name}: {error}: {:?}\n{}", health.report(), metrics.text()));
    }
}

fn now() -> Timestamp {
    epicenter_runtime::now()
}

fn document(cluster: &str) -> Incident {
    let mut document = Incident {
        id: cluster.into(),
        version: 1,
        cluster: cluster.into(),
        severity: Severity::High,
        opened_at: now(),
        last_event_at: now(),
        ..Incident::default()
    };
    document.impact.workloads =
        vec![ObjectRef { api_version: "apps/v1".into(), ..ObjectRef::named("Deployment", "default", "web") }];
    document
}

#[test]
fn the_exporter_has_what_it_needs_and_nothing_else() {
    let site = Site::new();
    let rights = rights(&site.role("exporter"));
    let watching = |health: &epicenter_exporter::Health, but: Option<&str>| {
        let watches = health.snapshot().watches;
        watches.len() == Kind::ALL.len() + 1
            && watches.iter().all(|(name, state)| but == Some(name.as_str()) || *state == WatchState::Watching)
    };
    site.grant("exporter", &rights, None);
    site.export("all", |health, parts| watching(health, None) && parts.is_ready());
    for (number, right) in rights.iter().enumerate() {
        site.grant("exporter", &rights, Some(right));
        let (name, resource) = (format!("case-{number}"), right.resource.as_str());
        let told = |part: &str, parts: &Health| {
            let report = parts.report();
            report
                .get(&format!("{name}/{part}"))
                .is_some_and(|why| why.as_deref().unwrap_or("").contains(&right.refusal()))
        };
        site.export(&name, |health, parts| match (right.verb.as_str(), resource) {
            ("get", "namespaces") => told("api-server", parts),
            (_, "events") => told("events", parts) && watching(health, Some(resource)),
            // It does without.
            _ => {
                let state = health.snapshot().watches.get(resource).cloned();
                let told = matches!(state, Some(WatchState::Unavailable(why)) if why.contains(&right.refusal()));
                told && watching(health, Some(resource)) && parts.is_ready()
            }
        });
        println!("without {} of {resource}: {}", right.verb, right.refusal());
    }
}

#[test]
fn the_sink_has_what_it_needs_and_nothing_else() {
    let mut site = Site::new();
    let rights = rights(&site.role("sink"));
    site.grant("sink", &rights, None);
    let shown = |plane: &ControlPlane, name: &str, expected: &str| {
        let version = "jsonpath={.status.version}";
        let said = plane.kubectl(&["get", "incident", name, "--ignore-not-found", "-o", version]);
        said.is_ok_and(|said| said == expected)
    };
    site.publish("all", Some(&document("all")));
    site.sink("all", |health, _| health.is_ready() && shown(&site.plane, "all", "1"));
    site.plane.kubectl(&["get", "event", "all.1.opened"]).unwrap();
    site.publish("all", None);
    site.sink("all", |_, _| shown(&site.plane, "all", ""));

    for (number, right) in rights.iter().enumerate() {
        let name = format!("case-{number}");
        site.publish(&name, Some(&document(&name)));
        if right.verb == "delete" {
            site.grant("sink", &rights, None);
            site.sink(&name, |health, _| health.is_ready() && shown(&site.plane, &name, "1"));
            site.publish(&name, None);
        }
        site.grant("sink", &rights, Some(right));
        site.sink(&name, |health, metrics| {
            if right.resource == "events" {
                // Incidents go on without Events: the log says it, and the metrics.
                let refused =
                    format!("epicenter_api_requests_total{{cluster=\"{name}\",verb=\"post\",code=\"403\"}} 1");
                return metrics.text().contains(&refused) && shown(&site.plane, &name, "1");
            }
            health.report().values().flatten().any(|why| why.contains(&right.refusal()))
        });
        println!("without {} of {}: {}", right.verb, right.resource, right.refusal());
    }
}
