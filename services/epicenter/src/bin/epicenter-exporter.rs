//! `epicenter exporter`, and nothing else: what is not in the program is not in its memory (docs/adr/0033).

use std::process::ExitCode;

use clap::Parser;
use epicenter::cli::Global;
use epicenter::{commands, exit};
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Brings the Events of Kubernetes clusters into the log.
#[derive(Parser)]
#[command(name = "epicenter-exporter", version)]
struct Cli {
    #[command(flatten)]
    global: Global,
}

fn main() -> ExitCode {
    let Cli { global } = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return exit::usage(&error),
    };
    commands::exporter(&global).unwrap_or_else(|error| exit::report(&error))
}
