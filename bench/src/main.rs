//! What Epicenter's parts can carry, beside what the machine can: `cargo run --release -p epicenter-bench -- all`.
//!
//! Absolute figures belong to the machine that is named above them; the ratios are medians of interleaved pairs of one run.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

#[cfg(feature = "archive")]
mod archive;
mod bare;
mod engine;
mod enriched;
mod enricher;
mod fleet;
mod insight;
mod kernel;
mod latency;
mod local;
mod memory;
mod report;

use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;
use report::Report;

// As the program has it.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[derive(Parser)]
#[command(about = "Measures throughput; prints a table, and with --write puts it into docs/benchmarks.md")]
struct Arguments {
    #[command(subcommand)]
    what: What,
    /// Put the tables into docs/benchmarks.md.
    #[arg(long, global = true)]
    write: bool,
}

#[derive(Subcommand)]
enum What {
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
    /// What exporter and enricher hold in memory, with a made-up API server and a real broker.
    Memory(memory::Asked),
    /// A thousand clusters at once, on a real broker.
    Fleet(fleet::Asked),
    /// The archive, and what it answers, beside DuckDB on the same files.
    #[cfg(feature = "archive")]
    Archive(archive::Asked),
    /// The engine, in memory, on one core.
    Engine,
    /// Whether the incidents are the right ones.
    Insight(insight::Asked),
}

fn main() -> anyhow::Result<()> {
    let Arguments { what, write } = Arguments::parse();
    let mut report = Report::default();
    match what {
        What::All => {
            kernel::measure(&mut report)?;
            local::measure(&mut report)?;
            engine::measure(&mut report)?;
            enricher::measure(&mut report)?;
            latency::measure(&mut report, &latency::Asked::default())?;
            memory::measure(&mut report, &memory::Asked::default())?;
            fleet::measure(&mut report, &fleet::Asked::default())?;
            #[cfg(feature = "archive")]
            archive::measure(&mut report, &archive::Asked::default())?;
            insight::measure(&mut report, insight::Set::Test, false)?;
        }
        What::Kernel => kernel::measure(&mut report)?,
        What::Local => local::measure(&mut report)?,
        #[cfg(feature = "archive")]
        What::Archive(asked) => archive::measure(&mut report, &asked)?,
        What::Engine => engine::measure(&mut report)?,
        What::Enricher => enricher::measure(&mut report)?,
        What::Fleet(asked) => fleet::measure(&mut report, &asked)?,
        What::Latency(asked) => latency::measure(&mut report, &asked)?,
        What::Memory(asked) => memory::measure(&mut report, &asked)?,
        What::Insight(asked) => insight::run(&mut report, &asked)?,
    }
    report.finish(write)
}
