//! Rows as they are found, until the time is over.

use std::sync::Arc;
use std::time::Duration;

use deltalake::arrow::array::RecordBatch;
use deltalake::arrow::error::ArrowError;
use deltalake::arrow::json::{ArrayWriter, LineDelimitedWriter};
use deltalake::datafusion::error::DataFusionError;
use deltalake::datafusion::execution::context::SQLOptions;
use epicenter_runtime::metric::QUESTIONS;
use epicenter_runtime::{Metrics, QuerySection};
use futures::StreamExt as _;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::{Archive, Row};
use crate::ArchiveError;

/// Batches of rows that are found before they are asked for.
const AHEAD: usize = 2;

/// Rows of an answer, which come as they are found. Dropping it ends the question.
pub struct Answer {
    rows: Receiver<Result<RecordBatch, ArchiveError>>,
    work: JoinHandle<()>,
    deadline: Instant,
    limits: QuerySection,
    began: Instant,
    /// How it ended, as far as it has.
    outcome: &'static str,
    metrics: Metrics,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.work.abort();
        self.metrics.observe(&QUESTIONS, &[self.outcome], self.began.elapsed());
    }
}

impl Archive {
    /// Asks `query`, which may only read, within the limits; of what cannot be planned, `wrong` makes an error.
    pub(super) async fn ask(
        &self,
        query: &str,
        wrong: fn(&str, DataFusionError) -> ArchiveError,
    ) -> Result<Answer, ArchiveError> {
        let (limits, began) = (self.limits.clone(), Instant::now());
        let deadline = began + Duration::from_secs(limits.seconds);
        let turn = timeout_at(deadline, Arc::clone(&self.turns).acquire_owned()).await;
        // Turns are never closed, and the runtime is there until the archive is dropped.
        let (Ok(Ok(turn)), Some(runtime)) = (turn, &self.runtime) else { return Err(too_long(&limits)) };
        let (to, rows) = channel(AHEAD);
        let (tables, query) = (Arc::clone(&self.tables), query.to_owned());
        let work = runtime.spawn(async move {
            let memory = limits.memory;
            let only_read = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
            let begin = async {
                let session = tables.session().await?;
                let planned =
                    session.sql_with_options(&query, only_read).await.map_err(|error| wrong(&query, error))?;
                planned.execute_stream().await.map_err(|error| failed(memory, error))
            };
            match begin.await {
                Ok(mut stream) => {
                    while let Some(found) = stream.next().await {
                        if to.send(found.map_err(|error| failed(memory, error))).await.is_err() {
                            break;
                        }
                    }
                }
                // Who asked may have gone.
                Err(error) => drop(to.send(Err(error)).await),
            }
            drop(turn);
        });
        let metrics = self.metrics.clone();
        Ok(Answer { rows, work, deadline, limits: self.limits.clone(), began, outcome: "left", metrics })
    }
}

impl Answer {
    /// The next rows; `None` after the last.
    ///
    /// # Errors
    /// What cannot be asked so; when the time or the memory is used up, or a file cannot be read.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, ArchiveError> {
        let next = self.found().await;
        match &next {
            Ok(Some(_)) => {}
            Ok(None) => self.outcome = "answered",
            Err(error) if error.is_askers() => self.outcome = "refused",
            Err(_) => self.outcome = "failed",
        }
        next
    }

    async fn found(&mut self) -> Result<Option<RecordBatch>, ArchiveError> {
        match timeout_at(self.deadline, self.rows.recv()).await {
            Ok(Some(found)) => found.map(Some),
            Ok(None) => match (&mut self.work).await {
                Err(error) if error.is_panic() => Err(ArchiveError::query(
                    "answering",
                    DataFusionError::Internal("the query engine failed on this question".to_owned()),
                )),
                _ => Ok(None),
            },
            Err(_) => Err(too_long(&self.limits)),
        }
    }

    /// The next rows, an object of JSON in a line for each.
    ///
    /// # Errors
    /// As for [`Answer::next`].
    pub async fn lines(&mut self) -> Result<Option<Vec<u8>>, ArchiveError> {
        let Some(batch) = self.next().await? else { return Ok(None) };
        let mut writer = LineDelimitedWriter::new(Vec::new());
        writer.write(&batch).and_then(|()| writer.finish()).map_err(unwritable)?;
        Ok(Some(writer.into_inner()))
    }

    /// All its rows.
    ///
    /// # Errors
    /// As for [`Answer::next`].
    pub(super) async fn rows(mut self) -> Result<Vec<Row>, ArchiveError> {
        let mut writer = ArrayWriter::new(Vec::new());
        while let Some(batch) = self.next().await? {
            writer.write(&batch).map_err(unwritable)?;
        }
        writer.finish().map_err(unwritable)?;
        let written = writer.into_inner();
        if written.is_empty() {
            return Ok(Vec::new());
        }
        serde_json::from_slice(&written).map_err(|error| unwritable(ArrowError::JsonError(error.to_string())))
    }
}

fn unwritable(error: ArrowError) -> ArchiveError {
    ArchiveError::query("writing the answer as JSON", error.into())
}

fn too_long(limits: &QuerySection) -> ArchiveError {
    ArchiveError::TooLong { seconds: limits.seconds }
}

/// What became of a question that was understood.
fn failed(memory: usize, error: DataFusionError) -> ArchiveError {
    match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => ArchiveError::TooMuch { mebibytes: memory >> 20 },
        DataFusionError::ParquetError(_) | DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) => {
            ArchiveError::Unreadable { source: Box::new(error) }
        }
        _ => ArchiveError::query("answering", error),
    }
}
