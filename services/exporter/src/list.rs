//! Pages of a list.

use std::sync::Arc;

use epicenter_model::GapReason;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::{Api, ApiError};
use crate::project;
use crate::resource::{Scope, escaped};

/// Why a resource is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Nothing of it is in the log: what there is is older than the installation.
    First,
    /// It is selected otherwise than what is in the log.
    Selection,
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
    scope: Arc<Scope>,
    size: u32,
    max_bytes: usize,
    next: Option<String>,
}

impl Pages {
    pub(crate) fn new(api: Api, scope: Arc<Scope>, size: u32, max_bytes: usize) -> Self {
        Self { api, scope, size, max_bytes, next: None }
    }

    /// The page, to be read by [`Page::read`]. Tell [`Pages::turn`] what it says of the next one.
    pub(crate) async fn get(&mut self) -> Result<bytes::Bytes, ApiError> {
        loop {
            let mut query = format!("limit={}", self.size);
            if let Some(token) = &self.next {
                query.push_str("&continue=");
                query.push_str(&escaped(token));
            }
            match self.api.get(&self.scope.uri(&query), self.max_bytes).await {
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
