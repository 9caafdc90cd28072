//! The exporter on a real API server.

use std::fmt::Write;
use std::time::{Duration, Instant};

use epicenter_bus::{Bus, LocalConfig, Start, topics};
use epicenter_exporter::project::Kind;
use epicenter_exporter::{Claims, ExporterConfig, Health, Log, client, run};
use epicenter_model::{Codec, RawRecord};
use epicenter_runtime::Traces;
use epicenter_runtime::system_clock;
use epicenter_tests::kube::{Component, ControlPlane, Options};
use epicenter_tests::process::Signal;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const LIMIT: Duration = Duration::from_secs(90);
const RULES: &str = include_str!("../../../deploy/helm/epicenter/files/exporter-role.yaml");
const LEASE_RULES: &str = include_str!("../../../deploy/helm/epicenter/files/exporter-lease-role.yaml");

/// A log, and exporters that write to it.
struct Site {
    plane: ControlPlane,
    bus: Bus,
    runtime: Runtime,
    _directory: tempfile::TempDir,
}

/// An exporter that runs.
struct Running {
    health: Health,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Site {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let retention = Duration::from_secs(3600);
        let local = LocalConfig { directory: directory.path().to_owned(), partitions: 1, retention };
        let plane = ControlPlane::start(Options::default()).unwrap();
        Self { plane, bus: Bus::local(local).unwrap(), runtime: Runtime::new().unwrap(), _directory: directory }
    }

    fn start(&self, kubeconfig: &Kubeconfig, config: &ExporterConfig) -> Running {
        let (health, stop) = (Health::new("test", Default::default(), Default::default()), CancellationToken::new());
        let log = Log {
            bus: self.bus.clone(),
            codec: Codec::single_object(),
            clock: system_clock(),
            traces: Traces::default(),
        };
        let (kubeconfig, config) = (kubeconfig.clone(), config.clone());
        let (told, token) = (health.clone(), stop.clone());
        let task = self.runtime.spawn(async move {
            let access = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
            run(config, client(access).unwrap(), log, Claims::default(), told, token).await.unwrap();
        });
        Running { health, stop, task }
    }

    fn stop(&self, exporter: Running) {
        exporter.stop.cancel();
        self.runtime.block_on(exporter.task).unwrap();
    }

    /// What the log has of Events that tests wrote, and of gaps.
    fn told(&self) -> Vec<String> {
        let mut reader = self.bus.reader(topics::EVENTS_RAW.name, &[0], Start::Earliest).unwrap();
        let records = std::iter::from_fn(|| reader.next(Duration::ZERO).unwrap());
        records
            .filter_map(|record| match RawRecord::decode(&Codec::single_object(), &record.payload?).unwrap() {
                RawRecord::Event(raw) if raw.event.name.starts_with("test-") => {
                    Some(format!("{} epoch {}", raw.event.name, raw.epoch))
                }
                RawRecord::Gap(gap) if gap.resource == "events" => Some(format!("gap {}", gap.reason)),
                _ => None,
            })
            .collect()
    }

