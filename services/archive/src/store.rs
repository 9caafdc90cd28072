//! Where the tables are: a directory, or a bucket.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use deltalake::logstore::{LogStoreRef, StorageConfig, default_logstore};
use epicenter_runtime::ArchiveConfig;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::{ClientOptions, ObjectStore, RetryConfig};
use url::Url;

use crate::ArchiveError;

/// A request to S3 is given up after that time, and is made again for so long.
const REQUEST: Duration = Duration::from_secs(30);
const RETRIES: Duration = Duration::from_secs(15);

/// A place for tables. Cheap to clone.
///
/// It must put a file only if it is not there yet, as directories, Amazon's S3 and MinIO can: Delta's log rests on that.
#[derive(Clone, Debug)]
pub struct Store {
    root: Arc<dyn ObjectStore>,
    url: Url,
}

impl Store {
    /// The location that is configured, else `directory`. It is not looked at yet: what is written first creates a directory that is missing.
    pub fn open(config: &ArchiveConfig, directory: Option<&Path>) -> Result<Self, ArchiveError> {
        let wrong = |why: String| ArchiveError::Location { location: config.location.clone(), why };
        if config.is_s3() {
            let url = Url::parse(&config.location).map_err(|error| wrong(error.to_string()))?;
            let mut builder = AmazonS3Builder::from_env()
                .with_bucket_name(url.host_str().unwrap_or_default())
                .with_client_options(ClientOptions::new().with_timeout(REQUEST).with_connect_timeout(REQUEST / 6))
                .with_retry(RetryConfig { retry_timeout: RETRIES, ..RetryConfig::default() });
            let s3 = &config.s3;
            if !s3.endpoint.is_empty() {
                let plain = s3.endpoint.starts_with("http://");
                builder = builder.with_endpoint(&s3.endpoint).with_allow_http(plain);
            }
            if !s3.region.is_empty() {
                builder = builder.with_region(&s3.region);
            }
            if s3.access_key_id.is_set() {
                builder = builder
                    .with_access_key_id(s3.access_key_id.read()?)
                    .with_secret_access_key(s3.secret_access_key.read()?);
            }
            let root = builder.build().map_err(|error| wrong(error.to_string()))?;
            return Ok(Self { root: Arc::new(root), url });
        }
        let configured = Some(Path::new(&config.location)).filter(|path| !path.as_os_str().is_empty());
        let path = configured.or(directory).ok_or_else(|| wrong("is not set".to_owned()))?;
        let absolute = std::path::absolute(path).map_err(|error| wrong(error.to_string()))?;
        let url = Url::from_directory_path(&absolute).map_err(|()| wrong("is no absolute path".to_owned()))?;
        Ok(Self::over(Arc::new(LocalFileSystem::new()), url))
    }

    /// The place `url` in the store `root`.
    pub fn over(root: Arc<dyn ObjectStore>, url: Url) -> Self {
        Self { root, url }
    }

    /// Where the table `name` is.
    pub(crate) fn table(&self, name: &str) -> Result<LogStoreRef, ArchiveError> {
        let wrong = |why: String| ArchiveError::Location { location: self.url.to_string(), why };
        let mut url = self.url.clone();
        url.path_segments_mut().map_err(|()| wrong("has no path".to_owned()))?.pop_if_empty().extend([name, ""]);
        let config = StorageConfig::default();
        let below = config.decorate_store(Arc::clone(&self.root), &url).map_err(|error| wrong(error.to_string()))?;
        Ok(default_logstore(Arc::from(below), Arc::clone(&self.root), &url, &config))
    }
}
