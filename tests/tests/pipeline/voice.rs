//! What people and applications say, through a real broker: by the command line, by HTTP and by annotations.

use std::time::{Duration, Instant};

use epicenter_bus::topics;
use epicenter_model::{Act, Codec, DeadLetter, Incident, IncidentState, Timestamp};
use epicenter_tests::hook::Hook;
use epicenter_tests::kube::{ControlPlane, Options};
use epicenter_tests::process::Process;
use epicenter_tests::{http, ports};
use kube::api::{Api, PostParams};
use serde_json::{Value, json};

use crate::installation::Installation;
use crate::writer::{client, event};

const LIMIT: Duration = Duration::from_secs(90);
const MIB: u64 = 1024 * 1024;
const SERVICES: [&str; 6] = ["exporter", "enricher", "correlator", "sink", "intake", "console"];

struct Scene {
    installation: Installation,
    plane: ControlPlane,
    services: Vec<Process>,
    intake: u16,
    console: u16,
}

impl Scene {
    fn start() -> Self {
        let (installation, plane) = (Installation::new(3), ControlPlane::start(Options::default()).unwrap());
        installation.add("test", &plane);
        let [intake, console] = ports::free::<2>().unwrap();
        let listen = [
            ("EPICENTER_ADMIN__LISTEN", format!("127.0.0.1:{intake}")),
            ("EPICENTER_CONSOLE__LISTEN", format!("127.0.0.1:{console}")),
        ];
        let settings = |service: &str| match service {
            "intake" => &listen[..1],
            "console" => &listen[1..],
            _ => &[],
        };
        let start = |service: &&str| installation.service_with(service, service, settings(service));
        let mut services: Vec<_> = SERVICES.iter().map(start).collect();
        services.push(installation.member("test", &plane));
        installation.until_watched(&mut services[..1], &["test"]);
        services[4].until(LIMIT, |_| ports::answers(intake)).unwrap();
        services[5].until(LIMIT, |_| ports::answers(console)).unwrap();
        Self { installation, plane, services, intake, console }
    }

    /// What the command prints, and whether it went well.
    fn typed(&self, arguments: &[&str]) -> (bool, String) {
        let output = self.installation.command(arguments).args(["--by", "anna"]).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    }

    #[track_caller]
    fn done(&self, arguments: &[&str], expected: &str) {
        let (well, said) = self.typed(arguments);
        assert!(well && said.contains(expected), "{said}\n{}", self.tails());
    }

    fn tails(&self) -> String {
        self.services.iter().map(Process::tail).collect::<Vec<_>>().join("\n")
    }

