//! Events made from objects' status.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod log;

use epicenter_model::{Condition, ContainerFacts, ObjectFacts};
use expect_test::{Expect, expect};
use log::*;

/// One object's facts, second by second.
#[track_caller]
fn check(versions: impl IntoIterator<Item = ObjectFacts>, expected: Expect) {
    let version = |(second, facts): (usize, ObjectFacts)| {
        let resource_version = (100 + second).to_string();
        changed(1 + second as i64, ObjectFacts { resource_version, ..facts })
    };
    let records: Vec<_> = versions.into_iter().enumerate().map(version).collect();
    expected.assert_eq(&run(&records).iter().map(|line| format!("{line}\n")).collect::<String>());
}

fn bare(api_version: &str, kind: &str, namespace: &str, name: &str) -> ObjectFacts {
    ObjectFacts { object: object(api_version, kind, namespace, name), ..ObjectFacts::default() }
}

fn containers(states: impl IntoIterator<Item = ContainerFacts>) -> Vec<ObjectFacts> {
    let facts = |container| ObjectFacts { containers: vec![container], ..bare("v1", "Pod", "shop", "web-1") };
    states.into_iter().map(facts).collect()
}

fn conditions(facts: &ObjectFacts, rows: impl IntoIterator<Item = Condition>) -> Vec<ObjectFacts> {
    rows.into_iter().map(|row| ObjectFacts { conditions: vec![row], ..facts.clone() }).collect()
}

