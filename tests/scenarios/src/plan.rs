//! What is to be played, and the recording of it.

use std::collections::BTreeMap;
use std::ops::Range;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use crate::chains::Scenario;
use crate::cluster::Cluster;
use crate::perturb::Perturbation;
use crate::quiet::{self, Change};
use crate::recorder::{Recorder, Write};
use crate::stage::Stage;
use crate::truth::Truth;
use crate::wording::Era;

/// When every recording begins: 2026-11-02 08:00 UTC, s.
const BEGAN: f64 = 1_793_606_400.0;

/// How large clusters are, and what things are called.
#[derive(Clone, Debug)]
pub struct Topology {
    /// Number of nodes.
    pub nodes: Range<usize>,
    /// Number of users' workloads.
    pub workloads: Range<usize>,
    /// Which list of names.
    pub names: usize,
}

/// What is to be played.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Everything follows from it.
    pub seed: u64,
    /// The cluster.
    pub topology: Topology,
    /// How components word what they say.
    pub era: Era,
    /// Objects and their status are recorded too.
    pub objects: bool,
    /// As a watch stream; else as the List that `kubectl get events` gives at the end.
    pub watch: bool,
    /// Faults, each at its second.
    pub faults: Vec<(f64, Scenario)>,
    /// Planned changes, each at its second.
    pub changes: Vec<(f64, Change)>,
    /// What collection spoils.
    pub perturbation: Perturbation,
}

/// What was recorded, and the truth about it.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Files by name, as `epicenter replay` takes them.
    pub files: BTreeMap<String, String>,
    /// What is known.
    pub truth: Truth,
    /// The first second, since the epoch.
    pub began: f64,
    /// How many Events there are.
    pub events: usize,
}

/// Plays a plan.
pub fn play(plan: &Plan) -> Recording {
    let mut rng = StdRng::seed_from_u64(plan.seed);
    let cluster = Cluster::new(&mut rng, plan.topology.clone());
    let mut stage =
        Stage { rng, era: plan.era, cluster, objects: plan.objects, faults: vec![], said: vec![], seen: vec![] };
    stage.show_all();
    let (first, rest): (Vec<_>, Vec<_>) = plan.faults.iter().partition(|(_, scenario)| scenario.takes_node());
    for (at, scenario) in first.into_iter().chain(rest) {
        scenario.play(&mut stage, at);
    }
    for (at, change) in &plan.changes {
        quiet::play(&mut stage, *change, *at);
    }
    let Stage { mut rng, cluster, faults, mut said, mut seen, .. } = stage;
    said.sort_by(|a, b| a.at.total_cmp(&b.at));
    let (mut writes, labels) = Recorder::default().record(said, plan.era, &mut rng);
    let nodes: Vec<String> = cluster.nodes.iter().map(|node| node.name.clone()).collect();
    let skews = plan.perturbation.apply(&mut writes, &nodes, &mut rng);
    let written: Vec<Value> = writes
        .iter()
        .enumerate()
        .map(|(number, write)| event(write, number, skews.get(&write.said.host).copied().unwrap_or_default()))
        .collect();
    let mut truth = Truth { faults, labels: labels.into_iter().collect() };
    let mut files = BTreeMap::new();
    let uids: BTreeMap<&str, usize> = writes.iter().enumerate().map(|(n, write)| (write.uid.as_str(), n)).collect();
    truth.labels.retain(|uid, _| uids.contains_key(uid.as_str()));
    if plan.watch {
        let mut known: BTreeMap<&str, ()> = BTreeMap::new();
        let lines = writes.iter().zip(&written).map(|(write, json)| {
            let new = known.insert(&write.uid, ()).is_none();
            json!({"type": if new { "ADDED" } else { "MODIFIED" }, "object": json}).to_string()
        });
        files.insert("watch.jsonl".to_owned(), lines.collect::<Vec<_>>().join("\n"));
    } else {
        let newest: Vec<&Value> = uids.values().map(|n| &written[*n]).collect();
        files.insert("events.json".to_owned(), list(&newest));
    }
    seen.sort_by(|a, b| a.at.total_cmp(&b.at));
    for (number, seen) in seen.iter_mut().enumerate() {
        seen.json["metadata"]["resourceVersion"] = json!((number + 1).to_string());
        seen.json["metadata"]["managedFields"] = json!([{"manager": "x", "time": time(seen.at)}]);
        seen.json["metadata"]["creationTimestamp"] = json!(time(0.0));
    }
    let kinds: Vec<&str> = seen.iter().map(|seen| seen.kind).collect();
    for kind in kinds {
        if plan.watch && !files.contains_key(&format!("watch-{kind}.jsonl")) {
            let of = seen.iter().filter(|seen| seen.kind == kind).map(|seen| {
                json!({"type": if seen.gone { "DELETED" } else { "MODIFIED" }, "object": seen.json}).to_string()
            });
            files.insert(format!("watch-{kind}.jsonl"), of.collect::<Vec<_>>().join("\n"));
        }
    }
    if !plan.watch && plan.objects {
        let mut last: BTreeMap<String, &crate::stage::Seen> = BTreeMap::new();
        for seen in &seen {
            last.insert(format!("{}/{}", seen.kind, seen.json["metadata"]["uid"]), seen);
        }
        let objects: Vec<&Value> = last.values().filter(|seen| !seen.gone).map(|seen| &seen.json).collect();
        files.insert("objects.json".to_owned(), list(&objects));
    }
    Recording { files, truth, began: BEGAN, events: uids.len() }
}