    /// The one incident, as soon as that holds of it.
    #[track_caller]
    fn until(&self, what: &str, holds: impl Fn(&Incident) -> bool) -> Incident {
        let deadline = Instant::now() + LIMIT;
        loop {
            let table = self.installation.bus().table(topics::INCIDENTS.name).unwrap();
            let found: Vec<Incident> = table.values().map(|it| Codec::single_object().decode(it).unwrap()).collect();
            match &found[..] {
                [one] if holds(one) => return one.clone(),
                _ => assert!(Instant::now() < deadline, "{what}: {found:#?}\n{}", self.tails()),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn post(&self, path: &str, content_type: &str, body: &Value) -> (u16, String) {
        http::post(self.intake, path, content_type, &serde_json::to_vec(body).unwrap()).unwrap()
    }
}

/// Writes an Event about a pod that needs an image which is not there.
fn cannot_pull(scene: &Scene, namespace: &str, pod: &str) {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let events: Api<_> = Api::namespaced(client(&scene.plane).await, namespace);
        let message =
            format!("Failed to pull image \"registry.example.com/{pod}:9\": rpc error: code = NotFound: not found");
        let mut event = event(&format!("{pod}.1"), pod, "Failed", &message);
        event.metadata.namespace = Some(namespace.to_owned());
        event.involved_object.namespace = Some(namespace.to_owned());
        events.create(&PostParams::default(), &event).await.unwrap();
    });
}

/// Silence by command: nobody is told of what begins in it, until it is over or lifted; of others as ever.
#[test]
fn who_tells_of_incidents_heeds_silences() {
    let mut hook = Hook::new().unwrap();
    hook.start().unwrap();
    let mut scene = Scene::start();
    let file = scene.installation.directory.path().join("alerts.yaml");
    let receivers = format!("[{{name: hook, per_minute: 6000, webhook: {{url: '{}'}}}}]", hook.url());
    let text = format!("receivers: {receivers}\nrules: [{{name: all, receivers: [hook], group_wait: 0s}}]\n");
    std::fs::write(&file, text).unwrap();
    let setting = [("EPICENTER_ALERTS__FILE", file.display().to_string())];
    scene.services.push(scene.installation.service_with("alerts", "alerts", &setting));
    scene.plane.kubectl(&["create", "namespace", "other"]).unwrap();
    let of = |pod: &str| -> Option<Incident> {
        let table = scene.installation.bus().table(topics::INCIDENTS.name).unwrap();
        let mut all = table.values().map(|it| Codec::single_object().decode::<Incident>(it).unwrap());
        let has = |it: &Incident| it.members.iter().any(|member| member.regarding.name == pod);
        all.find(|it| it.state != IncidentState::Merged && has(it))
    };
    let told = |id: &str| -> Vec<(String, String)> {
        let told = hook.told();
        let events = told.iter().map(|told| serde_json::from_slice::<Value>(&told.body).unwrap());
        let own = events.filter(|event| event["subject"] == id);
        let text = |event: &Value, key: &str| event[key].as_str().unwrap().to_owned();
        own.map(|event| (event["data"]["notice"].as_str().unwrap().to_owned(), text(&event, "time"))).collect()
    };
    let until = |what: &str, holds: &dyn Fn() -> bool| {
        let deadline = Instant::now() + LIMIT;
        while !holds() {
            assert!(Instant::now() < deadline, "{what}\n{}", scene.tails());
            std::thread::sleep(Duration::from_millis(100));
        }
    };

    scene.done(&["silence", "--namespace", "default", "--for", "20s", "-m", "a drill"], "holds from");
    cannot_pull(&scene, "default", "web-1");
    until("an incident that is silent", &|| of("web-1").is_some());
    cannot_pull(&scene, "other", "api-1");
    until("an incident that is not", &|| of("api-1").is_some());
    let (silent, other) = (of("web-1").unwrap(), of("api-1").unwrap());
    let ends_at = silent.silenced.as_ref().unwrap().until;
    assert_eq!(other.silenced, None);
    until("it is told", &|| !told(&other.id).is_empty());
    assert!(told(&silent.id).is_empty(), "it is silent");
    until("it is told when the silence is over", &|| !told(&silent.id).is_empty());
    let [(notice, time)] = &told(&silent.id)[..] else { panic!("{:?}", told(&silent.id)) };
    assert!(
        notice == "firing" && time.parse::<Timestamp>().unwrap() >= ends_at,
        "{notice} at {time}, not before {ends_at}"
    );

    scene.done(&["silence", "--namespace", "default", "--for", "1h", "-m", "another"], "holds from");
    cannot_pull(&scene, "default", "db-1");
    until("another that is silent", &|| of("db-1").is_some_and(|it| it.silenced.is_some()));
    let lifted = of("db-1").unwrap();
    cannot_pull(&scene, "other", "mail-1");
    until("it is told", &|| of("mail-1").is_some_and(|it| !told(&it.id).is_empty()));
    assert!(told(&lifted.id).is_empty(), "it is silent");
    scene.done(&["unsilence", &lifted.silenced.unwrap().id], "is over");
    until("it is told when the silence is lifted", &|| !told(&lifted.id).is_empty());
    assert_eq!(told(&lifted.id)[0].0, "firing");

    // Two that are one, and two again; seen by who watches, and drawn.
    let mut watch = scene.installation.command(&["watch", "--namespace", "other", "-o", "json"]);
    let mut watching =
        Process::spawn("watch", &mut watch, &scene.installation.directory.path().join("watch.log")).unwrap();
    watching.until(LIMIT, |said| said.lines().count() >= 2).unwrap();
    let second = of("mail-1").unwrap();
    scene.done(&["merge", &second.id, &other.id, "-m", "one tag"], "are one");
    until("the survivor has both", &|| of("mail-1").is_some_and(|it| it.id == other.id));
    scene.done(&["split", &other.id, "--object", "Pod/other/mail-1"], "is an incident of its own");
    until("it is another", &|| of("mail-1").is_some_and(|it| it.id != other.id && it.id != second.id));
    assert_eq!(of("api-1").unwrap().id, other.id);
    watching
        .until(LIMIT, |said| said.contains("\"transition\":\"merged\"") && said.contains("\"role\":\"moved\""))
        .unwrap();
    let seen: Vec<Value> = watching.output().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (ours, opened) = (
        |it: &&Value| it["incident"]["impact"]["namespaces"][0] == "other",
        |it: &&Value| it["transition"] == "opened",
    );
    assert_eq!((seen.iter().filter(ours).count(), seen.iter().filter(opened).count()), (seen.len(), 3), "{seen:#?}");
    let drawn = scene.installation.command(&["timeline", &other.id]).output().unwrap();
    let drawn = String::from_utf8(drawn.stdout).unwrap();
    assert!(drawn.contains("Pod other/api-1") && drawn.contains("Failed") && !drawn.contains("mail-1"), "{drawn}");
}

#[test]
fn what_people_and_applications_say_is_part_of_the_history() {
    let scene = Scene::start();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let events: Api<_> = Api::namespaced(client(&scene.plane).await, "default");
        let message = "Failed to pull image \"registry.example.com/shop/web:9\": rpc error: code = NotFound: not found";
        events.create(&PostParams::default(), &event("web-1.1", "web-1", "Failed", message)).await.unwrap();
    });
    let incident = scene.until("an incident", |_| true);
    let id = incident.id.as_str();

    by_the_command_line(&scene, id);
    by_http(&scene, id);
    by_the_console(&scene, id);
    by_an_application(&scene);
    by_annotations(&scene, id);

    // What the log took and cannot be done stands in dead-letter, with the reason.
    let unknown = json!({"by": "bot", "action": "unsilence", "silence": "none", "cluster": "test"});
    assert_eq!(scene.post("/api/v1/commands", "application/json", &unknown).0, 202);
    let deadline = Instant::now() + LIMIT;
    let refused = |letter: &DeadLetter| letter.error.contains("cluster test has no silence none");
    let letters = || {
        let letters = scene.installation.read(topics::DEAD_LETTER.name).into_values().flatten();
        letters.map(|it| Codec::single_object().decode::<DeadLetter>(&it.payload.unwrap()).unwrap()).collect::<Vec<_>>()
    };
    while !letters().iter().any(refused) {
        assert!(Instant::now() < deadline, "{:#?}\n{}", letters(), scene.tails());
    }
    assert_eq!(letters().len(), 1, "{:#?}", letters());
}