#[test]
fn tells_each_end_of_a_container_once() {
    check(
        containers([
            container("", 0, "", 0, 0),
            container("", 0, "OOMKilled", 137, 5),
            container("", 1, "OOMKilled", 137, 5),
            container("", 1, "OOMKilled", 137, 8),
            container("", 2, "Error", 1, 9),
            container("", 3, "Completed", 0, 10),
            container("", 4, "ContainerStatusUnknown", 137, 11),
        ]),
        expect![[r#"
            2 crash.oom_killed Pod shop/web-1 x1 derived OOMKilled at 5: Container app was killed: out of memory (exit code 137)
            4 crash.oom_killed Pod shop/web-1 x1 derived OOMKilled at 8: Container app was killed: out of memory (exit code 137)
            5 crash.exit Pod shop/web-1 x1 derived Error at 9: Container app ended with exit code 1 (Error)
            7 crash.exit Pod shop/web-1 x1 derived ContainerExited at 11: Container app ended with exit code 137 (ContainerStatusUnknown)
        "#]],
    );
}

#[test]
fn tells_what_a_container_waits_for() {
    check(
        containers([
            container("ContainerCreating", 0, "", 0, 0),
            container("ErrImagePull", 0, "", 0, 0),
            container("ImagePullBackOff", 0, "", 0, 0),
            container("ErrImagePull", 0, "", 0, 0),
            container("", 0, "", 0, 0),
            container("CrashLoopBackOff", 3, "Error", 1, 4),
            container("CrashLoopBackOff", 3, "Error", 1, 4),
            container("CreateContainerConfigError", 4, "Error", 1, 4),
        ]),
        expect![[r#"
            2 image.back_off Pod shop/web-1 x1 derived ErrImagePull at 2: ErrImagePull
            6 crash.exit Pod shop/web-1 x1 derived Error at 4: Container app ended with exit code 1 (Error)
            6 crash.back_off Pod shop/web-1 x1 derived CrashLoopBackOff at 6: CrashLoopBackOff
            8 container.create_failed Pod shop/web-1 x1 derived CreateContainerConfigError at 8: CreateContainerConfigError
        "#]],
    );
}

#[test]
fn is_quiet_about_a_container_that_is_being_stopped() {
    let mut versions = containers([container("", 0, "", 0, 0), container("", 0, "Error", 143, 5)]);
    versions[1].deleting_at = Some(at(1));
    check(versions, expect![[""]]);
}

/// A pod that failed is not restarted: that is another class, with another command to look at it.
#[test]
fn says_when_nothing_restarts_a_container() {
    let mut versions = containers([container("", 0, "", 0, 0), container("", 0, "Error", 3, 5)]);
    versions[1].phase = "Failed".to_owned();
    check(
        versions,
        expect![[r#"
            2 crash.final Pod shop/web-1 x1 derived Error at 5: Container app ended with exit code 3 (Error); the pod has failed
        "#]],
    );
}

#[test]
fn tells_failed_and_ready_pods() {
    let pod = bare("v1", "Pod", "shop", "web-1");
    let mut failed = ObjectFacts { phase: "Failed".to_owned(), reason: "Evicted".to_owned(), ..pod.clone() };
    let message = "The node was low on resource: memory.".to_owned();
    failed.conditions = vec![Condition { message, ..condition("DisruptionTarget", "True", 1) }];
    check(
        [pod.clone(), failed.clone(), failed],
        expect![[r#"
        2 evict.memory Pod shop/web-1 x1 derived Evicted at 1: The node was low on resource: memory.
    "#]],
    );
    check(
        conditions(
            &pod,
            [condition("Ready", "False", 1), condition("Ready", "True", 2), condition("Ready", "True", 2)],
        ),
        expect![[r#"
            2 pod.ready Pod shop/web-1 x1 derived Ready at 2: Pod is ready
        "#]],
    );
    // Seen for the first time when it is up again; and when it has not come up since.
    let mut seen_late = containers([container("", 1, "Error", 1, 5), container("", 2, "Error", 1, 9)]);
    seen_late.iter_mut().for_each(|facts| facts.conditions = vec![condition("Ready", "True", 6)]);
    check(
        seen_late,
        expect![[r#"
            1 crash.exit Pod shop/web-1 x1 derived Error at 5: Container app ended with exit code 1 (Error)
            1 pod.ready Pod shop/web-1 x1 derived Ready at 6: Pod is ready
            2 crash.exit Pod shop/web-1 x1 derived Error at 9: Container app ended with exit code 1 (Error)
        "#]],
    );
}

#[test]
fn tells_the_conditions_of_a_node() {
    let node = bare("v1", "Node", "", "node-1");
    check(
        conditions(
            &node,
            [
                condition("Ready", "False", 1),
                condition("Ready", "True", 2),
                condition("Ready", "Unknown", 3),
                condition("Ready", "False", 4),
                condition("Ready", "True", 5),
            ],
        ),
        expect![[r#"
            2 node.ready Node node-1 x1 derived NodeReady at 2: it is True node=node-1
            3 node.not_ready Node node-1 x1 derived NodeNotReady at 3: it is Unknown node=node-1
            5 node.ready Node node-1 x1 derived NodeReady at 5: it is True node=node-1
        "#]],
    );
    check(
        conditions(
            &node,
            [
                condition("DiskPressure", "False", 1),
                condition("DiskPressure", "True", 2),
                condition("DiskPressure", "Unknown", 3),
                condition("DiskPressure", "False", 4),
            ],
        ),
        expect![[r#"
            2 node.disk_pressure Node node-1 x1 derived DiskPressure at 2: it is True node=node-1
            4 node.disk_ok Node node-1 x1 derived NoDiskPressure at 4: it is False node=node-1
        "#]],
    );
    let cordoned = ObjectFacts { unschedulable: true, ..node.clone() };
    check(
        [node.clone(), cordoned.clone(), cordoned, node],
        expect![[r#"
        2 node.cordoned Node node-1 x1 derived Cordoned at 2: Node was marked unschedulable node=node-1
        4 node.uncordoned Node node-1 x1 derived Uncordoned at 4: Node was marked schedulable node=node-1
    "#]],
    );
}

#[test]
fn tells_how_a_rollout_fares() {
    let web = |revision: &str, wanted, ready, progressing: Condition| ObjectFacts {
        revision: revision.to_owned(),
        replicas: Some(wanted),
        ready_replicas: Some(ready),
        conditions: vec![progressing],
        ..bare("apps/v1", "Deployment", "shop", "web")
    };
    let going = || condition("Progressing", "True", 1);
    let stuck = || Condition {
        reason: "ProgressDeadlineExceeded".to_owned(),
        message: "ReplicaSet \"web-5d\" has timed out progressing.".to_owned(),
        ..condition("Progressing", "False", 9)
    };
    check(
        [
            web("1", 3, 3, going()),
            web("2", 3, 2, going()),
            web("2", 3, 2, stuck()),
            web("2", 3, 1, stuck()),
            web("2", 3, 3, going()),
            web("2", 0, 0, going()),
        ],
        expect![[r#"
            2 rollout.scaled_up Deployment shop/web x1 derived RevisionChanged at 2: Revision 2
            3 rollout.progress_deadline Deployment shop/web x1 derived ProgressDeadlineExceeded at 9: ReplicaSet "web-5d" has timed out progressing.
            5 rollout.complete Deployment shop/web x1 derived Available at 5: 3 of 3 replicas are ready
        "#]],
    );
}

#[test]
fn tells_how_a_job_ends() {
    let job = bare("batch/v1", "Job", "shop", "report");
    let failed = Condition { reason: "BackoffLimitExceeded".to_owned(), ..condition("Failed", "True", 3) };
    check(
        conditions(&job, [condition("Suspended", "True", 1), failed.clone(), failed]),
        expect![[r#"
        2 job.failed Job shop/report x1 derived BackoffLimitExceeded at 3: it is True
    "#]],
    );
    let odd = Condition { reason: "Whatever".to_owned(), ..condition("Failed", "True", 3) };
    check(
        conditions(&job, [odd]),
        expect![[r#"
        1 job.failed Job shop/report x1 derived Failed at 3: it is True
    "#]],
    );
    check(
        conditions(&job, [condition("Complete", "False", 1), condition("Complete", "True", 2)]),
        expect![[r#"
        2 job.completed Job shop/report x1 derived Complete at 2: Job completed
    "#]],
    );
}

#[test]
fn takes_what_a_first_list_shows_for_old() {
    let node = conditions(&bare("v1", "Node", "", "node-1"), [condition("Ready", "False", 1)]).remove(0);
    let pod = containers([container("", 1, "OOMKilled", 137, 5)]).remove(0);
    let again = containers([container("", 2, "OOMKilled", 137, 55)]).remove(0);
    let lines = run(&[listed(50, node), listed(50, pod), listed(60, again)]);
    expect![[r#"
        50 node.not_ready Node node-1 x1 derived NodeNotReady at 1: it is False backfill node=node-1
        50 crash.oom_killed Pod shop/web-1 x1 derived OOMKilled at 5: Container app was killed: out of memory (exit code 137) backfill
        60 crash.oom_killed Pod shop/web-1 x1 derived OOMKilled at 55: Container app was killed: out of memory (exit code 137)"#]].assert_eq(&lines.join("\n"));
}
