//! A real Kubernetes control plane: etcd, API server, and on demand controllers, scheduler, and nodes played by KWOK.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::process::{self, Process, Signal};
use crate::{cache, ports};

const STARTED_IN: Duration = Duration::from_secs(300);
const TOKEN: &str = "admin-of-a-test";

/// What runs beside etcd and the API server.
#[derive(Clone, Debug)]
pub struct Options {
    /// The controller manager. Without it pods need no service account, and nodes keep no not-ready taint.
    pub controllers: bool,
    /// The scheduler.
    pub scheduler: bool,
    /// Nodes played by KWOK (`node-1` … in zones a, b, c; 8 CPU, 32 GiB, 110 pods each); pods on them run at once.
    pub kwok_nodes: usize,
    /// How long a node may be silent before the controllers call it not ready.
    pub node_grace: Duration,
    /// How long the API server keeps an Event.
    pub event_ttl: Duration,
    /// After how long an old resourceVersion may be gone (410).
    pub compaction: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            controllers: false,
            scheduler: false,
            kwok_nodes: 0,
            node_grace: Duration::from_secs(20),
            event_ttl: Duration::from_secs(3600),
            compaction: Duration::from_secs(300),
        }
    }
}

/// A process of the control plane, clients before their servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    /// All the nodes: stopped or ended, they fall silent.
    Kwok,
    /// kube-scheduler.
    Scheduler,
    /// kube-controller-manager.
    ControllerManager,
    /// kube-apiserver.
    ApiServer,
    /// etcd.
    Etcd,
}

/// A control plane. Dropping it kills its processes and removes its data.
pub struct ControlPlane {
    running: BTreeMap<Component, Process>,
    site: Site,
}

/// Where a control plane is, and how its processes are started.
struct Site {
    directory: TempDir,
    options: Options,
    port: u16,
    etcd: u16,
    etcd_peer: u16,
    kubernetes: PathBuf,
}

impl ControlPlane {
    /// A new one, empty but for its nodes, which are Ready.
    pub fn start(options: Options) -> Result<Self> {
        ports::retry(|| Self::start_once(options.clone()))
    }