fn by_the_command_line(scene: &Scene, id: &str) {
    scene.done(&["ack", &id[..8], "-m", "the tag is wrong"], &format!("{id} is acknowledged by anna"));
    let incident = scene.until("it is acknowledged", |incident| incident.acknowledged.is_some());
    let acknowledged = incident.acknowledged.unwrap();
    assert_eq!((acknowledged.by.as_str(), acknowledged.text.as_str()), ("anna", "the tag is wrong"));
    scene.done(&["silence", "--object", "StatefulSet/web", "--for", "1h"], "holds from");
    let silenced = scene.until("it is silent", |incident| incident.silenced.is_some()).silenced.unwrap();
    let listed = scene.installation.command(&["silences"]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains(&silenced.id) && listed.contains("object=StatefulSet/web"), "{listed}");
    scene.done(&["unsilence", &silenced.id], "is over");
    scene.until("it is not silent", |incident| incident.silenced.is_none());
    let (well, said) =
        scene.typed(&["silence", id, "--from", "2999-01-01T00:00:00Z", "--until", "2020-01-01T00:00:00Z"]);
    assert!(!well && said.contains("it must end after it begins"), "{said}");
    let (well, said) = scene.typed(&["silence", "--for", "1h"]);
    assert!(!well && said.contains("say of which incidents"), "{said}");
}

fn by_http(scene: &Scene, id: &str) {
    let note = json!({"id": "n1", "by": "bot", "action": "note", "incident": id, "why": "ticket 17"});
    for _ in 0..2 {
        let (status, written) = scene.post("/api/v1/commands", "application/json", &note);
        let written: Value = serde_json::from_str(&written).unwrap();
        assert_eq!((status, &written["cluster"], &written["id"]), (202, &"test".into(), &"n1".into()));
    }
    let refused = |body: Value, expected: u16, why: &str| {
        let (status, said) = scene.post("/api/v1/commands", "application/json", &body);
        assert!(status == expected && said.contains(why), "{status} {said}");
    };
    refused(json!({"by": "bot", "action": "note", "incident": "epc-x", "why": "x"}), 404, "there is no incident epc-x");
    refused(json!({"by": "bot", "action": "shout"}), 400, "`action` is \"shout\": it must be");
    refused(
        json!({"by": "bot", "action": "silence", "cluster": "other", "endsAt": "2999-01-01T00:00:00Z"}),
        404,
        "there is no cluster other: no exporter has ever read it",
    );
    let (status, silences) = http::get(scene.intake, "/api/silences").unwrap();
    assert_eq!((status, silences.as_str()), (200, "[]"));
}

