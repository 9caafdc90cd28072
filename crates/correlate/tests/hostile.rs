//! Whatever comes in, the engine goes on: no panic, no entry too large, no more work than what came in.
#![allow(clippy::unwrap_used, clippy::panic)]

mod fixture;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use epicenter_correlate::{ClusterState, Effects, Rules, apply};
use epicenter_model::{
    Act, Action, Category, Command, Context, ContextUpdate, EnrichedEvent, EnrichedRecord, Entity, Event, Heartbeat,
    ObjectRef, Role, Severity, Timestamp,
};
use proptest::prelude::*;

static RULES: LazyLock<Rules> = LazyLock::new(fixture::rules);
static CLASSES: LazyLock<Vec<String>> =
    LazyLock::new(|| fixture::classes().iter().map(|info| info.class.clone()).collect());

/// Kinds that mean something to the engine, and others.
const KINDS: [&str; 16] = [
    "Pod",
    "Node",
    "ReplicaSet",
    "Deployment",
    "Job",
    "CronJob",
    "DaemonSet",
    "Secret",
    "PersistentVolumeClaim",
    "Zone",
    "Registry",
    "Certificate",
    "Order",
    "",
    "pod",
    "Capacity",
];

/// Names that look like something, and names that look like nothing.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => prop::sample::select(&["a", "web-7d9f6c5b8d-x2x9k", "web-7d9f6c5b8d", "web", "db-0", "report-29384756", "n1"][..])
            .prop_map(str::to_owned),
        1 => prop::sample::select(&["", "-", "--", "a-", "-a", "\0", "a\0b", "a/b", "{name}", "{", "0-0-0-0"][..])
            .prop_map(str::to_owned),
        1 => "[a-z0-9-]{1,12}",
        1 => ".{0,6}",
        1 => Just("ß".repeat(400)),
    ]
}

fn object() -> impl Strategy<Value = ObjectRef> {
    (prop::sample::select(&KINDS[..]), prop::sample::select(&["shop", "", "b"][..]), name(), "[a-c]?")
        .prop_map(|(kind, namespace, name, uid)| ObjectRef { uid, ..ObjectRef::named(kind, namespace, &name) })
}

fn entity() -> impl Strategy<Value = Entity> {
    object().prop_map(|object| Entity { kind: object.kind, namespace: object.namespace, name: object.name })
}

/// Clocks that are right, years off, and at the ends of time.
fn instant() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        8 => (0_i64..7_200_000).prop_map(|ms| fixture::at(0.0).plus_millis(ms)),
        1 => (-3_000_000_000_000_i64..3_000_000_000_000).prop_map(Timestamp::from_millis),
        1 => prop::sample::select(&[i64::MIN, -1, 0, 1, i64::MAX][..]).prop_map(Timestamp::from_micros),
    ]
}

fn context() -> impl Strategy<Value = Context> {
    let names = || prop::collection::vec(name(), 0..3);
    let owners = prop::collection::vec(object(), 0..4);
    (owners, name(), name(), names(), names(), any::<bool>()).prop_map(
        |(owners, node, zone, images, claims, deleting)| Context {
            owners,
            node,
            zone,
            images,
            claims: claims.clone(),
            volumes: claims,
            deleting,
            ..Context::default()
        },
    )
}

fn class() -> impl Strategy<Value = String> {
    prop_oneof![
        12 => prop::sample::select(CLASSES.as_slice()),
        1 => prop::sample::select(&["", "unknown.new", "*", "a\0b"][..]).prop_map(str::to_owned),
    ]
}

fn event() -> impl Strategy<Value = EnrichedRecord> {
    let roles = prop::sample::select(&[Role::Cause, Role::Symptom, Role::Change, Role::Recovery, Role::Noise][..]);
    let severities = prop::sample::select(
        &[Severity::Info, Severity::Low, Severity::Medium, Severity::High, Severity::Critical][..],
    );
    let count = prop_oneof![8 => 1_i64..100, 1 => prop::sample::select(&[i64::MIN, -1, 0, i64::MAX][..])];
    let times = (instant(), instant(), count);
    let objects = (object(), prop::option::weighted(0.2, object()), prop::collection::vec(entity(), 0..4), context());
    let known = prop::bool::weighted(0.8);
    (class(), roles, severities, times, objects, name(), "[a-f]{1,2}", known, prop::bool::weighted(0.1)).prop_map(
        |(
            class,
            role,
            severity,
            (at, occurred_at, occurrences),
            (regarding, related, entities, context),
            text,
            uid,
            known,
            backfill,
        )| {
            let classes = fixture_class(&class).filter(|_| known);
            let (role, severity) = classes.unwrap_or((role, severity));
            EnrichedRecord::Event(Box::new(EnrichedEvent {
                cluster: "test".to_owned(),
                cluster_uid: text.clone(),
                at,
                occurred_at,
                occurrences,
                backfill,
                class,
                category: Category::Other,
                severity,
                role,
                entities,
                context,
                event: Event {
                    uid,
                    namespace: regarding.namespace.clone(),
                    name: text.clone(),
                    reason: text.clone(),
                    note: text.clone(),
                    component: "kubelet".to_owned(),
                    host: text,
                    regarding,
                    related,
                    ..Event::default()
                },
                ..EnrichedEvent::default()
            }))
        },
    )
}

fn fixture_class(class: &str) -> Option<(Role, Severity)> {
    static TABLE: LazyLock<BTreeMap<String, (Role, Severity)>> = LazyLock::new(|| {
        fixture::classes().iter().map(|info| (info.class.clone(), (info.role, info.severity))).collect()
    });
    TABLE.get(class).copied()
}

