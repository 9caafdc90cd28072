//! Tables of figures, on screen and in `docs/benchmarks.md`.

use std::fs;
use std::path::PathBuf;

const HEAD: &str =
    "# Benchmarks\n\nWritten by `cargo run --release -p epicenter-bench -- all --write`; do not edit by hand.";

/// What was measured.
#[derive(Default)]
pub struct Report {
    sections: Vec<String>,
}

impl Report {
    /// Adds a section, with when and where it was measured; `body` is Markdown.
    pub fn section(&mut self, title: &str, body: &str) {
        println!("\n{title}\n\n{body}");
        let date = jiff::Timestamp::now().strftime("%Y-%m-%d");
        self.sections.push(format!("## {title}\n\n{body}\n\n{date} on {}.", machine()));
    }

    /// Writes the file when that is asked for: what was not measured now stays as it is.
    pub fn finish(self, write: bool) -> anyhow::Result<()> {
        if !write {
            return Ok(());
        }
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/benchmarks.md");
        let text = fs::read_to_string(&file).unwrap_or_default();
        let old = text.split("\n## ").skip(1).map(|section| format!("## {}", section.trim_end()));
        let sections = self.sections.into_iter().fold(old.collect(), put).join("\n\n");
        fs::write(&file, format!("{HEAD}\n\n{sections}\n"))?;
        println!("\nwritten to {}", file.display());
        Ok(())
    }
}

/// In the place of the one with the same title, if there is one.
fn put(mut sections: Vec<String>, new: String) -> Vec<String> {
    match sections.iter_mut().find(|old| old.lines().next() == new.lines().next()) {
        Some(old) => *old = new,
        None => sections.push(new),
    }
    sections
}

/// Processor, cores and memory, as Linux tells them.
fn machine() -> String {
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map_or("unknown", |(_, value)| value.trim()).to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = field("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0u64) / 1024 / 1024;
    format!("{} ({cores} cores, {memory} GiB)", field("/proc/cpuinfo", "model name"))
}

/// The middle of some figures.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// `123,456`.
pub fn thousands(figure: f64) -> String {
    epicenter_model::thousands(figure.round_ties_even() as i64)
}
