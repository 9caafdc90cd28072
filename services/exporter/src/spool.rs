//! Commits that the log does not take now, in files: the API server may forget what is in them, long before the log is back.
//!
//! A commit is a file: an LZ4 frame, with a checksum, of a [`Stored`] in postcard. It is written under another name, synced and
//! renamed, so that it is there wholly or not at all. It is named by its log time, and tells that of the commit before it; and
//! every commit of the log carries its log time in the cluster's positions. So it is known, whenever and however the process
//! ended, which files the log has already, and whether somebody else has written since.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use epicenter_bus::{Emit, topics};
use epicenter_model::Timestamp;
use lz4_flex::frame::{FrameDecoder, FrameEncoder, FrameInfo};
use serde::{Deserialize, Serialize};

use crate::committer::{Commit, Row};
use crate::health::Committed;

const FORMAT: u8 = 1;
const ENDING: &str = "commit";
/// A file that is being written.
const PARTIAL: &str = "partial";
/// A file takes whole blocks of a disk.
const BLOCK: u64 = 4096;
/// A commit that claims to be longer is damaged, bytes.
const LONGEST: u64 = 256 * 1024 * 1024;

/// Where commits wait for the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpoolConfig {
    /// A directory of this exporter alone, on a disk that outlives the process; empty for no spool.
    pub directory: String,
    /// Bytes on disk at most, of each cluster. When it is full the watches are not read until the log takes more. 1 GiB: some
    /// 15 million Events.
    pub max_bytes: u64,
}

impl Default for SpoolConfig {
    fn default() -> Self {
        Self { directory: String::new(), max_bytes: 1024 * 1024 * 1024 }
    }
}

impl SpoolConfig {
    /// What is wrong with it: key and reason.
    pub(crate) fn problems(&self) -> Vec<(String, String)> {
        let small = self.max_bytes < BLOCK;
        small.then(|| ("max_bytes".to_owned(), format!("must be at least {BLOCK}"))).into_iter().collect()
    }
}

/// Why the spool cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpoolError {
    /// Tried again.
    #[error("spool {}: {why}; exporter.spool.directory must be on a disk that works, has room, and can be written", path.display())]
    Disk { path: PathBuf, why: io::Error },
    /// The log has another history than what is spooled. Final.
    #[error(
        "another exporter has written this cluster's log since: {commits} spooled commits are given up, and the cluster is read on \
         from where that one has come"
    )]
    Astray { commits: usize },
}

/// The content of a file.
#[derive(Serialize, Deserialize)]
struct Stored<'s> {
    format: u8,
    /// A cluster can be replaced by another of the same name.
    cluster_uid: &'s str,
    after: Timestamp,
    at: Timestamp,
    done: Committed,
    #[serde(borrow)]
    records: Vec<StoredRecord<'s>>,
    /// All positions.
    #[serde(borrow)]
    rows: Vec<(&'s [u8], &'s [u8])>,
}

#[derive(Serialize, Deserialize)]
struct StoredRecord<'s> {
    topic: &'s str,
    timestamp: i64,
    key: &'s [u8],
    payload: Option<&'s [u8]>,
    #[serde(borrow)]
    headers: Vec<(&'s str, &'s [u8])>,
}

/// How full a spool is, bytes on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fill {
    pub(crate) bytes: u64,
    pub(crate) max_bytes: u64,
}

/// A commit that waits.
struct Waiting {
    after: Timestamp,
    at: Timestamp,
    /// On disk.
    bytes: u64,
}

/// The commits of one cluster that wait, oldest first.
pub(crate) struct Spool {
    directory: PathBuf,
    max_bytes: u64,
    cluster_uid: String,
    waiting: VecDeque<Waiting>,
    bytes: u64,
}

