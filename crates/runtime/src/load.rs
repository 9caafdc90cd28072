//! Configuration: defaults, below a YAML file, below the environment. All that is wrong is reported at once.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use config::{ConfigError, Environment, File, FileFormat, Source as _, Value, ValueKind};
use serde::{Serialize, de::DeserializeOwned};

/// What can be configured.
///
/// Every struct in it has `#[serde(default, deny_unknown_fields)]`, so that each setting can be checked by itself.
pub trait Settings: Default + Serialize + DeserializeOwned {
    /// What is wrong with settings that are each of the right type: (key, what is wrong and how to mend it).
    fn problems(&self) -> Vec<(String, String)>;
}

/// Something that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, or the environment variable, in which it stands.
    pub origin: String,
    /// The setting, such as `bus.kafka.bootstrap`; empty when it concerns the whole file.
    pub key: String,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, key, what } = self;
        if key.is_empty() { write!(f, "{origin}: {what}") } else { write!(f, "{origin}: {key}: {what}") }
    }
}

/// Everything that is wrong with the configuration. Not retryable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<Problem>);

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration is wrong in {} place(s):", self.0.len())?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

/// Variables with the configuration's prefix that are no settings: the file's own path, and what tests are told.
const NO_SETTINGS: [&str; 5] =
    ["EPICENTER_CONFIG", "EPICENTER_TEST_", "EPICENTER_SEED", "EPICENTER_FAULTS", "EPICENTER_FUZZ"];