    fn start_once(options: Options) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("epicenter-kube-").tempdir()?;
        let [port, etcd, etcd_peer] = ports::free()?;
        let site = Site { directory, options, port, etcd, etcd_peer, kubernetes: cache::server("kubernetes")? };
        fs::write(site.path("tokens.csv"), format!("{TOKEN},admin,admin,system:masters\n"))?;
        fs::write(site.path("kubeconfig"), site.kubeconfig(TOKEN))?;
        let mut plane = Self { running: BTreeMap::new(), site };
        plane.start_again(Component::Etcd)?;
        plane.start_again(Component::ApiServer)?;
        let Options { controllers, scheduler, kwok_nodes, .. } = plane.site.options;
        if controllers {
            plane.start_again(Component::ControllerManager)?;
        }
        if scheduler {
            plane.start_again(Component::Scheduler)?;
        }
        if kwok_nodes > 0 {
            plane.start_again(Component::Kwok)?;
            fs::write(plane.site.path("nodes.yaml"), nodes(kwok_nodes)?)?;
            plane.apply(&plane.site.path("nodes.yaml"))?;
            plane.until("every node is Ready and without a taint", STARTED_IN, |plane| {
                let each =
                    "{range .items[*]}{.status.conditions[?(@.type==\"Ready\")].status}{.spec.taints}{\"\\n\"}{end}";
                let said = plane.kubectl(&["get", "nodes", "-o", &format!("jsonpath={each}")])?;
                Ok(said.lines().count() == kwok_nodes && said.lines().all(|line| line == "True"))
            })?;
        }
        if controllers {
            plane.until("the default service account is there", STARTED_IN, |plane| {
                Ok(!plane
                    .kubectl(&["get", "serviceaccount", "default", "--ignore-not-found", "-o", "name"])?
                    .is_empty())
            })?;
        }
        Ok(plane)
    }

    /// A kubeconfig of an administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.site.path("kubeconfig")
    }

    /// A kubeconfig of a service account, which is bound to what the cluster grants it.
    pub fn kubeconfig_of(&self, namespace: &str, account: &str) -> Result<PathBuf> {
        let token = self.kubectl(&["create", "token", account, "--namespace", namespace])?;
        let path = self.site.path(&format!("kubeconfig-{namespace}-{account}"));
        fs::write(&path, self.site.kubeconfig(token.trim()))?;
        Ok(path)
    }

    /// `https://127.0.0.1:port`.
    pub fn url(&self) -> String {
        self.site.url()
    }

    /// The administrator's bearer token.
    pub fn token(&self) -> &'static str {
        TOKEN
    }

    /// Runs kubectl as the administrator, for a minute at most; gives what it printed.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.site.kubectl(arguments)
    }

    /// `kubectl apply` of a text, by the server.
    pub fn apply_text(&self, text: &str) -> Result<String> {
        let file = tempfile::NamedTempFile::new()?;
        fs::write(file.path(), text)?;
        self.apply(file.path())
    }

    /// `kubectl apply` of a file, by the server.
    pub fn apply(&self, file: &Path) -> Result<String> {
        let file = file.to_str().context("a path that is not UTF-8")?;
        self.kubectl(&["apply", "--server-side", "-f", file])
    }

    /// Asks until `holds` says yes; an error of the last time is told when the limit has passed.
    pub fn until(&self, what: &str, limit: Duration, holds: impl Fn(&Self) -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            match holds(self) {
                Ok(true) => return Ok(()),
                Err(error) if Instant::now() > deadline => return Err(error.context(what.to_owned())),
                Ok(false) if Instant::now() > deadline => bail!("not within {limit:?}: {what}"),
                _ => std::thread::sleep(Duration::from_millis(200)),
            }
        }
    }

    /// Sends a signal: `Stop` and `Cont` make a process stand still and go on.
    pub fn signal(&self, component: Component, signal: Signal) -> Result<()> {
        self.running.get(&component).with_context(|| format!("{component:?} does not run"))?.signal(signal)
    }

    /// Ends a process, in order (`Term`) or at once (`Kill`).
    pub fn end(&mut self, component: Component, how: Signal) -> Result<()> {
        self.signal(component, how)?;
        let mut process = self.running.remove(&component).with_context(|| format!("{component:?} does not run"))?;
        process.wait(Duration::from_secs(90)).map(drop)
    }

    /// Starts a process that was ended, on the same data and port; waits until etcd or the API server answer.
    pub fn start_again(&mut self, component: Component) -> Result<()> {
        let (name, mut command) = self.site.command(component)?;
        let log = self.site.path(&format!("{name}.log"));
        let mut process = Process::spawn(name, command.current_dir(self.site.directory.path()), &log)?;
        let site = &self.site;
        match component {
            Component::Etcd => process.until(STARTED_IN, |_| ports::answers(site.etcd))?,
            Component::ApiServer => process.until(STARTED_IN, |_| {
                ports::answers(site.port) && site.kubectl(&["get", "--raw", "/readyz"]).is_ok_and(|said| said == "ok")
            })?,
            _ => {}
        }
        self.running.insert(component, process);
        Ok(())
    }

    /// Makes etcd forget its history up to now, as the API server does from time to time: who reads from an older version
    /// is told that it is gone (410).
    pub fn compact_etcd(&self) -> Result<()> {
        let any = self.site.ask_etcd("/v3/kv/range", "{\"key\": \"Lw==\"}")?;
        let revision = any.split("\"revision\":\"").nth(1).and_then(|rest| rest.split('"').next());
        let revision = revision.with_context(|| format!("no revision in {any}"))?;
        self.site.ask_etcd("/v3/kv/compaction", &format!("{{\"revision\": \"{revision}\"}}")).map(drop)
    }

    /// Keeps a copy of etcd's data. It must have ended.
    pub fn save_etcd(&self) -> Result<()> {
        self.copy_etcd("etcd", "etcd.saved")
    }

    /// Puts the copy of etcd's data in place of the data, as a restore from a snapshot does. It must have ended.
    pub fn restore_etcd(&self) -> Result<()> {
        fs::remove_dir_all(self.site.path("etcd"))?;
        self.copy_etcd("etcd.saved", "etcd")
    }

    fn copy_etcd(&self, from: &str, to: &str) -> Result<()> {
        ensure!(!self.running.contains_key(&Component::Etcd), "etcd runs: end it first");
        let mut copy = Command::new("cp");
        process::output(copy.arg("-a").args([from, to].map(|name| self.site.path(name))), STARTED_IN).map(drop)
    }

    /// The end of what a process has printed.
    pub fn log(&self, component: Component) -> String {
        self.running.get(&component).map(Process::tail).unwrap_or_default()
    }

    /// The pids of its processes.
    pub fn pids(&self) -> Vec<u32> {
        self.running.values().map(Process::pid).collect()
    }
}

