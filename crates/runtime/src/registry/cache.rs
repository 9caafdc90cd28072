//! What a registry said, kept in a file: `registry.json` in the directory `registry.cache`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What is known of a registry. Ids are never given anew, so that nothing in it grows old.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    /// The registry.
    pub url: String,
    /// The schemas of ids.
    pub schemas: BTreeMap<u32, String>,
    /// The id of the newest schema that was written under each subject.
    pub subjects: BTreeMap<String, u32>,
}

/// The file; without a directory it keeps nothing.
#[derive(Debug)]
pub(super) struct Cache(Option<PathBuf>);

impl Cache {
    pub(super) fn new(directory: Option<&Path>) -> Self {
        Self(directory.map(|directory| directory.join("registry.json")))
    }

    /// What is kept of the registry at `url`. A file that cannot be read counts as none.
    pub(super) fn read(&self, url: &str) -> Known {
        let nothing = Known { url: url.to_owned(), ..Known::default() };
        let Some(path) = &self.0 else { return nothing };
        let read = std::fs::read(path).and_then(|bytes| Ok(serde_json::from_slice::<Known>(&bytes)?));
        match read {
            Ok(known) if known.url == url => known,
            Ok(_) => nothing,
            Err(error) => {
                if error.kind() != std::io::ErrorKind::NotFound {
                    tracing::warn!(path = %path.display(), %error, "what is kept of the schema registry cannot be read");
                }
                nothing
            }
        }
    }

    /// Keeps it. That it cannot be kept costs a warm start only.
    pub(super) fn write(&self, known: &Known) {
        let Some(path) = &self.0 else { return };
        if let Err(error) = replace(path, known) {
            tracing::warn!(path = %path.display(), %error, "what the schema registry said cannot be kept");
        }
    }
}

fn replace(path: &Path, known: &Known) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory)?;
    // Several services may share the directory: each renames a file of its own.
    let unfinished = directory.join(format!(".registry-{}.json", std::process::id()));
    let mut file = std::fs::File::create(&unfinished)?;
    file.write_all(&serde_json::to_vec(known)?)?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_a_registry_said_and_never_takes_it_for_that_of_another() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(Some(&directory.path().join("below")));
        let mut known = cache.read("http://a");
        assert_eq!(known, Known { url: "http://a".into(), ..Known::default() });
        known.schemas.insert(7, "{}".into());
        known.subjects.insert("s".into(), 7);
        cache.write(&known);
        assert_eq!(cache.read("http://a"), known);
        assert_eq!(cache.read("http://b").schemas, BTreeMap::new());
        std::fs::write(directory.path().join("below/registry.json"), "{").unwrap();
        assert_eq!(cache.read("http://a").schemas, BTreeMap::new());
    }
}
