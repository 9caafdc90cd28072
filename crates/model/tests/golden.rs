//! The wire format, byte for byte. A file in `proto/golden/` is a record as a released version wrote it: it is read for
//! ever, and what is written today equals the newest. `UPDATE_GOLDEN=1` writes what has a schema that no
//! version has, into the newest folder; a file that exists is never changed by it, because somebody's topic holds such bytes.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;
use std::path::PathBuf;

use epicenter_model::*;

/// Where the versions' records are, the oldest version first.
fn versions() -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../proto/golden");
    let mut versions: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    versions.sort();
    versions
}

#[track_caller]
fn check<T: Contract + PartialEq + Debug>(sample: &T) {
    let name = T::TYPE.name();
    let codec = Codec::single_object();
    let bytes = codec.encode(sample).unwrap();
    let json = serde_json::to_string_pretty(sample).unwrap() + "\n";
    let wrote = |version: &PathBuf| version.join(format!("{name}.avro")).exists();
    let mut written: Vec<_> = versions().into_iter().filter(wrote).collect();
    let by = |version: &PathBuf| fs::read_to_string(version.join(format!("{name}.avsc"))).unwrap();
    let newest = versions().pop().unwrap();
    if std::env::var_os("UPDATE_GOLDEN").is_some()
        && written.last().is_none_or(|last| *last != newest && by(last) != T::TYPE.schema_text())
    {
        fs::write(newest.join(format!("{name}.avro")), &bytes).unwrap();
        fs::write(newest.join(format!("{name}.json")), &json).unwrap();
        fs::write(newest.join(format!("{name}.avsc")), T::TYPE.schema_text()).unwrap();
        written.push(newest);
    }
    let newest = written.pop().unwrap_or_else(|| panic!("{name} has no golden record: UPDATE_GOLDEN=1 writes it"));
    let read = |version: &PathBuf| {
        let shown = fs::read_to_string(version.join(format!("{name}.json"))).unwrap();
        (fs::read(version.join(format!("{name}.avro"))).unwrap(), shown)
    };
    for version in &written {
        let (bytes, shown) = read(version);
        let earlier = codec.decode::<T>(&bytes).unwrap();
        assert_eq!(
            earlier,
            serde_json::from_str(&shown).unwrap(),
            "{name}: what {} has is still read",
            version.display()
        );
    }
    let (released, shown) = read(&newest);
    assert_eq!(codec.decode::<T>(&released).unwrap(), *sample, "{name}: what was written is still read");
    assert_eq!(bytes, released, "{name}: what is written has not changed");
    assert_eq!(json, shown, "{name}: the JSON has not changed");
    assert_eq!(serde_json::from_str::<T>(&shown).unwrap(), *sample, "{name}: the JSON reads back");
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_micros(1_795_435_684_036_592 + second * 1_000_000)
}

fn text(value: &str) -> String {
    value.to_owned()
}

fn pod() -> ObjectRef {
    ObjectRef {
        api_version: text("v1"),
        kind: text("Pod"),
        namespace: text("shop"),
        name: text("checkout-86c5cc759f-k574l"),
        uid: text("3f0bc691-9683-43ec-92cf-6cc111e987c1"),
    }
}

fn deployment() -> ObjectRef {
    ObjectRef { api_version: text("apps/v1"), ..ObjectRef::named("Deployment", "shop", "checkout") }
}

fn event() -> Event {
    Event {
        uid: text("684d17a7-f53b-4b48-8aa7-6995a952c145"),
        namespace: text("shop"),
        name: text("checkout-86c5cc759f-k574l.18eaa7f7c3574a63"),
        resource_version: text("1042"),
        created_at: Some(at(0)),
        regarding: pod(),
        field_path: text("spec.containers{app}"),
        related: Some(ObjectRef::named("Node", "", "n1")),
        reason: text("BackOff"),
        note: text("Back-off restarting failed container app in pod checkout — naïve ✓"),
        event_type: text("Warning"),
        action: text("Restarting"),
        component: text("kubelet"),
        instance: text("n1"),
        host: text("n1"),
        count: Some(12),
        first_at: Some(at(-60)),
        last_at: Some(at(0)),
        event_at: None,
        series_count: Some(13),
        series_last_at: Some(at(1)),
        labels: BTreeMap::from([(text("a"), text("b"))]),
        annotations: BTreeMap::from([(text("starved_resource"), text("memory"))]),
    }
}

