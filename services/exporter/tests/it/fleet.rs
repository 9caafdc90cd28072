//! Many clusters in one process.

use std::path::PathBuf;
use std::time::Duration;

use epicenter_exporter::{ExporterError, Fleet, Origin};
use epicenter_model::RawRecord;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::fake::{Answer, Ask, Fake, LISTED, Site, event, first, list, sent};

/// A fleet, with a directory for its kubeconfigs.
struct Yard {
    site: Site,
    directory: tempfile::TempDir,
    stop: CancellationToken,
    running: JoinHandle<Result<(), ExporterError>>,
}

impl Yard {
    fn start(site: Site, origins: Vec<Origin>) -> Self {
        let (directory, stop) = (tempfile::tempdir().unwrap(), CancellationToken::new());
        let origins = std::iter::once(Origin::Directory(directory.path().to_owned())).chain(origins).collect();
        let fleet = Fleet {
            exporter: site.config.clone(),
            origins,
            poll: Duration::from_millis(10),
            log: site.log(),
            parts: site.parts.clone(),
            metrics: site.metrics.clone(),
        };
        let running = tokio::spawn(fleet.run(stop.clone()));
        Self { site, directory, stop, running }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Puts a file there at once, as Kubernetes does.
    fn put(&self, name: &str, content: &str) {
        std::fs::write(self.path(".new"), content).unwrap();
        std::fs::rename(self.path(".new"), self.path(name)).unwrap();
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.path(name)).unwrap();
    }

    /// Why the kubeconfig of that name is of no use.
    fn problem(&self, name: &str) -> String {
        let part = format!("kubeconfig {}", self.path(name).display());
        self.site.parts.report().remove(&part).flatten().unwrap_or_default()
    }

    async fn tells(&self, cluster: &str, expected: &[&str]) {
        self.site.until(cluster, |site| site.told_of(cluster).len() >= expected.len()).await;
        assert_eq!(self.site.told_of(cluster), expected, "{cluster}");
    }

    async fn stop(self) {
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
    }
}

async fn cluster(uid: &str) -> Fake {
    let fake = Fake::start(first).await;
    fake.is(uid);
    fake
}

#[tokio::test(flavor = "multi_thread")]
async fn clusters_come_change_and_go_while_it_runs() {
    let (a, b) = (cluster("1").await, cluster("2").await);
    let yard = Yard::start(Site::new(a.clone(), &[]), Vec::new());
    yard.put("a.yaml", &a.kubeconfig("old"));
    yard.tells("a", &LISTED).await;
    yard.put("b.yaml", &b.kubeconfig("x"));
    yard.tells("b", &LISTED).await;
    yard.site.until("both up", |site| ["a", "b"].iter().all(|name| site.shows(&up(name, 1)))).await;

    // New credentials: it goes on from its position.
    a.answer(|ask| match (ask.verb, ask.version(), ask.credentials.as_str()) {
        ("watch", "10", "new") => Answer::Open(vec![sent("ADDED", &event("d", 11))]),
        _ => first(ask),
    });
    yard.put("a.yaml", &a.kubeconfig("new"));
    yard.tells("a", &[LISTED.as_slice(), &["event d@11 epoch 0"]].concat()).await;
    assert!(a.asked("list").is_empty());

    // What it has read is committed before it stops.
    yard.remove("b.yaml");
    let nothing_of_b = |site: &Site| {
        !site.parts.report().keys().any(|part| part.starts_with("b/")) && !site.metrics.text().contains("cluster=\"b\"")
    };
    yard.site.until("nothing is told of b", nothing_of_b).await;
    let last = |record: &RawRecord| matches!(record, RawRecord::Heartbeat(beat) if beat.last);
    let leaving: Vec<_> = yard.site.records().into_iter().filter(last).collect();
    assert_eq!(leaving.iter().map(RawRecord::cluster).collect::<Vec<_>>(), ["b"], "its last record, and no other's");
    assert!(yard.site.shows(&up("a", 1)));
    yard.put("b.yaml", &b.kubeconfig("x"));
    yard.site.until("b again", |_| b.asked("check").len() == 1).await;
    yard.site.until("b up", |site| site.shows(&up("b", 1))).await;
    assert_eq!(yard.site.told_of("b"), LISTED);
    yard.stop().await;
}

