//! Dependencies point one way, and the core knows neither clients nor a clock.

use super::manifest::{Manifest, parse};
use super::tree::File;

/// A package may depend on packages of lower layers only.
const LAYERS: &[&[&str]] = &[
    &["epicenter-model"],
    &["epicenter-catalog", "epicenter-correlate"],
    &["epicenter-rules"],
    &["epicenter-bus"],
    &["epicenter-runtime"],
    &[
        "epicenter-exporter",
        "epicenter-enricher",
        "epicenter-correlator",
        "epicenter-sink",
        "epicenter-alerts",
        "epicenter-intake",
        "epicenter-archive",
    ],
    &["epicenter-console"],
    &["epicenter"],
    &["epicenter-scenarios"],
    &["epicenter-tests"],
    &["epicenter-bench"],
    &["xtask"],
];

/// The core: a record in, records out, the same ones always.
const CORE: &[&str] = &["epicenter-model", "epicenter-catalog", "epicenter-correlate", "epicenter-rules"];
const CLIENTS: &[&str] = &["tokio", "rdkafka", "kube", "k8s-openapi", "reqwest"];
const CLOCKS: &[&str] = &["SystemTime::now", "Instant::now", "Timestamp::now", "Zoned::now"];

/// Everything that is against it.
pub fn check(files: &[File]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.name() == "Cargo.toml") {
        let manifest = parse(&file.text);
        if manifest.name.is_empty() {
            continue;
        }
        findings.extend(direction(&manifest).map(|finding| format!("{}: {finding}", file.path)));
        if CORE.contains(&manifest.name.as_str()) {
            findings.extend(clients(&manifest).map(|finding| format!("{}: {finding}", file.path)));
            let sources = file.path.replace("Cargo.toml", "src/");
            findings.extend(clocks(files.iter().filter(|file| file.path.starts_with(&sources))));
        }
    }
    findings
}

fn layer(package: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&package))
}

fn direction(manifest: &Manifest) -> impl Iterator<Item = String> {
    let name = &manifest.name;
    let own = layer(name);
    let unknown = own.is_none().then(|| format!("`{name}` is in no layer: add it to xtask/src/tidy/dependencies.rs"));
    let upward =
        manifest.dependencies.iter().filter(move |dependency| layer(dependency).is_some_and(|it| Some(it) >= own));
    unknown.into_iter().chain(upward.map(move |dependency| format!("`{name}` must not depend on `{dependency}`")))
}

fn clients(manifest: &Manifest) -> impl Iterator<Item = String> {
    // Their families too: tokio-util, kube-runtime.
    let is_client = |name: &str| {
        CLIENTS
            .iter()
            .any(|client| name.strip_prefix(client).is_some_and(|rest| rest.is_empty() || rest.starts_with('-')))
    };
    let found = manifest.dependencies.iter().filter(move |name| is_client(name));
    found.map(|name| format!("the core knows no `{name}`; that belongs to a service"))
}

fn clocks<'a>(sources: impl Iterator<Item = &'a File>) -> impl Iterator<Item = String> {
    sources.filter(|file| file.is_rust()).flat_map(|file| {
        file.text.lines().enumerate().filter_map(|(number, line)| {
            let clock = CLOCKS.iter().find(|clock| line.contains(*clock))?;
            Some(format!(
                "{}:{}: the core reads no clock (`{clock}`); time comes with the record",
                file.path,
                number + 1
            ))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    fn manifest(name: &str, dependency: &str) -> Vec<File> {
        vec![file("x/Cargo.toml", &format!("[package]\nname = \"{name}\"\n[dependencies]\n{dependency} = \"1\"\n"))]
    }

    #[test]
    fn dependencies_point_one_way() {
        let check = |name: &str, dependency: &str, expected: &[&str]| {
            assert_eq!(super::check(&manifest(name, dependency)), expected, "{name} on {dependency}");
        };
        check("epicenter-bus", "epicenter-model", &[]);
        check("epicenter-bus", "rdkafka", &[]);
        check("epicenter", "epicenter-sink", &[]);
        check("epicenter-tests", "epicenter-bus", &[]);
        check(
            "epicenter-model",
            "epicenter-bus",
            &["x/Cargo.toml: `epicenter-model` must not depend on `epicenter-bus`"],
        );
        check(
            "epicenter-sink",
            "epicenter-exporter",
            &["x/Cargo.toml: `epicenter-sink` must not depend on `epicenter-exporter`"],
        );
        check(
            "epicenter-new",
            "serde",
            &["x/Cargo.toml: `epicenter-new` is in no layer: add it to xtask/src/tidy/dependencies.rs"],
        );
        check(
            "epicenter-catalog",
            "kube-runtime",
            &["x/Cargo.toml: the core knows no `kube-runtime`; that belongs to a service"],
        );
        check("epicenter-model", "tokio", &["x/Cargo.toml: the core knows no `tokio`; that belongs to a service"]);
        check("epicenter-model", "kubernetes-quantity", &[]);
    }

    #[test]
    fn the_core_reads_no_clock() {
        let mut files = manifest("epicenter-model", "serde");
        files.push(file("x/src/lib.rs", "fn now() {\n    SystemTime::now()\n}\n"));
        files.push(file("x/benches/engine.rs", "fn now() {\n    SystemTime::now()\n}\n"));
        files.push(file("y/src/lib.rs", "fn now() {\n    SystemTime::now()\n}\n"));
        assert_eq!(
            check(&files),
            ["x/src/lib.rs:2: the core reads no clock (`SystemTime::now`); time comes with the record"]
        );
    }
}
