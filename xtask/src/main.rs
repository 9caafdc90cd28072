//! What a developer runs: `cargo xtask servers | test | upgrade | image | lint | tidy | generate`.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod cargo;
mod generated;
mod image;
mod progress;
mod servers;
mod test;
mod tidy;
mod totals;
mod upgrade;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::cargo::workspace;

/// Sets up what the tests need, runs them, and keeps the tree tidy.
#[derive(Parser)]
#[command(name = "cargo xtask", disable_help_subcommand = true)]
enum Task {
    /// Download and build the test servers (Kafka, Kubernetes, etcd, KWOK) and Helm into $EPICENTER_TEST_CACHE, once.
    Servers {
        /// Those of the full tests, too (MinIO).
        #[arg(long)]
        full: bool,
    },
    /// Set up the servers, lint, and run every test of the workspace.
    Test {
        /// Run the fault tests at full length, and those that need servers which build long.
        #[arg(long)]
        full: bool,
        /// Arguments of `cargo test`; without `-p` the whole workspace is tested.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Build the services of an older version, and run them beside these ones, there and back.
    Upgrade {
        /// The older version: a tag, a branch or a commit.
        from: String,
    },
    /// Build the program of an image, and fail when it is too large for one.
    Image(image::Asked),
    /// Check formatting and run clippy; warnings are errors.
    Lint,
    /// Check the direction of dependencies, the sizes and names of files, left-overs, and generated files.
    Tidy,
    /// Write the generated files again.
    Generate,
}

fn main() -> ExitCode {
    run(Task::parse()).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(task: Task) -> Result<ExitCode> {
    match task {
        Task::Servers { full } => servers::install_all(&servers::cache()?, full)?,
        Task::Test { full, arguments } => return test::run(full, &arguments),
        Task::Upgrade { from } => upgrade::run(&from)?,
        Task::Image(asked) => image::run(&asked)?,
        Task::Lint => test::lint()?,
        Task::Tidy => {
            tidy::run(&workspace())?;
            generated::check()?;
        }
        Task::Generate => generated::write()?,
    }
    Ok(ExitCode::SUCCESS)
}