impl Spool {
    /// What an earlier process left; also the positions of the newest commit, when there is one. Whatever cannot be read is
    /// removed, with a word, and what came after it.
    pub(crate) fn open(
        config: &SpoolConfig,
        cluster: &str,
        cluster_uid: &str,
    ) -> Result<(Self, Option<Vec<Row>>), SpoolError> {
        // A cluster's name has no slash, but may be `..`.
        let directory = Path::new(&config.directory).join(format!("{cluster}.spool"));
        let failed = |why| SpoolError::Disk { path: directory.clone(), why };
        fs::create_dir_all(&directory).map_err(failed)?;
        let mut names = Vec::new();
        for entry in fs::read_dir(&directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            match path.extension().and_then(|ending| ending.to_str()) {
                Some(ENDING) => names.push(path),
                Some(PARTIAL) => {
                    tracing::info!(file = %path.display(), "it was being written when the process ended: read again from the cluster");
                    fs::remove_file(&path).map_err(failed)?;
                }
                _ => {}
            }
        }
        names.sort();
        let (max_bytes, cluster_uid) = (config.max_bytes, cluster_uid.to_owned());
        let mut spool = Self { directory, max_bytes, cluster_uid, waiting: VecDeque::new(), bytes: 0 };
        let mut rows = None;
        for (number, path) in names.iter().enumerate() {
            match spool.read(path).and_then(|(commit, bytes)| spool.follows(commit, bytes)) {
                Ok((commit, bytes)) => {
                    spool.add(&commit, bytes);
                    rows = Some(commit.all);
                }
                Err(why) => {
                    let (file, lost) = (path.display(), names.len() - number);
                    tracing::error!(
                        %file, %why, lost,
                        "a spooled commit cannot be used, as after a power loss on a disk that does not sync: it and those after it are \
                         removed, and read again from the cluster as far as it still has them"
                    );
                    names[number..].iter().try_for_each(fs::remove_file).map_err(|why| spool.failed(why))?;
                    break;
                }
            }
        }
        Ok((spool, rows))
    }

    /// A commit follows the one before it without a break.
    fn follows(&self, commit: Commit, bytes: u64) -> io::Result<(Commit, u64)> {
        match self.waiting.back() {
            Some(last) if last.at != commit.after => Err(io::Error::other("one before it is missing")),
            _ => Ok((commit, bytes)),
        }
    }

    fn failed(&self, why: io::Error) -> SpoolError {
        SpoolError::Disk { path: self.directory.clone(), why }
    }

    fn add(&mut self, commit: &Commit, bytes: u64) {
        self.waiting.push_back(Waiting { after: commit.after, at: commit.at, bytes });
        self.bytes += bytes;
    }

