//! What a Cargo manifest of this workspace says of its package's dependencies. It reads tables and their keys, one a
//! line, as all manifests here are written.

/// A package and what it depends on.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Empty for a manifest without a package.
    pub name: String,
    /// For running and for building.
    pub dependencies: Vec<String>,
}

/// Reads a manifest.
pub fn parse(text: &str) -> Manifest {
    let mut manifest = Manifest::default();
    let mut table = "";
    for line in text.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            table = header.trim_end_matches(']');
            manifest.dependencies.extend(package_of_table(table).map(str::to_owned));
        } else if let Some((key, value)) = line.split_once('=') {
            // `name.workspace = true` depends on `name`.
            let key = key.trim().split('.').next().unwrap_or_default().trim_matches('"');
            if table == "package" && key == "name" {
                manifest.name = value.trim().trim_matches('"').to_owned();
            } else if is_dependencies(table) && !key.starts_with('#') {
                manifest.dependencies.push(key.to_owned());
            }
        }
    }
    manifest
}

/// `[dependencies]`, `[build-dependencies]`, and those of a target; what tests need may point anywhere.
fn is_dependencies(table: &str) -> bool {
    let table = table.rsplit_once('.').filter(|_| table.starts_with("target.")).map_or(table, |(_, last)| last);
    table == "dependencies" || table == "build-dependencies"
}

/// `[dependencies.name]`.
fn package_of_table(table: &str) -> Option<&str> {
    table.rsplit_once('.').filter(|(parent, _)| is_dependencies(parent)).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_way_to_name_a_dependency_and_leaves_those_of_tests() {
        let text = r#"
[package]
name = "epicenter-bus"

[dependencies]
# a = "1"
epicenter-model = { workspace = true }
tokio.workspace = true

[dependencies.rdkafka]
version = "1"

[target.'cfg(unix)'.dependencies]
nix = "1"

[build-dependencies]
cc = "1"

[dev-dependencies]
epicenter-tests = { path = "../../tests" }
"#;
        let expected = ["epicenter-model", "tokio", "rdkafka", "nix", "cc"].map(str::to_owned).to_vec();
        assert_eq!(parse(text), Manifest { name: "epicenter-bus".to_owned(), dependencies: expected });
        assert_eq!(parse("[workspace.dependencies]\ntokio = \"1\"\n"), Manifest::default());
    }
}
