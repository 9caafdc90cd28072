//! What is kept for long, where, and until when.

use epicenter_model::{Category, Severity};
use serde::{Deserialize, Serialize};

use crate::{Secret, SecretError};

/// A hundred years, days.
const LONGEST: u32 = 36_500;

/// The archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ArchiveConfig {
    /// A directory, or `s3://BUCKET/PREFIX`; when it is empty, `up` archives below its data directory.
    pub location: String,
    /// How to reach S3, when the location is there.
    pub s3: S3Section,
    /// What is written together.
    pub batch: BatchSection,
    /// Counts the logs that were archived to this location, from 1: raised by one when topics were created anew, so that
    /// their offsets begin again.
    pub generation: u32,
    /// What a question to the archive may take.
    pub query: QuerySection,
    /// How long what is archived is kept.
    pub retention: RetentionSection,
    /// Every so many hours small files are merged, and what is not kept any longer is deleted; 0 for never, when
    /// `archive compact` and `archive retain` run by themselves.
    pub maintain_every_hours: u64,
}

/// Any store that speaks S3. What is not set here is taken from the usual `AWS_*` variables, or from the pod's role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct S3Section {
    /// Its URL, such as `https://minio.example.com:9000`; empty for Amazon's.
    pub endpoint: String,
    /// Its region.
    pub region: String,
    /// The access key's id.
    pub access_key_id: Secret,
    /// The access key.
    pub secret_access_key: Secret,
}

/// What a question may take; beyond that it ends with an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuerySection {
    /// Until its last row is there, s.
    pub seconds: u64,
    /// Memory for sorting, grouping and joining, of all questions together, bytes.
    pub memory: usize,
}

/// A batch is written when the first of these is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchSection {
    /// Records.
    pub rows: usize,
    /// Bytes that they take as rows in memory, about: the archive writes most of them on before, questions keep them.
    pub bytes: usize,
    /// Age of its first record, s.
    pub seconds: u64,
}

/// Rows are deleted when they are older than the first rule that fits allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetentionSection {
    /// In their order.
    pub rules: Vec<RetentionRule>,
    /// Whole days that rows are kept that no rule fits; 0 for ever.
    pub days: u32,
}

/// How long some rows are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionRule {
    /// Of one of these categories; of any when it is empty.
    #[serde(default)]
    pub category: Vec<Category>,
    /// Of one of these severities; of any when it is empty.
    #[serde(default)]
    pub severity: Vec<Severity>,
    /// Whole days that they are kept; 0 for ever.
    pub days: u32,
}

impl Default for ArchiveConfig {
    fn default() -> Self {
        Self {
            location: String::new(),
            s3: S3Section::default(),
            batch: BatchSection::default(),
            generation: 1,
            query: QuerySection::default(),
            retention: RetentionSection::default(),
            maintain_every_hours: 6,
        }
    }
}

impl Default for BatchSection {
    fn default() -> Self {
        // Bytes are the limit while the archive catches up, and age when it is quiet; compaction merges what stays small.
        Self { rows: 100_000, bytes: 64 * 1024 * 1024, seconds: 300 }
    }
}

impl Default for QuerySection {
    fn default() -> Self {
        Self { seconds: 30, memory: 256 * 1024 * 1024 }
    }
}

impl Default for RetentionSection {
    fn default() -> Self {
        Self { rules: Vec::new(), days: 365 }
    }
}

impl ArchiveConfig {
    /// It is on S3.
    pub fn is_s3(&self) -> bool {
        self.location.starts_with("s3://")
    }

    /// What is wrong with it, by key below `archive`.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut wrong = |key: &str, what: &str| problems.push((format!("archive.{key}"), what.to_owned()));
        if !self.is_s3() && self.location.contains("://") {
            wrong("location", "must be a directory, or begin with s3://");
        }
        if self.is_s3() && self.location.trim_start_matches("s3://").split('/').next().is_none_or(str::is_empty) {
            wrong("location", "names no bucket: write s3://BUCKET/PREFIX");
        }
        let endpoint = &self.s3.endpoint;
        if !endpoint.is_empty() && !["http://", "https://"].iter().any(|scheme| endpoint.starts_with(scheme)) {
            wrong("s3.endpoint", "must begin with http:// or https://");
        }
        let keys = [("s3.access_key_id", &self.s3.access_key_id), ("s3.secret_access_key", &self.s3.secret_access_key)];
        for (key, secret) in keys {
            if secret.file.is_some() && secret.env.is_some() {
                wrong(key, &SecretError::NotOnePlace.to_string());
            }
        }
        if self.s3.access_key_id.is_set() != self.s3.secret_access_key.is_set() {
            wrong("s3.access_key_id", "belongs together with secret_access_key: set both or neither");
        }
        let numbers = [
            ("batch.rows", self.batch.rows),
            ("batch.bytes", self.batch.bytes),
            ("batch.seconds", usize::try_from(self.batch.seconds).unwrap_or(usize::MAX)),
            ("query.seconds", usize::try_from(self.query.seconds).unwrap_or(usize::MAX)),
            ("query.memory", self.query.memory),
        ];
        for (key, _) in numbers.into_iter().filter(|(_, value)| *value == 0) {
            wrong(key, "must be at least 1");
        }
        for days in self.retention.rules.iter().map(|rule| rule.days).chain([self.retention.days]) {
            if days > LONGEST {
                wrong("retention", "days must be at most 36500; 0 is for ever");
            }
        }
        if self.generation == 0 {
            wrong("generation", "must be at least 1");
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(change: impl FnOnce(&mut ArchiveConfig), expected: &[&str]) {
        let mut config = ArchiveConfig::default();
        change(&mut config);
        let found: Vec<_> = config.problems().into_iter().map(|(key, _)| key).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn says_what_cannot_be() {
        check(|_| {}, &[]);
        check(|c| c.location = "/var/lib/epicenter/archive".into(), &[]);
        check(|c| c.location = "s3://bucket".into(), &[]);
        check(|c| c.location = "s3:///prefix".into(), &["archive.location"]);
        check(|c| c.location = "gs://bucket".into(), &["archive.location"]);
        check(|c| c.s3.endpoint = "minio:9000".into(), &["archive.s3.endpoint"]);
        check(|c| c.s3.access_key_id.env = Some("ID".into()), &["archive.s3.access_key_id"]);
        check(
            |c| c.batch = BatchSection { rows: 0, bytes: 0, seconds: 0 },
            &["archive.batch.rows", "archive.batch.bytes", "archive.batch.seconds"],
        );
        check(|c| c.query = QuerySection { seconds: 0, memory: 0 }, &["archive.query.seconds", "archive.query.memory"]);
        check(|c| c.retention.days = 40_000, &["archive.retention"]);
        check(|c| c.generation = 0, &["archive.generation"]);
    }
}