fn facts() -> ObjectFacts {
    ObjectFacts {
        object: pod(),
        resource_version: text("2001"),
        created_at: Some(at(-100)),
        deleting_at: Some(at(5)),
        owner: Some(ObjectRef {
            api_version: text("apps/v1"),
            ..ObjectRef::named("ReplicaSet", "shop", "checkout-86c5cc759f")
        }),
        labels: BTreeMap::from([(text("app"), text("checkout"))]),
        node: text("n1"),
        phase: text("Running"),
        reason: text("Evicted"),
        images: vec![text("registry.test/app:1.0")],
        claims: vec![text("data")],
        config_maps: vec![text("web-config")],
        secrets: vec![text("db")],
        volume: text("pvc-1"),
        storage_class: text("fast"),
        driver: text("ebs.csi.aws.com"),
        target: Some(deployment()),
        zone: text("eu-1a"),
        unschedulable: true,
        revision: text("3"),
        replicas: Some(3),
        ready_replicas: Some(2),
        conditions: vec![Condition {
            condition_type: text("Ready"),
            status: text("False"),
            reason: text("KubeletNotReady"),
            message: text("stopped"),
            since: Some(at(-3)),
        }],
        containers: vec![ContainerFacts {
            name: text("app"),
            ready: false,
            restarts: 4,
            waiting: text("CrashLoopBackOff"),
            waiting_message: text("back-off 40s"),
            terminated: text("OOMKilled"),
            exit_code: Some(137),
            finished_at: Some(at(-10)),
        }],
    }
}

fn context() -> Context {
    Context {
        owners: vec![ObjectRef::named("ReplicaSet", "shop", "checkout-86c5cc759f"), deployment()],
        node: text("n1"),
        zone: text("eu-1a"),
        images: vec![text("registry.test/app:1.0")],
        claims: vec![text("data")],
        volumes: vec![text("pvc-1")],
        config_maps: vec![text("web-config")],
        secrets: vec![text("db")],
        namespace_labels: BTreeMap::from([(text("team"), text("shop"))]),
        deleting: true,
    }
}

fn incident() -> Incident {
    let candidate = Candidate {
        class: text("node.not_ready"),
        object: ObjectRef::named("Node", "", "n1"),
        observed: true,
        confidence: 0.93,
    };
    Incident {
        id: text("epc-7f3k2m9q4a"),
        version: 14,
        cluster: text("prod-eu-1"),
        state: IncidentState::Open,
        merged_into: Some(text("epc-0000000000")),
        severity: Severity::Critical,
        category: Category::ControlPlane,
        title: text("Node n1 is not ready"),
        cause: Cause {
            class: candidate.class.clone(),
            object: candidate.object.clone(),
            observed: true,
            confidence: 0.93,
            candidates: vec![candidate],
        },
        explanation: vec![text("The kubelet of n1 stopped.")],
        impact: Impact {
            pods: 387,
            nodes: 1,
            workload_count: 12,
            workloads: vec![deployment()],
            namespaces: vec![text("shop")],
        },
        events: EventCounts {
            objects: 412,
            occurrences: 1893,
            by_reason: BTreeMap::from([(text("FailedScheduling"), 401)]),
        },
        opened_at: at(0),
        last_event_at: at(90),
        resolved_at: Some(at(99)),
        recurrence: recurrence(),
        members: vec![Member {
            event_uid: text("684d17a7-f53b-4b48-8aa7-6995a952c145"),
            namespace: text("shop"),
            name: text("checkout.1"),
            reason: text("BackOff"),
            regarding: MemberObject { kind: text("Pod"), namespace: text("shop"), name: text("checkout") },
            role: text("symptom"),
            occurrences: 12,
            because: Some(Because { rule: text("node-down"), parent: text("uid"), lag_ms: 41_000, score: 0.8 }),
        }],
        truncated: 411,
        backfill: false,
        acknowledged: Some(note(Act::Acknowledge)),
        silenced: Some(silence().shown()),
        notes: vec![note(Act::Wrong)],
    }
}

fn recurrence() -> Recurrence {
    Recurrence {
        count: 3,
        previous: vec![text("epc-1111111111")],
        first_at: Some(at(-2_000_000)),
        last_at: Some(at(-86_400)),
        period_ms: Some(86_400_000),
        hours: Some(Hours { days: vec![text("Mon"), text("Tue")], from_hour: 9, to_hour: 10, count: 2 }),
        place: Some(Place { object: ObjectRef::named("Node", "", "n1"), count: 3 }),
        scaled_up: 2,
        ended: Some(Ending {
            how: EndedBy::Change,
            at: at(-86_000),
            lasted_ms: 400_000,
            object: Some(deployment()),
            reason: text("ScalingReplicaSet"),
            by: text("anna"),
            text: text("rolled back"),
        }),
        novelty: Novelty::Object,
    }
}

fn note(act: Act) -> Note {
    Note { id: text("cmd-1"), act, by: text("anna"), at: at(100), text: text("the node is in maintenance") }
}

fn silence() -> Silence {
    Silence {
        id: text("cmd-2"),
        cluster: text("prod-eu-1"),
        matcher: Matcher {
            incident: text("epc-7f3k2m9q4a"),
            namespace: text("shop"),
            class: text("node.*"),
            kind: text("Node"),
            name: text("n1"),
            severity: Some(Severity::High),
        },
        starts_at: at(60),
        ends_at: at(7200),
        by: text("anna"),
        given_at: at(55),
        why: text("new kernel"),
    }
}