fn list(items: &[&Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

/// RFC 3339 of so many seconds into the recording, in whole seconds.
pub(crate) fn time(at: f64) -> String {
    let at = jiff::Timestamp::from_second((BEGAN + at).floor() as i64).unwrap_or_default();
    at.to_string()
}

fn micro(at: f64) -> String {
    let at = jiff::Timestamp::from_microsecond(((BEGAN + at) * 1e6) as i64).unwrap_or_default();
    at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

fn event(write: &Write, number: usize, skew: f64) -> Value {
    let Write { said, .. } = write;
    let namespace = if said.about.namespace.is_empty() { "default" } else { &said.about.namespace };
    let mut about = json!({"kind": said.about.kind, "name": said.about.name, "apiVersion": said.about.api_version});
    for (field, value) in
        [("namespace", &said.about.namespace), ("uid", &said.about.uid), ("fieldPath", &said.field_path)]
    {
        if !value.is_empty() {
            about[field] = json!(value);
        }
    }
    let mut json = json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {
            "name": write.name, "namespace": namespace, "uid": write.uid,
            "resourceVersion": (number + 1000).to_string(), "creationTimestamp": time(write.created),
        },
        "involvedObject": about, "reason": said.reason, "message": said.text,
        "type": if said.warning { "Warning" } else { "Normal" },
    });
    if write.series {
        json["eventTime"] = json!(micro(write.first));
        json["reportingComponent"] = json!(said.component);
        json["reportingInstance"] = json!(format!("{}-master-1", said.component));
        json["firstTimestamp"] = Value::Null;
        json["lastTimestamp"] = Value::Null;
        json["source"] = json!({});
        if write.count > 1 {
            json["series"] = json!({"count": write.count, "lastObservedTime": micro(write.last)});
        }
        if let Some(related) = &said.related {
            json["related"] = json!({
                "kind": related.kind, "namespace": related.namespace, "name": related.name, "uid": related.uid,
            });
        }
    } else {
        json["source"] = json!({"component": said.component});
        if !said.host.is_empty() {
            json["source"]["host"] = json!(said.host);
        }
        json["firstTimestamp"] = json!(time(write.first + skew));
        json["lastTimestamp"] = json!(time(write.last + skew));
        json["count"] = json!(write.count);
        json["eventTime"] = Value::Null;
        json["reportingComponent"] = json!("");
        json["reportingInstance"] = json!("");
    }
    json
}