impl Site {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(self.kubernetes.join("kubectl"));
        command.arg("--kubeconfig").arg(self.path("kubeconfig")).arg("--cache-dir").arg(self.path("kubectl"));
        process::output(command.args(arguments), Duration::from_secs(60))
    }

    /// A request to etcd's JSON gateway.
    fn ask_etcd(&self, path: &str, body: &str) -> Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.etcd))?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let length = body.len();
        write!(stream, "POST {path} HTTP/1.0\r\nhost: etcd\r\ncontent-length: {length}\r\n\r\n{body}")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.contains(" 200 OK"), "etcd refuses {path} {body}: {answer}");
        Ok(answer)
    }

    fn kubeconfig(&self, token: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             clusters: [{{name: test, cluster: {{server: \"{}\", certificate-authority: \"{}\"}}}}]\n\
             users: [{{name: test, user: {{token: {token}}}}}]\n\
             contexts: [{{name: test, context: {{cluster: test, user: test}}}}]\n",
            self.url(),
            self.path("certificates/apiserver.crt").display()
        )
    }

    fn command(&self, component: Component) -> Result<(&'static str, Command)> {
        let kubernetes = |name: &'static str| (name, Command::new(self.kubernetes.join(name)));
        let Options { controllers, node_grace, event_ttl, compaction, .. } = &self.options;
        let (name, mut command) = match component {
            Component::Etcd => ("etcd", Command::new(cache::server("etcd")?.join("etcd"))),
            Component::ApiServer => kubernetes("kube-apiserver"),
            Component::ControllerManager => kubernetes("kube-controller-manager"),
            Component::Scheduler => kubernetes("kube-scheduler"),
            Component::Kwok => ("kwok", Command::new(cache::server("kwok")?.join("kwok"))),
        };
        match component {
            Component::Etcd => {
                let [client, peer] = [self.etcd, self.etcd_peer].map(|port| format!("http://127.0.0.1:{port}"));
                command.args(["--data-dir=etcd", "--unsafe-no-fsync", "--log-level=warn"]);
                command.arg(format!("--listen-client-urls={client}")).arg(format!("--advertise-client-urls={client}"));
                command.arg(format!("--listen-peer-urls={peer}")).arg(format!("--initial-advertise-peer-urls={peer}"));
                command.arg(format!("--initial-cluster=default={peer}"));
            }
            Component::ApiServer => {
                command.arg(format!("--etcd-servers=http://127.0.0.1:{}", self.etcd));
                command.arg(format!("--secure-port={}", self.port));
                // Loopback can be no endpoint of the `kubernetes` Service; nothing here asks for it.
                command.args(["--bind-address=127.0.0.1", "--endpoint-reconciler-type=none"]);
                command.args(["--cert-dir=certificates", "--token-auth-file=tokens.csv", "--authorization-mode=RBAC"]);
                command.args(["--service-cluster-ip-range=10.96.0.0/16", "--allow-privileged=true"]);
                // The key that it makes for its own certificate signs service accounts' tokens as well.
                let key = self.path("certificates/apiserver.key");
                command.arg(format!("--service-account-key-file={}", key.display()));
                command.arg(format!("--service-account-signing-key-file={}", key.display()));
                command.arg("--service-account-issuer=https://kubernetes.default.svc");
                command.arg(format!("--event-ttl={}ms", event_ttl.as_millis()));
                command.arg(format!("--etcd-compaction-interval={}ms", compaction.as_millis()));
                if !controllers {
                    command.arg("--disable-admission-plugins=ServiceAccount,TaintNodesByCondition");
                }
            }
            Component::ControllerManager => {
                command.args(["--kubeconfig=kubeconfig", "--leader-elect=false", "--secure-port=0"]);
                command.arg(format!("--node-monitor-grace-period={}ms", node_grace.as_millis()));
                command.arg("--node-monitor-period=1s");
            }
            Component::Scheduler => {
                command.args(["--kubeconfig=kubeconfig", "--leader-elect=false", "--secure-port=0"]);
            }
            Component::Kwok => {
                command.args(["--kubeconfig=kubeconfig", "--manage-all-nodes", "--config"]);
                command.arg(cache::server("kwok")?.join("stages.yaml"));
                // A lease is renewed after a quarter of its duration.
                command.arg(format!("--node-lease-duration-seconds={}", node_grace.as_secs().max(4)));
            }
        }
        Ok((name, command))
    }
}

fn nodes(count: usize) -> Result<String> {
    let mut text = String::new();
    for number in 1..=count {
        let zone = ["a", "b", "c"][(number - 1) % 3];
        let size = "{cpu: \"8\", memory: 32Gi, pods: \"110\"}";
        write!(
            text,
            "---\napiVersion: v1\nkind: Node\nmetadata:\n  name: node-{number}\n  annotations: {{kwok.x-k8s.io/node: fake}}\n  \
             labels: {{kubernetes.io/hostname: node-{number}, topology.kubernetes.io/zone: {zone}}}\n\
             status: {{allocatable: {size}, capacity: {size}}}\n"
        )?;
    }
    Ok(text)
}