fn command() -> Command {
    let Silence { id, cluster, matcher, starts_at, ends_at, by, given_at, why } = silence();
    Command { cluster, at: at(50), id, by, given_at, why, action: Action::Silence { matcher, starts_at, ends_at } }
}

#[test]
fn wire_format_has_not_changed() {
    let cluster = || text("prod-eu-1");
    let cluster_uid = || text("aa1-uid");
    check(&RawEvent {
        cluster: cluster(),
        cluster_uid: cluster_uid(),
        at: at(2),
        epoch: 1,
        backfill: true,
        event: event(),
    });
    check(&ObjectChange {
        cluster: cluster(),
        cluster_uid: cluster_uid(),
        at: at(2),
        deleted: true,
        listed: true,
        facts: facts(),
    });
    check(&Swept {
        cluster: cluster(),
        at: at(3),
        kind: text("Pod"),
        api_version: text("v1"),
        namespace: text("shop"),
        since: at(1),
    });
    check(&Heartbeat { cluster: cluster(), cluster_uid: cluster_uid(), at: at(3), healthy: true, last: true });
    check(&Gap {
        cluster: cluster(),
        at: at(4),
        resource: text("events"),
        from_resource_version: text("10"),
        to_resource_version: text("99"),
        from: at(1),
        to: at(4),
        reason: GapReason::ClosedEmpty,
    });
    check(&WatchPosition {
        cluster: cluster(),
        resource: text("events"),
        resource_version: text("99"),
        epoch: 1,
        at: at(4),
        selection: text("labelSelector=app%3Dweb"),
        ..WatchPosition::default()
    });
    check(&facts());
    check(&EnrichedEvent {
        cluster: cluster(),
        cluster_uid: cluster_uid(),
        at: at(2),
        occurred_at: at(1),
        occurrences: 3,
        backfill: false,
        derived: true,
        class: text("container.crash_loop"),
        category: Category::Crash,
        severity: Severity::High,
        role: Role::Symptom,
        entities: vec![Entity { kind: text("Registry"), namespace: text(""), name: text("registry.test") }],
        context: context(),
        event: event(),
    });
    check(&ContextUpdate { cluster: cluster(), at: at(5), object: pod(), context: context() });
    check(&IncidentChange {
        at: at(90),
        transition: Transition::Merged,
        engine: text("0.1.0"),
        rules: text("abcdef"),
        backfill: false,
        incident: incident(),
    });
    check(&incident());
    let registry = Entity { kind: text("Registry"), namespace: text(""), name: text("registry.test") };
    check(&FleetSignal { state: IncidentState::Resolved, ..FleetSignal::of(&incident(), at(90), vec![registry]) });
    check(&DeadLetter {
        topic: text("events.raw"),
        partition: 3,
        offset: 42,
        payload: vec![0xff, 0, 1],
        error: text("it is poison"),
        service: text("enricher"),
        at: at(2),
    });
    check(&command());
    check(&silence());
}

#[track_caller]
fn check_refused(bytes: &[u8], expected: &str) {
    let error = RawRecord::decode(&Codec::single_object(), bytes).unwrap_err();
    assert_eq!(error.to_string(), expected);
}

#[test]
fn what_is_no_record_is_refused_with_the_reason() {
    let heartbeat = Codec::single_object().encode(&Heartbeat::default()).unwrap();
    check_refused(
        b"{}",
        "2 bytes that begin with 7B7D are neither single-object Avro (C3 01) nor Confluent-framed (00): the producer wrote something else to this topic",
    );
    check_refused(
        b"",
        "0 bytes that begin with  are neither single-object Avro (C3 01) nor Confluent-framed (00): the producer wrote something else to this topic",
    );
    check_refused(
        &[0, 0, 0, 1, 2, 3],
        "the frame names schema 258 of a registry, and there is none: set registry.url to the producer's schema registry",
    );
    check_refused(
        &[0xc3, 1, 1, 2, 3, 4, 5, 6, 7, 8],
        "schema fingerprint 0102030405060708 is not known: the producer is newer than this consumer, upgrade it",
    );
    check_refused(&[heartbeat.as_slice(), b"x"].concat(), "heartbeat has 1 bytes too many");
    let incident = Codec::single_object().encode(&Incident::default()).unwrap();
    check_refused(&incident, "incident does not belong on events.raw");
    let cut = RawRecord::decode(&Codec::single_object(), &heartbeat[..heartbeat.len() - 2]).unwrap_err().to_string();
    assert!(cut.starts_with("heartbeat is malformed: "), "{cut}");
    let mut text = Codec::single_object().encode(&Heartbeat { cluster: text("abc"), ..Heartbeat::default() }).unwrap();
    text[11] = 0xff;
    assert!(RawRecord::decode(&Codec::single_object(), &text).is_err(), "non-UTF-8 text");
}
