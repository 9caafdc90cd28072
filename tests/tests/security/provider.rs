//! Tokens of an identity provider, for the credentials of a client.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use epicenter_bus::{Bus, Fault};
use epicenter_runtime::BusConfig;
use epicenter_tests::hook::{Hook, Told};
use epicenter_tests::kafka::Port;
use epicenter_tests::process::binary;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::brokers::{emit, unsigned, works};
use crate::site::{Site, until};

/// Both have to be encoded.
const CLIENT: (&str, &str) = ("epicenter:prod", "s/e cret");
const LIFE: Duration = Duration::from_secs(5);

/// What the provider issues: a token of that life, or one that the brokers do not take.
#[derive(Clone, Copy)]
enum Issues {
    Good(Duration),
    Strange,
}

fn answer(told: &Told, issues: Issues) -> (u16, String) {
    let given = told.headers.get("authorization").and_then(|header| header.strip_prefix("Basic "));
    let given = given.and_then(|given| BASE64.decode(given.as_bytes()).ok()).unwrap_or_default();
    let form = String::from_utf8_lossy(&told.body).into_owned();
    if told.path != "/token" || form != "grant_type=client_credentials&scope=kafka" {
        return (400, json!({"error": "invalid_request", "error_description": form}).to_string());
    }
    if given != b"epicenter%3Aprod:s%2Fe+cret" {
        return (401, json!({"error": "invalid_client"}).to_string());
    }
    let (token, life) = match issues {
        Issues::Good(life) => (unsigned("token", life), life.as_secs()),
        Issues::Strange => ("strange".to_owned(), 60),
    };
    (200, json!({"access_token": token, "token_type": "Bearer", "expires_in": life}).to_string())
}

/// The section `bus` of an installation of its own.
fn section(site: &Site, hook: &Hook, secret: &Path) -> Value {
    let mut properties = site.trusting("SASL_SSL");
    properties.insert("sasl.mechanism".to_owned(), "OAUTHBEARER".to_owned());
    let endpoint = json!({
        "url": format!("{}/token", hook.url()), "client_id": CLIENT.0, "client_secret": {"file": secret}, "scope": "kafka",
    });
    json!({"kafka": {
        "bootstrap": site.kafka.guarded_bootstrap(Port::Sasl), "prefix": "epicenter.provider.", "partitions": 2, "replication": 1,
        "properties": properties, "token_endpoint": endpoint,
    }})
}

fn open(section: &Value) -> Bus {
    let config: BusConfig = serde_json::from_value(section.clone()).unwrap();
    assert_eq!(config.problems(), []);
    config.open(Path::new("")).unwrap()
}

fn prints(directory: &Path, section: &Value, arguments: &[&str]) -> String {
    let config: PathBuf = directory.join("epicenter.yaml");
    std::fs::write(&config, json!({ "bus": section }).to_string()).unwrap();
    let mut command = Command::new(binary().unwrap());
    command.args(arguments).arg("--config").arg(config).env("KUBECONFIG", directory.join("none"));
    let output = command.output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// Everything can be done with tokens of a provider, though each of them lives for seconds. While it gives none it is said why; what the
/// last one is good for goes on.
pub fn goes_on_by_the_credentials_of_a_client(site: &Site) {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, format!("{}\n", CLIENT.1)).unwrap();
    let issues = Arc::new(Mutex::new(Issues::Good(LIFE)));
    let now = Arc::clone(&issues);
    let mut provider = Hook::answering(move |told| answer(told, *now.lock())).unwrap();
    provider.start().unwrap();
    let section = section(site, &provider, &secret);

    // From nothing, by the command that does it.
    let created = prints(directory.path(), &section, &["topics", "create"]);
    assert!(created.contains("created epicenter.provider.events.raw"), "{created}");
    let bus = open(&section);
    until("topics", || bus.check_topics().unwrap().is_empty().then_some(()));
    assert_eq!(bus.create_topics().unwrap(), Vec::<String>::new());
    works(&bus, "by a provider's token");
    let recovered = prints(directory.path(), &section, &["topics", "recover", "--dry-run"]);
    assert!(recovered.contains("nothing is lost"), "{recovered}");
    let doctor = prints(directory.path(), &section, &["doctor"]);
    assert!(doctor.contains("ok     log: it can be reached, and its topics are as they should be"), "{doctor}");

    let mut source = None;
    let mut commit = |what: &str| {
        let record = emit(what);
        until(what, || {
            let mut open = match source.take() {
                Some(open) => open,
                // A transaction that waits for a token for too long is given up, and its source opened again.
                None => bus.source("exporter.provider", 1, b"").ok()?.0,
            };
            let outcome = open.commit(std::slice::from_ref(&record), &[]);
            if !matches!(outcome, Err(Fault::Fenced { .. })) {
                source = Some(open);
            }
            outcome.ok()
        });
    };
    let (began, asked) = (Instant::now(), provider.told().len());
    while began.elapsed() < 3 * LIFE {
        commit("it is committed");
        std::thread::sleep(LIFE / 5);
    }
    assert!(provider.told().len() > asked, "each token lives for {LIFE:?}");

    provider.stop();
    std::thread::sleep(LIFE);
    let Err(fault) = bus.source("exporter.late", 1, b"") else { panic!("there was no token") };
    assert!(!matches!(fault, Fault::Fenced { .. }), "{fault}");
    let said = until("why it stands", || bus.trouble().filter(|said| said.contains("cannot be reached")));
    assert!(said.contains("Check bus.kafka.token_endpoint.url"), "{said}");
    provider.start().unwrap();
    commit("it goes on");
    until("nothing is in the way", || bus.trouble().is_none().then_some(()));

    let check = |expected: &[&str]| {
        let said = open(&section).create_topics().unwrap_err().to_string();
        assert!(expected.iter().all(|part| said.contains(part)), "{said}");
    };
    *issues.lock() = Issues::Strange;
    check(&["invalid_token", "Check who issues the tokens"]);
    std::fs::write(&secret, "wrong").unwrap();
    check(&["answers 401", "Check bus.kafka.token_endpoint.client_id and client_secret"]);
}
