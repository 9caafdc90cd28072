//! A store that fails: before it does what it is asked, or after.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

#[derive(Debug)]
pub struct Flaky {
    inner: Arc<dyn ObjectStore>,
    /// Chooses which requests fail, and how many still may.
    random: Mutex<(StdRng, u32)>,
}

/// Of so many requests one fails.
const ONE_IN: u32 = 10;

impl Flaky {
    /// A store that works once it has failed `failures` times.
    pub fn new(inner: Arc<dyn ObjectStore>, seed: u64, failures: u32) -> Self {
        Self { inner, random: Mutex::new((StdRng::seed_from_u64(seed), failures)) }
    }

    fn fail(&self) -> Result<()> {
        let (random, left) = &mut *self.random.lock();
        if *left > 0 && random.random_range(0..ONE_IN) == 0 {
            *left -= 1;
            return Err(object_store::Error::Generic { store: "flaky", source: "no answer".into() });
        }
        Ok(())
    }
}

impl fmt::Display for Flaky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("flaky")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Flaky {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.fail()?;
        let outcome = self.inner.put_opts(location, payload, options).await?;
        // It is there, and nobody hears of it.
        self.fail()?;
        Ok(outcome)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.fail()?;
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.fail()?;
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.fail()?;
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.fail() {
            Ok(()) => self.inner.list(prefix),
            Err(error) => Box::pin(futures::stream::iter([Err(error)])),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.fail()?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.fail()?;
        self.inner.copy_opts(from, to, options).await
    }
}