    fn file(&self, at: Timestamp) -> PathBuf {
        self.directory.join(format!("{:020}.{ENDING}", at.as_micros()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How full it is.
    pub(crate) fn fill(&self) -> Fill {
        Fill { bytes: self.bytes, max_bytes: self.max_bytes }
    }

    /// Appends a commit, synced; says whether there was room for it.
    pub(crate) fn append(&mut self, commit: &Commit) -> Result<bool, SpoolError> {
        if self.bytes >= self.max_bytes {
            return Ok(false);
        }
        let (path, partial) = (self.file(commit.at), self.directory.join(PARTIAL).with_extension(PARTIAL));
        let written = self.write(commit, &partial).and_then(|bytes| {
            if self.bytes + bytes > self.max_bytes {
                return Ok(None);
            }
            fs::rename(&partial, &path)?;
            File::open(&self.directory)?.sync_all()?;
            Ok(Some(bytes))
        });
        match written {
            Ok(Some(bytes)) => {
                self.add(commit, bytes);
                Ok(true)
            }
            not_written => {
                // What is left of it is removed at the next start, too.
                let _ = fs::remove_file(&partial);
                not_written.map(|_| false).map_err(|why| self.failed(why))
            }
        }
    }

    fn write(&self, commit: &Commit, path: &Path) -> io::Result<u64> {
        let records = commit.records.iter().map(|emit| StoredRecord {
            topic: emit.topic,
            timestamp: emit.timestamp,
            key: &emit.key,
            payload: emit.payload.as_deref(),
            headers: emit.headers.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect(),
        });
        let stored = Stored {
            format: FORMAT,
            cluster_uid: &self.cluster_uid,
            after: commit.after,
            at: commit.at,
            done: commit.done,
            records: records.collect(),
            rows: commit.all.iter().map(|(key, value)| (key.as_slice(), value.as_slice())).collect(),
        };
        let info = FrameInfo::new().content_checksum(true);
        let mut frame = FrameEncoder::with_frame_info(info, File::create(path)?);
        frame.write_all(&postcard::to_stdvec(&stored).map_err(io::Error::other)?)?;
        let file = frame.finish()?;
        file.sync_all()?;
        Ok(file.metadata()?.len().next_multiple_of(BLOCK))
    }

    /// A file's commit, and its bytes on disk.
    fn read(&self, path: &Path) -> io::Result<(Commit, u64)> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len().next_multiple_of(BLOCK);
        let mut content = Vec::new();
        FrameDecoder::new(file).take(LONGEST).read_to_end(&mut content)?;
        let stored: Stored<'_> = postcard::from_bytes(&content).map_err(io::Error::other)?;
        if stored.format != FORMAT {
            return Err(io::Error::other(format!("format {} of another version of Epicenter", stored.format)));
        }
        if stored.cluster_uid != self.cluster_uid {
            return Err(io::Error::other(format!("it is of another cluster of that name, {}", stored.cluster_uid)));
        }
        let owned = |(key, value): (&[u8], &[u8])| (key.to_vec(), value.to_vec());
        let records = stored.records.iter().map(emit).collect::<io::Result<_>>()?;
        let all: Vec<Row> = stored.rows.into_iter().map(owned).collect();
        let commit =
            Commit { records, changed: all.clone(), all, after: stored.after, at: stored.at, done: stored.done };
        Ok((commit, bytes))
    }

    /// The oldest commit.
    pub(crate) fn first(&self) -> Result<Option<Commit>, SpoolError> {
        let Some(waiting) = self.waiting.front() else { return Ok(None) };
        let path = self.file(waiting.at);
        self.read(&path).map(|(commit, _)| Some(commit)).map_err(|why| SpoolError::Disk { path, why })
    }

    /// The log has the oldest commit.
    pub(crate) fn remove_first(&mut self) -> Result<(), SpoolError> {
        let Some(waiting) = self.waiting.front() else { return Ok(()) };
        let path = self.file(waiting.at);
        match fs::remove_file(&path) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => Err(SpoolError::Disk { path, why }),
            _ => {
                self.bytes -= waiting.bytes;
                self.waiting.pop_front();
                Ok(())
            }
        }
    }

    /// The newest commit of the log is that of `committed`: removes those that it has. Says whether the next one follows from it.
    pub(crate) fn settle(&mut self, committed: Timestamp) -> Result<bool, SpoolError> {
        while self.waiting.front().is_some_and(|first| first.at <= committed) {
            self.remove_first()?;
        }
        Ok(self.waiting.front().is_none_or(|first| first.after == committed))
    }

    /// Removes everything; gives how many they were.
    pub(crate) fn clear(&mut self) -> Result<usize, SpoolError> {
        let commits = self.waiting.len();
        while !self.is_empty() {
            self.remove_first()?;
        }
        Ok(commits)
    }
}

fn emit(stored: &StoredRecord<'_>) -> io::Result<Emit> {
    let topic = topics::ALL.iter().find(|topic| topic.name == stored.topic);
    let topic = topic.ok_or_else(|| io::Error::other(format!("{} is no topic of this version", stored.topic)))?;
    let copied = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
    let header = |(name, value): &(&str, &[u8])| (Cow::Owned((*name).to_owned()), copied(value));
    Ok(Emit {
        topic: topic.name,
        timestamp: stored.timestamp,
        key: copied(stored.key),
        payload: stored.payload.map(copied),
        headers: stored.headers.iter().map(header).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    /// A commit at that log time, after the one ten before.
    fn commit(micros: i64) -> Commit {
        let record = Emit {
            topic: topics::EVENTS_RAW.name,
            timestamp: micros,
            key: "key".into(),
            payload: Some(vec![b'x'; 1000].into()),
            headers: vec![("ce_id".into(), micros.to_string().into())],
        };
        let all = vec![(b"c/events".to_vec(), micros.to_string().into_bytes())];
        Commit {
            records: vec![record],
            changed: vec![],
            all,
            after: at(micros - 10),
            at: at(micros),
            done: Committed::default(),
        }
    }

    fn config(directory: &tempfile::TempDir, max_bytes: u64) -> SpoolConfig {
        SpoolConfig { directory: directory.path().to_str().unwrap().to_owned(), max_bytes }
    }

    fn open(config: &SpoolConfig) -> (Spool, Option<String>) {
        let (spool, rows) = Spool::open(config, "c", "uid").unwrap();
        (spool, rows.map(|rows| String::from_utf8(rows[0].1.clone()).unwrap()))
    }

    /// The log times of all commits, in order.
    fn drained(mut spool: Spool) -> Vec<i64> {
        let mut found = Vec::new();
        while let Some(first) = spool.first().unwrap() {
            assert_eq!(first.records, commit(first.at.as_micros()).records);
            assert_eq!(first.changed, commit(first.at.as_micros()).all);
            found.push(first.at.as_micros());
            spool.remove_first().unwrap();
        }
        assert_eq!(spool.fill().bytes, 0);
        found
    }

    /// A directory with three commits.
    fn spooled() -> (tempfile::TempDir, SpoolConfig, Vec<PathBuf>) {
        let directory = tempfile::tempdir().unwrap();
        let config = config(&directory, 1 << 20);
        let mut spool = open(&config).0;
        let files = [100, 110, 120].map(|micros| {
            assert!(spool.append(&commit(micros)).unwrap());
            spool.file(at(micros))
        });
        (directory, config, files.to_vec())
    }

    #[test]
    fn another_process_goes_on_where_one_ended() {
        let (_directory, config, _) = spooled();
        let (spool, rows) = open(&config);
        assert_eq!(rows.as_deref(), Some("120"), "the newest positions");
        assert_eq!(drained(spool), [100, 110, 120]);
        assert_eq!(open(&config).1, None);
    }

    #[test]
    fn what_a_power_loss_damaged_is_removed_with_what_follows_it() {
        let cut = |file: &Path| File::options().write(true).open(file).unwrap().set_len(40).unwrap();
        let flip = |file: &Path| {
            let mut bytes = fs::read(file).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(file, bytes).unwrap();
        };
        let remove = |file: &Path| fs::remove_file(file).unwrap();
        let damages: [(&str, &dyn Fn(&Path)); 3] = [("cut", &cut), ("flip", &flip), ("remove", &remove)];
        for (what, damage) in damages {
            for (damaged, left) in [(0, vec![]), (1, vec![100]), (2, vec![100, 110])] {
                let (_directory, config, files) = spooled();
                fs::write(files[0].with_file_name("partial.partial"), "half").unwrap();
                damage(&files[damaged]);
                let (spool, _) = open(&config);
                match (what, damaged) {
                    // Nothing tells that it was there: the log's own position does.
                    ("remove", 0) => assert!(!drained(spool).is_empty()),
                    _ => assert_eq!(drained(spool), left, "{what} {damaged}"),
                }
                assert_eq!(fs::read_dir(files[0].parent().unwrap()).unwrap().count(), 0, "{what} {damaged}");
            }
        }
    }

    #[test]
    fn another_cluster_of_that_name_does_not_get_it() {
        let (_directory, config, _) = spooled();
        assert!(Spool::open(&config, "c", "another").unwrap().1.is_none());
        assert_eq!(open(&config).1, None);
    }

    #[test]
    fn the_log_tells_what_it_has_and_whether_the_rest_follows() {
        for (committed, left, follows) in [
            (90, vec![100, 110, 120], true),
            (100, vec![110, 120], true),
            (120, vec![], true),
            (95, vec![100, 110, 120], false),
        ] {
            let (_directory, config, _) = spooled();
            let mut spool = open(&config).0;
            assert_eq!(spool.settle(at(committed)).unwrap(), follows, "{committed}");
            assert_eq!(drained(spool), left, "{committed}");
        }
        // Somebody else has written between two of them.
        let (_directory, config, _) = spooled();
        let mut spool = open(&config).0;
        assert!(!spool.settle(at(115)).unwrap());
        assert_eq!(spool.clear().unwrap(), 1);
        assert!(spool.is_empty());
    }

    #[test]
    fn takes_no_more_than_it_may() {
        let directory = tempfile::tempdir().unwrap();
        let mut spool = open(&config(&directory, 3 * BLOCK)).0;
        let taken: Vec<bool> = (10..15).map(|tens| spool.append(&commit(tens * 10)).unwrap()).collect();
        assert_eq!(taken, [true, true, true, false, false]);
        assert_eq!(spool.fill(), Fill { bytes: 3 * BLOCK, max_bytes: 3 * BLOCK });
        assert_eq!(drained(spool), [100, 110, 120]);
    }
}
