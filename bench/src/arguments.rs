//! What can be asked for.

use clap::{Parser, Subcommand};

#[cfg(feature = "archive")]
use crate::archive;
use crate::{alerts, console, fleet, insight, latency, memory};

/// The command line.
#[derive(Parser)]
#[command(about = "Measures throughput; prints a table, and with --write puts it into docs/benchmarks.md")]
pub struct Arguments {
    /// What is measured.
    #[command(subcommand)]
    pub what: What,
    /// Put the tables into docs/benchmarks.md.
    #[arg(long, global = true)]
    pub write: bool,
}

/// What can be measured.
#[derive(Subcommand)]
pub enum What {
    /// Everything.
    All,
    /// The kernel on a real broker, against a bare consume–produce loop.
    Kernel,
    /// The kernel on a log in a directory.
    Local,
    /// The enricher, in memory, on one core.
    Enricher,
    /// From an Event in the cluster to its incident, on a real API server and a real broker.
    Latency(latency::Asked),
    /// From an Event in the cluster to a receiver that is told of its incident, likewise.
    Alerts(alerts::Asked),
    /// What exporter and enricher hold in memory, with a made-up API server and a real broker.
    Memory(memory::Asked),
    /// A thousand clusters at once, on a real broker.
    Fleet(fleet::Asked),
    /// The console, with many incidents open and many browsers that listen.
    Console(console::Asked),
    /// The archive, and what it answers, beside DuckDB on the same files.
    #[cfg(feature = "archive")]
    Archive(archive::Asked),
    /// A part of that, in a process of its own.
    #[cfg(feature = "archive")]
    #[command(hide = true)]
    ArchivePart(archive::Part),
    /// The engine, in memory, on one core.
    Engine,
    /// Whether the incidents are the right ones.
    Insight(insight::Asked),
}
