//! A client that is refused says why and how to mend it, in its log, in `/readyz` and in `doctor`; it stays, and goes on
//! when somebody has mended it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use epicenter_tests::certificates::{Authority, Validity};
use epicenter_tests::kafka::Port;
use epicenter_tests::process::{Process, Signal, binary};
use epicenter_tests::{http, ports};
use serde_json::json;
use tempfile::TempDir;

use crate::site::{ACLS, LIMIT, PASSWORD, Site, everything, properties, until};

/// A service, or a command, that is configured in some way.
struct Client {
    directory: TempDir,
    config: PathBuf,
}

impl Client {
    /// A client of the broker at `bootstrap`; properties that are secret or long are put into files, as users do.
    fn new(bootstrap: &str, mut properties: BTreeMap<String, String>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut secrets = BTreeMap::new();
        for name in ["sasl.password", "ssl.ca.pem"] {
            if let Some(value) = properties.remove(name) {
                let file = directory.path().join(name);
                fs::write(&file, value).unwrap();
                secrets.insert(name, json!({ "file": file }));
            }
        }
        let kafka = json!({"bootstrap": bootstrap, "partitions": 2, "properties": properties, "secrets": secrets});
        let config = directory.path().join("epicenter.yaml");
        fs::write(&config, json!({"bus": {"kafka": kafka}}).to_string()).unwrap();
        Self { directory, config }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary().unwrap());
        command.args(arguments).arg("--config").arg(&self.config);
        command.env("KUBECONFIG", self.directory.path().join("none"));
        command
    }

    /// What a command prints.
    fn prints(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    fn enricher(&self) -> Service {
        let [port] = ports::free().unwrap();
        let mut command = self.command(&["enricher"]);
        command.env("EPICENTER_ADMIN__LISTEN", format!("127.0.0.1:{port}"));
        let process = Process::spawn("enricher", &mut command, &self.directory.path().join("log")).unwrap();
        Service { port, process }
    }
}

struct Service {
    port: u16,
    process: Process,
}

impl Service {
    /// What `/readyz` answers.
    fn readiness(&self) -> Option<(u16, String)> {
        http::get(self.port, "/readyz").ok()
    }

    /// Waits until it is refused for that reason.
    #[track_caller]
    fn until_refused(&mut self, expected: &str) {
        until(expected, || {
            assert!(self.process.ended().unwrap().is_none(), "{}", self.process.tail());
            self.readiness().filter(|(status, report)| *status == 503 && report.contains(expected))
        });
        assert!(self.process.output().contains(expected), "{}", self.process.tail());
    }

    /// Waits until it works: the same process.
    #[track_caller]
    fn until_well(&mut self) {
        until("it is ready and has taken a partition over", || {
            assert!(self.process.ended().unwrap().is_none(), "{}", self.process.tail());
            let ready = self.readiness().is_some_and(|(status, _)| status == 200);
            (ready && self.process.output().contains("took partition over")).then_some(())
        });
    }
}

/// The client's.
const PRINCIPAL: &str = "User:epicenter";

/// How somebody mends it.
type Mend<'m> = &'m dyn Fn(&mut Site);

#[test]
fn a_client_says_why_it_is_refused_and_goes_on_when_that_is_mended() {
    let mut site = Site::new(&["epicenter", "stranger"]);
    site.grant(&everything(PRINCIPAL));
    assert!(Client::new(&site.kafka.bootstrap(), BTreeMap::new()).prints(&["topics", "create"]).contains("created"));
    let [sasl, mutual] = [Port::Sasl, Port::MutualTls].map(|port| site.kafka.guarded_bootstrap(port));
    let plain = site.kafka.bootstrap();
    let other = Authority::new("Another Authority").unwrap();
    let epicenter = || site.scram("epicenter", PASSWORD);
    let of = |more: &[(&str, &str)]| {
        let mut all = epicenter();
        all.extend(properties(more));
        all
    };
    let v4 = [("broker.address.family", "v4")];

    // What is wrong on the client's side.
    let unknown = "is signed by Site Authority, which is not trusted here. Set ssl.ca.location";
    let cases: [(&str, BTreeMap<String, String>, &str); 5] = [
        (&sasl, of(&[("ssl.ca.pem", other.pem())]), unknown),
        (&sasl, of(&[("sasl.password", "wrong")]), "Check sasl.mechanism, sasl.username and the secret sasl.password"),
        (&sasl, properties(&v4), "Set bus.kafka.properties.security.protocol to SSL or SASL_SSL"),
        (&plain, epicenter(), "Use the broker's TLS port"),
        (&mutual, site.trusting("SSL"), "Check ssl.certificate"),
    ];
    for (bootstrap, properties, expected) in cases {
        println!("{expected}");
        let client = Client::new(bootstrap, properties);
        client.enricher().until_refused(expected);
        let doctor = client.prints(&["doctor"]);
        assert!(doctor.contains("WRONG  log: ") && doctor.contains(expected), "{doctor}");
    }

    // What is wrong on the broker's, and is mended there.
    let shown = |host: &str, validity| {
        let certificate = site.authority.issue("broker", host, validity).unwrap();
        move |site: &mut Site| {
            site.kafka.show(&certificate).unwrap();
            site.kafka.restart(Signal::Term).unwrap();
        }
    };
    let (expired, misnamed) = (shown("localhost", Validity::Expired), shown("kafka.example", Validity::Current));
    let good = shown("localhost", Validity::Current);
    let users = "kafka.admin.ConfigCommand";
    let password = |password: &'static str| {
        move |site: &mut Site| {
            let credentials = format!("SCRAM-SHA-512=[password={password}]");
            let user = ["--alter", "--entity-type", "users", "--entity-name", "epicenter", "--add-config"];
            site.kafka.tool(users, &[&user[..], &[&credentials]].concat()).unwrap();
        }
    };
    let (changed, restored) = (password("another"), password(PASSWORD));
    let revoke = |site: &mut Site| {
        site.kafka.tool(ACLS, &[&["--remove", "--force"], &everything(PRINCIPAL)[..]].concat()).unwrap();
    };
    let grant = |site: &mut Site| site.grant(&everything(PRINCIPAL));
    let cases: [(Mend<'_>, Mend<'_>, &str); 4] = [
        (&revoke, &grant, "Grant Read on group epicenter.enricher: `epicenter topics acls`"),
        (&changed, &restored, "sasl.password"),
        (&expired, &good, "expired on Jan  1 00:00:00 2021 GMT. Give the broker a new one"),
        (&misnamed, &good, "is for kafka.example, not for localhost. Name the broker as its certificate does"),
    ];
    let client = Client::new(&sasl, epicenter());
    for (spoil, mend, expected) in cases {
        println!("{expected}");
        spoil(&mut site);
        let mut enricher = client.enricher();
        enricher.until_refused(expected);
        let doctor = client.prints(&["doctor"]);
        assert!(doctor.contains("WRONG  log: "), "{doctor}");
        mend(&mut site);
        enricher.until_well();
        enricher.process.signal(Signal::Term).unwrap();
        enricher.process.wait(LIMIT).unwrap();
    }
}