fn up(cluster: &str, up: u8) -> String {
    format!("epicenter_cluster_up{{cluster=\"{cluster}\"}} {up}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kubeconfig_that_is_of_no_use_is_told_and_disturbs_nobody() {
    let (good, late) = (cluster("1").await, cluster("2").await);
    let yard = Yard::start(Site::new(good.clone(), &[]), Vec::new());
    let nowhere = "{current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}], clusters: [{name: c, cluster: \
                   {server: \"http://127.0.0.1:1\"}}], users: [{name: u, user: {token: x}}]}";
    yard.put("nowhere.yaml", nowhere);
    yard.put("broken.yaml", "clusters: [");
    yard.put("contextless.yaml", &late.kubeconfig("x").replace("current-context: c, ", ""));
    yard.put("no name.yaml", &late.kubeconfig("x"));
    yard.put("missing.yaml", &late.kubeconfig("x").replace("token: x", "tokenFile: nowhere"));
    yard.put("good.yaml", &good.kubeconfig("x"));
    yard.tells("good", &LISTED).await;
    yard.site.until("good is up", |site| site.shows(&up("good", 1))).await;
    for (name, expected) in [
        ("broken.yaml", "it is no kubeconfig that can be used"),
        ("contextless.yaml", "it has no current-context"),
        ("no name.yaml", "is no name for a cluster"),
    ] {
        assert!(yard.problem(name).contains(expected), "{name}: {}", yard.problem(name));
    }
    let told = |part: &str, expected: &str| {
        let (part, expected) = (part.to_owned(), expected.to_owned());
        move |site: &Site| site.parts.report().get(&part).cloned().flatten().is_some_and(|why| why.contains(&expected))
    };
    yard.site.until("nowhere", told("nowhere/api-server", "waiting for the API server")).await;
    yard.site.until("missing", told("missing/api-server", "missing.yaml: no client can be made of it")).await;
    for name in ["nowhere", "broken", "contextless", "missing"] {
        assert!(yard.site.shows(&up(name, 0)), "{name}: {}", yard.site.metrics.text());
    }

    yard.put("broken.yaml", &late.kubeconfig("x"));
    yard.tells("broken", &LISTED).await;
    yard.site.until("it is up", |site| site.shows(&up("broken", 1))).await;
    assert_eq!(yard.problem("broken.yaml"), "");
    // One that breaks later is told, and what works goes on.
    yard.put("broken.yaml", "half of a ki");
    yard.site.until("it is told", |_| !yard.problem("broken.yaml").is_empty()).await;
    assert!(yard.site.shows(&up("broken", 1)));
    yard.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_are_refused_are_told() {
    let fake = Fake::start(|ask: &Ask| match ask.credentials.as_str() {
        "expired" => Answer::Json(401, r#"{"code":401,"reason":"Unauthorized","message":"Unauthorized"}"#.to_owned()),
        _ => first(ask),
    })
    .await;
    let yard = Yard::start(Site::new(fake.clone(), &[]), Vec::new());
    yard.put("a.yaml", &fake.kubeconfig("expired"));
    let refused = |site: &Site| {
        let why = site.parts.report().get("a/events").cloned().flatten().unwrap_or_default();
        why.contains("the credentials are wrong or have expired: renew them")
    };
    yard.site.until("it is told", refused).await;
    assert!(yard.site.shows(&up("a", 0)));
    yard.put("a.yaml", &fake.kubeconfig("renewed"));
    yard.tells("a", &LISTED).await;
    yard.site.until("it is up", |site| site.shows(&up("a", 1))).await;
    yard.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_expire_under_a_watch_are_told_and_nothing_is_lost_when_they_are_renewed() {
    // The API server ends watches whose token has expired, and refuses them from then on.
    let unauthorized = || r#"{"kind":"Status","code":401,"reason":"Unauthorized","message":"Unauthorized"}"#.to_owned();
    let fake = Fake::start(move |ask: &Ask| match (ask.credentials.as_str(), ask.verb, ask.version()) {
        (_, "list", _) => first(ask),
        ("short", "watch", "10") if ask.nth == 0 => {
            Answer::Ended(vec![sent("ADDED", &event("d", 11)), sent("ERROR", &unauthorized())])
        }
        ("short", ..) => Answer::Json(401, unauthorized()),
        (_, "watch", "11") => Answer::Open(vec![sent("ADDED", &event("e", 12))]),
        _ => list(11, "", &[]),
    })
    .await;
    let yard = Yard::start(Site::new(fake.clone(), &[]), Vec::new());
    yard.put("a.yaml", &fake.kubeconfig("short"));
    let until_expired = [LISTED.as_slice(), &["event d@11 epoch 0"]].concat();
    yard.tells("a", &until_expired).await;
    let refused = |site: &Site| {
        let why = site.parts.report().get("a/events").cloned().flatten().unwrap_or_default();
        why.contains("the credentials are wrong or have expired: renew them")
    };
    yard.site.until("it is told", refused).await;
    assert!(yard.site.shows(&up("a", 0)));
    let lists = fake.asked("list").len();
    yard.put("a.yaml", &fake.kubeconfig("renewed"));
    yard.tells("a", &[until_expired.as_slice(), &["event e@12 epoch 0"]].concat()).await;
    yard.site.until("it is up", |site| site.shows(&up("a", 1))).await;
    assert_eq!(fake.asked("list").len(), lists, "it goes on from its position");
    yard.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_cluster_has_one_name() {
    let fake = cluster("1").await;
    let yard = Yard::start(Site::new(fake.clone(), &[]), Vec::new());
    yard.put("a.yaml", &fake.kubeconfig("x"));
    yard.tells("a", &LISTED).await;
    yard.put("b.yaml", &fake.kubeconfig("x"));
    yard.put("a.yml", &fake.kubeconfig("x"));
    let why = |site: &Site| site.parts.report().get("b/api-server").cloned().flatten().unwrap_or_default();
    yard.site.until("b is refused", |site| !why(site).is_empty()).await;
    let told = why(&yard.site);
    let files = ["a.yaml", "b.yaml"].map(|name| yard.path(name).display().to_string());
    assert!(files.iter().all(|file| told.contains(file)), "{told}");
    yard.site.until("a.yml is refused", |_| yard.problem("a.yml").contains("a.yaml names a cluster `a` too")).await;
    assert!(yard.site.shows(&up("a", 1)) && yard.site.shows(&up("b", 0)));

    yard.remove("a.yml");
    yard.remove("a.yaml");
    yard.tells("b", &LISTED).await;
    yard.site.until("b is up", |site| site.shows(&up("b", 1))).await;
    assert_eq!(yard.site.told_of("a"), LISTED);
    yard.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clusters_come_from_secrets_which_must_hold_everything_themselves() {
    let fake = cluster("1").await;
    let secret = |name: &str, kubeconfig: &str| {
        let data = data_encoding::BASE64.encode(kubeconfig.as_bytes());
        format!(
            r#"{{"metadata":{{"name":"{name}","namespace":"ns","labels":{{"epicenter.dev/cluster":"{name}"}}}},"data":{{"kubeconfig":"{data}"}}}}"#
        )
    };
    let commands =
        fake.kubeconfig("x").replace("token: x", "exec: {command: sh, apiVersion: client.authentication.k8s.io/v1}");
    let paths = fake.kubeconfig("x").replace("token: x", "tokenFile: /etc/passwd");
    let secrets = [secret("a", &fake.kubeconfig("x")), secret("commands", &commands), secret("paths", &paths)];
    let home = Fake::start(move |ask| match ask.resource.as_str() {
        "secrets" if ask.query["labelSelector"] == "epicenter.dev/cluster" => list(1, "", &secrets),
        _ => Answer::Json(404, String::new()),
    })
    .await;
    let api = kube::Api::namespaced(kube::Client::try_from(home.kube_config()).unwrap(), "ns");
    let yard = Yard::start(Site::new(fake, &[]), vec![Origin::Secrets(Box::new(api))]);
    yard.tells("a", &LISTED).await;
    let problem = |name: &str| yard.site.parts.report()[&format!("Secret ns/{name}")].clone().unwrap_or_default();
    assert!(problem("commands").contains("`exec`") && problem("commands").contains("embed a token"));
    assert!(problem("paths").contains("a `tokenFile`"));

    // An API server that is away for a while takes no cluster with it.
    home.answer(|_| Answer::Json(503, String::new()));
    yard.site.until("it is told", |site| site.parts.report()["clusters"].is_some()).await;
    assert!(yard.site.parts.report()["clusters"].as_deref().is_some_and(|why| why.contains("stay")));
    let asked = home.asked("list").len();
    yard.site.until("more looks", |_| home.asked("list").len() > asked + 2).await;
    assert!(yard.site.shows(&up("a", 1)));

    home.answer(|_| list(2, "", &[]));
    yard.site.until("a is gone", |site| !site.metrics.text().contains("cluster=\"a\"")).await;
    yard.stop().await;
}
