//! Where the console listens, and who may look.

use epicenter_runtime::{Secret, SecretError};
use serde::{Deserialize, Serialize};

/// Where the console listens, and who may look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConsoleConfig {
    /// `address:port`; port 0 takes a free one. Empty for no console in `up`.
    pub listen: String,
    /// A token that is asked for, at a login or as `Authorization: Bearer …`, and is for everything. Those of `admin.tokens` are for what
    /// they say; one of all is needed when it listens beyond loopback.
    pub token: Secret,
    /// Names under which browsers may reach it, such as `console.example.com`, when it is behind a proxy. On loopback `localhost` and
    /// loopback's addresses are always among them; beyond it an empty list allows every name.
    pub hosts: Vec<String>,
}

impl Default for ConsoleConfig {
    fn default() -> Self {
        // Loopback: incidents name workloads, and nobody else needs to see them unasked.
        Self { listen: "127.0.0.1:0".to_owned(), token: Secret::default(), hosts: Vec::new() }
    }
}

impl ConsoleConfig {
    /// What is wrong with it, by key below `console`.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        if self.token.file.is_some() && self.token.env.is_some() {
            problems.push(("console.token".to_owned(), SecretError::NotOnePlace.to_string()));
        }
        let is_name = |host: &String| !host.is_empty() && !host.contains(['/', ' ', '@']);
        if let Some(host) = self.hosts.iter().find(|host| !is_name(host)) {
            let what =
                format!("`{host}` is no name of a host: write it as in the address bar, without https:// and path");
            problems.push(("console.hosts".to_owned(), what));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_cannot_be() {
        assert_eq!(ConsoleConfig::default().problems(), []);
        let token = Secret { file: Some("/t".into()), env: Some("T".into()) };
        let config = ConsoleConfig { token, hosts: vec!["https://x".into()], ..ConsoleConfig::default() };
        let keys: Vec<_> = config.problems().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["console.token", "console.hosts"]);
    }
}