/// Reads the configuration from `file`, if there is one, and from `environment` (`EPICENTER_BUS__KAFKA__BOOTSTRAP` is
/// `bus.kafka.bootstrap`).
pub fn load<T: Settings>(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<T, ConfigErrors> {
    let defaults = config::Config::try_from(&T::default()).expect("defaults can be written down").cache;
    let mut problems = Vec::new();
    let mut layers = Vec::new();
    if let Some(path) = file {
        let origin = path.display().to_string();
        let layer = std::fs::read_to_string(path)
            .map_err(|error| error.to_string())
            .and_then(|text| File::from_str(&text, FileFormat::Yaml).collect().map_err(|error| error.to_string()));
        match layer {
            Ok(layer) => layers.push((Some(origin), Value::new(None, ValueKind::Table(layer)))),
            Err(what) => problems.push(Problem { origin, key: String::new(), what }),
        }
    }
    let environment: HashMap<String, String> = environment
        .into_iter()
        .filter(|(name, _)| !NO_SETTINGS.iter().any(|prefix| name.starts_with(prefix)))
        .collect();
    let environment =
        Environment::with_prefix("EPICENTER").prefix_separator("_").separator("__").source(Some(environment));
    let mut merged = Value::new(None, ValueKind::Table(config::Map::new()));
    match environment.collect_to(&mut merged) {
        Ok(()) => layers.push((None, merged)),
        Err(error) => {
            let origin = "the environment".to_owned();
            problems.push(Problem { origin, key: String::new(), what: error.to_string() });
        }
    }

    let mut whole = defaults.clone();
    let mut origins = HashMap::new();
    for (file, layer) in &layers {
        for (path, leaf) in leaves(layer) {
            let key = path.join(".");
            let origin = file.clone().unwrap_or_else(|| format!("EPICENTER_{}", key.to_uppercase().replace('.', "__")));
            let mut alone = defaults.clone();
            set(&mut alone, &path, leaf.clone());
            match T::deserialize(alone) {
                Ok(_) => set(&mut whole, &path, leaf.clone()),
                Err(error) => {
                    problems.push(Problem { origin: origin.clone(), key: key.clone(), what: explained(&error) });
                }
            }
            origins.insert(key, origin);
        }
    }
    let settings = T::deserialize(whole).map_err(|error| {
        let origin = "configuration".to_owned();
        ConfigErrors(vec![Problem { origin, key: String::new(), what: error.to_string() }])
    })?;
    problems.extend(settings.problems().into_iter().map(|(key, what)| {
        let origin = origins.get(&key).cloned().unwrap_or_else(|| "default".to_owned());
        Problem { origin, key, what }
    }));
    if problems.is_empty() { Ok(settings) } else { Err(ConfigErrors(problems)) }
}

/// Everything in `value` that is no table with content, with its path, in order of path.
fn leaves(value: &Value) -> Vec<(Vec<String>, &Value)> {
    match &value.kind {
        ValueKind::Table(table) if !table.is_empty() => {
            let mut keys: Vec<_> = table.keys().collect();
            keys.sort();
            let below = |key: &String| {
                let prefix = |(mut path, leaf): (Vec<String>, _)| {
                    path.insert(0, key.clone());
                    (path, leaf)
                };
                leaves(&table[key]).into_iter().map(prefix).collect::<Vec<_>>()
            };
            keys.into_iter().flat_map(below).collect()
        }
        ValueKind::Table(_) => Vec::new(),
        _ => vec![(Vec::new(), value)],
    }
}

fn set(value: &mut Value, path: &[String], leaf: Value) {
    let Some((key, rest)) = path.split_first() else {
        *value = leaf;
        return;
    };
    if !matches!(value.kind, ValueKind::Table(_)) {
        value.kind = ValueKind::Table(config::Map::new());
    }
    if let ValueKind::Table(table) = &mut value.kind {
        set(table.entry(key.clone()).or_insert_with(|| Value::new(None, ValueKind::Nil)), rest, leaf);
    }
}

/// The error without its place, which the problem names better.
fn explained(error: &ConfigError) -> String {
    match error {
        ConfigError::Type { unexpected, expected, .. } => format!("found {unexpected}, expected {expected}"),
        ConfigError::At { error, .. } => explained(error),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Sample {
        log: String,
        bus: Bus,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Bus {
        partitions: u32,
        properties: BTreeMap<String, String>,
    }

    impl Default for Bus {
        fn default() -> Self {
            Self { partitions: 12, properties: BTreeMap::new() }
        }
    }

    impl Settings for Sample {
        fn problems(&self) -> Vec<(String, String)> {
            let wrong = self.bus.partitions == 0;
            wrong.then(|| ("bus.partitions".to_owned(), "must be at least 1".to_owned())).into_iter().collect()
        }
    }

    fn loaded(yaml: &str, environment: &[(&str, &str)]) -> Result<Sample, ConfigErrors> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("epicenter.yaml");
        std::fs::write(&file, yaml).unwrap();
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        load(Some(&file), environment)
    }

    #[track_caller]
    fn check_errors(yaml: &str, environment: &[(&str, &str)], expected: &[&str]) {
        let errors = loaded(yaml, environment).unwrap_err();
        let shown: Vec<String> = errors
            .0
            .iter()
            .map(|problem| {
                let origin = problem.origin.rsplit('/').next().unwrap_or_default().to_owned();
                Problem { origin, ..problem.clone() }.to_string()
            })
            .collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn puts_the_environment_above_the_file_above_the_defaults() {
        let sample = loaded(
            "log: debug\nbus: {properties: {security.protocol: SSL}}",
            &[("EPICENTER_LOG", "warn"), ("EPICENTER_TEST_CACHE", "/x"), ("OTHER", "1")],
        );
        let properties = BTreeMap::from([("security.protocol".to_owned(), "SSL".to_owned())]);
        let expected = Sample { log: "warn".into(), bus: Bus { partitions: 12, properties } };
        assert_eq!(sample.unwrap(), expected);
        assert_eq!(loaded("", &[("EPICENTER_BUS__PARTITIONS", "3")]).unwrap().bus.partitions, 3);
    }

    #[test]
    fn reports_all_that_is_wrong_at_once_with_its_place() {
        check_errors(
            "lag: x\nbus: {partitions: many, size: 1}",
            &[("EPICENTER_BUS__COUNT", "1")],
            &[
                "epicenter.yaml: bus.partitions: found string \"many\", expected an integer",
                "epicenter.yaml: bus.size: unknown field `size`, expected `partitions` or `properties`",
                "epicenter.yaml: lag: unknown field `lag`, expected `log` or `bus`",
                "EPICENTER_BUS__COUNT: bus.count: unknown field `count`, expected `partitions` or `properties`",
            ],
        );
        check_errors("bus: {partitions: 0}", &[], &["epicenter.yaml: bus.partitions: must be at least 1"]);
    }

    #[test]
    fn names_the_place_where_a_file_is_no_yaml() {
        let errors = loaded("bus: [", &[]).unwrap_err();
        assert!(errors.to_string().contains("line 2 column 1"), "{errors}");
    }
}
