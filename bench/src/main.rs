//! What Epicenter's parts can carry, beside what the machine can: `cargo run --release -p epicenter-bench -- all`.
//!
//! Absolute figures belong to the machine that is named above them; the ratios are medians of interleaved pairs of one run.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod alerts;
#[cfg(feature = "archive")]
mod archive;
mod arguments;
mod bare;
mod console;
mod engine;
mod enriched;
mod enricher;
mod fleet;
mod insight;
mod installation;
mod kernel;
mod latency;
mod local;
mod memory;
mod report;

use arguments::{Arguments, What};
use clap::Parser;
use mimalloc::MiMalloc;
use report::Report;

// As the program has it.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

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
            alerts::measure(&mut report, &alerts::Asked::default())?;
            memory::measure(&mut report, &memory::Asked::default())?;
            fleet::measure(&mut report, &fleet::Asked::default())?;
            console::measure(&mut report, &console::Asked::default())?;
            #[cfg(feature = "archive")]
            archive::measure(&mut report, &archive::Asked::default())?;
            insight::measure(&mut report, insight::Set::Test, false)?;
        }
        What::Kernel => kernel::measure(&mut report)?,
        What::Local => local::measure(&mut report)?,
        #[cfg(feature = "archive")]
        What::Archive(asked) => archive::measure(&mut report, &asked)?,
        #[cfg(feature = "archive")]
        What::ArchivePart(part) => return archive::part(&part),
        What::Engine => engine::measure(&mut report)?,
        What::Enricher => enricher::measure(&mut report)?,
        What::Console(asked) => console::measure(&mut report, &asked)?,
        What::Fleet(asked) => fleet::measure(&mut report, &asked)?,
        What::Alerts(asked) => alerts::measure(&mut report, &asked)?,
        What::Latency(asked) => latency::measure(&mut report, &asked)?,
        What::Memory(asked) => memory::measure(&mut report, &asked)?,
        What::Insight(asked) => insight::run(&mut report, &asked)?,
    }
    report.finish(write)
}