fn by_the_console(scene: &Scene, id: &str) {
    let page = |path: &str| http::get(scene.console, path).unwrap();
    let deadline = Instant::now() + LIMIT;
    while !page("/").1.contains(id) {
        assert!(Instant::now() < deadline, "{}\n{}", page("/").1, scene.tails());
        std::thread::sleep(Duration::from_millis(100));
    }
    let form = b"act=note&by=carl&why=seen+in+a+browser";
    let path = format!("/incidents/{id}");
    let (status, said) = http::post(scene.console, &path, "application/x-www-form-urlencoded", form).unwrap();
    assert_eq!(status, 303, "{said}");
    scene.until("the note is there", |incident| incident.notes.iter().any(|note| note.by == "carl"));
    let (status, text) = page(&path);
    assert!(status == 200 && text.contains("seen in a browser") && text.contains("ticket 17"), "{text}");
    let (_, text) = page("/clusters");
    assert!(text.contains("test") && text.contains(">well<"), "{text}");
}

fn by_annotations(scene: &Scene, id: &str) {
    let annotate = |more: &[&str]| scene.plane.kubectl(&[&["annotate", "incident", id], more].concat()).unwrap();
    annotate(&["epicenter.dev/unack=my shift is over", "epicenter.dev/by=anna"]);
    scene.until("nobody looks after it", |incident| incident.acknowledged.is_none());
    annotate(&["epicenter.dev/silence=banana"]);
    let of = |annotation: &str| {
        let path = format!("jsonpath={{.metadata.annotations.epicenter\\.dev/{annotation}}}");
        scene.plane.kubectl(&["get", "incident", id, "-o", &path]).unwrap()
    };
    scene.plane.until("it is refused", LIMIT, |_| Ok(of("refused").contains("\"banana\" is no duration"))).unwrap();
    assert_eq!((of("silence"), of("unack"), of("by")), Default::default(), "letters are taken away");
    annotate(&["epicenter.dev/resolve=the tag is right now"]);
    let incident = scene.until("it is resolved", |incident| incident.state == IncidentState::Resolved);
    let last = incident.notes.last().unwrap();
    assert_eq!(
        (last.act, last.text.as_str(), last.by.as_str()),
        (Act::Resolve, "the tag is right now", "kubectl-annotate")
    );
    let shown = ["get", "incident", id, "-o", "jsonpath={.status.notes[*].by}"];
    scene
        .plane
        .until("the object says so", LIMIT, |plane| Ok(plane.kubectl(&shown)?.ends_with("kubectl-annotate")))
        .unwrap();
}

fn by_an_application(scene: &Scene) {
    let said = |id: &str| {
        json!({"specversion": "1.0", "id": id, "source": "/shop/web", "type": "com.example.StartFailed",
            "subject": "Pod/default/web-1", "data": {"message": "no image, no start", "level": "error"}})
    };
    let batch = "application/cloudevents-batch+json";
    for _ in 0..2 {
        let (status, answer) = scene.post("/v1/events?cluster=test", batch, &json!([said("a"), said("b")]));
        assert_eq!((status, answer.as_str()), (202, "{\"accepted\":2}"));
    }
    let incident = scene.until("what the application says is part of it", |incident| incident.members.len() >= 3);
    let own = incident.members.iter().filter(|member| member.reason == "StartFailed");
    assert_eq!(own.map(|member| member.occurrences).collect::<Vec<_>>(), [1, 1], "{incident:#?}");
    assert_eq!(incident.cause.class, "image.pull.not_found");
    let notes: Vec<_> = incident.notes.iter().filter(|note| note.id == "n1").collect();
    assert_eq!(notes.len(), 1, "{notes:#?}");

    let (status, why) = scene.post("/v1/events", "application/json", &json!([{"id": "1"}]));
    assert!(status == 400 && why.contains("event 0: missing field `source`"), "{status} {why}");
    let (status, why) = scene.post("/v1/events", "text/plain", &json!({}));
    assert!(status == 415 && why.contains("set content-type to"), "{status} {why}");
    let (_, metrics) = http::get(scene.intake, "/metrics").unwrap();
    for metric in ["epicenter_commands_total", "epicenter_application_events_total"] {
        assert!(metrics.contains(&format!("# TYPE {metric} ")), "nobody feeds {metric}:\n{metrics}");
    }
    let before = scene.services[4].peak_memory().unwrap();
    let huge = vec![b' '; 100 * MIB as usize];
    let (status, why) = http::post(scene.intake, "/v1/events", "application/json", &huge).unwrap();
    assert_eq!(status, 413, "{why}");
    let more = scene.services[4].peak_memory().unwrap() - before;
    assert!(more < 20 * MIB, "{} MiB more for a body of 100", more / MIB);
}