fn record() -> impl Strategy<Value = EnrichedRecord> {
    let update = (object(), context(), instant()).prop_map(|(object, context, at)| {
        EnrichedRecord::Context(Box::new(ContextUpdate { cluster: "test".to_owned(), at, object, context }))
    });
    let beat = (instant(), any::<bool>(), any::<bool>()).prop_map(|(at, healthy, last)| {
        EnrichedRecord::Heartbeat(Heartbeat {
            cluster: "test".to_owned(),
            cluster_uid: "u".to_owned(),
            at,
            healthy,
            last,
        })
    });
    prop_oneof![12 => event(), 1 => update, 1 => beat]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: fixture::cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_makes_it_panic(
        records in prop::collection::vec((record(), prop::option::weighted(0.1, any::<[u8; 3]>())), 1..120),
        restart in 0_usize..120,
    ) {
        let (mut state, mut effects) = (ClusterState::new("test"), Effects::default());
        let mut entries = BTreeMap::new();
        for (number, (record, said)) in records.iter().enumerate() {
            apply(&RULES, &mut state, record, &mut effects);
            if let Some(command) = said.and_then(|said| command(number, said, &effects)) {
                apply(&RULES, &mut state, &EnrichedRecord::Command(Box::new(command)), &mut effects);
            }
            state.flush(|key, value| {
                assert!(value.as_ref().is_none_or(|value| value.len() < 64 * 1024));
                match value {
                    Some(value) => _ = entries.insert(key, value),
                    None => _ = entries.remove(&key),
                }
            });
            if number == restart {
                state = ClusterState::restore("test", &entries).unwrap();
            }
        }
        for change in &effects.changes {
            prop_assert!(!change.incident.title.is_empty());
            prop_assert!(change.incident.explanation.len() <= 7);
        }
    }
}

/// Something that somebody says of incidents that were told, and of objects in them.
fn command(number: usize, [what, one, other]: [u8; 3], effects: &Effects) -> Option<Command> {
    let told = |pick: u8| effects.changes.get(usize::from(pick) % effects.changes.len().max(1)).map(|it| &it.incident);
    let (one, other) = (told(one)?, told(other)?);
    let id = one.id.clone();
    let action = match what % 3 {
        0 => Action::Incident { id, act: if what.is_multiple_of(2) { Act::Resolve } else { Act::Acknowledge } },
        1 => Action::Merge { id, with: other.id.clone() },
        _ => {
            let object = &one.members.get(usize::from(what) % one.members.len().max(1))?.regarding;
            Action::Split { id, objects: vec![ObjectRef::named(&object.kind, &object.namespace, &object.name)] }
        }
    };
    let at = Timestamp::default();
    let (id, by) = (format!("c{number}"), "anna".to_owned());
    Some(Command { cluster: "test".to_owned(), at, id, by, given_at: at, why: String::new(), action })
}

/// What `script` makes of a number takes work in proportion to it.
#[track_caller]
fn check_work(script: impl Fn(usize) -> String) {
    let work = |size: usize| {
        let (mut state, mut effects) = (ClusterState::new("test"), Effects::default());
        let records = fixture::records(&script(size));
        records.iter().for_each(|record| apply(&RULES, &mut state, record, &mut effects));
        (effects.work, records.len() as u64)
    };
    let ((few, of_few), (many, of_many)) = (work(1_000), work(4_000));
    assert!(many / of_many <= few / of_few * 3 / 2 + 1, "{few} for {of_few} records, {many} for {of_many}");
}

#[test]
fn many_pods_on_one_node_take_work_in_proportion() {
    check_work(|n| format!("0 node.not_ready Node/n1\n1*{n} node.pod_not_ready Pod/shop/p{{}} node=n1\n"));
    // The node is found to be the cause after its pods.
    check_work(|n| format!("0*{n} node.pod_not_ready Pod/shop/p{{}} node=n1\n1 node.not_ready Node/n1\n"));
}

#[test]
fn an_object_that_fails_and_recovers_without_end_takes_work_in_proportion() {
    check_work(|n| {
        let flap = |i| format!("{i} node.not_ready Node/n1 uid=a{i}\n{i}.5 node.ready Node/n1 uid=b{i}\n");
        (0..n).map(flap).collect()
    });
}

#[test]
fn a_workload_of_many_pods_takes_work_in_proportion() {
    let failed =
        |n| format!("0*{n} config.secret_missing Pod/shop/p{{}} owners=Deployment/shop/web text=Secret/shop/db\n");
    check_work(|n| failed(n) + &format!("1*{n} container.started Pod/shop/p{{}} owners=Deployment/shop/web\n"));
    // What is heard of the workload ends nothing of its pods.
    check_work(|n| failed(n) + &format!("1*{n} rollout.complete Deployment/shop/web\n"));
}

#[test]
fn many_workloads_that_share_a_cause_take_work_in_proportion() {
    check_work(|n| {
        format!(
            "0*{n} image.back_off Pod/shop/p{{}} owners=Deployment/shop/d{{}} images=r.io/a{{}}:1 text=Registry/r.io\n"
        )
    });
    check_work(|n| format!("0*{n} sched.insufficient_cpu Pod/shop/p{{}} owners=Deployment/shop/d{{}}\n"));
}

#[test]
fn owners_in_a_circle_take_work_in_proportion() {
    check_work(|n| {
        let circle = "0 crash.exit Deployment/shop/a owners=Deployment/shop/b\n\
            0 crash.exit Deployment/shop/b owners=Deployment/shop/a\n";
        format!("{circle}1*{n} crash.exit Pod/shop/p{{}} owners=Deployment/shop/a\n")
    });
}
