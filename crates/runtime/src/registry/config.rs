//! Which registry.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Secret, SecretError};

/// A schema registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegistryConfig {
    /// Its Confluent API, such as `https://registry:8081` or `http://apicurio:8080/apis/ccompat/v7`; empty for none.
    pub url: String,
    /// For basic authentication, with `password`.
    pub username: String,
    /// For basic authentication.
    pub password: Secret,
    /// For `Authorization: Bearer …`.
    pub token: Secret,
    /// A PEM file of the authorities that may sign its certificate; those of Mozilla when it is not set.
    pub ca: Option<PathBuf>,
    /// A directory in which ids and schemas are kept, so that a service starts while the registry is down.
    pub cache: Option<PathBuf>,
    /// How long an answer may take, ms.
    pub timeout_ms: u64,
    /// Records are written with the registry's ids. Without, its ids are only read: so it is taken out of use.
    pub write: bool,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            username: String::new(),
            password: Secret::default(),
            token: Secret::default(),
            ca: None,
            cache: None,
            // It blocks the partition whose record it is about, which must be given up in time when the group wants it.
            timeout_ms: 2000,
            write: true,
        }
    }
}

impl RegistryConfig {
    /// There is one.
    pub fn is_set(&self) -> bool {
        !self.url.is_empty()
    }

    /// What is wrong with it, by key below `registry`.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut wrong = |key: &str, what: String| problems.push((format!("registry.{key}"), what));
        if self.is_set() && !["http://", "https://"].iter().any(|scheme| self.url.starts_with(scheme)) {
            wrong("url", "must begin with http:// or https://".to_owned());
        }
        if self.url.contains('@') {
            wrong("url", "a secret does not belong here: set registry.username and registry.password".to_owned());
        }
        if self.username.is_empty() == self.password.is_set() {
            wrong("username", "basic authentication needs both username and password".to_owned());
        }
        if !self.username.is_empty() && self.token.is_set() {
            wrong("token", "choose either a token or username and password".to_owned());
        }
        for (key, secret) in [("password", &self.password), ("token", &self.token)] {
            if secret.file.is_some() && secret.env.is_some() {
                wrong(key, SecretError::NotOnePlace.to_string());
            }
        }
        if !(1..=60_000).contains(&self.timeout_ms) {
            wrong("timeout_ms", "must be 1 to 60000".to_owned());
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(change: impl FnOnce(&mut RegistryConfig), expected: &[&str]) {
        let mut config = RegistryConfig { url: "http://registry:8081".into(), ..RegistryConfig::default() };
        change(&mut config);
        let keys: Vec<String> = config.problems().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, expected);
    }

    #[test]
    fn refuses_what_cannot_be_asked() {
        let secret = || Secret { env: Some("X".into()), file: None };
        check(|_| {}, &[]);
        check(|c| c.url = "registry:8081".into(), &["registry.url"]);
        check(|c| c.url = "http://me:secret@registry:8081".into(), &["registry.url"]);
        check(|c| c.username = "me".into(), &["registry.username"]);
        check(|c| c.password = secret(), &["registry.username"]);
        check(|c| (c.username, c.password) = ("me".into(), secret()), &[]);
        check(|c| (c.username, c.password, c.token) = ("me".into(), secret(), secret()), &["registry.token"]);
        check(|c| c.timeout_ms = 0, &["registry.timeout_ms"]);
    }
}
