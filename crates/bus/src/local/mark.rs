//! A number beside the log, synced by itself: how many commits the log must have.
//!
//! fjall drops what it cannot decode at the end of its journal without a word. A log with fewer commits than the mark
//! has lost its end.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// The mark follows the commits at that distance: syncing it each time would double the cost of a commit.
const EVERY: Duration = Duration::from_secs(1);

pub(super) struct Mark {
    file: File,
    value: u64,
    /// The newest commit, when the file does not say it yet.
    ahead: Option<u64>,
    written: Instant,
}

impl Mark {
    pub(super) fn open(directory: &Path) -> std::io::Result<Self> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(directory.join("mark"))?;
        let mut bytes = [0; 8];
        let value = if file.read_exact_at(&mut bytes, 0).is_ok() { u64::from_be_bytes(bytes) } else { 0 };
        Ok(Self { file, value, ahead: None, written: Instant::now() })
    }

    pub(super) fn value(&self) -> u64 {
        self.value
    }

    /// Commit `number` is in the log.
    pub(super) fn advance(&mut self, number: u64) -> std::io::Result<()> {
        self.ahead = Some(number);
        if self.written.elapsed() < EVERY { Ok(()) } else { self.write() }
    }

    fn write(&mut self) -> std::io::Result<()> {
        self.written = Instant::now();
        let Some(number) = self.ahead.take() else { return Ok(()) };
        self.file.write_all_at(&number.to_be_bytes(), 0)?;
        self.file.sync_data()?;
        self.value = number;
        Ok(())
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        if let Err(error) = self.write() {
            tracing::warn!(%error, "the mark beside the log cannot be written: a loss of its end would go unnoticed");
        }
    }
}
