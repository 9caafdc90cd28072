//! Pages of a list.

use epicenter_model::GapReason;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::{Api, ApiError};
use crate::project;
use crate::resource::Resource;

/// Why a resource is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Nothing of it is in the log: what there is is older than the installation.
    First,
    /// The watch cannot go on from its position.
    Gap(GapReason),
}

/// What an answer to a list says; the items as they came.
#[derive(Deserialize)]
pub(crate) struct Page<'p> {
    pub(crate) metadata: PageMeta,
    #[serde(borrow, default)]
    pub(crate) items: Option<Vec<&'p RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PageMeta {
    /// The version of the whole list: all pages show the state at that time.
    pub(crate) resource_version: String,
    /// Token of the next page.
    pub(crate) r#continue: Option<String>,
}

impl<'p> Page<'p> {
    pub(crate) fn read(json: &'p [u8]) -> Result<Self, ApiError> {
        Ok(project::read(json)?)
    }
}

/// Asks for one page after the other.
pub(crate) struct Pages {
    api: Api,
    path: String,
    size: u32,
    max_bytes: usize,
    next: Option<String>,
}

impl Pages {
    pub(crate) fn new(api: Api, resource: Resource, size: u32, max_bytes: usize) -> Self {
        Self { api, path: resource.path(), size, max_bytes, next: None }
    }

    /// The page, to be read by [`Page::read`]. Tell [`Pages::turn`] what it says of the next one.
    pub(crate) async fn get(&mut self) -> Result<bytes::Bytes, ApiError> {
        loop {
            let mut uri = format!("{}?limit={}", self.path, self.size);
            if let Some(token) = &self.next {
                uri.push_str("&continue=");
                uri.push_str(&escaped(token));
            }
            match self.api.get(&uri, self.max_bytes).await {
                Err(ApiError::TooLong { .. }) if self.size > 1 => self.size /= 2,
                answer => return answer,
            }
        }
    }

    /// Goes on to the next page; says whether there is one.
    pub(crate) fn turn(&mut self, token: Option<String>) -> bool {
        self.next = token.filter(|token| !token.is_empty());
        self.next.is_some()
    }
}

/// `text` in a query.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => escaped.push(char::from(byte)),
            other => escaped.push_str(&format!("%{other:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_has_a_meaning_in_a_query() {
        assert_eq!(escaped("aZ9-_.~ +/=&ü"), "aZ9-_.~%20%2B%2F%3D%26%C3%BC");
    }
}
