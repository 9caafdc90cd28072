//! Alerts and dashboard name only metrics that there are.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use epicenter_runtime::metric::{ALL, Kind};
use epicenter_tests::cache;
use serde_json::{Value, json};

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(path)).unwrap()
}

/// The strings under `key`, wherever it is.
fn all_of(key: &str, value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => {
            let own = fields.get(key).and_then(Value::as_str).map(str::to_owned);
            own.into_iter().chain(fields.values().flat_map(|value| all_of(key, value))).collect()
        }
        Value::Array(values) => values.iter().flat_map(|value| all_of(key, value)).collect(),
        _ => Vec::new(),
    }
}

/// What Prometheus calls the series of all metrics.
fn series() -> BTreeSet<String> {
    let names = |kind, name: &str| match kind {
        Kind::Histogram => ["bucket", "sum", "count"].map(|part| format!("{name}_{part}")).to_vec(),
        Kind::Counter | Kind::Gauge => vec![name.to_owned()],
    };
    ALL.iter().flat_map(|metric| names(metric.kind, metric.name)).collect()
}

/// Every word of an expression that names a metric of ours.
fn named(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("epicenter_")).map(str::to_owned).collect()
}

#[track_caller]
fn check(file: &str, expressions: &[String], at_least: usize) {
    assert!(expressions.len() >= at_least, "{file}: {expressions:?}");
    let (named, known) = (expressions.iter().flat_map(|it| named(it)).collect::<BTreeSet<_>>(), series());
    let unknown: Vec<_> = named.difference(&known).collect();
    assert!(unknown.is_empty(), "{file}: there are no such metrics: {unknown:?}");
    for expression in expressions {
        assert!(!self::named(expression).is_empty(), "{file}: {expression} names no metric");
        let (open, close) = (expression.matches('(').count(), expression.matches(')').count());
        assert_eq!(open, close, "{file}: {expression}");
    }
}

#[test]
fn alerts_and_dashboard_name_metrics_that_there_are() {
    let alerts: Value = serde_saphyr::from_str(&read("alerts/epicenter.yaml")).unwrap();
    check("alerts", &all_of("expr", &alerts), 9);
    assert_eq!(all_of("alert", &alerts).len(), all_of("summary", &alerts).len(), "every alert says what it is");
    let dashboard: Value = serde_json::from_str(&read("dashboards/epicenter.json")).unwrap();
    check("dashboard", &all_of("expr", &dashboard), 20);
}

/// What Prometheus itself says of a file of rules.
fn checked(file: &Path) -> (bool, String) {
    let promtool = cache::server("prometheus").unwrap().join("usr/bin/promtool");
    let output = Command::new(promtool).args(["check", "rules"]).arg(file).output().unwrap();
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[test]
fn prometheus_takes_alerts_and_what_the_dashboard_asks() {
    let alerts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/alerts/epicenter.yaml");
    let (well, said) = checked(&alerts);
    assert!(well && said.contains("SUCCESS"), "{said}");
    let dashboard: Value = serde_json::from_str(&read("dashboards/epicenter.json")).unwrap();
    let rules: Vec<Value> = (0..)
        .zip(all_of("expr", &dashboard))
        .map(|(n, expr)| {
            // As Grafana fills them in.
            let expr = expr.replace("$__rate_interval", "5m").replace("$cluster", ".*");
            json!({"record": format!("panel:{n}"), "expr": expr})
        })
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("panels.yaml");
    let check = |rules: &[Value]| {
        std::fs::write(&file, json!({"groups": [{"name": "panels", "rules": rules}]}).to_string()).unwrap();
        checked(&file)
    };
    let (well, said) = check(&rules);
    assert!(well && said.contains(&format!("{} rules found", rules.len())), "{said}");
    let (well, said) = check(&[json!({"record": "panel:x", "expr": "rate(epicenter_commit_seconds_count)"})]);
    assert!(!well && said.contains("expected type range vector"), "{said}");
}

#[test]
fn a_metric_that_is_not_there_is_found() {
    let known = series();
    assert!(named("rate(epicenter_commit_seconds_bucket[5m])").is_subset(&known));
    assert!(!named("rate(epicenter_commit_seconds[5m]) + epicenter_lag").is_subset(&known));
}
