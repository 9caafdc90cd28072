//! The cluster that a command works on.

use anyhow::Context as _;
use epicenter_runtime::Metrics;
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::requests::CountedRequests;
use crate::settings::ClusterConfig;

/// A cluster, as a kubeconfig or a pod's service account names it.
pub struct Cluster {
    /// The context's name; `in-cluster` for a service account, or the cluster's name when that has a kubeconfig of its own.
    pub context: String,
    config: Config,
}

const MEND: &str = "check `kubectl config get-contexts`, and choose one with --context or --kubeconfig";

impl Cluster {
    /// The cluster that the settings name.
    pub async fn open(settings: &ClusterConfig) -> anyhow::Result<Self> {
        let Some((kubeconfig, context)) = kubeconfig(settings)? else {
            let config =
                Config::incluster().context("no kubeconfig, and not in a pod of a cluster; set --kubeconfig")?;
            return Ok(Self { context: "in-cluster".to_owned(), config });
        };
        let options = KubeConfigOptions { context: Some(context.clone()), ..KubeConfigOptions::default() };
        let config = Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .with_context(|| format!("context `{context}` cannot be used; {MEND}"))?;
        Ok(Self { context, config })
    }

    /// The cluster that is reached so.
    pub fn of(name: String, config: Config) -> Self {
        Self { context: name, config }
    }

    /// The name of the context that the settings name, without connecting.
    pub fn context_name(settings: &ClusterConfig) -> anyhow::Result<String> {
        Ok(kubeconfig(settings)?.map_or_else(|| "in-cluster".to_owned(), |(_, context)| context))
    }

    /// Where its API server is.
    pub fn url(&self) -> String {
        self.config.cluster_url.to_string()
    }

    /// A client that is fit for watches, and does not retry by itself.
    pub fn client(&self) -> anyhow::Result<Client> {
        epicenter_exporter::client(self.config.clone())
            .with_context(|| format!("a client for {} (context `{}`)", self.config.cluster_url, self.context))
    }

    /// A client for single requests, each with a deadline, which `metrics` count under the cluster's `name`.
    pub fn asking(&self, name: &str, metrics: &Metrics) -> anyhow::Result<Client> {
        let mut config = self.config.clone();
        config.default_retry = false;
        config.connect_timeout = Some(std::time::Duration::from_secs(5));
        config.read_timeout = Some(std::time::Duration::from_secs(10));
        let counted = tower::layer::layer_fn(|inner| CountedRequests::new(inner, name, metrics));
        Ok(ClientBuilder::try_from(config)?.with_layer(&counted).build())
    }
}

/// The kubeconfig and the context in it; `None` when there is none.
fn kubeconfig(settings: &ClusterConfig) -> anyhow::Result<Option<(Kubeconfig, String)>> {
    let found = if settings.kubeconfig.is_empty() {
        match Kubeconfig::read() {
            Ok(found) => found,
            Err(_) if settings.context.is_empty() && std::env::var_os("KUBECONFIG").is_none() => return Ok(None),
            Err(error) => return Err(error).context(MEND),
        }
    } else {
        Kubeconfig::read_from(&settings.kubeconfig).with_context(|| format!("kubeconfig {}", settings.kubeconfig))?
    };
    let current = || found.current_context.clone().filter(|context| !context.is_empty());
    let context = if settings.context.is_empty() {
        current().with_context(|| format!("the kubeconfig has no current context; {MEND}"))?
    } else {
        settings.context.clone()
    };
    anyhow::ensure!(
        found.contexts.iter().any(|known| known.name == context),
        "the kubeconfig has no context `{context}`; {MEND}"
    );
    Ok(Some((found, context)))
}
