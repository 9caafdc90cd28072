//! Reads the command line, runs the command, and ends as `sysexits.h` wants it.

use std::process::ExitCode;

use epicenter::cli::Cli;
use epicenter::{commands, exit};
use mimalloc::MiMalloc;

// musl's allocator, which a static program has otherwise, serves one thread at a time (docs/adr/0026).
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::typed(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => return exit::usage(&error),
    };
    commands::run(cli).unwrap_or_else(|error| exit::report(&error))
}
