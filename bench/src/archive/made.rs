//! What is archived: Events that look like a month of four clusters, and incidents that have some of them as members.

use epicenter_model::{
    Category, EnrichedEvent, Event, Incident, IncidentChange, IncidentState, Member, ObjectRef, Severity, Timestamp,
    Transition, incident_id,
};

pub const CLUSTERS: [&str; 4] = ["prod-eu-1", "prod-eu-2", "prod-us-1", "stage"];
/// 2026-10-01T00:00:00Z, and the days from then on, µs.
pub const BEGAN: i64 = 1_790_812_800_000_000;
pub const DAYS: i64 = 30;
pub const A_DAY: i64 = 86_400_000_000;
/// Objects that Events are about, in each cluster.
pub const OBJECTS: u64 = 20_000;
/// Events to one incident, and those that are its members.
pub const TO_AN_INCIDENT: u64 = 2_000;
const MEMBERS: u64 = 40;

/// What an Event says: its reason, class, category, severity and text.
const SAYINGS: [(&str, &str, Category, Severity, &str); 8] = [
    (
        "Unhealthy",
        "probe.readiness_failed",
        Category::Probe,
        Severity::Low,
        "Readiness probe failed: HTTP probe failed with statuscode: 503",
    ),
    ("BackOff", "crash.back_off", Category::Crash, Severity::Medium, "Back-off restarting failed container app in pod"),
    (
        "FailedScheduling",
        "sched.insufficient_cpu",
        Category::Scheduling,
        Severity::Medium,
        "0/12 nodes are available: 12 Insufficient cpu",
    ),
    (
        "FailedMount",
        "volume.mount_timeout",
        Category::Storage,
        Severity::High,
        "MountVolume.SetUp failed for volume \"data\": timed out waiting for the condition",
    ),
    (
        "Pulled",
        "image.pulled",
        Category::Image,
        Severity::Info,
        "Successfully pulled image \"registry.example.com/shop/web:1.4.2\" in 1.2s",
    ),
    ("Scheduled", "sched.scheduled", Category::Scheduling, Severity::Info, "Successfully assigned a pod to a node"),
    ("NodeNotReady", "node.not_ready", Category::Node, Severity::Critical, "Node is not ready"),
    ("ScalingReplicaSet", "rollout.scaled", Category::Rollout, Severity::Info, "Scaled up replica set web-5d9c7f to 3"),
];

/// A number that follows from `n` and looks like none.
pub fn mixed(n: u64) -> u64 {
    let n = (n ^ (n >> 31)).wrapping_mul(0x7fb5_d329_728e_a185);
    let n = (n ^ (n >> 27)).wrapping_mul(0x81da_def4_bc2d_d44d);
    n ^ (n >> 33)
}

pub fn cluster_of(n: u64) -> &'static str {
    CLUSTERS[(n % CLUSTERS.len() as u64) as usize]
}

pub fn at(n: u64, all: u64) -> Timestamp {
    Timestamp::from_micros(BEGAN + (i128::from(n) * i128::from(DAYS * A_DAY) / i128::from(all)) as i64)
}

pub fn event(n: u64, all: u64) -> EnrichedEvent {
    let chance = mixed(n);
    let object = chance % OBJECTS;
    let (reason, class, category, severity, note) = SAYINGS[(chance >> 20) as usize % SAYINGS.len()];
    let namespace = format!("team-{}", object % 50);
    EnrichedEvent {
        cluster: cluster_of(n).to_owned(),
        at: at(n, all),
        occurred_at: at(n, all),
        occurrences: 1 + (chance >> 40) as i64 % 4,
        class: class.to_owned(),
        category,
        severity,
        event: Event {
            uid: uid(n),
            namespace: namespace.clone(),
            name: format!("web-{object}.{chance:016x}"),
            regarding: ObjectRef {
                uid: format!("10000000-0000-4000-8000-{object:012x}"),
                ..ObjectRef::named("Pod", &namespace, &format!("web-{object}"))
            },
            reason: reason.to_owned(),
            event_type: "Warning".to_owned(),
            note: format!("{note} ({:04x})", chance >> 48),
            component: "kubelet".to_owned(),
            host: format!("node-{}", chance % 200),
            ..Event::default()
        },
        ..EnrichedEvent::default()
    }
}

/// As API servers give them: without an order.
pub fn uid(n: u64) -> String {
    let (one, other) = (mixed(n), mixed(!n));
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        one >> 32,
        (one >> 16) & 0xffff,
        (one >> 4) & 0xfff,
        other >> 52,
        other & 0xffff_ffff_ffff
    )
}

/// The incident `k`, and the Events that are its members.
pub fn incident(k: u64) -> (String, &'static str, impl Iterator<Item = u64>) {
    let first = k * TO_AN_INCIDENT;
    let step = CLUSTERS.len() as u64;
    (
        incident_id(cluster_of(first), &format!("{first}"), 1),
        cluster_of(first),
        (0..MEMBERS).map(move |m| first + m * step),
    )
}

/// When the incident `k` was opened, and when its newest Event came.
pub fn life(k: u64, all: u64) -> (Timestamp, Timestamp) {
    let (_, _, members) = incident(k);
    let (first, last) = members.fold((u64::MAX, 0), |(first, last), n| (first.min(n), last.max(n)));
    (at(first, all), at(last, all))
}

pub fn change(k: u64, all: u64) -> IncidentChange {
    let (id, cluster, members) = incident(k);
    let (opened_at, last_event_at) = life(k, all);
    let members = members.map(|n| Member { event_uid: uid(n), ..Member::default() }).collect();
    let incident = Incident {
        id,
        cluster: cluster.to_owned(),
        version: 1,
        state: IncidentState::Resolved,
        opened_at,
        last_event_at,
        resolved_at: Some(last_event_at),
        members,
        ..Incident::default()
    };
    IncidentChange { at: last_event_at, transition: Transition::Resolved, incident, ..IncidentChange::default() }
}
