//! The archive on a real S3 server, which is away at times.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use epicenter_tests::process::{self, Process, Signal};
use epicenter_tests::{cache, ports};
use serde_json::Value;

use crate::site::{CLUSTERS, LIMIT, Site};

const USER: &str = "epicenter";
const PASSWORD: &str = "a-password-of-minio";

/// Delta's own reader and DataFusion, in Python.
const COUNT: &str = r#"
import json, sys
from deltalake import DeltaTable, QueryBuilder
table, query = sys.argv[1:]
batches = QueryBuilder().register("archive", DeltaTable(table)).execute(query).read_all()
print(json.dumps({name: batches[name][0].as_py() for name in batches.column_names}))
"#;

fn minio(port: u16, directory: &Path) -> Process {
    // A folder of its data is a bucket.
    fs::create_dir_all(directory.join("minio/epicenter")).unwrap();
    let mut command = Command::new(cache::server("minio").unwrap().join("minio"));
    command.args(["server", "--quiet", "--address", &format!("127.0.0.1:{port}"), "--console-address", "127.0.0.1:0"]);
    command.arg(directory.join("minio")).env("MINIO_ROOT_USER", USER).env("MINIO_ROOT_PASSWORD", PASSWORD);
    command.env("MINIO_BROWSER", "off").env("MINIO_UPDATE", "off");
    let mut running = Process::spawn("minio", &mut command, &directory.join("minio.log")).unwrap();
    running.until(LIMIT, |_| ports::answers(port)).unwrap();
    running
}

#[test]
fn an_s3_server_that_is_away_loses_and_repeats_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let [port] = ports::free::<1>().unwrap();
    let secret = |name: &str, value: &str| {
        let file = directory.path().join(name);
        fs::write(&file, value).unwrap();
        file.display().to_string()
    };
    let endpoint = format!("http://127.0.0.1:{port}");
    let site = Site::at(vec![
        ("EPICENTER_ARCHIVE__LOCATION", "s3://epicenter/archive".to_owned()),
        ("EPICENTER_ARCHIVE__S3__ENDPOINT", endpoint.clone()),
        ("EPICENTER_ARCHIVE__S3__REGION", "us-east-1".to_owned()),
        ("EPICENTER_ARCHIVE__S3__ACCESS_KEY_ID__FILE", secret("id", USER)),
        ("EPICENTER_ARCHIVE__S3__SECRET_ACCESS_KEY__FILE", secret("key", PASSWORD)),
    ]);
    let count = || -> Option<Value> {
        let query = "SELECT count(*) AS rows, count(DISTINCT event_uid) AS events FROM archive";
        let mut command = Command::new(&site.python);
        command.args(["-c", COUNT, "s3://epicenter/archive/events", query]);
        command.env("AWS_ENDPOINT_URL", &endpoint).env("AWS_ALLOW_HTTP", "true").env("AWS_REGION", "us-east-1");
        command.env("AWS_ACCESS_KEY_ID", USER).env("AWS_SECRET_ACCESS_KEY", PASSWORD);
        process::output(&mut command, LIMIT).ok().map(|printed| serde_json::from_str(&printed).unwrap())
    };
    let mut server = minio(port, directory.path());
    let mut archive = site.start(&[]);
    let mut written = 0;
    for round in 0..6 {
        for _ in 0..4 {
            for cluster in CLUSTERS {
                site.write_events(cluster, written..written + 500);
            }
            written += 500;
            std::thread::sleep(Duration::from_millis(100));
        }
        if round % 2 == 0 {
            archive.kill().unwrap();
            archive = site.start(&[]);
        } else {
            server.kill().unwrap();
            archive.until(LIMIT, |log| log.matches("is not well").count() > round / 2).unwrap();
            server = minio(port, directory.path());
        }
    }
    let deadline = Instant::now() + LIMIT;
    let rows = 2 * written;
    while count().is_none_or(|count| count["rows"] != rows) {
        assert!(archive.ended().unwrap().is_none() && Instant::now() < deadline, "{:?}\n{}", count(), archive.tail());
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(count().unwrap()["events"], rows);
    assert!(site.shows("/readyz").contains("200 OK"), "{}", site.shows("/readyz"));
    let said = process::output(&mut site.command(&["archive", "compact"]), LIMIT).unwrap();
    assert!(said.starts_with("events: "), "{said}");
    let asked = ["query", "sql", "SELECT count(*) AS rows FROM events WHERE \"cluster\" = 'a'"];
    let said = process::output(&mut site.command(&asked), LIMIT).unwrap();
    assert_eq!(said, format!("{{\"rows\":{written}}}\n"));
    archive.signal(Signal::Term).unwrap();
    assert!(archive.wait(LIMIT).unwrap().success(), "{}", archive.tail());
    assert_eq!(count().unwrap()["rows"], rows);
}
