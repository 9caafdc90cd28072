//! Names as clusters have them.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

/// The alphabet of generated names (`k8s.io/apimachinery/pkg/util/rand`).
const SAFE: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Words for workloads and namespaces. Two lists, so that nothing can be learned from names.
const WORKLOADS: [&[&str]; 2] = [
    &[
        "checkout",
        "cart",
        "search",
        "ads",
        "payments",
        "invoices",
        "mailer",
        "catalog",
        "frontend",
        "auth",
        "orders",
        "ledger",
        "thumbs",
        "api-gateway",
        "user-profile",
        "recommendation",
        "web",
        "worker",
        "sessions",
        "images",
    ],
    &[
        "billing-v2",
        "geo",
        "pricing",
        "media-proxy",
        "token-service",
        "crm",
        "ingest",
        "feature-store",
        "chat",
        "router",
        "scorer",
        "notifier",
        "audit",
        "vault-agent",
        "dash",
        "etl-runner",
        "streamer",
        "quotes",
        "booking",
        "rides",
    ],
];
const NAMESPACES: [&[&str]; 2] = [
    &["shop", "team-a", "default", "batch", "platform", "prod"],
    &["fleet", "data-eng", "apps", "staging", "core", "edge"],
];
const CLAIMED: [&[&str]; 2] = [&["db", "kafka", "redis", "postgres"], &["mongo", "es-data", "zk", "cassandra"]];

/// Where names come from; `set` is the list.
pub(crate) struct Names {
    set: usize,
    used: Vec<String>,
}

impl Names {
    pub fn new(set: usize) -> Self {
        Self { set: set % 2, used: vec![] }
    }

    pub fn workload(&mut self, rng: &mut StdRng) -> String {
        self.fresh(rng, WORKLOADS[self.set])
    }

    pub fn stateful(&mut self, rng: &mut StdRng) -> String {
        self.fresh(rng, CLAIMED[self.set])
    }

    pub fn namespaces(&self, rng: &mut StdRng, count: usize) -> Vec<String> {
        NAMESPACES[self.set].choose_multiple(rng, count).map(|name| (*name).to_owned()).collect()
    }

    /// A word of `list`, with a number when it is used already.
    fn fresh(&mut self, rng: &mut StdRng, list: &[&str]) -> String {
        let word = (*list.choose(rng).unwrap_or(&"app")).to_owned();
        let mut name = word.clone();
        let mut number = 2;
        while self.used.contains(&name) {
            name = format!("{word}-{number}");
            number += 1;
        }
        self.used.push(name.clone());
        name
    }

    /// Names of nodes, in one of the styles that providers have.
    pub fn nodes(&self, rng: &mut StdRng, count: usize) -> Vec<String> {
        let style = rng.random_range(0..4);
        let node = |index: usize, rng: &mut StdRng| match (style, self.set) {
            (0, 0) => format!("n{}", index + 1),
            (0, _) => format!("k8s-w{:02}", index + 1),
            (1, _) => format!("ip-10-{}-{}-{}.eu-west-1.compute.internal", self.set, index, rng.random_range(2..250)),
            (2, _) => format!("gke-main-pool-{}-{}", generated(rng, 8), generated(rng, 4)),
            _ => format!("worker-{}.example.net", index + 1),
        };
        (0..count).map(|index| node(index, rng)).collect()
    }
}

/// A suffix as controllers generate it.
pub(crate) fn generated(rng: &mut StdRng, length: usize) -> String {
    (0..length).map(|_| char::from(SAFE[rng.random_range(0..SAFE.len())])).collect()
}

/// An object's uid.
pub(crate) fn uid(rng: &mut StdRng) -> String {
    let n: u128 = rng.random();
    let hex = format!("{n:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
