//! A guarded broker and its clients.

use std::collections::BTreeMap;
use std::time::Duration;

use epicenter_bus::{Bus, KafkaConfig};
use epicenter_tests::certificates::{Authority, Certificate, Validity};
use epicenter_tests::kafka::{Kafka, Port, Security};

pub const PASSWORD: &str = "correct horse";
/// Kafka's own tool that grants and takes back.
pub const ACLS: &str = "org.apache.kafka.tools.AclCommand";
pub const LIMIT: Duration = Duration::from_secs(60);

/// All that `principal` may do with what is Epicenter's, in the words of Kafka's own tool.
pub fn everything(principal: &str) -> [&str; 12] {
    [
        "--allow-principal",
        principal,
        "--operation",
        "All",
        "--resource-pattern-type",
        "prefixed",
        "--topic",
        "epicenter.",
        "--group",
        "epicenter.",
        "--transactional-id",
        "epicenter.",
    ]
}

/// A guarded broker, and who signs for whom.
pub struct Site {
    pub kafka: Kafka,
    pub authority: Authority,
}

impl Site {
    /// A broker that knows `users`, all with the same password.
    pub fn new(users: &[&'static str]) -> Self {
        let authority = Authority::new("Site Authority").unwrap();
        let certificate = authority.issue("broker", "localhost", Validity::Current).unwrap();
        let users = users.iter().map(|user| (*user, PASSWORD)).collect();
        let kafka = Kafka::guarded(&Security { certificate, clients: &authority, users }).unwrap();
        Self { kafka, authority }
    }

    /// Lets somebody do something, in the words of Kafka's own tool.
    pub fn grant(&self, arguments: &[&str]) {
        self.kafka.tool(ACLS, &[&["--add"], arguments].concat()).unwrap();
    }

    /// Properties of a client that trusts the site's authority.
    pub fn trusting(&self, protocol: &str) -> BTreeMap<String, String> {
        properties(&[
            ("security.protocol", protocol),
            ("ssl.ca.pem", self.authority.pem()),
            ("broker.address.family", "v4"),
        ])
    }

    /// Properties of a client that is `user`.
    pub fn scram(&self, user: &str, password: &str) -> BTreeMap<String, String> {
        let mut all = self.trusting("SASL_SSL");
        all.extend(properties(&[
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.username", user),
            ("sasl.password", password),
        ]));
        all
    }

    pub fn bus(&self, port: Port, properties: BTreeMap<String, String>) -> Bus {
        self.bus_with(port, |config| config.properties = properties)
    }

    pub fn bus_with(&self, port: Port, change: impl FnOnce(&mut KafkaConfig)) -> Bus {
        let mut config = KafkaConfig::new(self.kafka.guarded_bootstrap(port));
        config.partitions = 2;
        change(&mut config);
        Bus::kafka(config).unwrap()
    }
}

pub fn properties(of: &[(&str, &str)]) -> BTreeMap<String, String> {
    of.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Waits until `done` gives something.
#[track_caller]
pub fn until<T>(what: &str, done: impl FnMut() -> Option<T>) -> T {
    epicenter_tests::wait::until(what, LIMIT, done)
}

/// Shows itself by `certificate`.
pub fn showing(mut properties: BTreeMap<String, String>, certificate: &Certificate) -> BTreeMap<String, String> {
    properties.insert("ssl.certificate.pem".to_owned(), certificate.pem.clone());
    properties.insert("ssl.key.pem".to_owned(), certificate.key.clone());
    properties
}