    #[track_caller]
    fn until(&self, what: &str, exporter: &Running, done: impl Fn() -> bool) {
        let deadline = Instant::now() + LIMIT;
        while !done() {
            let state = || format!("{what}: {:#?} {:#?}", self.told(), exporter.health.snapshot());
            assert!(Instant::now() < deadline && !exporter.task.is_finished(), "{}", state());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn write(&self, name: &str) {
        let file = self.plane.kubeconfig().with_file_name(format!("{name}.yaml"));
        let event = format!(
            "{{apiVersion: v1, kind: Event, metadata: {{name: {name}, namespace: default}}, reason: BackOff, type: Warning, \
             involvedObject: {{kind: Pod, namespace: default, name: p}}, message: m, count: 1}}"
        );
        std::fs::write(&file, event).unwrap();
        self.plane.apply(&file).unwrap();
    }

    fn administrator(&self) -> Kubeconfig {
        Kubeconfig::read_from(self.plane.kubeconfig()).unwrap()
    }
}

#[test]
fn a_restored_etcd_begins_a_new_epoch_with_a_gap() {
    let mut site = Site::new();
    let config = ExporterConfig {
        cluster: "test".to_owned(),
        objects: vec![Kind::Namespace],
        watch_check_ms: 500,
        retry_longest_ms: 500,
        ..ExporterConfig::default()
    };
    let exporter = site.start(&site.administrator(), &config);
    site.until("the watch", &exporter, || exporter.health.is_healthy());
    site.write("test-before");
    site.until("the first Event", &exporter, || site.told() == ["test-before epoch 0"]);

    let etcd_with = |site: &mut Site, work: fn(&ControlPlane) -> anyhow::Result<()>| {
        site.plane.end(Component::ApiServer, Signal::Term).unwrap();
        site.plane.end(Component::Etcd, Signal::Term).unwrap();
        work(&site.plane).unwrap();
        site.plane.start_again(Component::Etcd).unwrap();
        site.plane.start_again(Component::ApiServer).unwrap();
    };
    etcd_with(&mut site, ControlPlane::save_etcd);
    site.until("the watch again", &exporter, || exporter.health.is_healthy());
    for name in ["test-lost-1", "test-lost-2", "test-lost-3"] {
        site.write(name);
    }
    site.until("what will be lost", &exporter, || site.told().len() == 4);
    etcd_with(&mut site, ControlPlane::restore_etcd);
    site.until("the gap", &exporter, || site.told().contains(&"gap restored".to_owned()));
    site.until("the watch of the new history", &exporter, || exporter.health.is_healthy());
    site.write("test-after");
    site.until("what comes after", &exporter, || site.told().contains(&"test-after epoch 1".to_owned()));
    site.stop(exporter);
    let lost = [1, 2, 3].map(|n| format!("test-lost-{n} epoch 0"));
    let mut expected = vec!["test-before epoch 0".to_owned()];
    expected.extend(lost);
    expected.extend(["test-before epoch 1", "gap restored", "test-after epoch 1"].map(str::to_owned));
    assert_eq!(site.told(), expected);
}

/// The roles of an exporter that takes a Lease, bound to the account `default/exporter`.
fn roles() -> String {
    let mut yaml = String::new();
    for (kind, rules) in [("ClusterRole", RULES), ("Role", LEASE_RULES)] {
        writeln!(
            yaml,
            "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\nmetadata: {{name: exporter}}\nrules:\n{rules}\n\
             ---\napiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}Binding\nmetadata: {{name: exporter}}\n\
             roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: {kind}, name: exporter}}\n\
             subjects: [{{kind: ServiceAccount, name: exporter, namespace: default}}]"
        )
        .unwrap();
    }
    yaml
}

#[test]
fn two_exporters_agree_by_a_lease_with_no_more_rights_than_the_chart_gives() {
    let site = Site::new();
    let file = site.plane.kubeconfig().with_file_name("roles.yaml");
    std::fs::write(&file, roles()).unwrap();
    site.plane.kubectl(&["create", "serviceaccount", "exporter"]).unwrap();
    site.plane.apply(&file).unwrap();
    let token = site.plane.kubectl(&["create", "token", "exporter"]).unwrap();
    let mut kubeconfig = site.administrator();
    let user = kubeconfig.auth_infos[0].auth_info.as_mut().unwrap();
    user.token = Some(token.trim().to_owned().into());

    let mut config = ExporterConfig { cluster: "test".to_owned(), ..ExporterConfig::default() };
    (config.lease.enabled, config.lease.duration_s) = (true, 5);
    let first = site.start(&kubeconfig, &config);
    site.until("every watch", &first, || first.health.is_healthy());
    let watches = first.health.snapshot().watches;
    assert_eq!(watches.len(), Kind::ALL.len() + 1, "{watches:?}");
    assert!(watches.values().all(|state| *state == epicenter_exporter::WatchState::Watching), "{watches:?}");
    let second = site.start(&kubeconfig, &config);
    site.write("test-1");
    site.until("the first Event", &first, || site.told() == ["test-1 epoch 0"]);
    // The second has asked by now, and fenced nobody.
    let asked = Instant::now() + Duration::from_secs(6);
    site.until("renewals", &first, || Instant::now() > asked);
    assert_eq!((first.health.snapshot().restarts, second.health.snapshot().records), (0, 0));

    site.stop(first);
    site.until("the second", &second, || second.health.is_healthy());
    site.write("test-2");
    site.until("the second Event", &second, || site.told() == ["test-1 epoch 0", "test-2 epoch 0"]);
    site.stop(second);
}
