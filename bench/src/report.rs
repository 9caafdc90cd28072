//! Tables of figures, on screen and in `docs/benchmarks.md`.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// What was measured.
#[derive(Default)]
pub struct Report {
    sections: Vec<String>,
}

impl Report {
    /// The sections of the file as it is, of what was not measured now.
    fn kept(&self, file: &Path) -> Vec<String> {
        let text = fs::read_to_string(file).unwrap_or_default();
        let title = |section: &str| section.lines().next().unwrap_or_default().to_owned();
        let measured: Vec<String> = self.sections.iter().map(|section| title(&section[3..])).collect();
        let old = text.split("\n## ").skip(1).filter(|section| !measured.contains(&title(section)));
        old.map(|section| format!("## {}", section.trim_end())).collect()
    }

    /// Adds a section; `body` is Markdown.
    pub fn section(&mut self, title: &str, body: &str) {
        println!("\n{title}\n\n{body}");
        self.sections.push(format!("## {title}\n\n{body}"));
    }

    /// Says when and where, and writes the file when that is asked for.
    pub fn finish(self, write: bool) -> anyhow::Result<()> {
        let mut text = String::from(
            "# Benchmarks\n\nWritten by `cargo run --release -p epicenter-bench -- all --write`; do not edit by hand.\n",
        );
        writeln!(text, "{} on {}.\n", jiff::Timestamp::now().strftime("%Y-%m-%d"), machine())?;
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/benchmarks.md");
        let sections = [self.kept(&file), self.sections].concat();
        text.push_str(&sections.join("\n\n"));
        text.push('\n');
        if write {
            fs::write(&file, text)?;
            println!("\nwritten to {}", file.display());
        }
        Ok(())
    }
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
