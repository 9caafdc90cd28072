//! Raw records in, enriched records out.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod log;

use epicenter_bus::{Driver, Record};
use epicenter_model::{Act, Action, Command, Event, ObjectFacts, ObjectRef, RawRecord, Swept};
use expect_test::{Expect, expect};
use log::*;

#[track_caller]
fn check(records: &[RawRecord], expected: Expect) {
    expected.assert_eq(&run(records).iter().map(|line| format!("{line}\n")).collect::<String>());
}

fn raw(change: impl FnOnce(&mut epicenter_model::RawEvent)) -> RawRecord {
    let mut raw = event(10, 1, 1, pod("web-1"));
    change(&mut raw);
    RawRecord::Event(Box::new(raw))
}

#[test]
fn counts_new_occurrences_once() {
    check(
        &[
            happened(10, 1, 3, "web-1"),
            happened(11, 1, 3, "web-1"),
            happened(12, 2, 7, "web-1"),
            happened(13, 1, 3, "web-1"),
            happened(14, 3, 7, "web-1"),
            happened(15, 4, 2, "web-1"),
        ],
        expect![[r#"
            10 crash.back_off Pod shop/web-1 x3
            12 crash.back_off Pod shop/web-1 x4
            15 crash.back_off Pod shop/web-1 x1
        "#]],
    );
}

#[test]
fn sends_a_command_on_once() {
    let said = |second: i64, id: &str| {
        RawRecord::Command(Box::new(Command {
            cluster: "prod".into(),
            at: at(second),
            id: id.into(),
            by: "anna".into(),
            given_at: at(second),
            why: String::new(),
            action: Action::Incident { id: "epc-a".into(), act: Act::Acknowledge },
        }))
    };
    check(
        &[said(10, "a"), said(11, "b"), said(12, "a"), beat(13), said(14, "b")],
        expect![[r#"
            10 a acknowledge by anna
            11 b acknowledge by anna
        "#]],
    );
}

/// etcd is restored from a snapshot of second 20: what happened later is written anew, under versions of a new history.
#[test]
fn counts_nothing_twice_across_a_restore() {
    let restored = |second, version, count, last| {
        let mut raw = event(second, version, count, pod("web-1"));
        (raw.epoch, raw.backfill, raw.event.last_at) = (2, last < 40, Some(at(last)));
        RawRecord::Event(Box::new(raw))
    };
    check(
        &[
            happened(10, 100, 3, "web-1"),
            happened(30, 120, 5, "web-1"),
            // The list: the state of the snapshot, then the same once more.
            restored(50, 100, 3, 10),
            restored(51, 100, 3, 10),
            // The kubelet's own count went on.
            restored(60, 120, 6, 60),
            restored(61, 120, 6, 60),
        ],
        expect![[r#"
            10 crash.back_off Pod shop/web-1 x3
            30 crash.back_off Pod shop/web-1 x2
            60 crash.back_off Pod shop/web-1 x1
        "#]],
    );
}

#[test]
fn goes_on_counting_under_a_name_that_is_written_again() {
    let again = |second, version, count| {
        let mut raw = event(second, version, count, pod("web-1"));
        raw.event.uid = "another".to_owned();
        RawRecord::Event(Box::new(raw))
    };
    check(
        &[happened(10, 1, 37, "web-1"), again(3700, 2, 38), again(3800, 3, 40)],
        expect![[r#"
        10 crash.back_off Pod shop/web-1 x37
        3700 crash.back_off Pod shop/web-1 x1
        3800 crash.back_off Pod shop/web-1 x2
    "#]],
    );
    check(
        &[happened(10, 1, 37, "web-1"), again(20, 2, 1)],
        expect![[r#"
        10 crash.back_off Pod shop/web-1 x37
        20 crash.back_off Pod shop/web-1 x1
    "#]],
    );
}

#[test]
fn forgets_an_event_after_two_hours() {
    check(
        &[
            happened(10, 1, 5, "web-1"),
            beat(7209),
            happened(7209, 2, 6, "web-1"),
            beat(14408),
            beat(14409),
            happened(14410, 3, 7, "web-1"),
        ],
        expect![[r#"
            10 crash.back_off Pod shop/web-1 x5
            7209 crash.back_off Pod shop/web-1 x1
            14410 crash.back_off Pod shop/web-1 x7
        "#]],
    );
}

#[test]
fn says_so_when_a_rewritten_event_means_something_else() {
    let reworded = |version, note: &str| {
        raw(|raw| {
            raw.event.resource_version = version;
            raw.event.note = note.to_owned();
        })
    };
    check(
        &[
            reworded("1".to_owned(), "Back-off restarting failed container"),
            reworded("2".to_owned(), "Back-off restarting failed container app"),
            reworded("3".to_owned(), "Back-off pulling image \"registry.example.com/web:1\""),
        ],
        expect![[r#"
            10 crash.back_off Pod shop/web-1 x1
            10 image.back_off Pod shop/web-1 x1
        "#]],
    );
}

#[test]
fn joins_what_surrounds_a_pod() {
    let mut records = surroundings(1);
    records.extend([changed(2, pod_facts("web-1")), happened(10, 1, 1, "web-1")]);
    check(
        &records,
        expect![[r#"
        10 crash.back_off Pod shop/web-1 x1 owners=web-5d>web node=node-1 zone=eu-1a images=registry.example.com/web:1 claims=data volumes=pv-7 config=web secrets=db labels=team=checkout
    "#]],
    );
}

#[test]
fn joins_what_surrounds_other_kinds() {
    let mut records = surroundings(1);
    let autoscaler = ObjectFacts {
        object: object("autoscaling/v2", "HorizontalPodAutoscaler", "shop", "web"),
        target: Some(ObjectRef { uid: String::new(), ..object("apps/v1", "Deployment", "shop", "web") }),
        ..ObjectFacts::default()
    };
    records.push(changed(2, autoscaler));
    for object in [
        object("v1", "Node", "", "node-1"),
        // An old writer: no group, the node's name for its uid.
        ObjectRef { api_version: String::new(), uid: "node-1".to_owned(), ..object("", "Node", "default", "node-1") },
        ObjectRef { uid: String::new(), ..object("", "ReplicaSet", "shop", "web-5d") },
        object("extensions/v1beta1", "ReplicaSet", "shop", "web-5d"),
        object("v1", "PersistentVolumeClaim", "shop", "data"),
        object("v1", "PersistentVolume", "", "pv-7"),
        object("autoscaling/v2", "HorizontalPodAutoscaler", "shop", "web"),
    ] {
        let mut raw = event(10, 1, 1, object);
        raw.event.uid = format!("{}-{}", raw.event.regarding.kind, records.len());
        raw.event.name.clone_from(&raw.event.uid);
        records.push(RawRecord::Event(Box::new(raw)));
    }
    check(
        &records,
        expect![[r#"
        10 unknown.warning Node node-1 x1 node=node-1 zone=eu-1a
        10 unknown.warning Node default/node-1 x1 node=node-1 zone=eu-1a
        10 unknown.warning ReplicaSet shop/web-5d x1 owners=web labels=team=checkout
        10 unknown.warning ReplicaSet shop/web-5d x1 owners=web labels=team=checkout
        10 unknown.warning PersistentVolumeClaim shop/data x1 claims=data volumes=pv-7 labels=team=checkout
        10 unknown.warning PersistentVolume pv-7 x1
        10 unknown.warning HorizontalPodAutoscaler shop/web x1 owners=web labels=team=checkout
    "#]],
    );
}

#[test]
fn does_not_join_an_earlier_object_of_the_same_name() {
    let mut records = surroundings(1);
    records.push(changed(2, pod_facts("web-1")));
    records.push(raw(|raw| raw.event.regarding.uid = "an-earlier-pod".to_owned()));
    check(
        &records,
        expect![[r#"
        10 crash.back_off Pod shop/web-1 x1 labels=team=checkout
    "#]],
    );
}

#[test]
fn finds_a_node_in_the_event_when_there_are_no_facts() {
    check(
        &[
            raw(|raw| raw.event.host = "node-7".to_owned()),
            raw(|raw| {
                raw.event = Event {
                    uid: "b".to_owned(),
                    name: "b".to_owned(),
                    component: "default-scheduler".to_owned(),
                    reason: "Scheduled".to_owned(),
                    note: "Successfully assigned shop/web-1 to node-8".to_owned(),
                    ..raw.event.clone()
                }
            }),
        ],
        expect![[r#"
            10 crash.back_off Pod shop/web-1 x1 node=node-7
            10 sched.scheduled Pod shop/web-1 x1 node=node-8
        "#]],
    );
}

#[test]
fn survives_a_cycle_of_owners() {
    let owned = |name: &str, owner: &str| {
        let object = object("example.com/v1", "Ring", "shop", name);
        let owner = Some(log::object("example.com/v1", "Ring", "shop", owner));
        ObjectFacts { object, owner, ..ObjectFacts::default() }
    };
    let mut records: Vec<RawRecord> = [("a", "b"), ("b", "a")].map(|(a, b)| changed(1, owned(a, b))).into();
    records.push(RawRecord::Event(Box::new(event(10, 1, 1, object("example.com/v1", "Ring", "shop", "a")))));
    check(
        &records,
        expect![[r#"
        10 unknown.warning Ring shop/a x1 owners=b
    "#]],
    );
}

#[test]
fn keeps_a_deleted_object_for_a_quarter_of_an_hour() {
    let mut records = surroundings(1);
    records.extend([
        changed(2, pod_facts("web-1")),
        deleted(100, pod_facts("web-1")),
        happened(999, 1, 1, "web-1"),
        happened(1000, 2, 2, "web-1"),
        beat(1001),
        happened(1002, 3, 3, "web-1"),
    ]);
    check(
        &records,
        expect![[r#"
        999 crash.back_off Pod shop/web-1 x1 owners=web-5d>web node=node-1 zone=eu-1a images=registry.example.com/web:1 claims=data volumes=pv-7 config=web secrets=db labels=team=checkout deleting=yes
        1000 crash.back_off Pod shop/web-1 x1 labels=team=checkout
        1002 crash.back_off Pod shop/web-1 x1 labels=team=checkout
    "#]],
    );
}

#[test]
fn does_not_delete_an_object_for_the_end_of_an_earlier_one() {
    let mut earlier = pod_facts("web-1");
    earlier.object.uid = "earlier".to_owned();
    let records = [changed(2, pod_facts("web-1")), deleted(3, earlier), beat(2000), happened(2001, 1, 1, "web-1")];
    check(
        &records,
        expect![[r#"
        2001 crash.back_off Pod shop/web-1 x1 owners=web-5d node=node-1 images=registry.example.com/web:1 claims=data config=web secrets=db
    "#]],
    );
}

#[test]
fn drops_what_a_list_does_not_show() {
    let mut records = surroundings(1);
    records.extend([
        changed(2, pod_facts("web-1")),
        changed(2, pod_facts("web-2")),
        listed(50, pod_facts("web-2")),
        swept(51, "v1", "Pod", 50),
        happened(60, 1, 1, "web-1"),
        beat(951),
        happened(952, 1, 1, "web-2"),
        happened(953, 2, 2, "web-1"),
    ]);
    check(
        &records,
        expect![[r#"
        60 crash.back_off Pod shop/web-1 x1 owners=web-5d>web node=node-1 zone=eu-1a images=registry.example.com/web:1 claims=data volumes=pv-7 config=web secrets=db labels=team=checkout deleting=yes
        952 crash.back_off Pod shop/web-2 x1 owners=web-5d>web node=node-1 zone=eu-1a images=registry.example.com/web:1 claims=data volumes=pv-7 config=web secrets=db labels=team=checkout
        953 crash.back_off Pod shop/web-1 x1 labels=team=checkout
    "#]],
    );
}

#[test]
fn a_list_of_one_namespace_drops_nothing_of_another() {
    let swept = |namespace: &str| match swept(51, "v1", "Pod", 50) {
        RawRecord::Swept(swept) => RawRecord::Swept(Swept { namespace: namespace.to_owned(), ..swept }),
        other => other,
    };
    let shown = |namespace: &str| {
        run(&[changed(2, pod_facts("web-1")), swept(namespace), beat(952), happened(953, 1, 1, "web-1")]).concat()
    };
    assert!(shown("sho").contains("node=node-1"), "{}", shown("sho"));
    assert!(!shown("shop").contains("node=node-1"), "{}", shown("shop"));
}

#[test]
fn sends_on_surroundings_that_come_late() {
    let mut records =
        vec![happened(10, 1, 1, "web-1"), changed(11, ObjectFacts { node: String::new(), ..pod_facts("web-1") })];
    records.extend(surroundings(12));
    records.extend([changed(13, pod_facts("web-1")), changed(14, pod_facts("web-1"))]);
    check(
        &records,
        expect![[r#"
        10 crash.back_off Pod shop/web-1 x1
        11 context Pod shop/web-1 owners=web-5d images=registry.example.com/web:1 claims=data config=web secrets=db
        12 context Pod shop/web-1 owners=web-5d>web images=registry.example.com/web:1 claims=data config=web secrets=db
        13 context Pod shop/web-1 owners=web-5d>web node=node-1 zone=eu-1a images=registry.example.com/web:1 claims=data volumes=pv-7 config=web secrets=db labels=team=checkout
    "#]],
    );
    check(
        &[happened(10, 1, 1, "web-1"), changed(70, pod_facts("web-1"))],
        expect![[r#"
        10 crash.back_off Pod shop/web-1 x1
    "#]],
    );
}

#[test]
fn does_not_take_its_own_events_for_the_clusters() {
    check(&[raw(|raw| raw.event.component = "epicenter.dev/sink".to_owned())], expect![[""]]);
}

#[test]
fn takes_what_is_about_an_object_that_could_not_be_created() {
    let nameless = raw(|raw| {
        raw.event.regarding = ObjectRef {
            api_version: "networking.k8s.io/v1".to_owned(),
            kind: "ServiceCIDR".to_owned(),
            ..ObjectRef::default()
        };
        raw.event.reason = "KubernetesDefaultServiceCIDRError".to_owned();
        raw.event.note = "The default ServiceCIDR can not be created".to_owned();
        raw.event.component = "kubernetes-service-cidr-controller".to_owned();
    });
    check(
        &[nameless],
        expect![[r#"
            10 network.address_range ServiceCIDR x1
        "#]],
    );
}

#[test]
fn marks_what_was_there_before() {
    check(
        &[raw(|raw| raw.backfill = true)],
        expect![[r#"
        10 crash.back_off Pod shop/web-1 x1 backfill
    "#]],
    );
}

#[test]
fn rejects_what_makes_no_sense() {
    let mut big = pod_facts("web-1");
    big.labels.insert("a".to_owned(), "x".repeat(70_000));
    check(
        &[
            raw(|raw| raw.event.regarding = ObjectRef::default()),
            raw(|raw| {
                raw.event.uid.clear();
                raw.event.name.clear();
            }),
            raw(|raw| raw.cluster.clear()),
            changed(1, big),
            changed(1, ObjectFacts::default()),
            happened(10, 1, 1, "web-1"),
        ],
        expect![[r#"
            rejected: Event shop/web-1.1 (uid event-web-1, by kubelet) does not say what it is about: its writer must set involvedObject or regarding
            rejected: an Event about Pod shop/web-1 has neither name nor uid: it is not from an API server
            rejected: "" is no name of a cluster: name it in the exporter's configuration
            rejected: the facts of Pod shop/web-1 take 70173 bytes and a row of objects holds 65536: shorten its labels or its conditions
            rejected: an object has no kind or no name (): its exporter is broken
            10 crash.back_off Pod shop/web-1 x1
        "#]],
    );
}

#[test]
fn rejects_bytes_that_are_no_record() {
    let spec = epicenter_enricher::spec();
    let mut driver = Driver::new(&spec, enricher());
    let good = record(0, &happened(10, 1, 1, "web-1"));
    let cut = good.payload.as_ref().map(|payload| payload.slice(..payload.len() - 5));
    let foreign = Some("{\"kind\":\"Event\"}".into());
    let mut errors = String::new();
    for payload in [None, foreign, cut] {
        let reject = driver.feed(&Record { payload, ..good.clone() }).unwrap_err();
        errors += &format!("{reject}\n");
    }
    expect![[r#"
        a record of events.raw has no payload: its producer is broken
        16 bytes that begin with 7B226B69 are neither single-object Avro (C3 01) nor Confluent-framed (00): the producer wrote something else to this topic
        raw-event is malformed: Failed to read bytes for decoding variable length integer: failed to fill whole buffer
    "#]].assert_eq(&errors);
    assert_eq!(driver.feed(&good).unwrap().len(), 1);
}

#[test]
fn takes_an_event_without_times_at_log_time_and_64_kib_of_text() {
    let spec = epicenter_enricher::spec();
    let mut driver = Driver::new(&spec, enricher());
    let timeless = raw(|raw| {
        raw.event.last_at = None;
        raw.event.note = "é".repeat(32 * 1024);
    });
    let emits = driver.feed(&record(0, &timeless)).unwrap();
    let payload = emits[0].payload.as_ref().unwrap();
    let epicenter_model::EnrichedRecord::Event(enriched) =
        epicenter_model::EnrichedRecord::decode(&epicenter_model::Codec::single_object(), payload).unwrap()
    else {
        panic!("an Event makes an Event")
    };
    assert_eq!((enriched.occurred_at, enriched.event.note.len()), (at(10), 64 * 1024));
    let headers: Vec<&str> = emits[0].headers.iter().map(|(name, _)| name.as_ref()).collect();
    assert_eq!(headers, ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "content-type"]);
    assert_eq!(emits[0].key, "prod/shop//Pod/web-1");
}
